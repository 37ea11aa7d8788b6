//! The whole attribute syntax, used as other crates use it.

use bytes::Bytes;
use ottla_protocol::field::{Lack, Why};
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{
    Message, Request, Text, Uuid, Versioned, decode_body, decode_request, encode_body,
};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 300, versions = "0-5", flexible = "3+", response = EverythingResponse)]
struct EverythingRequest {
    yes: bool,
    #[field(versions = "1-2")]
    early: i16,
    #[field(versions = "2+", ignorable, default = -1)]
    late: i64,
    #[field(nullable = "1+")]
    name: Option<Text>,
    #[field(default = None)]
    parts: Option<Vec<EverythingPart>>,
    #[field(default = "x")]
    word: Text,
    id: Uuid,
    #[field(versions = "3+", tag = 1)]
    extra: Vec<i32>,
    #[field(versions = "3+", tag = 0, default = None)]
    boxed: Option<Box<EverythingPart>>,
    #[field(versions = "2+", tag = 2, tagged = "4+")]
    moved: Bytes,
    #[field(versions = "5+", default = None)]
    single: Option<EverythingPart>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
struct EverythingPart {
    small: u16,
    #[field(versions = "1+")]
    half: f64,
    r#type: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 300, versions = "0-5", flexible = "3+")]
struct EverythingResponse {}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0-3", flexible = "none")]
struct Bare {
    texts: Vec<Text>,
}

#[test]
fn constants_come_from_the_attributes() {
    assert_eq!(EverythingRequest::KEY, 300);
    assert_eq!(EverythingRequest::VERSIONS, (0, 5));
    assert_eq!(EverythingRequest::FLEXIBLE_FROM, 3);
    assert_eq!(
        <EverythingRequest as Request>::Response::NAME,
        "EverythingResponse"
    );
    assert_eq!((Bare::KEY, Bare::FLEXIBLE_FROM), (-1, i16::MAX));
}

#[test]
fn defaults_are_kafkas() {
    let default = EverythingRequest::default();
    assert_eq!(default.late, -1);
    assert_eq!(default.name, Some(Text::new()));
    assert_eq!(default.parts, None);
    assert_eq!(default.word, "x");
    assert_eq!(default.boxed, None);
}

#[test]
fn samples_survive_every_version() {
    for version in 0..=5 {
        for seed in 0..200 {
            for mut sampler in [Sampler::full(seed), Sampler::wild(seed)] {
                let sent =
                    EverythingRequest::sample(&mut sampler, EverythingRequest::version(version));
                let bytes = encode_body(&sent, version).unwrap();
                assert_eq!(
                    decode_body::<EverythingRequest>(bytes, version).unwrap(),
                    sent
                );
            }
        }
    }
}

#[test]
fn flexible_bytes_by_hand() {
    let message = EverythingRequest {
        yes: true,
        name: None,
        parts: Some(vec![EverythingPart {
            small: 7,
            half: 0.0,
            r#type: 1,
        }]),
        id: Uuid::METADATA_TOPIC,
        extra: vec![5],
        boxed: Some(Box::default()),
        single: Some(EverythingPart::default()),
        ..Default::default()
    };
    let part = |small: u8, kind: u8| [0, small, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0];
    let expected = [
        &[1][..],
        &[0xff; 8],
        &[0],
        &[2],
        &part(7, 1),
        &[2, b'x'],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        // A nullable struct among the ordinary fields: present.
        &[1],
        &part(0, 0),
        // Two tags: the struct with its mark, then the list.
        &[2, 0, 13, 1],
        &part(0, 0),
        &[1, 5, 2, 0, 0, 0, 5],
    ]
    .concat();
    assert_eq!(encode_body(&message, 5).unwrap(), expected);
    assert_eq!(
        decode_body::<EverythingRequest>(expected.into(), 5).unwrap(),
        message
    );
}

#[test]
fn what_a_version_cannot_say_is_refused_unless_ignorable() {
    let early = EverythingRequest {
        early: 1,
        ..Default::default()
    };
    let error = encode_body(&early, 0).unwrap_err();
    assert_eq!(
        (error.field, error.lack),
        ("EverythingRequest.early", Lack::Field)
    );
    assert_eq!(
        error.to_string(),
        "EverythingRequest.early does not exist in version 0"
    );
    assert!(encode_body(&early, 2).is_ok());

    let late = EverythingRequest {
        late: 1,
        ..Default::default()
    };
    assert!(encode_body(&late, 0).is_ok());

    let null = EverythingRequest {
        name: None,
        ..Default::default()
    };
    assert_eq!(encode_body(&null, 0).unwrap_err().lack, Lack::Null);
    assert!(encode_body(&null, 1).is_ok());

    let tagged = EverythingRequest {
        extra: vec![1],
        ..Default::default()
    };
    assert_eq!(encode_body(&tagged, 2).unwrap_err().lack, Lack::Field);
    assert_eq!(encode_body(&tagged, 6).unwrap_err().lack, Lack::Version);
}

#[test]
fn bad_bytes_name_their_field() {
    let why = |bytes: &[u8], version| {
        let error = decode_body::<EverythingRequest>(Bytes::copy_from_slice(bytes), version);
        let error = error.unwrap_err();
        (error.field, error.why)
    };
    assert_eq!(why(&[], 0), ("EverythingRequest.yes", Why::Truncated));
    assert_eq!(
        why(&[1, 0xff, 0xff], 0),
        ("EverythingRequest.name", Why::Null)
    );
    assert_eq!(
        why(&[1, 0, 9, 0xff], 0),
        ("EverythingRequest.name", Why::Truncated)
    );
    let huge = [1, 0, 0, 0x7f, 0xff, 0xff, 0xff];
    assert_eq!(
        why(&huge, 0),
        ("EverythingRequest.parts", Why::TooManyElements)
    );
    let empty = encode_body(&EverythingRequest::default(), 3).unwrap();
    let surplus = [&empty[..], &[0]].concat();
    assert_eq!(why(&surplus, 3), ("EverythingRequest", Why::Surplus));
    let request = decode_request::<EverythingRequest>(surplus.into(), 3);
    assert_eq!(request, Ok(EverythingRequest::default()));
    // Tag 2 is an ordinary field in version 3.
    let mut tag = empty[..empty.len() - 1].to_vec();
    tag.extend([1, 2, 1, 1]);
    assert_eq!(why(&tag, 3), ("EverythingRequest.moved", Why::BadTag));
    // An unknown tag is skipped.
    let n = tag.len();
    tag[n - 3] = 9;
    assert!(decode_body::<EverythingRequest>(tag.into(), 3).is_ok());
}

#[test]
fn a_million_empty_strings_are_within_budget() {
    // Two bytes each on the wire, 32 in memory: as much as an honest message may grow.
    let n = 1_000_000u32;
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(4 + 2 * n as usize, 0);
    let bare = decode_body::<Bare>(bytes.into(), 0);
    assert_eq!(bare.unwrap().texts.len(), n as usize);
}
