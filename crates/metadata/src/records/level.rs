//! metadata.version: which records and which of their versions a cluster may write.

/// A level of metadata.version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(i16);

/// The names of the levels, from the oldest that Kafka 4 opens.
const NAMES: [&str; 24] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
    "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];

/// Levels whose records say what those of the level before could not.
const GIVES_ROOM: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

impl MetadataVersion {
    /// The feature's name in records and answers.
    pub const FEATURE: &'static str = "metadata.version";
    /// The oldest level that Kafka 4 opens (3.3-IV3).
    pub const MIN: Self = Self(7);
    /// The level of Kafka 4.3.1, and the newest that we write.
    pub const MAX: Self = Self(30);

    /// `None` outside of what we can write.
    pub fn from_level(level: i16) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&level)
            .then_some(Self(level))
    }

    /// From a name (`4.3-IV0`), a release (`4.3`: its last level) or a number.
    pub fn from_name(text: &str) -> Option<Self> {
        if let Ok(level) = text.parse() {
            return Self::from_level(level);
        }
        let release: Vec<&str> = text.splitn(3, '.').take(2).collect();
        let release = format!("{}-", release.join("."));
        let position = NAMES
            .iter()
            .rposition(|name| *name == text || name.starts_with(&release))?;
        i16::try_from(position)
            .ok()
            .map(|position| Self(Self::MIN.0 + position))
    }

    pub const fn level(self) -> i16 {
        self.0
    }

    pub fn name(self) -> &'static str {
        usize::try_from(self.0 - Self::MIN.0)
            .ok()
            .and_then(|position| NAMES.get(position).copied())
            .unwrap_or("unknown")
    }

    /// Whether going from `newer` down to this level would lose what records say: one of the levels
    /// in between gave them more room.
    pub fn loses_records_of(self, newer: Self) -> bool {
        let gives_room = |level: &i16| GIVES_ROOM.contains(level);
        (self.0 + 1..=newer.0).any(|level| gives_room(&level))
    }

    pub fn has_registration_changes(self) -> bool {
        self.0 >= 6
    }

    pub fn has_controlled_shutdown_state(self) -> bool {
        self.0 >= 7
    }

    /// No leader epoch bump when the in-sync set shrinks.
    pub fn skips_epoch_bump_on_shrink(self) -> bool {
        self.0 >= 12
    }

    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    pub fn has_scram(self) -> bool {
        self.0 >= 11
    }

    pub fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Replicas are assigned to directories (JBOD).
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Eligible leader replicas may be recorded; whether they are is a feature of its own.
    pub fn has_elr(self) -> bool {
        self.0 >= 23
    }

    pub fn has_cordoned_directories(self) -> bool {
        self.0 >= 30
    }
}

impl std::fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        assert_eq!(MetadataVersion::MIN.name(), "3.3-IV3");
        assert_eq!(MetadataVersion::MAX.name(), "4.3-IV0");
        assert_eq!(
            MetadataVersion::from_level(17).map(MetadataVersion::name),
            Some("3.7-IV2")
        );
    }

    #[test]
    fn a_level_that_gave_records_room_is_not_given_up() {
        let level = |n| MetadataVersion::from_level(n).unwrap();
        assert!(level(29).loses_records_of(level(30)));
        assert!(level(22).loses_records_of(level(26)));
        assert!(!level(23).loses_records_of(level(29)));
        assert!(!level(30).loses_records_of(level(7)));
        assert!(!level(30).loses_records_of(level(30)));
    }

    #[test]
    fn a_release_means_its_last_level() {
        for (text, level) in [
            ("4.0", Some(25)),
            ("4.3.1", Some(30)),
            ("3.7-IV2", Some(17)),
            ("21", Some(21)),
            ("2.8", None),
            ("4.4", None),
        ] {
            assert_eq!(
                MetadataVersion::from_name(text).map(MetadataVersion::level),
                level,
                "{text}"
            );
        }
    }
}
