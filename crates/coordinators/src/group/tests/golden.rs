//! What a real Kafka wrote is read, and written again byte for byte.

use bytes::Bytes;
use expect_test::{Expect, expect};
use ottla_protocol::batch::batches;
use ottla_protocol::messages::OffsetFetchRequestGroup;
use ottla_protocol::{Offset, Text};

use super::host::SomeTopics;
use crate::group::records::{Corrupt, GroupRecord, RecordKind};
use crate::group::{GroupFilter, GroupLedger, GroupSettings};
use crate::ledger::{Now, Origin};

/// Far above any batch in the test data.
const PAYLOAD_MAX: usize = 1 << 20;
const SEGMENTS: [i32; 6] = [0, 1, 2, 3, 7, 9];

/// One record as it stands in a segment.
struct Stored {
    offset: Offset,
    origin: Origin,
    key: Bytes,
    value: Option<Bytes>,
}

fn segment(partition: i32) -> Vec<Stored> {
    let path = format!(
        "{}/testdata/kafka/consumer_offsets_{partition}.log",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).expect("the segment is there");
    let mut stored = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.expect("Kafka wrote it");
        let header = batch.header();
        let payload = batch.payload(PAYLOAD_MAX).expect("it is not compressed");
        for record in payload.records() {
            let record = record.expect("Kafka wrote it");
            let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
            let origin = if header.is_control() {
                // A control record's key is version and type; type 1 commits.
                Origin::Marker {
                    producer: header.producer_id(),
                    committed: key[3] == 1,
                }
            } else if header.is_transactional() {
                let (producer, epoch) = (header.producer_id(), header.producer_epoch());
                Origin::Transactional { producer, epoch }
            } else {
                Origin::Plain
            };
            let value = record.value.map(Bytes::copy_from_slice);
            stored.push(Stored {
                offset: record.offset,
                origin,
                key,
                value,
            });
        }
    }
    stored
}

fn load(partition: i32) -> GroupLedger {
    let mut ledger = GroupLedger::new(GroupSettings::default());
    for stored in segment(partition) {
        let Stored {
            offset,
            origin,
            key,
            value,
        } = stored;
        assert_eq!(
            ledger.load(offset, origin, Some(&key), value.as_ref()),
            Ok(())
        );
    }
    let wall_ms = 1_795_252_000_000;
    let _ = ledger.loaded(Now {
        monotonic: std::time::Duration::ZERO,
        wall_ms,
    });
    ledger.validate();
    ledger
}

