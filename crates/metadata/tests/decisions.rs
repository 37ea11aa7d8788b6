//! The controller against Apache Kafka's own: at each point of a recorded log, the request that
//! caused the next records is put to our controller, and its records must be those of the log.
//!
//! The recording: a node formatted with `--standalone`, worked with, stopped, started, killed,
//! started again and stopped.

mod one_node;

use bytes::Bytes;
use ottla_metadata::config::{ConfigChange, ConfigOperation, Overrides, Scope};
use ottla_metadata::controller::{
    Bootstrap, BrokerHeartbeat, BrokerRegistration, ConfigAlteration, ConfigRules, Controller,
    ControllerRegistration, Decision, DeleteTarget, NewPartitions, NewTopic, Settings, Unmetered,
};
use ottla_metadata::image::{Endpoint, FeatureRange, Image, Resource, ResourceKind};
use ottla_metadata::records::{MetadataVersion, Record};
use ottla_protocol::batch::batches;
use ottla_protocol::{Refused, Uuid};

fn log() -> Vec<(i64, Record)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/restart/00000000000000000000.log"
    );
    let bytes = std::fs::read(path).unwrap();
    let mut records = Vec::new();
    for batch in batches(&bytes)
        .map(Result::unwrap)
        .filter(|batch| !batch.is_control())
    {
        for record in batch
            .payload(1 << 20)
            .unwrap()
            .records()
            .map(Result::unwrap)
        {
            let value = Bytes::copy_from_slice(record.value.unwrap());
            records.push((record.offset, Record::decode(&value).unwrap().0));
        }
    }
    records
}

/// The controller as it was when the record at `end` was decided.
fn controller_at(end: i64) -> Controller {
    let settings = Settings {
        cluster_id: "cluster".into(),
        ..one_node::settings()
    };
    let mut controller = Controller::new(settings, Image::default());
    for (offset, record) in log().into_iter().take_while(|(offset, _)| *offset < end) {
        controller.replay(&record, offset).unwrap();
    }
    controller
}

/// Records of the log from `first` to `last`.
fn written(first: i64, last: i64) -> Vec<Record> {
    let is_in = |(offset, _): &(i64, Record)| (first..=last).contains(offset);
    log()
        .into_iter()
        .filter(is_in)
        .map(|(_, record)| record)
        .collect()
}

fn at(offset: i64) -> Record {
    written(offset, offset).remove(0)
}

#[track_caller]
fn check<R>(decision: Decision<R>, first: i64, last: i64) {
    let ours: Vec<Record> = decision
        .batches
        .into_iter()
        .flat_map(|batch| batch.records)
        .collect();
    assert_eq!(settled(ours), settled(written(first, last)));
}

/// Kafka walks its partitions in the order of a hash map: runs of changes have no order.
fn settled(mut records: Vec<Record>) -> Vec<Record> {
    for run in records.chunk_by_mut(|left, right| left.key() == right.key()) {
        if run
            .iter()
            .all(|record| matches!(record, Record::PartitionChange(_) | Record::Config(_)))
        {
            run.sort_by_key(|record| {
                record
                    .encode_at(0)
                    .map_or_else(|_| format!("{record:?}"), |bytes| format!("{bytes:?}"))
            });
        }
    }
    records
}

/// Takes everything; lists are not needed here.
struct Anything;

