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

/// The command that a program of this name is; `None` for our own name, and any other.
pub(crate) fn command_of(program: &OsStr) -> Option<&'static str> {
    let name = Path::new(program).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    let known = SCRIPTS.iter().find(|(script, _)| *script == name);
    known.map(|(_, command)| *command)
}

/// The arguments as if our own name had been called, and whether a script's was.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, bool) {
    let mut given = given.into_iter();
    let program = given.next().unwrap_or_default();
    let command = command_of(&program);
    let own = [OsString::from("ottla")].into_iter();
    let own = own.chain(command.map(OsString::from));
    (own.chain(given).collect(), command.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (arguments, is_script) = arguments(given);
        assert_eq!(arguments, ["ottla", "topics", "--list"]);
        assert!(is_script);
    }
}
