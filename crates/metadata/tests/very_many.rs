//! A broker that leads very many partitions comes and goes in batches that the log takes.

mod one_node;

use ottla_metadata::controller::{
    BrokerHeartbeat, BrokerRegistration, Controller, Decision, Outcome, RECORDS_PER_BATCH_MAX,
};
use ottla_metadata::image::{Delta, FeatureRange, Image, Provenance, SUPPORTED};
use ottla_metadata::records::{
    FeatureLevelRecord, PartitionRecord, Record, RegisterBrokerRecord, TopicRecord,
};
use ottla_protocol::{Refusal, Uuid};

const N_TOPICS: u128 = 13;
const N_PARTITIONS_EACH: i32 = 10_000;
const N_PARTITIONS: usize = 130_000;
/// What one batch of the metadata log may hold, and what a record needs besides its value.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
const RECORD_OVERHEAD_MAX: usize = 20;
const EPOCH: i64 = 7;

/// Broker 1 leads all partitions, and is remembered as eligible where it leaves.
fn with_very_many() -> Controller {
    let directory = Uuid::from_u128(101);
    let level = |name: &str, feature_level| -> Record {
        FeatureLevelRecord {
            name: name.into(),
            feature_level,
        }
        .into()
    };
    let levels = [
        level("metadata.version", 29),
        level("eligible.leader.replicas.version", 1),
    ];
    let broker = RegisterBrokerRecord {
        broker_id: 1,
        broker_epoch: EPOCH,
        log_dirs: vec![directory],
        fenced: false,
        ..RegisterBrokerRecord::default()
    };
    let topics = (0..N_TOPICS).flat_map(|number| {
        let topic_id = Uuid::from_u128(1000 + number);
        let topic = TopicRecord {
            name: format!("t{number}").into(),
            topic_id,
        };
        let partitions = (0..N_PARTITIONS_EACH).map(move |partition_id| {
            let partition = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                directories: vec![directory],
                ..PartitionRecord::default()
            };
            partition.into()
        });
        std::iter::once(Record::from(topic)).chain(partitions)
    });
    let mut delta = Delta::new(&Image::default());
    let nodes = std::iter::once(Record::from(broker));
    for record in levels.into_iter().chain(nodes).chain(topics) {
        delta.replay(&record).unwrap();
    }
    Controller::new(one_node::settings(), delta.apply(Provenance::default()).0)
}

fn started_again(incarnation: u128) -> BrokerRegistration {
    BrokerRegistration {
        cluster_id: "c".to_owned(),
        id: 1,
        incarnation_id: Uuid::from_u128(incarnation),
        endpoints: Vec::new(),
        features: SUPPORTED
            .iter()
            .map(|feature| FeatureRange {
                name: feature.name.into(),
                min: feature.min,
                max: feature.max,
            })
            .collect(),
        rack: None,
        directories: vec![Uuid::from_u128(101)],
        previous_epoch: EPOCH,
    }
}

/// All records of a decision whose batches the log takes and that agree with what is true.
fn taken<Reply>(controller: &Controller, decision: Decision<Outcome<Reply>>) -> Vec<Record> {
    assert!(decision.reply.is_ok());
    assert_eq!(controller.check(&decision.batches), Ok(()));
    for batch in &decision.batches {
        let values = batch.encode().unwrap();
        let n_bytes: usize = values
            .iter()
            .map(|value| value.len() + RECORD_OVERHEAD_MAX)
            .sum();
        assert!(values.len() <= RECORDS_PER_BATCH_MAX && n_bytes < BATCH_BYTES_MAX);
    }
    let batches = decision.batches.into_iter();
    batches.flat_map(|batch| batch.records).collect()
}

fn is_change(record: &Record) -> bool {
    matches!(record, Record::PartitionChange(_))
}

#[test]
fn a_broker_of_very_many_partitions_registers_leaves_and_is_fenced() {
    let controller = with_very_many();
    let registration = started_again(2);
    let registered = taken(
        &controller,
        controller.register_broker(&registration, 200_000, false),
    );
    let (last, changes) = registered.split_last().unwrap();
    assert!(matches!(last, Record::RegisterBroker(record) if record.broker_epoch == 200_000));
    assert!(changes.len() == N_PARTITIONS && changes.iter().all(is_change));

    let leaving = BrokerHeartbeat {
        id: 1,
        epoch: EPOCH,
        wants_shutdown: true,
        ..BrokerHeartbeat::default()
    };
    let left = taken(&controller, controller.broker_heartbeat(&leaving));
    let (first, changes) = left.split_first().unwrap();
    assert!(matches!(first, Record::BrokerRegistrationChange(_)));
    assert!(changes.len() == N_PARTITIONS && changes.iter().all(is_change));

    let Decision { batches, .. } = controller.fence_broker(1);
    let fenced = taken(
        &controller,
        Decision {
            batches,
            reply: Ok(()),
        },
    );
    let (last, changes) = fenced.split_last().unwrap();
    assert!(matches!(last, Record::BrokerRegistrationChange(_)));
    assert!(changes.len() == N_PARTITIONS && changes.iter().all(is_change));

    let refused = controller.unregister_broker(1);
    assert!(refused.batches.is_empty());
    assert_eq!(refused.reply.unwrap_err().refusal, Refusal::PolicyViolation);
}

#[test]
fn what_is_left_of_a_registration_that_broke_off_is_made_good_by_the_next() {
    let mut controller = with_very_many();
    let first = controller.register_broker(&started_again(2), 200_000, false);
    let written = first.batches[0].records.iter();
    for (record, offset) in written.zip(200_000..) {
        controller.replay(record, offset).unwrap();
    }
    let again = taken(
        &controller,
        controller.register_broker(&started_again(3), 210_000, false),
    );
    assert_eq!(again.len(), N_PARTITIONS - RECORDS_PER_BATCH_MAX + 1);
    for (record, offset) in again.iter().zip(210_000..) {
        controller.replay(record, offset).unwrap();
    }
    let mut topics = controller.image().topics.iter();
    assert!(topics.all(|topic| {
        let mut partitions = topic.partitions.values();
        partitions.all(|partition| partition.leader.is_none())
    }));
}
