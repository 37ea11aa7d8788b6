//! Metadata written by Apache Kafka 4.3.1 itself: a node formatted with and without
//! `--standalone`, with topics, settings, access control entries, SCRAM users, quotas, deletions
//! and a clean stop. What we read of it, write and rebuild must be the same.

use bytes::Bytes;
use expect_test::{ExpectFile, expect_file};
use ottla_metadata::controller::Bootstrap;
use ottla_metadata::image::{Delta, Image, Loader, Provenance, Resource};
use ottla_metadata::records::{MetadataVersion, Record};
use ottla_protocol::batch::batches;

const FORMS: [&str; 2] = ["standalone", "static"];

struct Read {
    offset: i64,
    epoch: i32,
    timestamp: i64,
    record: Record,
    version: i16,
    value: Bytes,
}

/// Every data record of a log or snapshot file.
fn read(form: &str, file: &str) -> Vec<Read> {
    let path = format!("{}/testdata/{form}/{file}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let mut records = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        if batch.is_control() {
            continue;
        }
        for record in batch.payload(1 << 20).unwrap().records() {
            let record = record.unwrap();
            let value = Bytes::copy_from_slice(record.value.unwrap());
            let (decoded, version) = Record::decode(&value).unwrap();
            records.push(Read {
                offset: record.offset,
                epoch: batch.leader_epoch(),
                timestamp: batch.max_timestamp(),
                record: decoded,
                version,
                value,
            });
        }
    }
    records
}

fn log(form: &str) -> Vec<Read> {
    read(form, "00000000000000000000.log")
}

fn snapshot_file(form: &str) -> &'static str {
    match form {
        "standalone" => "00000000000000000056-0000000001.checkpoint",
        _ => "00000000000000000057-0000000001.checkpoint",
    }
}

/// The image of the log up to an offset, as every node builds it.
fn image_at(form: &str, end: i64) -> Image {
    let mut loader = Loader::default();
    for read in log(form).iter().take_while(|read| read.offset < end) {
        let through = Provenance {
            end_offset: read.offset + 1,
            epoch: read.epoch,
            timestamp_ms: read.timestamp,
        };
        loader.replay([&read.record], through).unwrap();
        loader.publish();
    }
    Image::clone(loader.image())
}

#[test]
fn every_record_is_written_back_byte_for_byte() {
    for form in FORMS {
        let files = [
            "00000000000000000000.log",
            "bootstrap.checkpoint",
            snapshot_file(form),
        ];
        for read in files.iter().flat_map(|file| read(form, file)) {
            assert_eq!(
                read.record.encode_at(read.version).unwrap(),
                read.value,
                "{:?}",
                read.record
            );
        }
    }
}

#[test]
fn we_choose_the_versions_that_kafka_chose() {
    for form in FORMS {
        for read in log(form) {
            let level = MetadataVersion::MAX;
            assert_eq!(
                read.record.version_at(level),
                read.version,
                "{:?}",
                read.record
            );
        }
    }
}

#[test]
fn the_snapshot_says_what_the_log_says() {
    for (form, end) in [("standalone", 56), ("static", 57)] {
        let snapshot = read(form, snapshot_file(form));
        let records = snapshot.iter().map(|read| &read.record);
        let from_log = image_at(form, end);
        let from_snapshot = Image::from_records(records, from_log.provenance).unwrap();
        assert_eq!(from_snapshot, from_log, "{form}");
    }
}

#[test]
fn our_snapshot_reads_as_the_image_it_was_made_of() {
    for form in FORMS {
        let image = image_at(form, i64::MAX);
        let (records, level) = image.to_records();
        let again: Vec<Record> = records
            .iter()
            .map(|record| Record::decode(&record.encode(level).unwrap()).unwrap().0)
            .collect();
        assert_eq!(again, records);
        assert_eq!(
            Image::from_records(&again, image.provenance).unwrap(),
            image
        );
    }
}

/// Kafka orders within a subject by its hash maps; apart from that, the same records in the same
/// order of subjects.
#[test]
fn our_snapshot_has_kafkas_records_in_kafkas_order() {
    for (form, end) in [("standalone", 56), ("static", 57)] {
        let (ours, level) = image_at(form, end).to_records();
        let theirs = read(form, snapshot_file(form));
        let subjects = |names: &mut dyn Iterator<Item = &'static str>| {
            let mut names: Vec<_> = names
                .map(|name| {
                    if name == "PartitionRecord" {
                        "TopicRecord"
                    } else {
                        name
                    }
                })
                .collect();
            names.dedup();
            names
        };
        assert_eq!(
            subjects(&mut ours.iter().map(Record::name)),
            subjects(&mut theirs.iter().map(|read| read.record.name())),
        );
        let mut ours: Vec<Bytes> = ours
            .iter()
            .map(|record| record.encode(level).unwrap())
            .collect();
        let mut theirs: Vec<Bytes> = theirs
            .into_iter()
            .map(|read| sorted_features(&read))
            .collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{form}");
    }
}

