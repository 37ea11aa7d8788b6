//! ARCHITECTURE.md names every crate and says what must stay true of it.

use super::Finding;
use super::edges::Package;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(map: &str, workspace: &[Package]) -> Vec<Finding> {
    workspace
        .iter()
        .filter(|package| !states_invariant(map, &package.name))
        .map(|package| {
            let what = format!(
                "has no row `| {} | what lives here | what must stay true |`",
                package.name
            );
            Finding::new(MAP, what)
        })
        .collect()
}

/// A row of the table of crates whose third column says something.
fn states_invariant(map: &str, name: &str) -> bool {
    let wanted = format!("`{name}`");
    map.lines()
        .filter(|line| line.starts_with('|'))
        .any(|line| {
            let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            matches!(columns[..], [first, lives, invariant, ..]
            if first == wanted && !lives.is_empty() && invariant.len() > 10)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_needs_its_invariant() {
        assert!(states_invariant(
            "| `raft` | the quorum | at most one leader per epoch |",
            "raft"
        ));
        assert!(!states_invariant("| `raft` | the quorum | |", "raft"));
        assert!(!states_invariant("the crate `raft` is nice", "raft"));
    }
}
