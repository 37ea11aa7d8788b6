//! Replicas.

use crate::config::definition::{Definition, boolean, int, long, string_or_null};

pub(in crate::config) static REPLICATION: &[Definition] = &[
    long("replica.lag.time.max.ms", "30000")
        .doc("A follower that has not caught up for this time leaves the in-sync set."),
    int("replica.socket.timeout.ms", "30000").doc("Network timeout of a follower's requests."),
    int("replica.socket.receive.buffer.bytes", "65536")
        .doc("Receive buffer of a follower's connection."),
    int("replica.fetch.max.bytes", "1048576")
        .at_least(0)
        .doc("Bytes that a follower fetches per partition."),
    int("replica.fetch.wait.max.ms", "500")
        .doc("How long a follower's fetch may wait for records."),
    int("replica.fetch.backoff.ms", "1000")
        .at_least(0)
        .doc("How long a follower pauses after a failed fetch."),
    int("replica.fetch.min.bytes", "1")
        .doc("A follower's fetch is answered when this many bytes are there."),
    int("replica.fetch.response.max.bytes", "10485760")
        .at_least(0)
        .doc("Bytes that a follower fetches in one answer."),
    int("num.replica.fetchers", "1")
        .at_least(1)
        .cluster_wide()
        .doc("Threads that fetch from each other broker."),
    long("replica.high.watermark.checkpoint.interval.ms", "5000")
        .doc("How often the high watermarks are written to their checkpoint file."),
    string_or_null("replica.selector.class")
        .doc("Class that chooses the replica a consumer reads from."),
    boolean("follower.fetch.last.tiered.offset.enable", "false")
        .cluster_wide()
        .doc("Whether a new follower of a tiered topic starts at the last tiered offset."),
    int("controller.socket.timeout.ms", "30000")
        .doc("Network timeout of requests to the controller."),
    int("fetch.purgatory.purge.interval.requests", "1000")
        .doc("How many finished fetches are collected before waiting lists are cleaned."),
    int("producer.purgatory.purge.interval.requests", "1000")
        .doc("How many finished produces are collected before waiting lists are cleaned."),
    int("delete.records.purgatory.purge.interval.requests", "1")
        .doc("How many finished record deletions are collected before waiting lists are cleaned."),
];
