//! Which crate may use which: the allowed stairs of ARCHITECTURE.md, read off `cargo metadata`.
//! Pure crates besides use nothing that brings the outside world, and have Clippy watch their calls.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Finding;

/// What each crate may use of our own, and whether it is pure. `*`: anything.
const STAIRS: &[(&str, &[&str], bool)] = &[
    ("protocol", &["protocol-derive"], true),
    ("protocol-derive", &[], true),
    ("storage", &["protocol"], false),
    ("raft", &["protocol"], true),
    ("replication", &["protocol"], true),
    ("security", &["protocol"], false),
    ("metadata", &["protocol", "security"], true),
    ("client", &["protocol", "security"], false),
    ("coordinators", &["protocol", "metadata"], true),
    (
        "node",
        &[
            "protocol",
            "storage",
            "raft",
            "replication",
            "security",
            "metadata",
            "client",
            "coordinators",
        ],
        false,
    ),
    (
        "server",
        &["protocol", "security", "metadata", "node"],
        false,
    ),
    (
        "cli",
        &[
            "protocol",
            "storage",
            "client",
            "metadata",
            "coordinators",
            "node",
            "server",
        ],
        false,
    ),
    ("sim", &[], false),
    ("differential", &["*"], false),
    ("xtask", &["*"], false),
];

/// Crates that bring clocks, randomness, sockets, files or threads; a pure crate does without.
const IMPURE: &[&str] = &[
    "tokio",
    "getrandom",
    "rand",
    "socket2",
    "rustix",
    "libc",
    "axum",
    "parking_lot",
    "tempfile",
];

/// A package as far as the rules look at it.
pub(super) struct Package {
    /// Without the product's prefix.
    pub(super) name: String,
    /// Normal and build dependencies; tests may use more.
    uses: Vec<String>,
    /// Whether a clippy.toml of its own stands beside its manifest.
    is_watched: bool,
}

pub(super) fn workspace(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    Ok(packages.iter().map(package).collect())
}

fn package(json: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let uses = json["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        .map(|dependency| short(&text(&dependency["name"])))
        .collect();
    let manifest = text(&json["manifest_path"]);
    let is_watched = Path::new(&manifest).with_file_name("clippy.toml").exists();
    Package {
        name: short(&text(&json["name"])),
        uses,
        is_watched,
    }
}

fn short(name: &str) -> String {
    match name.strip_prefix("ottla-") {
        Some(own) => own.to_owned(),
        None if name == "xtask" => name.to_owned(),
        None => format!("~{name}"), // Not ours: never mistaken for one of our crates.
    }
}

pub(super) fn check(workspace: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace {
        let place = format!("package {}", package.name);
        let Some((_, allowed, pure)) = STAIRS.iter().find(|(name, ..)| *name == package.name)
        else {
            findings.push(Finding::new(
                place,
                "has no row in the table of allowed stairs",
            ));
            continue;
        };
        // A macro runs in the compiler; there is nothing to watch.
        if *pure && !package.is_watched && package.name != "protocol-derive" {
            findings.push(Finding::new(
                &place,
                "is pure and has no clippy.toml with what it may not call",
            ));
        }
        for used in &package.uses {
            match used.strip_prefix('~') {
                Some(foreign) if *pure && IMPURE.contains(&foreign) => {
                    findings.push(Finding::new(&place, format!("is pure and uses {foreign}")));
                }
                Some(_) => {}
                None if allowed.contains(&"*") || allowed.contains(&used.as_str()) => {}
                None => findings.push(Finding::new(&place, format!("may not use {used}"))),
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, uses: &[&str]) -> Vec<String> {
        let uses = uses.iter().map(|name| short(name)).collect();
        check(&[Package {
            name: short(name),
            uses,
            is_watched: true,
        }])
        .iter()
        .map(ToString::to_string)
        .collect()
    }

    #[test]
    fn siblings_are_strangers() {
        assert_eq!(
            findings("ottla-raft", &["ottla-storage"]),
            ["package raft: may not use storage"]
        );
        assert!(findings("ottla-node", &["ottla-storage", "tokio"]).is_empty());
    }

    #[test]
    fn rules_stay_pure() {
        assert_eq!(
            findings("ottla-replication", &["bytes", "tokio"]),
            ["package replication: is pure and uses tokio"]
        );
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(
            findings("ottla-wizard", &[]),
            ["package wizard: has no row in the table of allowed stairs"]
        );
    }
}
