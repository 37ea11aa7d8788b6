# Starts and stops the one broker that a script puts to the test. Sourced by conformance/run.sh and its neighbours.
#
# $broker is a command that takes a server.properties: by default this repository's release build with `server`, and
# `scripts/apache-server` for a real Apache Kafka. A broker is started in the foreground of its own background job, so that
# $broker_pid is the broker itself and kill -9 hits it and nothing else.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
broker_pid=

# The release binary, built if need be.
release_broker() {
  (cd "$root" && cargo build --release --locked -p ottla-cli > /dev/null) || return 1
  local target
  target=$(cd "$root" && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  echo "$target/release/ottla server"
}

# The words of a --broker command, with a path made absolute: it may be started in another directory.
absolute_broker() {
  local words
  read -ra words <<< "$1"
  if [ -x "${words[0]}" ]; then words[0]=$(cd "$(dirname "${words[0]}")" && pwd)/$(basename "${words[0]}"); fi
  echo "${words[*]}"
}

# A port that nobody listens on, below the range from which the system takes the ports of outgoing connections; PORTS=FROM-TO takes
# others.
free_port() {
  local port from=20000 to=29999
  if [ -n "${PORTS:-}" ]; then from=${PORTS%-*} to=${PORTS#*-}; fi
  while :; do
    port=$((from + RANDOM % (to - from + 1)))
    { : < "/dev/tcp/127.0.0.1/$port"; } 2> /dev/null || { echo $port; return; }
  done
}

# One node that is broker and controller: FILE DATA PORT CONTROLLER_PORT bootstrap|static [NAME=VALUE]...
write_properties() {
  local file=$1 data=$2 port=$3 controller=$4 quorum=$5; shift 5
  {
    echo "process.roles=broker,controller"
    echo "node.id=1"
    case $quorum in
      bootstrap) echo "controller.quorum.bootstrap.servers=127.0.0.1:$controller" ;;
      static) echo "controller.quorum.voters=1@127.0.0.1:$controller" ;;
    esac
    echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller"
    echo "controller.listener.names=CONTROLLER"
    echo "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
    echo "log.dirs=$data"
    echo "offsets.topic.replication.factor=1"
    echo "transaction.state.log.replication.factor=1"
    echo "transaction.state.log.min.isr=1"
    echo "share.coordinator.state.topic.replication.factor=1"
    echo "share.coordinator.state.topic.min.isr=1"
    echo "group.initial.rebalance.delay.ms=0"
    printf '%s\n' "$@"
  } > "$file"
}

# start_broker PROPERTIES LOG PORT: returns once the port answers, within PATIENCE seconds (60); the log is appended to.
start_broker() {
  local words
  read -ra words <<< "$broker"
  # Other files of the caller must not be held open by the broker.
  "${words[@]}" "$1" >> "$2" 2>&1 < /dev/null &
  broker_pid=$!
  local deadline=$((SECONDS + ${PATIENCE:-60}))
  until { : < "/dev/tcp/127.0.0.1/$3"; } 2> /dev/null; do
    if ! kill -0 $broker_pid 2> /dev/null || [ $SECONDS -ge $deadline ]; then
      echo "the broker did not start; the end of $2:" >&2; tail -n 20 "$2" >&2
      return 1
    fi
    sleep 0.05
  done
}

# stop_broker: a clean stop, and a failure if it takes longer than PATIENCE seconds (60) or ends with an error.
stop_broker() {
  [ -n "$broker_pid" ] || return 0
  local pid=$broker_pid deadline=$((SECONDS + ${PATIENCE:-60}))
  broker_pid=
  kill -TERM "$pid" 2> /dev/null || true
  while kill -0 "$pid" 2> /dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      kill -9 "$pid"; echo "the broker did not stop within ${PATIENCE:-60} s of SIGTERM" >&2
      return 1
    fi
    sleep 0.05
  done
  local status=0
  wait "$pid" 2> /dev/null || status=$?
  # A JVM that SIGTERM ended says so after its clean stop.
  [ $status -eq 0 ] || [ $status -eq 143 ] || { echo "the broker ended with status $status" >&2; return 1; }
}

# kill_broker: kill -9, and wait until it is gone.
kill_broker() {
  [ -n "$broker_pid" ] || return 0
  kill -9 "$broker_pid" 2> /dev/null || true
  wait "$broker_pid" 2> /dev/null || true
  broker_pid=
}
