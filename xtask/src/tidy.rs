//! The guard rails that a machine can keep: structure only, never sizes.
//!
//! Each rule is a file of its own and looks at text or at Cargo's view of the workspace; it returns
//! findings and changes nothing. What needs judgement is left to the reader of the change.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

mod edges;
mod doors;
mod apis;
mod map;
mod leftovers;
mod names;

/// One thing that is not as the house wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A text file of the repository.
struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

/// The repository that this xtask belongs to: where cargo runs it, since a target folder shared between work trees may hold one that
/// was built in another.
pub(crate) fn repository() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    here.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
        .join("..")
}

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let workspace = edges::workspace(root)?;
    let rust = sources(root, "rs")?;
    let mut findings = edges::check(&workspace);
    findings.extend(doors::check(&rust));
    findings.extend(apis::check(&rust));
    findings.extend(leftovers::check(&rust));
    findings.extend(names::check(&rust));
    findings.extend(map::check(
        &read(&root.join("ARCHITECTURE.md"))?,
        &workspace,
    ));
    Ok(findings)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// All files with this ending below the folders that hold code of ours.
fn sources(root: &Path, ending: &str) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for folder in ["crates", "conformance", "fuzz", "sim", "xtask"] {
        let folder = root.join(folder);
        if folder.exists() {
            walk(root, &folder, ending, &mut found)?;
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, folder: &Path, ending: &str, found: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | "node_modules") {
                walk(root, &path, ending, found)?;
            }
        } else if path.extension().is_some_and(|it| it == ending) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            found.push(Source {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: read(&path)?,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings = check(&repository()).unwrap();
        let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(
            list.is_empty(),
            "{} findings:\n{}",
            list.len(),
            list.join("\n")
        );
    }
}
