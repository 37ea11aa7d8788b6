//! Quorum and metadata log.

use crate::config::definition::{
    Check, Definition, boolean, int, int_or_null, list, long, string_or_null,
};

pub(in crate::config) static QUORUM: &[Definition] = &[
    list("controller.quorum.voters", "")
        .check(Check::QuorumVoters)
        .doc("The fixed voters: `id@host:port`, separated by commas."),
    list("controller.quorum.bootstrap.servers", "")
        .check(Check::HostPorts)
        .doc("Controllers to ask for the quorum: `host:port`, separated by commas."),
    int("controller.quorum.election.timeout.ms", "1000")
        .at_least(0)
        .doc("How long a candidate waits for votes before it tries again."),
    int("controller.quorum.fetch.timeout.ms", "2000")
        .at_least(0)
        .doc("How long a voter goes without a fetch from the leader before it seeks election."),
    int("controller.quorum.election.backoff.max.ms", "1000")
        .at_least(0)
        .doc("The longest random pause between two elections."),
    int("controller.quorum.append.linger.ms", "25")
        .at_least(0)
        .doc("How long the leader gathers records before it writes them."),
    int("controller.quorum.request.timeout.ms", "2000")
        .at_least(0)
        .doc("How long a quorum request waits for its answer."),
    int("controller.quorum.retry.backoff.ms", "20")
        .at_least(0)
        .doc("Pause before a failed quorum request is sent again."),
    boolean("controller.quorum.auto.join.enable", "false")
        .doc("Whether a controller that is no voter makes itself one."),
    int("controller.quorum.fetch.snapshot.max.bytes", "1048576")
        .at_least(1)
        .doc("Most bytes in one answer with a piece of a snapshot."),
    int("controller.quorum.fetch.max.bytes", "1048576")
        .at_least(1)
        .doc("Most bytes in one fetch of the metadata log."),
    long("controller.performance.sample.period.ms", "60000")
        .at_least(100)
        .internal()
        .doc("How often the controller logs its slowest events."),
    long("controller.performance.always.log.threshold.ms", "2000")
        .at_least(0)
        .internal()
        .doc("A controller event that takes longer than this is always logged."),
    string_or_null("metadata.log.dir")
        .doc("Directory of the metadata log. Unset: the first log directory."),
    long(
        "metadata.log.max.record.bytes.between.snapshots",
        "20971520",
    )
    .at_least(1)
    .doc("Bytes in the metadata log after which a snapshot is made."),
    long("metadata.log.max.snapshot.interval.ms", "3600000")
        .at_least(0)
        .doc("Time after which a snapshot is made if anything changed; 0 switches that off."),
    int("metadata.log.segment.bytes", "1073741824")
        .at_least(8388608)
        .doc("Largest segment of the metadata log."),
    long("metadata.log.segment.ms", "604800000")
        .doc("Age at which a segment of the metadata log is closed."),
    long("metadata.max.retention.bytes", "104857600")
        .doc("Size of metadata log and snapshots above which old ones are deleted."),
    long("metadata.max.retention.ms", "604800000")
        .doc("Age above which old metadata segments and snapshots are deleted."),
    int("metadata.max.idle.interval.ms", "500")
        .at_least(0)
        .doc("How often an idle leader writes a no-op record; 0 means never."),
    int_or_null("internal.metadata.log.segment.bytes")
        .internal()
        .doc("As `metadata.log.segment.bytes`, without its lower bound; for tests."),
    int("internal.metadata.max.batch.size.in.bytes", "8388608")
        .internal()
        .doc("Largest batch in the metadata log; for tests."),
    long("internal.metadata.delete.delay.millis", "60000")
        .internal()
        .doc("How long deleted metadata segments are kept; for tests."),
];
