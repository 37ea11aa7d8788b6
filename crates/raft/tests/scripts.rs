//! Stories of one voter, told in `testdata/quorum/*.txt`: each directive is news for the quorum,
//! and what it wants done is the answer. `REWRITE=1 cargo test` writes the answers anew.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use datadriven::{TestCase, walk};
use ottla_protocol::Uuid;
use ottla_protocol::batch::Batch;
use ottla_raft::{
    Command, Control, Endpoint, Identity, KraftVersions, Now, Opening, Quorum, ReplicaKey,
    SavedElection, Settings, SnapshotId, Voter, VoterSet, snapshot::SnapshotContent,
};

#[test]
fn stories() {
    walk("testdata/quorum", |file| {
        let mut host = Host::default();
        file.run(|case| host.run(case));
    });
}

#[derive(Default)]
struct Host {
    quorum: Option<Quorum>,
    millis: u64,
}

const DIRECTORY: Uuid = Uuid::from_u128(1 << 100);

impl Host {
    fn run(&mut self, case: &TestCase) -> String {
        match case.directive.as_str() {
            "open" => return self.open(case),
            "append" => return self.append(case),
            "raise" => return self.raise(case),
            "describe" => return self.describe(),
            "appended" => {
                let now = self.now();
                self.quorum().handle_appended(number(case, "end"), now);
            }
            "flushed" => {
                let (end, now) = (number(case, "end"), self.now());
                self.quorum().handle_appended(end, now);
                self.quorum().handle_flushed(end, now);
            }
            "wait" => {
                self.millis += number::<u64>(case, "ms");
                let now = self.now();
                self.quorum().handle_timeout(now);
            }
            "shutdown" => {
                let now = self.now();
                self.quorum().handle_shutdown(now);
            }
            other => panic!("unknown directive {other}"),
        }
        self.commands()
    }

    fn open(&mut self, case: &TestCase) -> String {
        let voters: Vec<i32> = numbers(case, "voters");
        let level = optional(case, "kraft").unwrap_or(0);
        let fixed = if level == 0 {
            voter_set(&voters, None)
        } else {
            VoterSet::default()
        };
        let mut opening = Opening::new(fixed);
        if level > 0 {
            let content = SnapshotContent {
                last_contained_timestamp: 0,
                kraft_version: Some(level),
                voters: Some(voter_set(&voters, Some(DIRECTORY))),
                records: vec![],
            };
            opening.handle_snapshot(SnapshotId::BOOTSTRAP, &content);
        }
        let saved = optional(case, "epoch").map(|epoch| SavedElection {
            epoch,
            leader: optional(case, "leader"),
            voted: optional(case, "voted").map(|id| ReplicaKey {
                id,
                directory_id: None,
            }),
        });
        let me = Identity {
            node_id: 1,
            directory_id: DIRECTORY,
            endpoints: vec![endpoint(optional(case, "port").unwrap_or(9093))],
        };
        let settings = Settings {
            append_linger: Duration::from_millis(25),
        };
        match Quorum::open(me, settings, opening, saved, self.now()) {
            Ok(quorum) => self.quorum = Some(quorum),
            Err(refused) => return format!("refused: {refused}\n"),
        }
        self.commands()
    }

    fn append(&mut self, case: &TestCase) -> String {
        let n: usize = optional(case, "records").unwrap_or(1);
        let size: usize = optional(case, "size").unwrap_or(10);
        let values = vec![Bytes::from(vec![7; size]); n];
        let now = self.now();
        let answer = match self.quorum().append(&values, now) {
            Ok(last) => format!("last offset {last}\n"),
            Err(refused) => format!("refused: {refused:?}\n"),
        };
        answer + &self.commands()
    }

    fn raise(&mut self, case: &TestCase) -> String {
        let (level, now) = (number(case, "level"), self.now());
        let answer = match self.quorum().raise_kraft_version(level, now) {
            Ok(()) => format!("kraft.version {}\n", self.quorum().kraft_version()),
            Err(refused) => format!("refused: {refused:?}\n"),
        };
        answer + &self.commands()
    }

    fn describe(&mut self) -> String {
        let now = self.now();
        let quorum = self.quorum();
        match quorum.describe(now) {
            None => format!("leader {:?} epoch {}\n", quorum.leader(), quorum.epoch()),
            Some(described) => format!(
                "leader {} epoch {} high watermark {} voters {:?} end {}\n",
                described.leader_id,
                described.leader_epoch,
                described.high_watermark,
                described
                    .voters
                    .iter()
                    .map(|voter| voter.id)
                    .collect::<Vec<_>>(),
                described.voters[0].log_end,
            ),
        }
    }

    fn commands(&mut self) -> String {
        let mut text = String::new();
        while let Some(command) = self.quorum().next_command() {
            match command {
                Command::SaveElection { text: file } => writeln!(text, "save {file}"),
                Command::Append {
                    base_offset,
                    end_offset,
                    batch,
                } => {
                    writeln!(
                        text,
                        "append {base_offset}..{end_offset} {}",
                        contents(&batch)
                    )
                }
                other => writeln!(text, "{other:?}"),
            }
            .unwrap();
        }
        if let Some(due) = self.quorum().next_timeout() {
            writeln!(text, "wakes at {} ms", due.as_millis()).unwrap();
        }
        if text.is_empty() {
            "nothing\n".to_owned()
        } else {
            text
        }
    }

    fn quorum(&mut self) -> &mut Quorum {
        self.quorum.as_mut().expect("open first")
    }

    fn now(&self) -> Now {
        Now {
            monotonic: Duration::from_millis(self.millis),
            wall_ms: self.millis as i64,
        }
    }
}

fn contents(batch: &Bytes) -> String {
    let batch = Batch::parse(batch).unwrap();
    batch.verify_crc().unwrap();
    if !batch.is_control() {
        return format!(
            "{} records of epoch {}",
            batch.n_records(),
            batch.leader_epoch()
        );
    }
    let names: Vec<String> = Control::of_batch(batch)
        .unwrap()
        .into_iter()
        .map(|(_, control)| match control {
            Control::LeaderChange(change) => format!("LeaderChange({})", change.leader_id),
            Control::Voters(voters) => {
                format!("Voters({:?})", VoterSet::from_record(&voters).ids())
            }
            Control::KraftVersion(record) => format!("KraftVersion({})", record.kraft_version),
            other => format!("{other:?}"),
        })
        .collect();
    format!("{} of epoch {}", names.join(" "), batch.leader_epoch())
}

fn voter_set(ids: &[i32], directory_id: Option<Uuid>) -> VoterSet {
    let voter = |id: &i32| Voter {
        id: *id,
        directory_id,
        endpoints: vec![endpoint(9093)],
        kraft_versions: KraftVersions::OURS,
    };
    VoterSet::new(ids.iter().map(voter).collect())
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        listener: "CONTROLLER".into(),
        host: "localhost".into(),
        port,
    }
}

fn optional<T: std::str::FromStr>(case: &TestCase, name: &str) -> Option<T> {
    case.args.get(name)?.first()?.parse().ok()
}

fn number<T: std::str::FromStr>(case: &TestCase, name: &str) -> T {
    optional(case, name).unwrap_or_else(|| panic!("{} needs {name}=", case.directive))
}

fn numbers(case: &TestCase, name: &str) -> Vec<i32> {
    case.args
        .get(name)
        .into_iter()
        .flatten()
        .map(|text| text.parse().unwrap())
        .collect()
}
