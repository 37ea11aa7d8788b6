//! Each API file opens with the API's name, key and versions, and they are those of the registry
//! and of the message.

use super::{Finding, Source};

const REGISTRY: &str = "crates/server/src/registry.rs";
const MESSAGES: &str = "crates/protocol/src/messages/";
const HANDLERS: &str = "crates/server/src/api/";

/// One line of the registry.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// `Metadata`.
    name: String,
    versions: (i16, i16),
    /// The file of its handler.
    file: String,
}

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(registry) = sources.iter().find(|source| source.path == REGISTRY) else {
        return vec![Finding::new(REGISTRY, "is not there")];
    };
    let (lines, unread) = lines(&registry.text);
    let mut findings: Vec<Finding> = lines
        .iter()
        .filter_map(|line| compare(line, sources))
        .collect();
    findings.extend(unread.into_iter().map(|call| {
        let what = format!("`{call}` is no `api!(NAMERequest, FIRST..=LAST, …`");
        Finding::new(REGISTRY, what)
    }));
    for source in sources.iter().filter(|source| is_handler(source)) {
        if !lines.iter().any(|line| line.file == source.path) {
            findings.push(Finding::new(
                &source.path,
                "opens like an API and is not in the registry",
            ));
        }
    }
    findings
}

/// The lines of the table, and the calls in it that cannot be read as one.
fn lines(registry: &str) -> (Vec<Line>, Vec<String>) {
    let mut lines = Vec::new();
    let mut unread = Vec::new();
    // The macro calls itself with a mark in front.
    let calls = registry.split("api!(").skip(1);
    for call in calls.filter(|call| !call.starts_with('@')) {
        match line(call) {
            Some(line) => lines.push(line),
            None => unread.push(call.lines().next().unwrap_or_default().to_owned()),
        }
    }
    (lines, unread)
}

/// `MetadataRequest, 0..=13, Broker, api::cluster::metadata::handle)`, as rustfmt or a table lays it out.
fn line(call: &str) -> Option<Line> {
    let words: Vec<&str> = call.splitn(5, [',', ')']).map(str::trim).collect();
    let [request, range, _door, handler, ..] = words[..] else {
        return None;
    };
    let name = request.strip_suffix("Request")?;
    let (first, last) = range.split_once("..=")?;
    let path = handler.rsplit(' ').next()?;
    let modules: Vec<&str> = path.split("::").collect();
    let [.., folder, file, _function] = modules[..] else {
        return None;
    };
    Some(Line {
        name: name.to_owned(),
        versions: (first.trim().parse().ok()?, last.trim().parse().ok()?),
        file: format!("{HANDLERS}{folder}/{file}.rs"),
    })
}

fn compare(line: &Line, sources: &[Source]) -> Option<Finding> {
    let Some(handler) = sources.iter().find(|source| source.path == line.file) else {
        return Some(Finding::new(
            REGISTRY,
            format!("{} names {}, which is not there", line.name, line.file),
        ));
    };
    let Some(key) = key(&line.name, sources) else {
        return Some(Finding::new(
            REGISTRY,
            format!("no message says the key of {}", line.name),
        ));
    };
    let opening = opening(&line.name, key, line.versions);
    (!handler.text.starts_with(&opening))
        .then(|| Finding::new(&handler.path, format!("should open with `{opening}`")))
}

fn opening(name: &str, key: i16, (first, last): (i16, i16)) -> String {
    if first == last {
        format!("//! {name} (key {key}, version {first})")
    } else {
        format!("//! {name} (key {key}, versions {first}-{last})")
    }
}

/// The key that stands in the `#[message(request, key = …)]` above `pub struct NAMERequest`.
fn key(name: &str, sources: &[Source]) -> Option<i16> {
    let structure = format!("pub struct {name}Request");
    let messages = sources
        .iter()
        .filter(|source| source.path.starts_with(MESSAGES));
    let above = messages
        .filter_map(|source| {
            let (above, below) = source.text.split_once(&structure)?;
            below
                .starts_with(|c: char| !c.is_alphanumeric())
                .then_some(above)
        })
        .next()?;
    let (_, attribute) = above.rsplit_once("#[message(")?;
    let (_, value) = attribute.split_once("key = ")?;
    value
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn is_handler(source: &Source) -> bool {
    let first = source.text.lines().next().unwrap_or_default();
    source.path.starts_with(HANDLERS) && first.contains("(key ")
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    const TABLE: &str = "pub static APIS: &[Api] = &[
        api!(ProduceRequest, 3..=13, Broker, raw api::data::produce::handle).advertised_from(0),
        api!(
            OffsetDeleteRequest, 0..=0, Broker, api::group::offset_delete::handle
        ),
    ];";

    fn findings(produce_head: &str) -> Vec<String> {
        let message = "#[message(request, by_hand, key = 0, versions = \"3-13\")]\npub struct ProduceRequest {";
        let offset_delete =
            "#[message(request, key = 47, versions = \"0\")]\npub struct OffsetDeleteRequest {";
        let sources = [
            source(REGISTRY, TABLE),
            source(
                "crates/protocol/src/messages/offset_delete.rs",
                offset_delete,
            ),
            source("crates/protocol/src/messages/produce.rs", message),
            source("crates/server/src/api/data/produce.rs", produce_head),
            source(
                "crates/server/src/api/group/offset_delete.rs",
                "//! OffsetDelete (key 47, version 0): forget.",
            ),
        ];
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_head_of_a_file_is_the_line_of_the_registry() {
        assert!(findings("//! Produce (key 0, versions 3-13): append.").is_empty());
        assert_eq!(
            findings("//! Produce (key 0, versions 3-12): append."),
            [
                "crates/server/src/api/data/produce.rs: should open with `//! Produce (key 0, versions 3-13)`"
            ]
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_found() {
        let found = |text: &str| check(&[source(REGISTRY, text)]).len();
        assert_eq!(found("api!(@ $request, $served, $door, |services|"), 0);
        assert_eq!(
            found("api!(VoteRequest, FIRST..=2, Both, api::quorum::vote::handle),"),
            1
        );
        assert_eq!(check(&[]).len(), 1);
    }

    #[test]
    fn a_handler_outside_the_registry_is_found() {
        let sources = [
            source(
                REGISTRY,
                "api!(VoteRequest, 0..=2, Both, api::quorum::vote::handle),",
            ),
            source(
                "crates/server/src/api/group/join_group.rs",
                "//! JoinGroup (key 11, versions 0-9): in.",
            ),
        ];
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
