//! The names by which we are called: a link named as one of Kafka's scripts is that script.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Kafka's script, and what of ours stands for it.
pub(crate) const SCRIPTS: &[(&str, &str)] = &[
    ("kafka-broker-api-versions", "api-versions"),
    ("kafka-client-metrics", "client-metrics"),
    ("kafka-cluster", "cluster"),
    ("kafka-configs", "configs"),
    ("kafka-console-consumer", "consume"),
    ("kafka-console-producer", "produce"),
    ("kafka-consumer-groups", "groups"),
    ("kafka-delete-records", "delete-records"),
    ("kafka-dump-log", "dump"),
    ("kafka-features", "features"),
    ("kafka-get-offsets", "get-offsets"),
    ("kafka-groups", "list-groups"),
    ("kafka-leader-election", "elect-leaders"),
    ("kafka-log-dirs", "log-dirs"),
    ("kafka-metadata-quorum", "quorum"),
    ("kafka-reassign-partitions", "reassign"),
    ("kafka-storage", "storage"),
    ("kafka-topics", "topics"),
    ("kafka-transactions", "transactions"),
];

/// The release whose scripts these are.
const KAFKA_VERSION: &str = "4.3.1";
/// One of them says its commit, too.
const KAFKA_VERSION_AND_COMMIT: &str = "4.3.1 (Commit:26b251a451ce941d)";
/// Those that begin with an action, and know no version.
const WITHOUT_VERSION: [&str; 4] = ["cluster", "features", "quorum", "storage"];

/// What a script says its version is; `None` where it takes that for an unknown flag.
pub(crate) fn version_of(command: &str) -> Option<&'static str> {
    match command {
        "transactions" => Some(KAFKA_VERSION_AND_COMMIT),
        command if WITHOUT_VERSION.contains(&command) => None,
        _ => Some(KAFKA_VERSION),
    }
}

/// The command that a program of this name is; `None` for our own name, and any other.
pub(crate) fn command_of(program: &OsStr) -> Option<&'static str> {
    let name = Path::new(program).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    let known = SCRIPTS.iter().find(|(script, _)| *script == name);
    known.map(|(_, command)| *command)
}

/// The arguments as if our own name had been called, and the command that a script's name is.
pub(crate) fn arguments(
    given: impl IntoIterator<Item = OsString>,
) -> (Vec<OsString>, Option<&'static str>) {
    let mut given = given.into_iter();
    let program = given.next().unwrap_or_default();
    let command = command_of(&program);
    let own = [OsString::from("ottla")].into_iter();
    let own = own.chain(command.map(OsString::from));
    (own.chain(given).collect(), command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_scripts_lists_them_all() {
        let page = include_str!("../../../docs/scripts.md");
        for (script, command) in SCRIPTS {
            let (script, command) = (format!("| `{script}.sh` |"), format!("`ottla {command}`"));
            let mut lines = page.lines();
            let is_listed = lines.any(|line| line.starts_with(&script) && line.contains(&command));
            assert!(is_listed, "{script} {command}");
        }
    }

    #[test]
    fn a_link_named_as_a_script_is_that_script() {
        for (program, command) in [
            ("/usr/bin/kafka-topics.sh", Some("topics")),
            ("kafka-topics", Some("topics")),
            ("./kafka-groups.sh", Some("list-groups")),
            ("/usr/bin/ottla", None),
            ("kafka-acls.sh", None),
            ("", None),
        ] {
            assert_eq!(command_of(OsStr::new(program)), command, "{program}");
        }
        let given = ["bin/kafka-topics.sh", "--list"].map(OsString::from);
        let (arguments, script) = arguments(given);
        assert_eq!(arguments, ["ottla", "topics", "--list"]);
        assert_eq!(script, Some("topics"));
        assert_eq!(version_of("topics"), Some("4.3.1"));
        assert_eq!(version_of("storage"), None);
    }
}
