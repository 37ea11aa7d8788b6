//! The API half of `docs/compatibility.md` equals the registry, and `docs/metrics.md` the table
//! of metrics. `UPDATE=1` rewrites them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ottla_server::{APIS, Door};

const BEGIN: &str = "<!-- APIs: generated from the registry -->\n";
const END: &str = "<!-- end of APIs -->\n";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date: run the test with UPDATE=1",
        path.display()
    );
}

fn apis() -> String {
    let mut page =
        String::from("## APIs\n\n| key | API | versions | listeners |\n|---:|---|---|---|\n");
    for api in APIS {
        let (first, last) = (api.served.start(), api.served.end());
        let listeners = match api.door {
            Door::Broker => "broker",
            Door::Both => "broker, controller",
        };
        let _ = writeln!(
            page,
            "| {} | {} | {first}–{last} | {listeners} |",
            api.key, api.name
        );
    }
    page
}

#[test]
fn api_half_of_the_compatibility_page() {
    let path = docs("compatibility.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, after) = match page.split_once(BEGIN) {
        Some((before, rest)) => (
            before,
            rest.split_once(END).map_or(rest, |(_, after)| after),
        ),
        None => (
            "# Compatibility\n\n",
            page.trim_start_matches("# Compatibility\n").trim_start(),
        ),
    };
    check(
        &path,
        &format!(
            "{before}{BEGIN}\n{}\n{END}{}{after}",
            apis(),
            if page.contains(BEGIN) { "" } else { "\n" }
        ),
    );
}

#[test]
fn metrics_page() {
    check(&docs("metrics.md"), &ottla_node::metrics_markdown());
}