impl ConfigRules for Anything {
    fn alter(
        &self,
        _: Scope,
        _: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused> {
        let mut after = now.clone();
        for change in changes {
            match &change.value {
                Some(value) => after.insert(change.name.clone(), value.clone()),
                None => after.remove(&change.name),
            };
        }
        Ok(after)
    }

    fn check(&self, _: Scope, _: &str, _: &Overrides, _: &Overrides) -> Result<(), Refused> {
        Ok(())
    }
}

fn change(name: &str, value: Option<&str>) -> ConfigChange {
    let operation = match value {
        Some(_) => ConfigOperation::Set,
        None => ConfigOperation::Delete,
    };
    ConfigChange {
        name: name.into(),
        operation,
        value: value.map(String::from),
    }
}

fn set(name: &str, value: &str) -> (String, Option<String>) {
    (name.into(), Some(value.into()))
}

#[test]
fn bootstrap() {
    let Record::UserScramCredential(user) = at(10) else {
        panic!()
    };
    let mut bootstrap = Bootstrap::for_level(MetadataVersion::MAX);
    bootstrap.records.push(user.into());
    check(controller_at(0).activate(&bootstrap), 3, 12);
    // A log that has its level needs nothing.
    assert!(controller_at(13).activate(&bootstrap).batches.is_empty());
}

fn controller_registration(record: &Record) -> ControllerRegistration {
    let Record::RegisterController(record) = record else {
        panic!("{record:?}")
    };
    ControllerRegistration {
        id: record.controller_id,
        incarnation_id: record.incarnation_id,
        endpoints: record
            .end_points
            .iter()
            .map(|end| endpoint(&end.name, &end.host, end.port))
            .collect(),
        features: record
            .features
            .iter()
            .map(|range| FeatureRange {
                name: (*range.name).into(),
                min: range.min_supported_version,
                max: range.max_supported_version,
            })
            .collect(),
    }
}

fn broker_registration(record: &Record, previous_epoch: i64) -> BrokerRegistration {
    let Record::RegisterBroker(record) = record else {
        panic!("{record:?}")
    };
    BrokerRegistration {
        cluster_id: "cluster".into(),
        id: record.broker_id,
        incarnation_id: record.incarnation_id,
        endpoints: record
            .end_points
            .iter()
            .map(|end| endpoint(&end.name, &end.host, end.port))
            .collect(),
        features: record
            .features
            .iter()
            .map(|range| FeatureRange {
                name: (*range.name).into(),
                min: range.min_supported_version,
                max: range.max_supported_version,
            })
            .collect(),
        rack: None,
        directories: record.log_dirs.clone(),
        previous_epoch,
    }
}

fn endpoint(listener: &str, host: &str, port: u16) -> Endpoint {
    Endpoint {
        listener: listener.into(),
        host: host.into(),
        port,
        security_protocol: 0,
    }
}

#[test]
fn registrations() {
    let controller = controller_registration(&at(13));
    check(controller_at(13).register_controller(&controller), 13, 13);
    let first = broker_registration(&at(14), -1);
    check(controller_at(14).register_broker(&first, 14, false), 14, 14);
}

fn heartbeat(epoch: i64, metadata_offset: i64) -> BrokerHeartbeat {
    BrokerHeartbeat {
        id: 1,
        epoch,
        metadata_offset,
        wants_fence: true,
        ..Default::default()
    }
}

#[test]
fn a_new_broker_is_let_in() {
    let cordoned = BrokerHeartbeat {
        cordoned_directories: Some(vec![]),
        ..heartbeat(14, 14)
    };
    check(controller_at(15).broker_heartbeat(&cordoned), 15, 15);

    let behind = BrokerHeartbeat {
        wants_fence: false,
        ..heartbeat(14, 13)
    };
    let decision = controller_at(16).broker_heartbeat(&behind);
    assert!(decision.batches.is_empty());
    let reply = decision.reply.unwrap();
    assert!(!reply.is_caught_up && reply.is_fenced);

    let ready = BrokerHeartbeat {
        wants_fence: false,
        ..heartbeat(14, 15)
    };
    let decision = controller_at(16).broker_heartbeat(&ready);
    assert!(!decision.reply.as_ref().unwrap().is_fenced);
    check(decision, 16, 16);
}

fn create(end: i64, topic: NewTopic, last: i64) {
    let Record::Topic(record) = at(end) else {
        panic!()
    };
    let mut next_id = || record.topic_id;
    check(
        controller_at(end).create_topics(&[topic], false, &Anything, &mut next_id, &mut Unmetered),
        end,
        last,
    );
}

#[test]
fn topics_are_created() {
    create(
        17,
        NewTopic {
            name: "orders".into(),
            num_partitions: 3,
            replication_factor: -1,
            configs: vec![
                set("cleanup.policy", "compact,delete"),
                set("retention.ms", "1000000"),
            ],
            ..Default::default()
        },
        22,
    );
    let by_hand = log()
        .into_iter()
        .find_map(|(offset, record)| match record {
            Record::Topic(topic) if *topic.name == *"by.hand" => Some(offset),
            _ => None,
        })
        .unwrap();
    create(
        by_hand,
        NewTopic {
            name: "by.hand".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, vec![1]), (1, vec![1])],
            configs: vec![],
        },
        by_hand + 2,
    );
}

