//! Settings of a group, and of a client metrics subscription.

use crate::config::definition::{Check, Definition, boolean, int, list, string};

pub(in crate::config) static GROUP: &[Definition] = &[
    int("consumer.session.timeout.ms", "45000").at_least(1).doc("Session timeout of the group's members."),
    int("consumer.heartbeat.interval.ms", "5000").at_least(1).doc("Heartbeat interval of the group's members."),
    int("consumer.assignment.interval.ms", "1000").at_least(0).doc("Shortest time between two assignments."),
    int("share.session.timeout.ms", "45000").at_least(1).doc("Session timeout of the group's members."),
    int("share.heartbeat.interval.ms", "5000").at_least(1).doc("Heartbeat interval of the group's members."),
    int("share.record.lock.duration.ms", "30000").at_least(1000).doc("How long a record stays locked for the consumer that acquired it."),
    int("share.delivery.count.limit", "5").at_least(2).doc("How often a record is handed out before it is given up."),
    int("share.partition.max.record.locks", "2000").at_least(100).doc("Most records in flight per share partition."),
    string("share.auto.offset.reset", "latest").check(Check::ShareOffsetReset).doc("Where a new share group begins: `earliest`, `latest` or `by_duration:` with an ISO-8601 duration."),
    string("share.isolation.level", "read_uncommitted").check(Check::OneOf(&["read_committed", "read_uncommitted"])).doc("Whether records of open and aborted transactions are handed out."),
    boolean("share.renew.acknowledge.enable", "true").doc("Whether a consumer may extend the lock of a record."),
    int("share.assignment.interval.ms", "1000").at_least(0).doc("Shortest time between two assignments."),
    int("streams.session.timeout.ms", "45000").at_least(1).doc("Session timeout of the group's members."),
    int("streams.heartbeat.interval.ms", "5000").at_least(1).doc("Heartbeat interval of the group's members."),
    int("streams.num.standby.replicas", "0").at_least(0).doc("Standby copies of each task's state."),
    int("streams.initial.rebalance.delay.ms", "3000").at_least(0).doc("How long an empty group waits for more members before its first assignment."),
    int("streams.assignment.interval.ms", "1000").at_least(0).doc("Shortest time between two assignments."),
];

pub(in crate::config) static CLIENT_METRICS: &[Definition] = &[
    list("metrics", "")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .doc("Prefixes of the metrics that clients push; empty means none, `*` means all."),
    int("interval.ms", "300000").doc("How often clients push."),
    list("match", "")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .doc("Which clients this applies to: `attribute=pattern` pairs, all of which must match; of one attribute the last counts."),
];
