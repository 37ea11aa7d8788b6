//! Names that say nothing, in files and in types. Kafka's own wire structs keep their names.

use super::{Finding, Source};

const BANNED: &[&str] = &[
    "manager",
    "helper",
    "helpers",
    "util",
    "utils",
    "common",
    "misc",
    "impl",
    "base",
    "data",
    "info",
    "processor",
    "wrapper",
    "types",
];

/// Where names are Kafka's and not ours, or a word of the tree (the folder of the data APIs).
const EXEMPT: &[&str] = &["crates/protocol/src/messages/", "crates/protocol/tests/"];
const EXEMPT_FOLDERS: &[&str] = &["data", "impl"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let stem = source
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        if let Some(word) = banned(&stem.split('_').collect::<Vec<_>>()) {
            findings.push(Finding::new(
                &source.path,
                format!("\"{word}\" says nothing in a file name"),
            ));
        }
        let folders = source.path.split('/').rev().skip(1);
        for folder in folders.filter(|folder| !EXEMPT_FOLDERS.contains(folder)) {
            if let Some(word) = banned(&folder.split(['_', '-']).collect::<Vec<_>>()) {
                findings.push(Finding::new(
                    &source.path,
                    format!("\"{word}\" says nothing in a folder name"),
                ));
            }
        }
        if !EXEMPT.iter().any(|folder| source.path.starts_with(folder)) {
            findings.extend(types(source));
        }
    }
    findings
}

/// Declarations at the start of a line, indented or not; good enough for rustfmt's layout.
fn types(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, line) in source.text.lines().enumerate() {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| word.starts_with("pub"));
        if !matches!(
            words.next(),
            Some("struct" | "enum" | "trait" | "type" | "union")
        ) {
            continue;
        }
        let name: String = words
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        if let Some(word) = banned(&humps(&name)) {
            let place = format!("{}:{}", source.path, n + 1);
            findings.push(Finding::new(
                place,
                format!("\"{word}\" says nothing in {name}"),
            ));
        }
    }
    findings
}

fn banned(words: &[&str]) -> Option<&'static str> {
    BANNED
        .iter()
        .find(|banned| words.iter().any(|word| word.eq_ignore_ascii_case(banned)))
        .copied()
}

/// `LogReader` is `Log` and `Reader`.
fn humps(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = name
        .char_indices()
        .filter(|(_, c)| c.is_uppercase())
        .map(|(at, _)| at)
        .collect();
    starts.push(name.len());
    starts
        .windows(2)
        .filter_map(|pair| name.get(pair[0]..pair[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[source(path, text)])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn whole_words_only() {
        assert_eq!(
            found("crates/node/src/log.rs", "pub(crate) struct LogManager;\n"),
            ["crates/node/src/log.rs:1: \"manager\" says nothing in LogManager"]
        );
        assert!(
            found(
                "crates/node/src/log.rs",
                "struct Database;\nenum Baseline {}\n"
            )
            .is_empty()
        );
        assert_eq!(found("crates/node/src/log_utils.rs", "").len(), 1);
        assert!(found("crates/server/src/api/data/fetch.rs", "").is_empty());
    }

    #[test]
    fn kafka_names_its_own_structs() {
        assert!(
            found(
                "crates/protocol/src/messages/produce.rs",
                "pub struct PartitionProduceData {"
            )
            .is_empty()
        );
    }
}