#[test]
fn segments_are_rewritten_byte_for_byte() {
    let mut kinds = std::collections::BTreeSet::new();
    for stored in SEGMENTS.into_iter().flat_map(segment) {
        if matches!(stored.origin, Origin::Marker { .. }) {
            continue;
        }
        let Stored { key, value, .. } = stored;
        let kind = RecordKind::from_id(i16::from_be_bytes([key[0], key[1]])).unwrap();
        kinds.insert(kind.name());
        let record = GroupRecord::decode(&key, value.as_ref()).unwrap().unwrap();
        assert_eq!(record.encode(), (key.clone(), value.clone()), "{kind:?}");
        assert_eq!(
            kind.rewrite(&key, value.as_ref()),
            Ok((key, value)),
            "{kind:?}"
        );
    }
    let missing: Vec<&str> = RecordKind::ALL
        .iter()
        .map(|kind| kind.name())
        .filter(|k| !kinds.contains(k))
        .collect();
    // Kafka 4.3 reads these two and does not write them.
    expect![[r#"
        [
            "LegacyOffsetCommit",
            "ConsumerGroupPartitionMetadata",
        ]
    "#]]
    .assert_debug_eq(&missing);
}

#[test]
fn every_class_in_every_version_is_rewritten_byte_for_byte() {
    let text = include_str!("../../../testdata/kafka/records.txt");
    let mut key_of = std::collections::BTreeMap::new();
    let mut checked = 0;
    for line in text.lines() {
        let [class, id, version, body] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words a line: {line}");
        };
        let kind = RecordKind::from_id(id.parse().unwrap()).unwrap();
        if class.ends_with("Key") {
            let key = prefixed(id, body);
            assert_eq!(kind.rewrite(&key, None), Ok((key.clone(), None)), "{line}");
            key_of.insert(kind, key);
        } else {
            let (key, value) = (key_of[&kind].clone(), prefixed(version, body));
            let again = kind.rewrite(&key, Some(&value));
            assert_eq!(again, Ok((key, Some(value))), "{line}");
        }
        checked += 1;
    }
    assert_eq!((checked, key_of.len()), (416, RecordKind::ALL.len()));
}

fn prefixed(number: &str, hex: &str) -> Bytes {
    let mut bytes = number.parse::<i16>().unwrap().to_be_bytes().to_vec();
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    bytes.extend((0..hex.len()).step_by(2).map(digits));
    bytes.into()
}

#[test]
fn versions_nobody_knows_make_the_load_fail_and_types_nobody_knows_do_not() {
    let mut ledger = GroupLedger::new(GroupSettings::default());
    let mut load = |key: &'static [u8], value: &'static [u8]| {
        let (key, value) = (Bytes::from_static(key), Bytes::from_static(value));
        ledger.load(0, Origin::Plain, Some(&key), Some(&value))
    };
    assert_eq!(load(b"\0\x09whatever", b""), Ok(()));
    assert_eq!(load(b"\0\x18whatever", b""), Ok(()));
    assert_eq!(
        load(b"\0\x02\0\x01g", b"\0\x05rest"),
        Err(Corrupt::ValueVersion {
            record: "GroupMetadata",
            version: 5
        })
    );
    assert_eq!(
        load(b"\0\x03\0\x01g", b"\0\x01rest"),
        Err(Corrupt::ValueVersion {
            record: "ConsumerGroupMetadata",
            version: 1
        })
    );
    assert!(matches!(
        load(b"\0\x02\0\x05g", b"\0\x03"),
        Err(Corrupt::Body { .. })
    ));
    assert!(matches!(
        load(b"\0\x02\0\x01g", b"\0\x03\0"),
        Err(Corrupt::Body { .. })
    ));
    assert_eq!(
        load(b"\0", b""),
        Err(Corrupt::Truncated { what: "record key" })
    );
    assert_eq!(
        load(b"\0\x02\0\x01g", b"\0"),
        Err(Corrupt::Truncated {
            what: "value version"
        })
    );
    assert_eq!(ledger.counts().skipped_records, 2);
}

/// The lines of `kafka-groups.sh --list` and `kafka-consumer-groups.sh --describe`.
fn check(partition: i32, expected: Expect) {
    let ledger = load(partition);
    let mut told = String::new();
    for group in ledger.list_groups(&GroupFilter::default()).reply {
        told += &format!(
            "{} {} {} {}\n",
            &*group.group_id, &*group.group_type, &*group.protocol_type, &*group.group_state
        );
        let described = ledger.describe_group(&group.group_id, 6).reply;
        for member in &described.members {
            let instance = member.group_instance_id.as_deref().unwrap_or("-");
            told += &format!(
                "  member {} {} {instance}\n",
                &*member.client_id, &*member.client_host
            );
        }
        let all = OffsetFetchRequestGroup {
            group_id: Text::from(&*group.group_id),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        let fetched = ledger
            .fetch_offsets(&all, 8, true, &SomeTopics::default())
            .reply;
        for topic in fetched.topics {
            for partition in topic.partitions {
                told += &format!(
                    "  {}-{} {} {:?} error={}\n",
                    &*topic.name,
                    partition.partition_index,
                    partition.committed_offset,
                    partition.metadata.as_deref().unwrap_or("null"),
                    partition.error_code,
                );
            }
        }
    }
    expected.assert_eq(&told);
}

#[test]
fn groups_are_what_kafkas_tools_say_of_them() {
    for (partition, expected) in SEGMENTS.into_iter().zip([
        expect![[r#"
            classic-1 classic consumer Empty
              t1-0 300 "" error=0
              t1-1 0 "" error=0
              t1-2 0 "" error=0
            txn-1 classic consumer Stable
              member consumer-txn-1-1 /127.0.0.1 -
              t1-0 7 "tx" error=0
              t1-1 8 "" error=0
              t1-2 -1 "" error=88
        "#]],
        expect![[r#"
            share-1 share share Empty
        "#]],
        expect![[r#"
            modern-2 consumer consumer Stable
        "#]],
        expect![[r#"
            modern-1 consumer consumer Empty
              t1-0 300 "" error=0
              t1-1 0 "" error=0
              t1-2 0 "" error=0
            streams-1 streams streams Stable
        "#]],
        expect![[r#"
            classic-static classic consumer Empty
              t1-0 300 "" error=0
              t1-1 0 "" error=0
              t1-2 0 "" error=0
        "#]],
        expect![[r#"
            txn-0 classic  Empty
              t1-0 3 "" error=0
        "#]],
    ]) {
        check(partition, expected);
    }
}
