//! A metadata log, snapshots and quorum-state files written by Apache Kafka 4.3.1: what we read of
//! them, and what we write in their place.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::Uuid;
use ottla_protocol::batch::{Batch, batches};
use ottla_raft::snapshot::{SnapshotContent, SnapshotWriter};
use ottla_raft::{
    Command, Control, Endpoint, Identity, KraftVersions, Now, Opening, Quorum, SavedElection,
    Settings, SnapshotId, Voter, VoterSet,
};

const DIRECTORY: &str = "KGwFu51RSbOsLCUY_D2DVQ";

fn file(form: &str, name: &str) -> Bytes {
    let path = format!("{}/testdata/{form}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

fn log(form: &str) -> Bytes {
    file(form, "00000000000000000000.log")
}

fn at(wall_ms: i64) -> Now {
    Now {
        monotonic: Duration::ZERO,
        wall_ms,
    }
}

fn me(port: u16) -> Identity {
    Identity {
        node_id: 1,
        directory_id: DIRECTORY.parse().unwrap(),
        endpoints: vec![Endpoint {
            listener: "CONTROLLER".into(),
            host: "localhost".into(),
            port,
        }],
    }
}

fn static_voters() -> VoterSet {
    VoterSet::new(vec![Voter {
        id: 1,
        directory_id: None,
        endpoints: me(19681).endpoints,
        kraft_versions: KraftVersions { min: 0, max: 0 },
    }])
}

const SETTINGS: Settings = Settings {
    append_linger: Duration::from_millis(25),
};

/// Open what Kafka left, as a host does: the snapshot first, then the log behind it.
fn open(form: &str, snapshot: Option<(SnapshotId, &str)>, now: Now) -> Quorum {
    let (fixed, port) = match form {
        "static" => (static_voters(), 19681),
        _ => (VoterSet::default(), 19671),
    };
    let mut opening = Opening::new(fixed);
    if let Some((id, name)) = snapshot {
        opening.handle_snapshot(id, &SnapshotContent::read(&file(form, name)).unwrap());
    }
    for batch in batches(&log(form)) {
        opening.handle_batch(batch.unwrap()).unwrap();
    }
    let text = String::from_utf8(file(form, "quorum-state").to_vec()).unwrap();
    let saved = SavedElection::from_text(&text).unwrap();
    Quorum::open(me(port), SETTINGS, opening, Some(saved), now).unwrap()
}

fn commands(quorum: &mut Quorum) -> Vec<Command> {
    std::iter::from_fn(|| quorum.next_command()).collect()
}

#[test]
fn quorum_state_is_written_as_kafka_writes_it() {
    for (form, kraft_version) in [("standalone", 1), ("static", 0)] {
        let text = String::from_utf8(file(form, "quorum-state").to_vec()).unwrap();
        let saved = SavedElection::from_text(&text).unwrap();
        assert_eq!(
            saved,
            SavedElection {
                epoch: 1,
                leader: Some(1),
                voted: None
            }
        );
        assert_eq!(saved.to_text(kraft_version, &[1]), text);
    }
}

/// The first start on a directory of the format tool: the very bytes that Kafka appended.
#[test]
fn the_first_batch_of_an_epoch_is_kafkas() {
    for form in ["standalone", "static"] {
        let log = log(form);
        let theirs = Batch::parse(&log).unwrap();
        let (fixed, port) = match form {
            "static" => (static_voters(), 19681),
            _ => (VoterSet::default(), 19671),
        };
        let mut opening = Opening::new(fixed);
        if form == "standalone" {
            let name = "00000000000000000000-0000000000.checkpoint";
            let content = SnapshotContent::read(&file(form, name)).unwrap();
            opening.handle_snapshot(SnapshotId::BOOTSTRAP, &content);
        }
        let now = at(theirs.max_timestamp());
        let mut quorum = Quorum::open(me(port), SETTINGS, opening, None, now).unwrap();
        let commands = commands(&mut quorum);
        let text = String::from_utf8(file(form, "quorum-state").to_vec()).unwrap();
        assert_eq!(commands[0], Command::SaveElection { text });
        assert_eq!(
            commands[1],
            Command::LeaderChanged {
                epoch: 1,
                leader: Some(1)
            }
        );
        let Command::Append {
            batch,
            base_offset: 0,
            ..
        } = &commands[2]
        else {
            panic!()
        };
        assert_eq!(batch, &Bytes::copy_from_slice(theirs.bytes()));
        assert_eq!(commands.len(), 3);
    }
}

/// The voters are in the log by now and say what we say: no need to write them again.
#[test]
fn a_log_that_kafka_left_is_led_in_the_next_epoch() {
    let newest = SnapshotId {
        end_offset: 56,
        epoch: 1,
    };
    let name = "00000000000000000056-0000000001.checkpoint";
    for snapshot in [None, Some((newest, name))] {
        let mut quorum = open("standalone", snapshot, at(5));
        assert_eq!((quorum.epoch(), quorum.kraft_version()), (2, 1));
        assert_eq!(quorum.high_watermark(), None);
        let commands = commands(&mut quorum);
        let Command::Append {
            base_offset,
            end_offset,
            batch,
        } = &commands[2]
        else {
            panic!()
        };
        assert_eq!((*base_offset, *end_offset), (77, 78));
        let controls = Control::of_batch(Batch::parse(batch).unwrap()).unwrap();
        assert!(matches!(&controls[..], [(77, Control::LeaderChange(_))]));

        quorum.handle_appended(78, at(6));
        quorum.handle_flushed(78, at(6));
        assert_eq!(
            std::iter::from_fn(|| quorum.next_command()).collect::<Vec<_>>(),
            [
                Command::HighWatermark(78),
                Command::Lead {
                    epoch: 2,
                    start: 77
                }
            ],
        );
    }
}

#[test]
fn snapshots_are_read_and_written_byte_for_byte() {
    for (form, name, epoch) in [
        (
            "standalone",
            "00000000000000000056-0000000001.checkpoint",
            1,
        ),
        (
            "standalone",
            "00000000000000000000-0000000000.checkpoint",
            0,
        ),
        ("static", "00000000000000000057-0000000001.checkpoint", 1),
    ] {
        let theirs = file(form, name);
        let content = SnapshotContent::read(&theirs).unwrap();
        let all: Vec<_> = batches(&theirs).map(Result::unwrap).collect();
        let mut writer = SnapshotWriter::new(
            epoch,
            content.last_contained_timestamp,
            content.kraft_version.unwrap_or(0),
            content.voters.as_ref().unwrap_or(&VoterSet::default()),
            all[0].max_timestamp(),
        );
        for record in &content.records {
            writer.push(record.clone());
        }
        let ours: Vec<u8> = writer.finish().concat();
        assert_eq!(
            SnapshotContent::read(&ours.clone().into()).unwrap(),
            content
        );
        // Kafka takes the clock anew for each batch; apart from times and checksums all is equal.
        assert_eq!(untimed(&ours), untimed(&theirs), "{name}");
    }
}

fn untimed(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for batch in batches(bytes).map(Result::unwrap) {
        let mut bytes = batch.bytes().to_vec();
        bytes[17..21].fill(0); // checksum
        bytes[27..43].fill(0); // first and last time
        all.extend(bytes);
    }
    all
}

#[test]
fn a_snapshot_that_was_not_finished_is_refused() {
    let whole = file("standalone", "00000000000000000056-0000000001.checkpoint");
    assert!(SnapshotContent::read(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(
            SnapshotContent::read(&whole.slice(..end)).is_err(),
            "{end} bytes"
        );
    }
    let mut damaged = whole.to_vec();
    damaged[100] ^= 1;
    assert!(SnapshotContent::read(&damaged.into()).is_err());
}

#[test]
fn a_node_of_another_directory_does_not_vote() {
    let mut opening = Opening::new(VoterSet::default());
    let content = SnapshotContent::read(&file(
        "standalone",
        "00000000000000000000-0000000000.checkpoint",
    ));
    opening.handle_snapshot(SnapshotId::BOOTSTRAP, &content.unwrap());
    let stranger = Identity {
        directory_id: Uuid::from_u128(1 << 100),
        ..me(19671)
    };
    let refused = Quorum::open(stranger, SETTINGS, opening, None, at(0)).unwrap_err();
    assert!(
        refused.to_string().contains("not among the voters [1]"),
        "{refused}"
    );
}
