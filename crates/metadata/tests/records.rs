//! Every record at every version: what is written can be read, and nothing that is read makes us
//! panic.

use bytes::Bytes;
use ottla_metadata::image::{Delta, Image};
use ottla_metadata::records::*;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{Malformed, Versioned};
use proptest::prelude::*;

/// Samples of one record at all of its versions.
fn samples_of<M: Versioned + Sample + Into<Record>>(wild: bool, all: &mut Vec<(Record, i16)>) {
    for number in M::VERSIONS.0..=M::VERSIONS.1 {
        for seed in 0..20 {
            let mut sampler = if wild {
                Sampler::wild(seed)
            } else {
                Sampler::full(seed)
            };
            all.push((M::sample(&mut sampler, M::version(number)).into(), number));
        }
    }
}

fn samples(wild: bool) -> Vec<(Record, i16)> {
    macro_rules! all {
        ($($message:ty),* $(,)?) => {{
            let mut all = Vec::new();
            $(samples_of::<$message>(wild, &mut all);)*
            all
        }};
    }
    all![
        RegisterBrokerRecord,
        UnregisterBrokerRecord,
        TopicRecord,
        PartitionRecord,
        ConfigRecord,
        PartitionChangeRecord,
        FenceBrokerRecord,
        UnfenceBrokerRecord,
        RemoveTopicRecord,
        DelegationTokenRecord,
        UserScramCredentialRecord,
        FeatureLevelRecord,
        ClientQuotaRecord,
        ProducerIdsRecord,
        BrokerRegistrationChangeRecord,
        AccessControlEntryRecord,
        RemoveAccessControlEntryRecord,
        NoOpRecord,
        ZkMigrationStateRecord,
        RemoveUserScramCredentialRecord,
        BeginTransactionRecord,
        EndTransactionRecord,
        AbortTransactionRecord,
        RemoveDelegationTokenRecord,
        RegisterControllerRecord,
        ClearElrRecord,
    ]
}

#[test]
fn every_record_reads_back() {
    for (record, version) in samples(false).into_iter().chain(samples(true)) {
        let bytes = record.encode_at(version).unwrap();
        assert_eq!(Record::decode(&bytes).unwrap(), (record, version));
    }
}

#[test]
fn cut_or_continued_bytes_are_refused() {
    for (record, version) in samples(false) {
        let bytes = record.encode_at(version).unwrap();
        for end in 0..bytes.len() {
            assert!(
                Record::decode(&bytes.slice(..end)).is_err(),
                "{record:?} cut at {end}"
            );
        }
        let surplus: Bytes = [&bytes[..], &[0]].concat().into();
        assert!(Record::decode(&surplus).is_err(), "{record:?}");
    }
}

#[test]
fn what_a_newer_kafka_wrote_is_named() {
    let told = |bytes: &'static [u8]| Record::decode(&bytes.into()).unwrap_err().to_string();
    assert_eq!(
        told(&[1, 29, 0, 0]),
        "metadata record type 29 is not known; it comes from a newer Kafka"
    );
    assert_eq!(
        told(&[1, 3, 3, 0]),
        "PartitionRecord version 3 is not known (only 0 to 2); it comes from a newer Kafka"
    );
    assert_eq!(
        told(&[2, 3, 0]),
        "metadata record with frame version 2, only 1 is known"
    );
    let Err(Unreadable::Malformed(Malformed { .. })) = Record::decode(&Bytes::new()) else {
        panic!()
    };
}

/// Every record at every version, in a log: Kafka's own decoder sees the same records and versions.
#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_own_decoder_reads_every_record() {
    let kafka = std::env::var("KAFKA_HOME").expect("KAFKA_HOME names a Kafka");
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("__cluster_metadata-0");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("00000000000000000000.log");
    let mut builder = BatchBuilder::internal(0, 1);
    let samples = samples(false);
    for (record, version) in &samples {
        builder.push(
            1_700_000_000_000,
            None,
            Some(&record.encode_at(*version).unwrap()),
        );
    }
    std::fs::write(&path, builder.finish()).unwrap();
    let dump = std::process::Command::new(format!("{kafka}/bin/kafka-dump-log.sh"))
        .args(["--cluster-metadata-decoder", "--files"])
        .arg(&path)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&dump.stdout);
    let read: Vec<String> = out
        .lines()
        .filter_map(|line| line.split_once("payload: "))
        .map(|(_, payload)| {
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
            let kind = payload["type"].as_str().unwrap().replace('_', "");
            format!("{} {}", kind.to_lowercase(), payload["version"])
        })
        .collect();
    let written: Vec<String> = samples
        .iter()
        .map(|(record, version)| format!("{} {version}", record.name().to_lowercase()))
        .collect();
    let complaints = String::from_utf8_lossy(&dump.stderr);
    assert_eq!(read, written, "{out}{complaints}");
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_record_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&bytes.into());
    }

    /// The frame of a real record around arbitrary content.
    #[test]
    fn any_body_ends_in_a_record_or_a_refusal(
        key in 0u8..30,
        version in 0u8..5,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let framed: Vec<u8> = [1, key, version].into_iter().chain(body).collect();
        if let Ok((record, version)) = Record::decode(&framed.into()) {
            prop_assert!(record.encode_at(version).is_ok());
        }
    }

    /// Any run of records ends in an image or a refusal; and an image survives its snapshot.
    #[test]
    fn any_run_of_records_ends_in_an_image_or_a_refusal(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..60),
    ) {
        let all: Vec<Record> = samples(true).into_iter().map(|(record, _)| tame(record)).collect();
        let mut delta = Delta::new(&Image::default());
        let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 };
        delta.replay(&level.into()).unwrap();
        for (pick, _) in picks {
            let before = delta.clone();
            if delta.replay(pick.get(&all)).is_err() {
                delta = before;
            }
        }
        let image = delta.apply(Default::default()).0;
        let (records, level) = image.to_records();
        for record in &records {
            prop_assert!(record.encode(level).is_ok(), "{:?}", record);
        }
        prop_assert_eq!(Image::from_records(&records, image.provenance).unwrap(), image);
    }
}

/// Few ids and names, so that records meet each other.
fn tame(mut record: Record) -> Record {
    let few = |id: &mut ottla_protocol::Uuid| {
        *id = ottla_protocol::Uuid::from_u128(100 + (id.as_u128() & 3));
    };
    match &mut record {
        Record::Topic(record) => few(&mut record.topic_id),
        Record::Partition(record) => {
            few(&mut record.topic_id);
            record.partition_id &= 3;
            record.leader_recovery_state &= 1;
            record.replicas = vec![1, 2];
            record.directories.clear();
        }
        Record::PartitionChange(record) => {
            few(&mut record.topic_id);
            record.partition_id &= 3;
            record.leader_recovery_state = -1;
            record.replicas = None;
            record.directories = None;
        }
        Record::RemoveTopic(record) => few(&mut record.topic_id),
        Record::FeatureLevel(record) => {
            record.name = "group.version".into();
            record.feature_level &= 1;
        }
        _ => {}
    }
    record
}
