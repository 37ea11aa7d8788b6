#!/usr/bin/env bash
# run.sh: start the Apache Kafka in KAFKA_HOME on free ports, ask it everything, stop it.
# Further arguments go to the program: `--against HOST:PORT` compares that broker with it.
# OTTLA=FILE starts that ottla beside it, with the same settings, and compares the two.
set -euo pipefail
: "${KAFKA_HOME:?the directory of an Apache Kafka 4.3}"
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d); mkdir "$dir/one" "$dir/two" "$dir/ottla"
pids=()
stop() {
  # An Apache whose registration is gone would wait for leave to stop.
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for _ in $(seq 50); do
    alive=; for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && alive=1; done
    [ -z "$alive" ] && break
    sleep 0.2
  done
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap stop EXIT

free_port() { # a port that nobody listens on, from $1 up
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
settings() { # of a broker on port $1, controller on port $2, with its directories in $3
  sed "s|@PORT@|$1|g; s|@CPORT@|$2|g; s|@DIR@|$3|g" "$here/broker.properties"
}
port=$(free_port "${PORT:-$((20000 + RANDOM % 5000))}"); cport=$(free_port $((port + 1)))
settings "$port" "$cport" "$dir" > "$dir/server.properties"
# Where a replica lies is chance when there is a choice, and chance does not compare.
# Nor does access control, which only one of the two serves: whoever connects may do everything. Nor does
# whose members are lost first where the machine is slow: sessions are long.
alike() {
  sed -i "s|^log.dirs=.*|log.dirs=$2/one|" "$1"
  printf '%s\n' super.users=User:ANONYMOUS group.consumer.{max.,}session.timeout.ms=1200000 >> "$1"
}
case " $* " in *" --against "*) alike "$dir/server.properties" "$dir" ;; esac

cargo build -q -p ottla-differential --manifest-path "$here/Cargo.toml"
if [ -n "${OTTLA:-}" ]; then
  alike "$dir/server.properties" "$dir"
  # Apache asks clients for metrics where a plug-in takes them, Ottla where it is told to.
  javac -nowarn -cp "$KAFKA_HOME/libs/*" -d "$dir" "$here/Receiver.java"
  export CLASSPATH=$dir
  other=$(free_port $((cport + 1))); cother=$(free_port $((other + 1))); mkdir "$dir/ottla/one"
  settings "$other" "$cother" "$dir/ottla" > "$dir/ottla.properties"
  alike "$dir/ottla.properties" "$dir/ottla"
  for file in server ottla; do
    echo "metric.reporters=org.apache.kafka.common.metrics.JmxReporter,Receiver" >> "$dir/$file.properties"
  done
  echo "ottla.client.telemetry=true" >> "$dir/ottla.properties"
  "$OTTLA" server "$dir/ottla.properties" \
    --override "ottla.http.listener=127.0.0.1:$(free_port $((cother + 1)))" > "$dir/ottla.out" 2>&1 &
  pids+=($!)
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$other") 2>/dev/null && break
    kill -0 "${pids[0]}" 2>/dev/null || { tail -20 "$dir/ottla.out" >&2; exit 1; }
    sleep 0.2
  done
  set -- --against "127.0.0.1:$other" "$@"
fi

export LOG_DIR=$dir KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx512m}
"$KAFKA_HOME/bin/kafka-storage.sh" format --standalone -t ZGlmZmVyZW50aWFsLTAwMQ -c "$dir/server.properties" > "$dir/format.out" 2>&1 ||
  { cat "$dir/format.out" >&2; exit 1; }
"$KAFKA_HOME/bin/kafka-server-start.sh" "$dir/server.properties" > "$dir/server.out" 2>&1 &
pids+=($!); apache=$!
for _ in $(seq 300); do
  grep -q "Kafka Server started" "$dir/server.out" && break
  kill -0 "$apache" 2>/dev/null || { tail -20 "$dir/server.out" >&2; exit 1; }
  sleep 0.2
done
status=0
cargo run -q -p ottla-differential --manifest-path "$here/Cargo.toml" -- \
  "127.0.0.1:$port" --controller "127.0.0.1:$cport" "$@" || status=$?
# For whoever wants to know why: what the two brokers said.
[ -z "${KEEP:-}" ] || cp "$dir"/*.out "$KEEP"/
exit "$status"
