//! Metrics and quotas.

use crate::config::definition::{Check, Definition, class_or_null, int, list, long, string};

pub(in crate::config) static METRICS: &[Definition] = &[
    int("metrics.num.samples", "2")
        .at_least(1)
        .doc("Samples that a metric keeps."),
    long("metrics.sample.window.ms", "30000")
        .at_least(1)
        .doc("Length of a metric's sample."),
    list(
        "metric.reporters",
        "org.apache.kafka.common.metrics.JmxReporter",
    )
    .check(Check::Items {
        of: None,
        may_be_empty: true,
    })
    .cluster_wide()
    .doc("Classes that report metrics. Java plug-ins are not loaded here."),
    string("metrics.recording.level", "INFO").doc("Highest level of metrics that are recorded."),
    list("kafka.metrics.reporters", "")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .doc("Classes that report Yammer metrics. Java plug-ins are not loaded here."),
    int("kafka.metrics.polling.interval.secs", "10")
        .at_least(1)
        .doc("How often those reporters are called."),
    int("telemetry.max.bytes", "1048576")
        .at_least(1)
        .doc("Largest telemetry message that a client may push."),
    int("quota.window.num", "11")
        .at_least(1)
        .doc("Samples that client quotas remember."),
    int("replication.quota.window.num", "11")
        .at_least(1)
        .doc("Samples that replication quotas remember."),
    int("alter.log.dirs.replication.quota.window.num", "11")
        .at_least(1)
        .doc("Samples that the quota for moving replicas remembers."),
    int("controller.quota.window.num", "11")
        .at_least(1)
        .doc("Samples that the quota for controller changes remembers."),
    int("quota.window.size.seconds", "1")
        .at_least(1)
        .doc("Length of a sample of client quotas."),
    int("replication.quota.window.size.seconds", "1")
        .at_least(1)
        .doc("Length of a sample of replication quotas."),
    int("alter.log.dirs.replication.quota.window.size.seconds", "1")
        .at_least(1)
        .doc("Length of a sample of the quota for moving replicas."),
    int("controller.quota.window.size.seconds", "1")
        .at_least(1)
        .doc("Length of a sample of the quota for controller changes."),
    class_or_null("client.quota.callback.class")
        .doc("Class that decides client quotas. Java plug-ins are not loaded here."),
];
