//! Transactions and idempotent producers.

use crate::config::definition::{Definition, boolean, int, short};

pub(in crate::config) static TRANSACTIONS: &[Definition] = &[
    int("transaction.state.log.min.isr", "2")
        .at_least(1)
        .doc("`min.insync.replicas` of `__transaction_state`."),
    int("transaction.state.log.load.buffer.size", "5242880")
        .at_least(1)
        .doc("Bytes per read when transactions are loaded."),
    short("transaction.state.log.replication.factor", "3")
        .at_least(1)
        .doc("Replicas of `__transaction_state`."),
    int("transaction.state.log.num.partitions", "50")
        .at_least(1)
        .doc("Partitions of `__transaction_state`; fixed once it exists."),
    int("transaction.state.log.segment.bytes", "104857600")
        .at_least(1)
        .doc("Segment size of `__transaction_state`."),
    boolean("transaction.partition.verification.enable", "true")
        .cluster_wide()
        .doc("Whether a transactional produce is checked with the coordinator."),
    int("transactional.id.expiration.ms", "604800000")
        .at_least(1)
        .doc("How long an unused transactional id is remembered."),
    int("transaction.max.timeout.ms", "900000")
        .at_least(1)
        .doc("Longest transaction timeout that a producer may ask for."),
    int(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "10000",
    )
    .at_least(1)
    .doc("How often transactions that ran out of time are aborted."),
    int(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "3600000",
    )
    .at_least(1)
    .doc("How often expired transactional ids are removed."),
    boolean("transaction.two.phase.commit.enable", "false")
        .doc("Whether a producer may take part in an outside two-phase commit."),
    int("producer.id.expiration.ms", "86400000")
        .at_least(1)
        .cluster_wide()
        .doc("How long the sequence numbers of a silent producer are remembered."),
    int("producer.id.expiration.check.interval.ms", "600000")
        .at_least(1)
        .internal()
        .doc("How often expired producers are looked for."),
    int("add.partitions.to.txn.retry.backoff.max.ms", "100")
        .at_least(0)
        .doc("Longest pause of the broker's own retries when a partition joins a transaction."),
    int("add.partitions.to.txn.retry.backoff.ms", "20")
        .at_least(1)
        .doc("First pause of the broker's own retries when a partition joins a transaction."),
];
