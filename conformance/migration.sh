#!/usr/bin/env bash
# migration.sh HOST:PORT [OTHER_HOST:PORT]: Java clients of one group are restarted in the other protocol, one after the other, and back.
#
# Prints what the group is after each step, and how many records were lost (java/Migration.java); with a second broker (an Apache Kafka)
# the same is asked of it, and a difference is a failure. Needs KAFKA_HOME and a JDK.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] && [ -n "${KAFKA_HOME:-}" ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
javac -cp "$KAFKA_HOME/libs/*" -d "$work" "$here/java/Migration.java"
tell() { BOOTSTRAP=$1 timeout -k 5 900 java -Xmx512m -cp "$work:$KAFKA_HOME/libs/*" Migration; }
tell "$1" | tee "$work/first"
! grep -q 'lost: [^0]' "$work/first"
[ $# = 1 ] || { tell "$2" > "$work/second"; diff "$work/first" "$work/second"; echo "no difference"; }
