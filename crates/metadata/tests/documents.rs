//! Pages that are generated from the catalogue equal what is generated. `UPDATE=1` rewrites them.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_metadata::config::{settings_compatibility_markdown, settings_markdown};

/// Between these, `docs/compatibility.md` belongs to the catalogue; the rest is the registry's.
const BEGIN: &str = "<!-- settings: generated from the catalogue -->\n";
const END: &str = "<!-- end of settings -->\n";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date: run the test with UPDATE=1",
        path.display()
    );
}

#[test]
fn settings_page() {
    check(&docs("settings.md"), &settings_markdown());
}

#[test]
fn settings_half_of_the_compatibility_page() {
    let path = docs("compatibility.md");
    let page =
        fs::read_to_string(&path).unwrap_or_else(|_| format!("# Compatibility\n\n{BEGIN}{END}"));
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has a place for settings");
    let (_, after) = rest
        .split_once(END)
        .expect("the place for settings has an end");
    let settings = settings_compatibility_markdown();
    check(&path, &format!("{before}{BEGIN}\n{settings}\n{END}{after}"));
}
