#!/usr/bin/env bash
# The story of ../README.md, told by kcat. What it cannot do is done by the Java tools and printed as n/a (tool).
set -euo pipefail
partitions=4 patience=60   # seconds; bounds every wait for the broker, no healthy broker comes near it
codecs=(none gzip snappy lz4 zstd)
out=$WORK/kcat/story; rm -rf "$out"; mkdir -p "$out"
members=()
trap '[ ${#members[@]} = 0 ] || kill "${members[@]}" 2> /dev/null || true' EXIT

# Each prints the one line per step that run.sh reads; the story ends with the first failure.
step() { step_by ok "$@"; }
tool_step() { step_by "n/a (tool)" "$@"; }
step_by() {
  local done=$1 name=$2; shift 2
  local status=0
  # Not in a condition: that would switch off set -e inside.
  set +e; (set -e; "$@") > "$out/$name.log" 2>&1; status=$?; set -e
  [ $status = 0 ] || { echo "step $name: FAIL $(tail -n 1 "$out/$name.log")"; exit 1; }
  echo "step $name: $done"
}
tool() { "$KAFKA_HOME/bin/$1.sh" --bootstrap-server "$BOOTSTRAP" "${@:2}"; }
until_true() {   # WHAT COMMAND...
  local what=$1 deadline=$((SECONDS + patience)); shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || { echo "timed out: $what"; return 1; }
    sleep 0.05
  done
}

produce() {   # CODEC
  awk -v codec="$1" -v n="$RECORDS" 'BEGIN { for (i = 0; i < n; i++) printf "user-%d\t%s %d the quick brown fox jumps over the lazy dog\n", i % 500, codec, i }' |
    kcat -P -b "$BOOTSTRAP" -t "$STORY" -K '\t' -z "$1" -H "codec=$1" -X enable.idempotence=true
}

# One consumer of the group, in the background; what it reads goes to $out/NAME, what it says to $out/NAME.says.
join() {   # NAME
  kcat -G "$STORY" -b "$BOOTSTRAP" -X auto.offset.reset=earliest -u -f '%T\t%p\t%o\t%k\t%h\t%s\n' "$STORY" > "$out/$1" 2> "$out/$1.says" < /dev/null &
  members+=($!)
}
# Partitions of the last assignment that the member spoke of.
owned() { grep -a 'assigned: ' "$out/$1.says" | tail -n 1 | grep -o "$STORY \[" | wc -l; }
owns() { [ "$(owned "$1")" = "$2" ]; }
came() { [ "$(cat "${@:2}" | wc -l)" -ge "$1" ]; }

# Contents whole, order kept in each partition of each reader, nothing twice: N FILE...
witness() {
  local n=$1; shift
  cat "$@" | wc -l | grep -qx "$n" || { echo "$(cat "$@" | wc -l) records instead of $n"; return 1; }
  awk -F'\t' -v records="$RECORDS" '
    BEGIN { split("none gzip snappy lz4 zstd", names, " "); for (i in names) place[names[i]] = i - 1 }
    {
      split($6, words, " "); codec = words[1]; i = words[2]; index_ = place[codec] * records + i
      if ($4 != "user-" i % 500 || $5 != "codec=" codec || $6 !~ / the quick brown fox jumps over the lazy dog$/) { print "a strange record: " $0; exit 1 }
      if (index_ in seen) { print "record " index_ " came twice"; exit 1 }
      if ((FILENAME, $2) in last && last[FILENAME, $2] >= index_) { print "record " index_ " came late"; exit 1 }
      seen[index_]; last[FILENAME, $2] = index_
    }' "$@"
}

read_by_two() {
  until_true "two partitions each" owns a 2
  until_true "two partitions each" owns b 2
  until_true "all records" came $((${#codecs[@]} * RECORDS)) "$out/a" "$out/b"
  witness $((${#codecs[@]} * RECORDS)) "$out/a" "$out/b"
}
move() {
  kill "${members[0]}"
  until_true "all partitions at the survivor" owns b $partitions
}
commit() {
  for ((p = 0; p < partitions; p++)); do
    end=$(kcat -Q -b "$BOOTSTRAP" -t "$STORY:$p:-1" | awk '{ print $NF }')
    echo "$STORY,$p,$((end / 2))"
  done > "$out/middle.csv"
  tool kafka-consumer-groups --group "$STORY" --reset-offsets --from-file "$out/middle.csv" --execute
  tool kafka-consumer-groups --group "$STORY" --describe > "$out/committed"
  while IFS=, read -r topic p at; do
    awk -v topic="$topic" -v p="$p" -v at="$at" '$2 == topic && $3 == p && $4 == at { found = 1 } END { exit !found }' "$out/committed"
  done < "$out/middle.csv"
}
resume() {
  rest=$((${#codecs[@]} * RECORDS - $(awk -F, '{ sum += $3 } END { print sum }' "$out/middle.csv")))
  until_true "the rest" came $rest "$out/c"
  witness $rest "$out/c"
  while IFS=, read -r _ p at; do
    [ "$(awk -F'\t' -v p="$p" '$2 == p { print $3; exit }' "$out/c")" = "$at" ] || { echo "partition $p did not resume at $at"; return 1; }
  done < "$out/middle.csv"
}
replay() {
  kcat -C -b "$BOOTSTRAP" -t "$STORY" -o "s@$since" -e -q -f '%T\t%p\t%o\t%k\t%h\t%s\n' > "$out/replay"
  awk -F'\t' -v since="$since" '$1 < since { print "before the moment: " $0; exit 1 }' "$out/replay"
  witness $((2 * RECORDS)) "$out/replay"
}
listed() { kcat -L -b "$BOOTSTRAP" | grep -q "topic \"$STORY\" with"; }
described() { kcat -L -b "$BOOTSTRAP" -t "$STORY" | grep "topic \"$STORY\" with $partitions partitions:"; }
group_listed() { tool kafka-consumer-groups --list | grep -qx "$STORY"; }
group_described() {
  tool kafka-consumer-groups --describe --group "$STORY" --state | tee /dev/stderr | grep -q Stable
  [ "$(tool kafka-consumer-groups --describe --group "$STORY" | grep -c "rdkafka-")" = $partitions ]
}
group_deleted() {
  tool kafka-consumer-groups --delete --group "$STORY"
  ! group_listed
}
topic_deleted() {
  tool kafka-topics --delete --topic "$STORY"
  until_true "the topic is gone" eval '! listed'
}
leave() {   # PLACE: stops a member and waits until it has left its group
  kill "${members[$1]}" 2> /dev/null || true
  wait "${members[$1]}" 2> /dev/null || true
}

tool_step create tool kafka-topics --create --topic "$STORY" --partitions $partitions --replication-factor 1
for codec in "${codecs[@]}"; do
  if [ "$codec" = lz4 ]; then sleep 0.02; since=$(date +%s%3N); fi
  step "produce-$codec" produce "$codec"
done
join a; join b
step read read_by_two
step move move
leave 0; leave 1
tool_step commit commit
join c
step resume resume
step replay replay
step list-topics listed
tool_step list-groups group_listed
step describe-topic described
tool_step describe-group group_described
leave 2
tool_step delete-group group_deleted
tool_step delete-topic topic_deleted
