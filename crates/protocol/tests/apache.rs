//! Kafka's own classes as a second oracle: for every message at every version, Kafka reads what we
//! wrote, names every field as we do, and writes the same bytes again.
//!
//! Needs `KAFKA_HOME` (an Apache Kafka 4.3 tree) and a JDK, and is ignored otherwise; what Kafka
//! gave back once is recorded and checked everywhere. `UPDATE_TESTDATA=1` records it anew.
#![allow(clippy::disallowed_methods, reason = "a test feeds another process")]

mod beyond;
mod every;
mod tree;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bytes::Bytes;
use ottla_protocol::messages::*;
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{Versioned, decode_body, encode_body};
use serde_json::Value;

use crate::beyond::BEYOND;
use crate::tree::{Tree, tree};

const SEEDS: u64 = 5;

/// Where the bytes stand that Kafka gave back, for the pairs that the other oracle does not know.
const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/testdata/beyond_the_oracle.txt"
);

/// One message that Kafka is asked to read.
struct Case {
    name: &'static str,
    version: i16,
    bytes: Bytes,
    ours: Tree,
}

impl Case {
    fn of<M: Versioned + Sample + Debug>(version: i16, seed: u64, full: bool) -> Self {
        let mut sampler = if full {
            Sampler::full(seed)
        } else {
            Sampler::wild(seed)
        };
        let message = M::sample(&mut sampler, M::version(version));
        let bytes = encode_body(&message, version).unwrap();
        Self {
            name: M::NAME,
            version,
            bytes,
            ours: tree(&message),
        }
    }

    /// Kafka's class: requests and responses have a word more than their names.
    fn line(&self) -> String {
        let Self {
            name,
            version,
            bytes,
            ..
        } = self;
        let whole = name.ends_with("Request") || name.ends_with("Response");
        let suffix = if whole { "Data" } else { "" };
        format!(
            "org.apache.kafka.common.message.{name}{suffix} {version} {}\n",
            hex(bytes)
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    macro_rules! one {
        ($message:ident) => {
            for version in $message::VERSIONS.0..=$message::VERSIONS.1 {
                for seed in 0..SEEDS {
                    cases.push(Case::of::<$message>(version, seed, true));
                    cases.push(Case::of::<$message>(version, seed, false));
                }
            }
        };
    }
    every_message!(one);
    cases
}

#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafka_reads_and_writes_what_we_do() {
    let home = std::env::var_os("KAFKA_HOME").expect("KAFKA_HOME names a Kafka");
    let home = PathBuf::from(home);
    let cases = cases();
    let answers = ask(&home, &cases);
    assert_eq!(answers.len(), cases.len());
    let mut differ = BTreeMap::new();
    for (case, answer) in cases.iter().zip(&answers) {
        if let Err(why) = agree(case, answer) {
            differ.insert(format!("{} v{}", case.name, case.version), why);
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    if std::env::var_os("UPDATE_TESTDATA").is_some() {
        record(&cases);
    }
}

/// Kafka's answers, one line a case.
fn ask(home: &std::path::Path, cases: &[Case]) -> Vec<String> {
    let mut java = Command::new("java")
        .arg("-cp")
        .arg(home.join("libs/*"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/apache/Echo.java"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = cases.iter().map(Case::line).collect();
    let mut input = java.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = java.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_string)
        .collect()
}

fn agree(case: &Case, answer: &str) -> Result<(), String> {
    let (bytes, json) = answer.split_once(' ').unwrap_or((answer, ""));
    if bytes != hex(&case.bytes) {
        return Err(answer.to_string());
    }
    let json: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    same(&case.ours, &json).map_err(|place| format!("{place}: {json}"))
}

/// The same names and values. Kafka leaves out what the version lacks, and tagged defaults.
fn same(ours: &Tree, json: &Value) -> Result<(), String> {
    match (ours, json) {
        (Tree::Fields(ours), Value::Object(theirs)) => {
            let ours: BTreeMap<_, _> = ours
                .iter()
                .map(|(name, value)| (name.replace('_', ""), value))
                .collect();
            for (name, theirs) in theirs {
                if let Some(field) = name.strip_suffix("SizeInBytes") {
                    // Records are not shown.
                    if ours.contains_key(&field.to_lowercase()) {
                        continue;
                    }
                }
                let value = ours
                    .get(&name.to_lowercase())
                    .ok_or(format!("we lack {name}"))?;
                same(value, theirs).map_err(|place| format!("{name} {place}"))?;
            }
            Ok(())
        }
        (Tree::List(ours), Value::Array(theirs)) if ours.len() == theirs.len() => ours
            .iter()
            .zip(theirs)
            .try_for_each(|(ours, theirs)| same(ours, theirs)),
        (Tree::Leaf(ours), theirs) if leaf(ours, theirs) => Ok(()),
        _ => Err(format!("ours {ours:?}, Kafka's {json}")),
    }
}

fn leaf(ours: &str, theirs: &Value) -> bool {
    match theirs {
        Value::Null => ours == "None",
        Value::Bool(theirs) => ours == theirs.to_string(),
        Value::Number(theirs) if theirs.is_f64() => close(ours, theirs.as_f64()),
        Value::Number(theirs) => ours == theirs.to_string(),
        // Bytes are shown in another form.
        Value::String(_) if ours.starts_with("b\"") => true,
        Value::String(theirs) => ours.trim_matches('"') == theirs,
        _ => false,
    }
}

/// Java does not print every digit of a double; the bytes were compared before.
fn close(ours: &str, theirs: Option<f64>) -> bool {
    let (Ok(ours), Some(theirs)) = (ours.parse::<f64>(), theirs) else {
        return false;
    };
    (ours - theirs).abs() <= ours.abs() * 1e-12
}

fn beyond() -> impl Iterator<Item = (&'static str, i16)> {
    BEYOND.iter().map(|(name, version, _)| (*name, *version))
}

fn is_beyond(case: &Case) -> bool {
    beyond().any(|pair| pair == (case.name, case.version))
}

fn record(cases: &[Case]) {
    let mut text = String::new();
    for case in cases.iter().filter(|case| is_beyond(case)) {
        writeln!(text, "{} {} {}", case.name, case.version, hex(&case.bytes)).unwrap();
    }
    std::fs::write(RECORDED, text).unwrap();
}

#[test]
fn what_kafka_gave_back_is_read_and_written_again() {
    let recorded = std::fs::read_to_string(RECORDED).unwrap();
    let mut n_checked = BTreeMap::new();
    macro_rules! one {
        ($message:ident) => {
            for line in recorded.lines() {
                let [name, version, bytes] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}");
                };
                if name == $message::NAME {
                    let (version, bytes) = (version.parse().unwrap(), unhex(bytes));
                    let message = decode_body::<$message>(bytes.clone(), version).unwrap();
                    assert_eq!(encode_body(&message, version).unwrap(), bytes, "{line}");
                    *n_checked.entry(($message::NAME, version)).or_insert(0) += 1;
                }
            }
        };
    }
    every_message!(one);
    assert!(n_checked.keys().copied().eq(beyond()), "{n_checked:?}");
    assert!(n_checked.values().all(|n| *n == 2 * SEEDS));
}
