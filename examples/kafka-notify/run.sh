#!/usr/bin/env bash
# run.sh [--broker CMD]: the example without containers, proved end to end.
#
# Starts the broker with exactly the environment of docker-compose.yml, both services, and sends notifications between users while the
# consumer is stopped and started and the broker is killed with -9. Every answer is checked, and over the whole run each notification
# must be handed to the consumer exactly once, in order for each user. Needs Go, curl, and the ports 8080, 8081, 9092 and 9093 free.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/broker.sh"
broker=
case ${1:-} in
  --broker) broker=$(absolute_broker "$2") ;;
  '') ;;
  *) echo "usage: run.sh [--broker CMD]" >&2; exit 2 ;;
esac
for need in go curl; do command -v $need > /dev/null || { echo "run.sh: $need is needed" >&2; exit 1; }; done
for port in 8080 8081 9092 9093; do
  if { : < /dev/tcp/127.0.0.1/$port; } 2> /dev/null; then echo "run.sh: port $port is taken" >&2; exit 1; fi
done
work=$(mktemp -d); consumer_pid= producer_pid= passed=0
clean() {
  kill_broker
  for pid in $producer_pid $consumer_pid; do kill -9 "$pid" 2> /dev/null || true; done
  if [ "$passed" = 1 ]; then rm -rf "$work"; else echo "logs: $work" >&2; fi
}
trap clean EXIT
say() { echo "$(date +%T) $*"; }
fail() { echo "FAIL: $*" >&2; exit 1; }
answers() { { : < "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null; }
until_true() {   # WHAT COMMAND...
  local what=$1 deadline=$((SECONDS + 60)); shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "timed out: $what"
    sleep 0.1
  done
}

# The lines "- NAME=VALUE" under the broker's environment.
mapfile -t environment < <(sed -n 's/^ *- \([A-Z_]*=.*\)$/\1/p' "$here/docker-compose.yml")
[ ${#environment[@]} -ge 8 ] || fail "no environment in docker-compose.yml"
: "${broker:=$(release_broker)}"
start_kafka() {
  local words
  read -ra words <<< "$broker"
  # In a directory of its own: that is where a broker without configuration keeps its data.
  mkdir -p "$work/broker"
  (cd "$work/broker" && exec env "${environment[@]}" "${words[@]}") >> "$work/broker.log" 2>&1 < /dev/null & broker_pid=$!
  until_true "the broker on 9092" answers 9092
}
start_consumer() {
  "$work/consumer" >> "$work/consumer.log" 2>&1 < /dev/null & consumer_pid=$!
  until_true "the consumer on 8081" answers 8081
}
stop_consumer() {
  kill "$consumer_pid"; wait "$consumer_pid" || true; consumer_pid=
}

# send HOW_MANY: notifications from each user to the next but one; every answer must be 200 and name an id.
send() {
  local n from to answer
  for ((n = 0; n < $1; n++)); do
    from=$((n % 4 + 1)) to=$(((n + n / 4) % 4 + 1))
    answer=$(curl -sS --max-time 60 -w '\n%{http_code}' -d "fromID=$from" -d "toID=$to" --data-urlencode "message=hello & welcome, no. $n" localhost:8080/send) ||
      { echo "curl failed" >> "$work/failed"; return 1; }
    case $answer in
      *$'\n200') sed -n "s/.*\"id\":\"\([^\"]*\)\".*/$to \1/p" <<< "$answer" >> "$work/sent" ;;
      *) echo "$answer" >> "$work/failed"; return 1 ;;
    esac
  done
}
sent() { wc -l < "$work/sent"; }
handed() { grep -c ' received ' "$work/consumer.log" || true; }
all_handed() { [ "$(handed)" -ge "$(sent)" ]; }
# What the consumer serves must be what was sent since it started, for each user in order: FIRST_LINE of the list of what was sent.
check_served() {
  local user
  for user in 1 2 3 4; do
    tail -n "+$1" "$work/sent" | awk -v user=$user '$1 == user { print $2 }' > "$work/expected"
    curl -sS --max-time 10 "localhost:8081/notifications/$user" | grep -o '"id":"[^"]*"' | cut -d'"' -f4 > "$work/served" || true
    cmp -s "$work/expected" "$work/served" || fail "user $user: $(wc -l < "$work/served") notifications served, $(wc -l < "$work/expected") expected, or not in order"
  done
}
status() { curl -sS -o /dev/null -w '%{http_code}' --max-time 10 "$@"; }

say "building producer and consumer"
(cd "$here" && go build -o "$work/producer" ./cmd/producer && go build -o "$work/consumer" ./cmd/consumer)
: > "$work/sent"; : > "$work/consumer.log"
say "starting the broker with the environment of docker-compose.yml: $broker"
start_kafka
"$work/producer" >> "$work/producer.log" 2>&1 < /dev/null & producer_pid=$!
until_true "the producer on 8080" answers 8080
start_consumer

say "notifications between four users"
send 40
until_true "all notifications at the consumer" all_handed
check_served 1
[ "$(status -d fromID=1 -d toID=77 -d message=x localhost:8080/send)" = 404 ] || fail "a notification to nobody was taken"
[ "$(status localhost:8081/notifications/77)" = 404 ] || fail "nobody has notifications"

say "the consumer stops; the broker is killed with -9 while notifications are being sent"
stop_consumer
first=$(($(sent) + 1))
send 60 & sending=$!
until_true "some were sent" eval '[ "$(sent)" -ge "$((first + 15))" ]'
kill_broker
until_true "the broker's port is free" eval '! answers 9092'
start_kafka
wait $sending || fail "a notification was not taken: $(cat "$work/failed")"
[ "$(handed)" -lt "$first" ] || fail "the consumer was stopped and yet got something"
say "the consumer starts again: only what it has not had yet"
start_consumer
until_true "the rest at the consumer" all_handed
check_served $first

committed() { [ "$(grep -E ' (received|committed) ' "$work/consumer.log" | tail -n 1 | cut -d' ' -f3)" = committed ]; }
until_true "the consumer's last commit" committed
say "the broker is killed with -9 under a running consumer: its commits hold"
kill_broker
start_kafka
send 40
until_true "all notifications at the consumer" all_handed
check_served $first
sleep 1   # Time for what must not come.

sed -n 's/.* received .* id=\([^ ]*\) .*/\1/p' "$work/consumer.log" | sort > "$work/handed"
cut -d' ' -f2 "$work/sent" | sort > "$work/ids"
uniq -d "$work/handed" | grep . && fail "handed over more than once"
cmp -s "$work/ids" "$work/handed" || fail "not the same: what was sent and what was handed over"
[ "$(sed -n 's/.* received \(partition=[0-9]*\) .* to=\([0-9]*\)$/\2 \1/p' "$work/consumer.log" | sort -u | wc -l)" = 4 ] || fail "a user's notifications are in several partitions"
say "stopping"
stop_consumer
kill "$producer_pid"; wait "$producer_pid" 2> /dev/null || true; producer_pid=
stop_broker
if docker info > /dev/null 2>&1; then engine="a container engine is at hand: docker compose up --build runs the same"; else engine="no container engine is at hand: the image was not built"; fi
passed=1
echo "ok: $(sent) notifications, each handed to the consumer exactly once ($engine)"
