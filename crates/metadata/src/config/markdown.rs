//! The catalogue as pages for the operator's book. A test keeps the files equal to this.

use std::fmt::Write;

use super::catalogue::Catalogue;
use super::definition::{Check, Definition, Dynamic, Kind, Scope, Shown, Start};

const SCOPES: [(Scope, &str); 4] = [
    (Scope::Node, "Settings of a node"),
    (Scope::Topic, "Settings of a topic"),
    (Scope::Group, "Settings of a group"),
    (
        Scope::ClientMetrics,
        "Settings of a client metrics subscription",
    ),
];

/// `docs/settings.md`.
pub fn settings_markdown() -> String {
    let mut page = String::from(SETTINGS_HEAD);
    for (scope, heading) in SCOPES {
        writeln!(page, "\n## {heading}").ok();
        for (part, definitions) in Catalogue::parts(scope) {
            if scope == Scope::Node {
                writeln!(page, "\n### {part}").ok();
            }
            page.push_str("\n| setting | type | default | allowed | changes | honoured | |\n");
            page.push_str("|---|---|---|---|---|---|---|\n");
            for definition in definitions {
                page.push_str(&settings_row(scope, definition));
            }
        }
    }
    page
}

const SETTINGS_HEAD: &str = "\
# Settings

Generated from the catalogue in `crates/metadata/src/config`; change it there.

Values come from four places, the later ones winning: defaults, `server.properties`, the environment \
(`KAFKA_CFG_NAME` by Bitnami's rule, `KAFKA_NAME` by the Apache image's, `OTTLA_NAME` for our own), \
`--override NAME=VALUE`. What is set while the cluster runs wins over all of them: for all brokers, then for \
one broker, then for a topic or group.

*changes*: where Kafka's tools may set a new value while the cluster runs: `broker` for one broker, `cluster` \
for one broker or for all, `restart` nowhere. Settings of topics, groups and subscriptions may always be set. \
*honoured*: code reads the value. A setting that is known and not honoured yet says so once at start. \
*(internal)*: for tests, in no document of Kafka's.
";

fn settings_row(scope: Scope, definition: &Definition) -> String {
    let internal = if definition.shown == Shown::Internal {
        " (internal)"
    } else {
        ""
    };
    format!(
        "| `{}`{internal} | {} | {} | {} | {} | {} | {} |\n",
        definition.name,
        definition.kind.name(),
        default(definition),
        allowed(definition),
        changes(scope, definition),
        if Catalogue::is_honoured(scope, definition.name) {
            "yes"
        } else {
            "no"
        },
        definition.doc.replace('|', "\\|"),
    )
}

fn default(definition: &Definition) -> String {
    match definition.start {
        Start::Required => "must be set".to_owned(),
        Start::Null => "null".to_owned(),
        Start::Value("") => "empty".to_owned(),
        Start::Value(text) => format!("`{text}`"),
    }
}

fn allowed(definition: &Definition) -> String {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match definition.check {
        Check::Any if definition.kind == Kind::Boolean => "`true`, `false`".to_owned(),
        Check::Any => String::new(),
        Check::AtLeast(least) => format!("at least {least}"),
        Check::Between(least, most) => format!("{least} to {most}"),
        Check::BetweenDecimals(least, most) => format!("{least} to {most}"),
        Check::OneOf(of) | Check::OneOfAnyCase(of) => words(of),
        Check::Items { of, may_be_empty } => {
            let of = of.map(words);
            let empty = if may_be_empty {
                None
            } else {
                Some("not empty".to_owned())
            };
            of.into_iter().chain(empty).collect::<Vec<_>>().join("; ")
        }
        Check::NotEmpty => "not empty".to_owned(),
        Check::GzipLevel => "1 to 9, or -1".to_owned(),
        Check::ThrottledReplicas => "`partition:broker,…` or `*`".to_owned(),
        Check::ShareOffsetReset => "`earliest`, `latest`, `by_duration:PnDTnHnMn.nS`".to_owned(),
        Check::QuorumVoters => "`id@host:port,…`".to_owned(),
        Check::HostPorts => "`host:port,…`".to_owned(),
    }
}

fn changes(scope: Scope, definition: &Definition) -> &'static str {
    match (scope, definition.dynamic) {
        (Scope::Node, Dynamic::ReadOnly) => "restart",
        (Scope::Node, Dynamic::PerBroker) => "broker",
        (Scope::Node, Dynamic::ClusterWide) => "cluster",
        _ => "always",
    }
}

/// The half of `docs/compatibility.md` that is about settings.
pub fn settings_compatibility_markdown() -> String {
    let mut page = String::from(
        "## Settings\n\n\
         Every setting of Kafka 4.3 is known: read, checked, described and altered as Kafka does it. \
         *Honoured* means that code reads the value; the others are kept and have no effect yet. \
         Types, defaults and meaning are in [settings.md](settings.md).\n",
    );
    for (scope, heading) in SCOPES {
        let all: Vec<_> = Catalogue::all(scope).collect();
        let is_honoured = |one: &&Definition| Catalogue::is_honoured(scope, one.name);
        let n_honoured = all.iter().copied().filter(is_honoured).count();
        writeln!(
            page,
            "\n### {heading}: {n_honoured} of {} honoured\n",
            all.len()
        )
        .ok();
        page.push_str("| setting | honoured |\n|---|---|\n");
        for definition in all {
            let word = if is_honoured(&definition) {
                "yes"
            } else {
                "no"
            };
            writeln!(page, "| `{}` | {word} |", definition.name).ok();
        }
    }
    page
}
