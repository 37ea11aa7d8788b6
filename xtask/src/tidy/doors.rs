//! `lib.rs` is a door: documentation, attributes, `mod`, `use`, and nothing that does something.

use super::{Finding, Source};

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        // A procedural macro must be defined in its lib.rs.
        .filter(|source| source.path.ends_with("/lib.rs") && !source.path.contains("/derive/"))
        .filter(|source| source.path.starts_with("crates/"))
        .flat_map(door)
        .collect()
}

fn door(source: &Source) -> Vec<Finding> {
    let Ok(file) = syn::parse_file(&source.text) else {
        return vec![Finding::new(&source.path, "is not Rust")];
    };
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings.push(Finding::new(
            &source.path,
            "opens without saying what lives here",
        ));
    }
    let opens = |item: &syn::Item| match item {
        syn::Item::Use(_) | syn::Item::ExternCrate(_) => true,
        syn::Item::Mod(module) => module.content.is_none(),
        _ => false,
    };
    if !file.items.iter().all(opens) {
        findings.push(Finding::new(
            &source.path,
            "is a door: only docs, `mod` and `use` belong here",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    fn n_findings(text: &str) -> usize {
        check(&[source("crates/raft/src/lib.rs", text)]).len()
    }

    #[test]
    fn only_mods_and_uses() {
        assert_eq!(
            n_findings(
                "//! Says what lives here.\n#![warn(missing_docs)]\nmod a;\npub use a::A;\n"
            ),
            0
        );
        assert_eq!(n_findings("//! Says.\npub fn f() {}\n"), 1);
        assert_eq!(n_findings("//! Says.\nmod a { pub fn f() {} }\n"), 1);
        assert_eq!(n_findings("mod a;\n"), 1);
    }
}
