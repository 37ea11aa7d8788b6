#!/usr/bin/env bash
# kafka-tree.sh DIR [VERSION]: lays out an Apache Kafka (4.3.1) in DIR (bin, libs, config) from Maven artifacts, for its tools and, in
# swap-run, its broker. Brokers of 3.9 and 4.0 too, which golden-dirs has write. Needs Java 17 and Maven. Does nothing when DIR is complete
# already.
set -euo pipefail
dir=${1:?usage: kafka-tree.sh DIR [VERSION]}
version=${2:-4.3.1} log4j=2.25.4 jackson=2.21.2
case $version in
  3.9.*) log4j=2.24.3 jackson=2.16.2 ;;
  4.0.*) log4j=2.25.3 jackson=2.19.4 ;;
esac
mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
# With a number that grows when a tree gets more than it had.
complete=$dir/complete-$version-4
[ ! -e "$complete" ] || exit 0
for need in java mvn; do command -v $need > /dev/null || { echo "kafka-tree.sh: $need is needed to lay out Apache Kafka; or name a tree in KAFKA_HOME" >&2; exit 1; }; done
mkdir -p "$dir/bin" "$dir/config" "$dir/libs"

artifact() { echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"; }
cat > "$dir/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>conformance</groupId><artifactId>kafka-tree</artifactId><version>1</version><packaging>pom</packaging>
  <dependencyManagement><dependencies>
    $(artifact org.slf4j slf4j-api 1.7.36)
  </dependencies></dependencyManagement>
  <dependencies>
    $(artifact org.apache.kafka kafka_2.13 $version)
    $(artifact org.apache.kafka kafka-tools $version)
    $(artifact org.apache.kafka kafka-shell $version)
    $(artifact org.apache.logging.log4j log4j-core $log4j)
    $(artifact org.apache.logging.log4j log4j-slf4j-impl $log4j)
    $(artifact com.fasterxml.jackson.dataformat jackson-dataformat-yaml $jackson)
  </dependencies>
  <build><plugins><plugin><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version></plugin></plugins></build>
</project>
POM
mvn -q -B -f "$dir/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$dir/libs"

# Everything runs through this: CLASS ARGUMENT...
cat > "$dir/bin/kafka-run-class.sh" <<'SH'
#!/bin/sh
home=$(cd "$(dirname "$0")/.." && pwd)
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} $KAFKA_OPTS "-Dlog4j2.configurationFile=$home/config/${KAFKA_LOG4J:-tools}.yaml" -cp "$home/libs/*${CLASSPATH:+:$CLASSPATH}" "$@"
SH
while read -r name class; do
  printf '#!/bin/sh\nexec "$(dirname "$0")/kafka-run-class.sh" %s "$@"\n' "$class" > "$dir/bin/$name.sh"
done <<'TOOLS'
kafka-storage kafka.tools.StorageTool
kafka-topics org.apache.kafka.tools.TopicCommand
kafka-configs kafka.admin.ConfigCommand
kafka-consumer-groups org.apache.kafka.tools.consumer.group.ConsumerGroupCommand
kafka-console-producer org.apache.kafka.tools.ConsoleProducer
kafka-producer-perf-test org.apache.kafka.tools.ProducerPerformance
kafka-console-consumer org.apache.kafka.tools.consumer.ConsoleConsumer
kafka-dump-log org.apache.kafka.tools.DumpLogSegments
kafka-log-dirs org.apache.kafka.tools.LogDirsCommand
kafka-get-offsets org.apache.kafka.tools.GetOffsetShell
kafka-metadata-quorum org.apache.kafka.tools.MetadataQuorumCommand
kafka-metadata-shell org.apache.kafka.shell.MetadataShell
kafka-features org.apache.kafka.tools.FeatureCommand
kafka-leader-election org.apache.kafka.tools.LeaderElectionCommand
kafka-reassign-partitions org.apache.kafka.tools.reassign.ReassignPartitionsCommand
kafka-client-metrics org.apache.kafka.tools.ClientMetricsCommand
kafka-transactions org.apache.kafka.tools.TransactionsCommand
kafka-delete-records org.apache.kafka.tools.DeleteRecordsCommand
kafka-cluster org.apache.kafka.tools.ClusterTool
kafka-groups org.apache.kafka.tools.GroupsCommand
kafka-broker-api-versions org.apache.kafka.tools.BrokerApiVersionsCommand
TOOLS
cat > "$dir/bin/kafka-server-start.sh" <<'SH'
#!/bin/sh
KAFKA_LOG4J=server KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx1g}
export KAFKA_LOG4J KAFKA_HEAP_OPTS
exec "$(dirname "$0")/kafka-run-class.sh" kafka.Kafka "$@"
SH
chmod +x "$dir"/bin/*.sh
logging() {   # STREAM LEVEL
  printf 'Configuration:\n  Appenders:\n    Console:\n      name: stream\n      target: %s\n      PatternLayout:\n        pattern: "[%%d] %%p %%m (%%c)%%n"\n' "$1"
  printf '  Loggers:\n    Root:\n      level: %s\n      AppenderRef:\n        - ref: stream\n' "$2"
}
logging SYSTEM_ERR WARN > "$dir/config/tools.yaml"
logging SYSTEM_OUT INFO > "$dir/config/server.yaml"
touch "$complete"
