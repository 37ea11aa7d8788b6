//! The `kafka-protocol` crate, written by others from Kafka's own schemas, as an independent
//! oracle: for every message and every version that both know, with something in every field.
//!
//! For each: our bytes are read by the oracle, whose value has the same content under the same
//! field names; its bytes are ours again; and ours are read back as what was sent. What the oracle
//! does not know stands in `beyond`, with the reason why we may be trusted there.

mod beyond;
mod every;
mod tree;

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message as TheirMessage};
use ottla_protocol::header::{RequestHeader, response_header_is_flexible};
use ottla_protocol::messages::*;
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{Versioned, Writer, decode_body, encode_body};

use crate::beyond::BEYOND;
use crate::tree::{Tree, tree};

const SEEDS: u64 = 40;

/// Pairs of message and version that only we know.
fn compare<Ours, Theirs>(beyond: &mut Beyond)
where
    Ours: Versioned + Sample + PartialEq + Debug + 'static,
    Theirs: TheirMessage + Encodable + Decodable + Debug,
{
    let known = Theirs::VERSIONS;
    for version in Ours::VERSIONS.0..=Ours::VERSIONS.1 {
        if version < known.min || version > known.max {
            beyond.versions.insert((Ours::NAME, version));
            continue;
        }
        for seed in 0..SEEDS {
            for mut sampler in [Sampler::full(seed), Sampler::wild(seed)] {
                let mut sent = Ours::sample(&mut sampler, Ours::version(version));
                avoid_shadowing(&mut sent, version);
                compare_one::<Ours, Theirs>(&sent, version, &mut beyond.fields);
            }
        }
    }
}

/// Two records have a field called `version`, which the oracle then takes for the version of the
/// parts below it. With the record's own version in it, as Kafka writes it, both readings agree.
fn avoid_shadowing(message: &mut dyn Any, version: i16) {
    if let Some(record) = message.downcast_mut::<LeaderChangeMessage>() {
        record.version = version;
    }
    if let Some(record) = message.downcast_mut::<VotersRecord>() {
        record.version = version;
    }
}

