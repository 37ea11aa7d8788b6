#!/usr/bin/env bash
# run.sh [--broker CMD | --bootstrap HOST:PORT [--restart CMD]] [--only CASES] [--learn] [--verbose] [--work DIR]: hostile transactions.
#
# Sends the requests of cases/*.txt to a broker and compares each answer with Apache Kafka's, which stands beside it. Without options the
# broker is this repository's release build on fresh data; `--broker scripts/apache-server` with KAFKA_HOME set asks the original. A broker
# that runs already is named by --bootstrap; what stops it and starts it again by --restart (HOW is TERM or KILL). --learn writes the
# answers into the cases. Prints a table, and each answer that differs; exit status 0 if none does. Needs Go.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/broker.sh"

# How --restart of a broker that this script has started is done: run.sh again WORK PORT COMMAND.
if [ "${1:-}" = again ]; then
  work=$2 broker=$4
  broker_pid=$(cat "$work/pid")
  kill -"${HOW:-TERM}" "$broker_pid"
  for _ in $(seq 1200); do kill -0 "$broker_pid" 2> /dev/null || break; sleep 0.05; done
  start_broker "$work/server.properties" "$work/broker.log" "$3"
  echo "$broker_pid" > "$work/pid"
  exit 0
fi

broker= bootstrap= restart= work=$root/target/attack options=()
while [ $# -gt 0 ]; do
  case $1 in
    --broker) broker=$(absolute_broker "$2"); shift 2 ;;
    --bootstrap) bootstrap=$2; shift 2 ;;
    --restart) restart=$2; shift 2 ;;
    --only) options+=(--only "$2"); shift 2 ;;
    --learn) options+=(--learn "$here/cases"); shift ;;
    --verbose) options+=(--verbose); shift ;;
    --work) work=$2; shift 2 ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
command -v go > /dev/null || { echo "run.sh: Go is needed" >&2; exit 1; }
rm -rf "$work"/{data,broker.log}; mkdir -p "$work/data"; work=$(cd "$work" && pwd)
(cd "$here" && go build -o "$work/attack" .)

if [ -z "$bootstrap" ]; then
  : "${broker:=$(release_broker)}"
  port=$(free_port)
  # Short times, so that what runs out does so while somebody looks; what is killed here loses no page cache, so nothing waits for disks.
  write_properties "$work/server.properties" "$work/data" "$port" "$(free_port)" bootstrap \
    transaction.state.log.num.partitions=4 offsets.topic.num.partitions=4 \
    transaction.abort.timed.out.transaction.cleanup.interval.ms=500 transactional.id.expiration.ms=45000 \
    transaction.remove.expired.transaction.cleanup.interval.ms=1000 producer.id.expiration.check.interval.ms=500 ottla.flush.before.ack=false
  start_broker "$work/server.properties" "$work/broker.log" "$port"
  echo "$broker_pid" > "$work/pid"
  trap 'kill "$(cat "$work/pid")" 2> /dev/null || true' EXIT
  # This broker has what every case needs.
  options+=(--all --set producer.id.expiration.check.interval.ms=500)
  bootstrap=127.0.0.1:$port restart="'$here/run.sh' again '$work' $port '$broker'"
fi
"$work/attack" --bootstrap "$bootstrap" --restart "$restart" "${options[@]}"
