//! Ottla's own settings. They come from file, environment or flag only and never enter the metadata log.

use super::definition::{Check, Definition, boolean, int, long, string};

/// What the names of our own settings begin with.
pub const OTTLA_PREFIX: &str = "ottla.";

pub(super) static OTTLA: &[Definition] = &[
    boolean("ottla.flush.before.ack", "true")
        .doc(
            "Whether `acks=all` is answered only when the batch is on the disk. `false` is Kafka's \
             habit: the operating system writes later.",
        )
        .shown_when_set(),
    long("ottla.page.cache.bytes", "1073741824")
        .at_least(-1)
        .doc(
            "How much of what was written last stays in the page cache, for each log directory. Older \
             pages are given back to the system, unless a consumer that is far behind reads the \
             partition. -1 gives nothing back.",
        )
        .shown_when_set(),
    long("ottla.preallocate.bytes", "67108864")
        .at_least(0)
        .doc(
            "How much room on the disk is reserved at most ahead of what a partition writes: as much \
             as it wrote in the last seconds, never past its segment, and for all partitions of a log \
             directory together at most a sixteenth of what is free. It goes back when the segment \
             is complete, when the partition rests, at a start and when the disk fills up. Less than \
             1 MiB reserves nothing.",
        )
        .shown_when_set(),
    int("ottla.cold.read.threads", "4")
        .between(0, 64)
        .doc(
            "How many reads of one log directory may wait for its disk at once, where a consumer wants \
             what is not in the page cache. They have threads of their own, so that nobody else \
             waits with them. 0 reads everything where it is asked for, as Kafka does.",
        )
        .shown_when_set(),
    string("ottla.append.mode", "auto")
        .check(Check::OneOf(&["auto", "inline", "thread"]))
        .doc(
            "On which thread a batch is appended. `inline`: on the one that has read the request, \
             which is fastest. `thread`: on one of the log directory's own. `auto`: inline, and on the \
             directory's own while its writes take more than 2 ms on average or do not come back, so \
             that a slow disk holds up its own partitions only.",
        )
        .shown_when_set(),
    boolean("ottla.client.telemetry", "false")
        .doc(
            "Whether clients are told that they may push their metrics (KIP-714), for the subscriptions \
             of `kafka-client-metrics.sh`. What they push is shown on `/metrics` as \
             `ottla_client_metric`. Needs `ottla.http.listener`.",
        )
        .shown_when_set(),
    string("ottla.http.listener", "127.0.0.1:9464")
        .doc("Where health and metrics are served over HTTP: `host:port`; empty switches it off.")
        .shown_when_set(),
    boolean("ottla.auto.format", "true")
        .doc("Whether `ottla server` prepares empty log directories by itself.")
        .shown_when_set(),
];