#[derive(Default)]
struct Beyond {
    versions: BTreeSet<(&'static str, i16)>,
    /// Fields of versions that the oracle does not know.
    fields: BTreeSet<String>,
}

fn compare_one<Ours, Theirs>(sent: &Ours, version: i16, newer: &mut BTreeSet<String>)
where
    Ours: Versioned + PartialEq + Debug,
    Theirs: Encodable + Decodable + Debug,
{
    let place = format!("{} v{version}", Ours::NAME);
    let bytes = encode_body(sent, version).unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut unread = bytes.clone();
    let read = Theirs::decode(&mut unread, version)
        .unwrap_or_else(|error| panic!("{place}: {error} in {bytes:?}\n{sent:#?}"));
    assert!(unread.is_empty(), "{place}: the oracle left {unread:?}");
    same(&tree(sent), &tree(&read), &place, newer);

    let mut theirs = BytesMut::new();
    read.encode(&mut theirs, version)
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(theirs.freeze(), bytes, "{place}: {sent:#?}");

    let back = decode_body::<Ours>(bytes, version);
    assert_eq!(back.as_ref(), Ok(sent), "{place}");
}

/// Same names, same values. Fields that only we have must be those of newer versions.
fn same(ours: &Tree, theirs: &Tree, place: &str, newer: &mut BTreeSet<String>) {
    match (ours, theirs) {
        (Tree::Fields(ours), Tree::Fields(theirs)) => {
            for (name, value) in ours {
                let place = format!("{place} {name}");
                match theirs.get(name) {
                    Some(theirs) => same(value, theirs, &place, newer),
                    None => drop(newer.insert(without_version(&place))),
                }
            }
            for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
                newer.insert(format!(
                    "{} (theirs)",
                    without_version(&format!("{place} {name}"))
                ));
            }
        }
        (Tree::List(ours), Tree::List(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            for (ours, theirs) in ours.iter().zip(theirs) {
                same(ours, theirs, place, newer);
            }
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

fn without_version(place: &str) -> String {
    let mut words: Vec<_> = place.split(' ').collect();
    words.remove(1);
    words.join(" ")
}

/// Fields of those versions, which the oracle's structs therefore lack; and those of
/// InitProducerId 6, which Kafka 4.3 calls unstable and does not offer.
const ONE_SIDED_FIELDS: &[&str] = &[
    "AddRaftVoterRequest ackwhencommitted",
    "BrokerHeartbeatRequest cordonedlogdirs",
    "DescribeLogDirsResponse results iscordoned",
    "InitProducerIdRequest enable2pc (theirs)",
    "InitProducerIdRequest keeppreparedtxn (theirs)",
    "InitProducerIdResponse ongoingtxnproducerepoch (theirs)",
    "InitProducerIdResponse ongoingtxnproducerid (theirs)",
    "WriteTxnMarkersRequest markers transactionversion",
];

#[test]
fn every_message_agrees_with_the_oracle() {
    let mut beyond = Beyond::default();
    let mut differ = Vec::new();
    macro_rules! one {
        ($message:ident) => {
            let compared = catch_unwind(AssertUnwindSafe(|| {
                compare::<$message, theirs::$message>(&mut beyond)
            }));
            if compared.is_err() {
                differ.push(stringify!($message));
            }
        };
    }
    every_message!(one);
    assert_eq!(differ, [""; 0], "see above");
    for (name, version) in &beyond.versions {
        eprintln!("not known to the oracle: {name} v{version}");
    }
    let argued: BTreeSet<_> = BEYOND
        .iter()
        .map(|(name, version, _)| (*name, *version))
        .collect();
    assert_eq!(beyond.versions, argued);
    let argued: BTreeSet<_> = ONE_SIDED_FIELDS
        .iter()
        .map(|name| name.to_string())
        .collect();
    assert_eq!(beyond.fields, argued);
}

#[test]
fn headers_agree_with_the_oracle() {
    for flexible in [false, true] {
        let client_id = flexible.then(|| "client".into());
        let ours = RequestHeader {
            api_key: 3,
            api_version: 12,
            correlation_id: 7,
            client_id,
        };
        let mut writer = Writer::new();
        ours.encode(&mut writer, flexible).unwrap();
        let bytes = writer.finish();
        let header_version = if flexible { 2 } else { 1 };
        let theirs = theirs::RequestHeader::decode(&mut bytes.clone(), header_version).unwrap();
        assert_eq!(
            (theirs.request_api_key, theirs.request_api_version),
            (3, 12)
        );
        assert_eq!(theirs.correlation_id, 7);
        assert_eq!(theirs.client_id.as_deref(), ours.client_id.as_deref());
        let mut again = BytesMut::new();
        theirs.encode(&mut again, header_version).unwrap();
        assert_eq!(again, bytes);
    }
}

/// Which header an API's version has: whatever we call flexible, the oracle does too.
#[test]
fn header_versions_agree_with_the_oracle() {
    macro_rules! one {
        ($request:ident, $response:ident) => {
            for version in $request::VERSIONS.0..=$request::VERSIONS.1 {
                let ours = 1 + i16::from($request::version(version).flexible);
                assert_eq!(
                    ours,
                    theirs::$request::header_version(version),
                    "{}",
                    $request::NAME
                );
                let ours = i16::from(response_header_is_flexible::<$response>(version));
                assert_eq!(
                    ours,
                    theirs::$response::header_version(version),
                    "{}",
                    $response::NAME
                );
            }
        };
    }
    one!(ApiVersionsRequest, ApiVersionsResponse);
    one!(ProduceRequest, ProduceResponse);
    one!(FetchRequest, FetchResponse);
    one!(MetadataRequest, MetadataResponse);
    one!(SaslHandshakeRequest, SaslHandshakeResponse);
    one!(OffsetDeleteRequest, OffsetDeleteResponse);
    one!(CreateTopicsRequest, CreateTopicsResponse);
}