#[test]
fn the_broker_says_which_directories_it_chose() {
    let assignments: Vec<(Uuid, i32, Uuid)> = written(23, 25)
        .into_iter()
        .map(|record| match record {
            Record::PartitionChange(change) => (
                change.topic_id,
                change.partition_id,
                change.directories.unwrap()[0],
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    check(
        controller_at(23).assign_directories(1, 14, &assignments),
        23,
        25,
    );
    let stale = controller_at(23).assign_directories(1, 13, &assignments);
    assert!(stale.batches.is_empty() && stale.reply.is_err());
}

/// Where the log has a setting for the first time after the topic itself.
fn config_at(resource: &str, name: &str) -> i64 {
    log()
        .into_iter()
        .filter_map(|(offset, record)| match record {
            Record::Config(config)
                if *config.resource_name == *resource && *config.name == *name =>
            {
                Some(offset)
            }
            _ => None,
        })
        .next_back()
        .unwrap()
}

#[test]
fn settings_are_altered() {
    let alter = |first: i64, last: i64, resource: Resource, changes: Vec<ConfigChange>| {
        let alteration = ConfigAlteration { resource, changes };
        let controller = controller_at(first);
        check(
            controller.incremental_alter_configs(&[alteration], false, &Anything),
            first,
            last,
        );
    };
    let first = config_at("orders", "retention.ms").min(config_at("orders", "segment.bytes"));
    alter(
        first,
        first + 1,
        Resource::topic("orders"),
        vec![
            change("segment.bytes", Some("1048576")),
            change("retention.ms", None),
        ],
    );
    let first = config_at("", "log.retention.ms");
    alter(
        first,
        first,
        Resource::cluster(),
        vec![change("log.retention.ms", Some("7777777"))],
    );
    let first = config_at("1", "log.cleaner.threads");
    alter(
        first,
        first,
        Resource::broker(1),
        vec![change("log.cleaner.threads", Some("2"))],
    );
    let first = config_at("g1", "consumer.session.timeout.ms");
    alter(
        first,
        first,
        Resource::new(ResourceKind::Group, "g1"),
        vec![change("consumer.session.timeout.ms", Some("46000"))],
    );
    let first = config_at("m1", "interval.ms");
    alter(
        first,
        first + 1,
        Resource::new(ResourceKind::ClientMetrics, "m1"),
        vec![
            change("interval.ms", Some("30000")),
            change("metrics", Some("org.apache.kafka.producer.")),
        ],
    );
}

#[test]
fn a_topic_is_deleted_and_another_grows() {
    let by_name = [DeleteTarget::Name("doomed".into())];
    check(
        controller_at(54).delete_topics(&by_name, &mut Unmetered),
        54,
        54,
    );
    let id = controller_at(54).image().topics.find("doomed").unwrap().id;
    check(
        controller_at(54).delete_topics(&[DeleteTarget::Id(id)], &mut Unmetered),
        54,
        54,
    );

    let more = NewPartitions {
        topic: "orders".into(),
        count: 4,
        assignments: None,
    };
    check(
        controller_at(56).create_partitions(&[more], false, &mut Unmetered),
        56,
        56,
    );
}

#[test]
fn producer_ids_are_handed_out() {
    let decision = controller_at(61).allocate_producer_ids(1, 14);
    assert_eq!(decision.reply.as_ref().unwrap().first, 0);
    check(decision, 61, 61);
    assert_eq!(
        controller_at(62)
            .allocate_producer_ids(1, 14)
            .reply
            .unwrap()
            .first,
        1000
    );
}

#[test]
fn a_broker_leaves_politely_and_comes_back() {
    let leaving = BrokerHeartbeat {
        wants_fence: false,
        wants_shutdown: true,
        ..heartbeat(14, 66)
    };
    let decision = controller_at(67).broker_heartbeat(&leaving);
    let reply = decision.reply.clone().unwrap();
    assert!(!reply.should_shut_down && !reply.is_fenced);
    check(decision, 67, 74);

    let decision = controller_at(76).broker_heartbeat(&leaving);
    assert!(decision.reply.as_ref().unwrap().should_shut_down);
    check(decision, 76, 76);

    // It left cleanly, so it keeps its claim: nothing but the registration.
    let again = broker_registration(&at(79), 14);
    let decision = controller_at(79).register_broker(&again, 79, false);
    assert_eq!(decision.reply, Ok(79));
    check(decision, 79, 79);

    let ready = BrokerHeartbeat {
        wants_fence: false,
        ..heartbeat(79, 79)
    };
    check(controller_at(80).broker_heartbeat(&ready), 80, 87);
}

#[test]
fn a_broker_is_killed_and_comes_back() {
    check(controller_at(93).fence_broker(1), 93, 100);

    // It may have lost what it had: it is no eligible leader any more.
    let again = broker_registration(&at(108), -1);
    check(
        controller_at(101).register_broker(&again, 101, false),
        101,
        108,
    );

    // Nobody else is there, so it leads again, and the partition is marked as recovering.
    let ready = BrokerHeartbeat {
        wants_fence: false,
        ..heartbeat(101, 108)
    };
    check(controller_at(109).broker_heartbeat(&ready), 109, 116);
}

#[test]
fn silence_is_broken() {
    check(controller_at(118).no_op(), 118, 118);
}
