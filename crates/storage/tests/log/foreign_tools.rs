//! Kafka's own tools look at directories that we wrote. Needs a Kafka in `KAFKA_HOME`.

use std::path::Path;
use std::process::Command;

use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::LogConfig;
use ottla_storage::producer::Appender;

use crate::stand::*;

/// Several segments, all codecs, producers with sequences, committed and aborted transactions.
fn write(place: &Path) {
    let config = LogConfig {
        segment_bytes: 4000,
        index_interval_bytes: 300,
        ..LogConfig::default()
    };
    let mut log = open(place, config);
    for round in 0..12i32 {
        for codec in Codec::ALL {
            let first = log.end();
            append(&mut log, &records_with(BatchBuilder::data(codec), first, 4)).unwrap();
            let builder = BatchBuilder::data(codec).producer(5, 0, round * 15 + codec as i32 * 3);
            append(&mut log, &records_with(builder, first + 4, 3)).unwrap();
        }
        let first = log.end();
        let builder = BatchBuilder::data(Codec::Lz4)
            .producer(6, 0, round * 2)
            .transactional();
        append(&mut log, &records_with(builder, first, 2)).unwrap();
        let marker = EndMarker {
            is_commit: round % 2 == 0,
            coordinator_epoch: 0,
        };
        append_in(
            &mut log,
            &marker.batch(6, 0, NOW + first),
            0,
            Appender::Coordinator,
        )
        .unwrap();
        log.set_high_watermark(log.end());
    }
    // Truncated and continued, as a follower may be.
    let to = log.end() - 10;
    log.truncate(to, NOW).unwrap();
    append(&mut log, &records(to, 5)).unwrap();
    log.close().unwrap();
}

#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafka_dump_log_finds_nothing_wrong() {
    let kafka = std::env::var("KAFKA_HOME").expect("KAFKA_HOME names a Kafka");
    let place = tempfile::tempdir().unwrap();
    let place = place.path().join("orders-0");
    write(&place);
    let paths = |ending: &str| -> String {
        let names = files_ending(&place, ending).into_keys();
        let paths: Vec<String> = names
            .map(|name| place.join(name).to_str().unwrap().to_owned())
            .collect();
        paths.join(",")
    };
    let dump = |files: String, flags: &[&str]| {
        let output = Command::new(format!("{kafka}/bin/kafka-dump-log.sh"))
            .args(["--files", &files])
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        for bad in [
            "Found",
            "Mismatch",
            "Exception",
            "isvalid: false",
            "invalid",
            "out of order",
        ] {
            assert!(!text.contains(bad), "{flags:?}: {bad}\n{text}");
        }
        text
    };
    let text = dump(paths(".log"), &["--deep-iteration"]);
    assert!(text.contains("compresscodec: zstd") && text.contains("endTxnMarker: ABORT"));
    for ending in [".index", ".timeindex"] {
        dump(paths(ending), &["--index-sanity-check"]);
        dump(paths(ending), &["--verify-index-only"]);
        dump(paths(ending), &[]);
    }
    let text = dump(paths(".txnindex"), &[]);
    // Six were aborted; the truncation took the last marker.
    assert_eq!(text.matches("producerId: 6").count(), 5, "{text}");
    let text = dump(paths(".snapshot"), &[]);
    assert!(text.contains("producerId: 5"));
}
