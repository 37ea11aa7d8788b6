//! What may not stay in the code: marks of unfinished work, and prints of a debugging session.

use super::{Finding, Source};

// Put together here, so that this file does not find itself.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const CALLS: &[&str] = &[
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (n, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, n + 1);
            if let Some(mark) = MARKS.iter().find(|mark| has_word(line, mark)) {
                findings.push(Finding::new(&place, format!("{mark} does not merge")));
            }
            if let Some(call) = CALLS.iter().find(|call| line.contains(**call)) {
                findings.push(Finding::new(&place, format!("{call}) does not merge")));
            }
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|it| it == word)
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn marks_are_whole_words() {
        let text = format!("let TODOS = 1; // {}: later\n", MARKS[0]);
        assert_eq!(check(&[source("crates/raft/src/a.rs", &text)]).len(), 1);
        assert!(check(&[source("crates/raft/src/a.rs", "let TODOS = 1;\n")]).is_empty());
    }
}
