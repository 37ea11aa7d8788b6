#!/usr/bin/env bash
# run.sh [--broker CMD | --bootstrap HOST:PORT] [--work DIR] [client...]: one story, told to a broker by real clients.
# See README.md here. Exit status 0 when no step failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/broker.sh"
all_clients=(kcat java sarama franz-go kafkajs kafka-python confluent-kafka)
steps=(create produce-none produce-gzip produce-snappy produce-lz4 produce-zstd read move commit resume replay
  list-topics list-groups describe-topic describe-group delete-group delete-topic)
limit=180   # seconds a client's story may take

broker= bootstrap= work=$root/target/conformance
while [ $# -gt 0 ]; do
  case $1 in
    --broker) broker=$(absolute_broker "$2"); shift 2 ;;
    --bootstrap) bootstrap=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    -*) echo "usage: run.sh [--broker CMD | --bootstrap HOST:PORT] [--work DIR] [client...]" >&2; exit 2 ;;
    *) break ;;
  esac
done
if [ $# -gt 0 ]; then clients=("$@"); else clients=("${all_clients[@]}"); fi
for client in "${clients[@]}"; do [[ " ${all_clients[*]} " = *" $client "* ]] || { echo "run.sh: no client is called $client" >&2; exit 2; }; done
mkdir -p "$work/logs"; work=$(cd "$work" && pwd)
report=$work/report.md
# The report that is committed tells of every client and of this tree's broker; no other run may overwrite it.
if [ -z "$broker$bootstrap" ] && [ "${clients[*]}" = "${all_clients[*]}" ]; then report=$here/report.md; fi

say() { echo "$(date +%T) $*"; }
have() { command -v "$1" > /dev/null || { echo "$1 is needed for this client" >&2; return 1; }; }

# What each client needs is installed once, into $work. Prints the client's version.
install_client() {
  mkdir -p "$work/$1"
  case $1 in
    kcat)
      if ! command -v kcat > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends kcat
      fi
      have kcat
      kcat -V | sed -n 's/^Version \([^ ]*\).*librdkafka \([^ ]*\).*/kcat \1 (librdkafka \2)/p' > "$work/kcat/version" ;;
    java)
      have javac
      javac -cp "$KAFKA_HOME/libs/*" -d "$work/java" "$here/java/Story.java"
      echo "kafka-clients $(basename "$KAFKA_HOME"/libs/kafka-clients-*[0-9].jar .jar | cut -d- -f3) (Java $(java -XshowSettings:properties -version 2>&1 | sed -n 's/ *java.version = //p'))" > "$work/java/version" ;;
    sarama | franz-go)
      have go
      (cd "$here/$1" && go build -o "$work/$1/story" .)
      awk '/IBM\/sarama|twmb\/franz-go v/ { for (i = 1; i < NF; i++) if ($i ~ /^github/) { print $i, $(i + 1); exit } }' "$here/$1/go.mod" > "$work/$1/version" ;;
    kafkajs)
      have npm
      cp "$here"/kafkajs/{package.json,package-lock.json,.npmrc,codecs.js,story.js} "$work/kafkajs/"
      (cd "$work/kafkajs" && npm ci --no-audit --no-fund)
      (cd "$work/kafkajs" && node -p '"kafkajs " + require("kafkajs/package.json").version + " (Node " + process.versions.node + ")"' > version) ;;
    kafka-python | confluent-kafka)
      have python3
      [ -x "$work/$1/venv/bin/pip" ] || python3 -m venv "$work/$1/venv"
      "$work/$1/venv/bin/pip" install -q --disable-pip-version-check -r "$here/$1/requirements.txt"
      head -n 1 "$here/$1/requirements.txt" | tr -s '=' ' ' > "$work/$1/version" ;;
  esac
}
# The program itself: it reads BOOTSTRAP, STORY, RECORDS (and KAFKA_HOME, WORK) from its environment.
tell() {
  local program
  case $1 in
    kcat) program=("$here/kcat/story.sh") ;;
    java) program=(java -Xmx512m -cp "$work/java:$KAFKA_HOME/libs/*" Story) ;;
    sarama | franz-go) program=("$work/$1/story") ;;
    kafkajs) program=(node "$work/kafkajs/story.js") ;;
    kafka-python | confluent-kafka) program=("$work/$1/venv/bin/python" "$here/$1/story.py") ;;
  esac
  BOOTSTRAP=$bootstrap STORY=story-$1-$RANDOM RECORDS=${RECORDS:-20000} WORK=$work KAFKAJS_NO_PARTITIONER_WARNING=1 \
    timeout -k 5 $limit "${program[@]}" > "$work/logs/$1.log" 2> "$work/logs/$1.err" < /dev/null
}

