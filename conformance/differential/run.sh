#!/usr/bin/env bash
# run.sh: start the Apache Kafka in KAFKA_HOME on free ports, ask it everything, stop it.
# Further arguments go to the program: `--against HOST:PORT` compares that broker with it.
set -euo pipefail
: "${KAFKA_HOME:?the directory of an Apache Kafka 4.3}"
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d); mkdir "$dir/one" "$dir/two"
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; }
  rm -rf "$dir"
}
trap stop EXIT

free_port() { # a port that nobody listens on, from $1 up
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
port=$(free_port $((20000 + RANDOM % 5000))); cport=$(free_port $((port + 1)))
sed "s|@PORT@|$port|g; s|@CPORT@|$cport|g; s|@DIR@|$dir|g" "$here/broker.properties" > "$dir/server.properties"
# Where a replica lies is chance when there is a choice, and chance does not compare.
# Nor does access control, which only one of the two serves: whoever connects may do everything.
case " $* " in *" --against "*)
  sed -i "s|^log.dirs=.*|log.dirs=$dir/one|" "$dir/server.properties"
  echo "super.users=User:ANONYMOUS" >> "$dir/server.properties" ;;
esac

cargo build -q -p ottla-differential --manifest-path "$here/Cargo.toml"
export LOG_DIR=$dir KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx512m}
"$KAFKA_HOME/bin/kafka-storage.sh" format --standalone -t ZGlmZmVyZW50aWFsLTAwMQ -c "$dir/server.properties" > "$dir/format.out" 2>&1 ||
  { cat "$dir/format.out" >&2; exit 1; }
"$KAFKA_HOME/bin/kafka-server-start.sh" "$dir/server.properties" > "$dir/server.out" 2>&1 &
pid=$!
for _ in $(seq 300); do
  grep -q "Kafka Server started" "$dir/server.out" && break
  kill -0 "$pid" 2>/dev/null || { tail -20 "$dir/server.out" >&2; exit 1; }
  sleep 0.2
done
cargo run -q -p ottla-differential --manifest-path "$here/Cargo.toml" -- \
  "127.0.0.1:$port" --controller "127.0.0.1:$cport" "$@"
