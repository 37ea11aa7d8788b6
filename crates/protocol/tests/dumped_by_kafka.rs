//! Kafka's own dump tool reads what we write: every codec, headers, markers, control records.
//!
//! Needs a Kafka tree, named by `KAFKA_HOME`, and is ignored otherwise.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use ottla_protocol::batch::{self, Batch};
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker, NewHeader};
use ottla_protocol::compress::Codec;

const BATCHES_A_CODEC: i64 = 3;
const RECORDS_A_BATCH: i64 = 40;

#[test]
#[ignore = "needs KAFKA_HOME"]
fn segment_in_all_codecs() {
    let home = env::var_os("KAFKA_HOME").expect("KAFKA_HOME names a Kafka");
    let directory = env::temp_dir().join(format!("ottla-dump-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("00000000000000000000.log");
    let segment = segment();
    fs::write(&file, &segment).unwrap();
    let dump = Command::new(Path::new(&home).join("bin/kafka-dump-log.sh"))
        .args(["--deep-iteration", "--print-data-log", "--files"])
        .arg(&file)
        .output()
        .unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let out = String::from_utf8_lossy(&dump.stdout);
    let complaints = String::from_utf8_lossy(&dump.stderr);
    assert!(dump.status.success(), "{out}{complaints}");
    assert!(!complaints.contains("Exception"), "{complaints}");
    for word in [
        "isvalid: false",
        "Exception",
        "rror",
        "isn't",
        "Non-consecutive",
    ] {
        assert!(!out.contains(word), "{word}: {out}");
    }
    let n_batches = batch::batches(&segment).count();
    assert_eq!(out.matches("isvalid: true").count(), n_batches);
    let n_values = out.matches("payload: some value").count() as i64;
    assert_eq!(n_values, 5 * BATCHES_A_CODEC * RECORDS_A_BATCH);
    assert_eq!(
        out.matches("endTxnMarker: COMMIT coordinatorEpoch: 12")
            .count(),
        1
    );
    assert_eq!(
        out.matches("headerKeys: [h,h,null-value]").count() as i64,
        n_values
    );
}

/// Small and large batches of each codec, one transaction and its marker.
fn segment() -> Vec<u8> {
    let mut segment = Vec::new();
    let mut end = 0;
    for codec in Codec::ALL {
        for round in 0..BATCHES_A_CODEC {
            let sequence = (round * RECORDS_A_BATCH) as i32;
            let builder = BatchBuilder::data(codec).producer(codec.bits().into(), 0, sequence);
            add(&mut segment, &mut end, &records(builder, round));
        }
    }
    let mut open = BatchBuilder::data(Codec::None)
        .producer(77, 4, 0)
        .transactional();
    open.push(2_000, None, None);
    add(&mut segment, &mut end, &open.finish());
    let marker = EndMarker {
        is_commit: true,
        coordinator_epoch: 12,
    };
    add(&mut segment, &mut end, &marker.batch(77, 5, 2_001));
    segment
}

fn records(mut builder: BatchBuilder, round: i64) -> Vec<u8> {
    let headers: [NewHeader<'_>; 3] = [
        (b"h", Some(b"1")),
        (b"h", Some(b"2")),
        (b"null-value", None),
    ];
    // In the last round more than one block of each framing.
    let text = "some value, ".repeat(if round + 1 == BATCHES_A_CODEC { 500 } else { 3 });
    for i in 0..RECORDS_A_BATCH {
        let key = format!("key-{i}");
        builder.push_with_headers(
            1_000 + i,
            Some(key.as_bytes()),
            Some(text.as_bytes()),
            &headers,
        );
    }
    builder.finish().to_vec()
}

fn add(segment: &mut Vec<u8>, end: &mut i64, batch: &[u8]) {
    let start = segment.len();
    segment.extend_from_slice(batch);
    batch::stamp(&mut segment[start..], *end, 3);
    *end = Batch::parse(&segment[start..]).unwrap().next_offset();
}