if [ -z "${KAFKA_HOME:-}" ]; then
  say "laying out Apache Kafka's tools (KAFKA_HOME is not set)"
  "$here/kafka-tree.sh" "$work/kafka"
  KAFKA_HOME=$work/kafka
fi
export KAFKA_HOME
for client in "${clients[@]}"; do
  say "preparing $client"
  # Not in a condition: that would switch off set -e inside.
  set +e; (set -e; install_client "$client") > "$work/logs/$client.install.log" 2>&1; status=$?; set -e
  [ $status = 0 ] || { tail -n 20 "$work/logs/$client.install.log" >&2; echo "run.sh: $client could not be installed" >&2; exit 1; }
done

named=$bootstrap
if [ -z "$bootstrap" ]; then
  if [ -z "$broker" ]; then broker=$(release_broker); named=$(${broker% server} --version); else named=$broker; fi
  rm -rf "$work/data" "$work/broker.log"; mkdir -p "$work/data"
  port=$(free_port) controller=$(free_port)
  bootstrap=127.0.0.1:$port
  write_properties "$work/server.properties" "$work/data" "$port" "$controller" bootstrap
  trap 'kill_broker' EXIT
  start_broker "$work/server.properties" "$work/broker.log" "$port"
  say "the broker listens on $bootstrap"
fi

failed=0
for client in "${clients[@]}"; do
  begin=$(date +%s.%N)
  tell "$client" || true
  took=$(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { printf "%.0f", b - a }')
  wrong=0
  for step in "${steps[@]}"; do
    outcome=$(sed -n "s/^step $step: //p" "$work/logs/$client.log")
    case $outcome in
      ok) ;;
      "n/a (tool)") grep -q "^- $client: .*\b$step\b" "$here/README.md" || { echo "  $client $step: n/a is not foreseen in README.md"; wrong=$((wrong + 1)); } ;;
      *) echo "  $client $step: ${outcome:-did not come}"; wrong=$((wrong + 1)) ;;
    esac
  done
  say "$client: $((${#steps[@]} - wrong)) of ${#steps[@]} steps in $took s"
  failed=$((failed + wrong))
done

table() {
  printf '| step |'; printf ' %s |' "${clients[@]}"; echo
  printf '|---|'; printf -- '---|%.0s' "${clients[@]}"; echo
  for step in "${steps[@]}"; do
    printf '| %s |' "$step"
    for client in "${clients[@]}"; do
      outcome=$(sed -n "s/^step $step: //p" "$work/logs/$client.log")
      case $outcome in FAIL*) outcome=FAIL ;; '') outcome=- ;; esac
      printf ' %s |' "$outcome"
    done
    echo
  done
}
{
  echo "# What real clients say"
  echo
  echo "Written by \`conformance/run.sh\`. The broker: $named. The story and the meaning of its steps: \`README.md\`."
  echo
  for client in "${clients[@]}"; do echo "- $client: $(cat "$work/$client/version")"; done
  echo
  table
} > "$report"
echo; table; echo
if [ -n "$broker_pid" ]; then stop_broker || failed=$((failed + 1)); fi
passed=$((${#clients[@]} * ${#steps[@]} - failed))
echo "$passed passed, $failed failed"
[ $failed = 0 ] || { echo "logs: $work/logs" >&2; exit 1; }
