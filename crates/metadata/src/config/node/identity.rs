//! Who the node is and what it does.

use crate::config::definition::{
    Check, Definition, boolean, int, int_or_null, list, long, long_or_null, required_int,
    required_list, string_or_null,
};

pub(in crate::config) static IDENTITY: &[Definition] = &[
    required_list("process.roles").check(Check::Items { of: Some(&["broker", "controller"]), may_be_empty: false }).doc("What this node does: `broker` keeps data and serves clients, `controller` votes on the metadata."),
    required_int("node.id").at_least(0).doc("The number of this node, unique in the cluster."),
    int("broker.id", "-1").doc("The older name of `node.id`; where both are set they must agree."),
    string_or_null("broker.rack").doc("The rack or zone of this node, for replica placement and for reading from the nearest replica."),
    int("initial.broker.registration.timeout.ms", "60000").doc("How long a starting broker may try to register with the controller before it gives up."),
    int("broker.heartbeat.interval.ms", "2000").doc("How often a broker tells the controller that it lives."),
    int("broker.session.timeout.ms", "9000").doc("How long the controller waits for a heartbeat before it fences the broker."),
    boolean("controlled.shutdown.enable", "true").doc("Whether a stopping broker hands its leaderships over first."),
    long("server.max.startup.time.ms", "9223372036854775807").at_least(0).internal().doc("How long a start may take before the node gives up."),
    int("background.threads", "10").at_least(1).cluster_wide().doc("Threads for background work."),
    int("num.io.threads", "8").at_least(1).cluster_wide().doc("Threads that work on requests, disk access included."),
    int_or_null("num.replica.alter.log.dirs.threads").doc("Threads that move replicas between log directories; unset, one per directory."),
    int("request.timeout.ms", "30000").doc("How long this node waits for an answer from another node."),
    boolean("unstable.api.versions.enable", "false").internal().doc("Offers API versions that are still in development."),
    boolean("unstable.feature.versions.enable", "false").internal().doc("Allows feature levels that are still in development."),
    list("config.providers", "").check(Check::Items { of: None, may_be_empty: true }).cluster_wide().doc("Names of the providers that resolve `${provider:path:key}` in values."),
    long_or_null("follower.replication.throttled.rate").at_least(0).cluster_wide().shown_when_set().doc("Most bytes per second that throttled replicas fetch on this broker."),
    long_or_null("leader.replication.throttled.rate").at_least(0).cluster_wide().shown_when_set().doc("Most bytes per second that this broker sends to throttled replicas."),
    long_or_null("replica.alter.log.dirs.io.max.bytes.per.second").at_least(0).cluster_wide().shown_when_set().doc("Most bytes per second spent on moving replicas between log directories."),
];