/// A registration lists features in the order of a hash map; both sides sort them here.
fn sorted_features(read: &Read) -> Bytes {
    let mut record = read.record.clone();
    match &mut record {
        Record::RegisterBroker(record) => {
            record.features.sort_by_key(|range| range.name.to_string())
        }
        Record::RegisterController(record) => {
            record.features.sort_by_key(|range| range.name.to_string());
        }
        _ => {}
    }
    record.encode_at(read.version).unwrap()
}

#[test]
fn the_bootstrap_file_is_what_we_would_format() {
    for form in FORMS {
        let theirs: Vec<Record> = read(form, "bootstrap.checkpoint")
            .into_iter()
            .map(|read| read.record)
            .collect();
        let ours = Bootstrap::for_level(MetadataVersion::MAX).records;
        // The SCRAM user of `--add-scram` follows the levels.
        assert_eq!(theirs[..ours.len()], ours);
        assert_eq!(theirs.len(), ours.len() + 1);
        let read = Bootstrap::from_records(theirs).unwrap();
        assert_eq!(read.level, MetadataVersion::MAX);
    }
}

fn describe(image: &Image) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (name, level) in image.features.finalized() {
        writeln!(text, "feature {name} {level}").unwrap();
    }
    for broker in image.nodes.brokers.values() {
        writeln!(
            text,
            "broker {} epoch {} fenced {} leaving {} directories {} endpoints {:?}",
            broker.id,
            broker.epoch,
            broker.is_fenced,
            broker.is_in_controlled_shutdown,
            broker.directories.len(),
            broker
                .endpoints
                .iter()
                .map(|end| format!("{}:{}", end.listener, end.host))
                .collect::<Vec<_>>(),
        )
        .unwrap();
    }
    for controller in image.nodes.controllers.values() {
        writeln!(
            text,
            "controller {} {} features",
            controller.id,
            controller.features.len()
        )
        .unwrap();
    }
    for topic in image.topics.iter() {
        writeln!(text, "topic {}", topic.name).unwrap();
        for (index, partition) in &topic.partitions {
            writeln!(
                text,
                "  {index} replicas {:?} in sync {:?} leader {:?} epochs {} {} eligible {:?} last {:?}",
                partition.replicas,
                partition.in_sync,
                partition.leader,
                partition.leader_epoch,
                partition.partition_epoch,
                partition.eligible_leaders,
                partition.last_known_eligible,
            )
            .unwrap();
        }
    }
    for resource in image.configs.resources() {
        writeln!(
            text,
            "config {resource:?} {:?}",
            image.configs.overrides(resource)
        )
        .unwrap();
    }
    for (entity, limits) in &image.quotas.by_entity {
        writeln!(text, "quota {entity:?} {limits:?}").unwrap();
    }
    writeln!(text, "next producer id {}", image.producer_ids.next()).unwrap();
    for acl in image.acls.by_id.values() {
        writeln!(text, "acl {} on {}", acl.principal, acl.resource_name).unwrap();
    }
    for (mechanism, user) in image.credentials.scram.keys() {
        writeln!(text, "scram {mechanism} {user}").unwrap();
    }
    writeln!(text, "unserved {:?}", image.unserved()).unwrap();
    text
}

fn check(form: &str, expected: ExpectFile) {
    expected.assert_eq(&describe(&image_at(form, i64::MAX)));
}

#[test]
fn the_image_is_what_the_tools_asked_for() {
    check(
        "standalone",
        expect_file!["../testdata/standalone/image.txt"],
    );
    check("static", expect_file!["../testdata/static/image.txt"]);
}

#[test]
fn a_deleted_topic_takes_its_settings_along() {
    let before = image_at("standalone", 54);
    let deleted = before.topics.find("doomed").unwrap().clone();
    assert!(
        !before
            .configs
            .overrides(&Resource::topic("doomed"))
            .is_empty()
    );

    let removal = log("standalone")
        .into_iter()
        .find(|read| read.offset == 54)
        .unwrap();
    let mut delta = Delta::new(&before);
    delta.replay(&removal.record).unwrap();
    let (after, changes) = delta.apply(before.provenance);
    assert!(after.topics.find("doomed").is_none());
    assert!(
        after
            .configs
            .overrides(&Resource::topic("doomed"))
            .is_empty()
    );
    assert_eq!(changes.deleted_topics.get(&deleted.id), Some(&deleted));
    assert!(changes.configs.contains(&Resource::topic("doomed")));
}

#[test]
fn nothing_of_the_bootstrap_transaction_is_seen_before_its_end() {
    let mut loader = Loader::default();
    for read in log("standalone")
        .into_iter()
        .take_while(|read| read.offset < 13)
    {
        let through = Provenance {
            end_offset: read.offset + 1,
            epoch: 1,
            timestamp_ms: 0,
        };
        loader.replay([&read.record], through).unwrap();
        let published = loader.publish();
        assert_eq!(
            published.is_some(),
            read.offset == 12,
            "offset {}",
            read.offset
        );
    }
    assert_eq!(
        loader.image().features.metadata_version(),
        Some(MetadataVersion::MAX)
    );
}
