//! Tiered storage.

use crate::config::definition::{
    Check, Definition, boolean, double, int, long, string, string_or_null,
};

pub(in crate::config) static REMOTE: &[Definition] = &[
    boolean("remote.log.storage.system.enable", "false").doc("Whether segments may be kept in a remote store."),
    string("remote.log.storage.manager.impl.prefix", "rsm.config.").check(Check::NotEmpty).doc("Prefix of settings meant for the remote store."),
    string("remote.log.metadata.manager.impl.prefix", "rlmm.config.").check(Check::NotEmpty).doc("Prefix of settings meant for the remote log's metadata."),
    string_or_null("remote.log.storage.manager.class.name").check(Check::NotEmpty).doc("Class of the remote store. Java plug-ins are not loaded here."),
    string_or_null("remote.log.storage.manager.class.path").doc("Class path of the remote store."),
    string("remote.log.metadata.manager.class.name", "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager").check(Check::NotEmpty).doc("Class that keeps the remote log's metadata. Java plug-ins are not loaded here."),
    string_or_null("remote.log.metadata.manager.class.path").doc("Class path of the remote log's metadata."),
    string_or_null("remote.log.metadata.manager.listener.name").check(Check::NotEmpty).doc("Listener through which the remote log's metadata is reached."),
    int("remote.log.metadata.custom.metadata.max.bytes", "128").at_least(0).doc("Most bytes that a remote store may attach to a segment."),
    long("remote.log.index.file.cache.total.size.bytes", "1073741824").at_least(1).cluster_wide().doc("Disk space for indexes fetched from the remote store."),
    long("remote.log.index.file.cache.ttl.ms", "900000").at_least(-1).internal().doc("How long an unused fetched index is kept."),
    int("remote.log.manager.thread.pool.size", "2").at_least(1).doc("Threads for remote log tasks."),
    int("remote.log.manager.copier.thread.pool.size", "10").at_least(1).cluster_wide().doc("Threads that copy segments to the remote store."),
    int("remote.log.manager.expiration.thread.pool.size", "10").at_least(1).cluster_wide().doc("Threads that delete expired remote segments."),
    int("remote.log.manager.follower.thread.pool.size", "2").at_least(1).cluster_wide().doc("Threads for remote work of followers."),
    long("remote.log.manager.task.interval.ms", "30000").at_least(1).doc("How often remote log tasks run."),
    long("remote.log.manager.task.retry.backoff.ms", "500").at_least(1).internal().doc("First pause after a failed remote log task."),
    long("remote.log.manager.task.retry.backoff.max.ms", "30000").at_least(1).internal().doc("Longest pause after failed remote log tasks."),
    double("remote.log.manager.task.retry.jitter", "0.2").check(Check::BetweenDecimals(0.0, 0.5)).internal().doc("Random share of that pause."),
    int("remote.log.reader.threads", "10").at_least(1).cluster_wide().doc("Threads that read from the remote store."),
    int("remote.log.reader.max.pending.tasks", "100").at_least(1).doc("Most reads that wait for the remote store."),
    long("log.local.retention.ms", "-2").at_least(-2).cluster_wide().doc("How long segments stay on the local disk once they are remote; -2 is the topic's whole retention."),
    long("log.local.retention.bytes", "-2").at_least(-2).cluster_wide().doc("How much stays on the local disk once it is remote; -2 is the topic's whole retention."),
    long("remote.log.manager.copy.max.bytes.per.second", "9223372036854775807").at_least(1).cluster_wide().doc("Most bytes per second to the remote store."),
    int("remote.log.manager.copy.quota.window.num", "11").at_least(1).doc("How many samples the copy quota remembers."),
    int("remote.log.manager.copy.quota.window.size.seconds", "1").at_least(1).doc("Length of a sample of the copy quota."),
    long("remote.log.manager.fetch.max.bytes.per.second", "9223372036854775807").at_least(1).cluster_wide().doc("Most bytes per second from the remote store."),
    int("remote.log.manager.fetch.quota.window.num", "11").at_least(1).doc("How many samples the fetch quota remembers."),
    int("remote.log.manager.fetch.quota.window.size.seconds", "1").at_least(1).doc("Length of a sample of the fetch quota."),
    int("remote.fetch.max.wait.ms", "500").at_least(1).cluster_wide().doc("How long a fetch may wait for the remote store."),
    long("remote.list.offsets.request.timeout.ms", "30000").at_least(1).cluster_wide().doc("How long a lookup of offsets may wait for the remote store."),
];
