//! Making, describing and deleting topics.

use crate::config::definition::{Check, Definition, boolean, class_or_null, int, long, string};

pub(in crate::config) static TOPICS: &[Definition] = &[
    int("num.partitions", "1").at_least(1).doc("How many partitions a new topic gets when nobody says."),
    int("default.replication.factor", "1").doc("How many replicas a partition gets when nobody says."),
    boolean("auto.create.topics.enable", "true").doc("Whether a topic that a client asks for is made at once."),
    boolean("delete.topic.enable", "true").doc("Whether topics may be deleted."),
    class_or_null("create.topic.policy.class.name").doc("Class that may refuse new topics. Java plug-ins are not loaded here."),
    class_or_null("alter.config.policy.class.name").doc("Class that may refuse changes of settings. Java plug-ins are not loaded here."),
    int("message.max.bytes", "1048588").at_least(0).cluster_wide().doc("The largest record batch that is accepted."),
    string("compression.type", "producer").check(Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])).cluster_wide().doc("The codec in which batches are kept; `producer` keeps what the producer chose."),
    int("compression.gzip.level", "-1").check(Check::GzipLevel).cluster_wide().doc("Level for `gzip`; -1 is the codec's default."),
    int("compression.lz4.level", "9").between(1, 17).cluster_wide().doc("Level for `lz4`. Every level compresses alike here: the fast way, which is Kafka's default."),
    int("compression.zstd.level", "3").between(-131072, 22).cluster_wide().doc("Level for `zstd`."),
    int("min.insync.replicas", "1").at_least(1).cluster_wide().doc("How many replicas must have a batch before `acks=all` is answered; with fewer in sync, such a produce is refused."),
    boolean("unclean.leader.election.enable", "false").cluster_wide().doc("Whether a replica that may lack records can become leader when nobody else can."),
    long("unclean.leader.election.interval.ms", "300000").at_least(1).internal().doc("How often the controller looks for partitions that need an unclean election."),
    boolean("auto.leader.rebalance.enable", "true").doc("Whether leadership goes back to preferred replicas by itself."),
    long("leader.imbalance.check.interval.seconds", "300").at_least(1).doc("How often the controller looks for leaderships to give back."),
];
