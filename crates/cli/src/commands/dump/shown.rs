//! A message as JSON, as Kafka's tools show it, from its `Debug` text.
//!
//! The messages are plain structs that are defined once, and the derived `Debug` tells everything
//! that is in them; so no second description of every record is needed here. What `Debug` does not
//! know is in [`RULES`]: which fields a version lacks, and which are only written if they say
//! something. A test compares that list with the definitions.

use std::fmt::Debug;

use super::json::Json;

/// What `Debug` text of a message never is. It comes from our own structs, so this is for a struct
/// with a field of a new kind.
const UNREADABLE: &str = "(not shown)";
/// An id is 22 characters of base64.
const ID_LENGTH: usize = 22;
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A field that is not always there.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    part: &'static str,
    field: &'static str,
    versions: (i16, i16),
    /// The value with which it is left out, if it is tagged.
    unless: Option<Unless>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unless {
    Null,
    Empty,
    Number(i64),
    NoId,
}

macro_rules! rules {
    ($($part:literal $field:literal $first:literal..=$last:expr $(, unless $unless:expr)?;)*) => {
        const RULES: &[Rule] = &[$(Rule {
            part: $part,
            field: $field,
            versions: ($first, $last),
            unless: rules!(@ $($unless)?),
        },)*];
    };
    (@ $unless:expr) => { Some($unless) };
    (@) => { None };
}

const EVER: i16 = i16::MAX;

rules! {
    // The cluster's metadata.
    "RegisterBrokerRecord" "is_migrating_zk_broker" 2..=EVER;
    "RegisterBrokerRecord" "in_controlled_shutdown" 1..=EVER;
    "RegisterBrokerRecord" "log_dirs" 3..=EVER, unless Unless::Empty;
    "RegisterBrokerRecord" "cordoned_log_dirs" 4..=EVER, unless Unless::Null;
    "BrokerRegistrationChangeRecord" "fenced" 0..=EVER, unless Unless::Number(0);
    "BrokerRegistrationChangeRecord" "in_controlled_shutdown" 1..=EVER, unless Unless::Number(0);
    "BrokerRegistrationChangeRecord" "log_dirs" 2..=EVER, unless Unless::Empty;
    "BrokerRegistrationChangeRecord" "cordoned_log_dirs" 3..=EVER, unless Unless::Null;
    "BeginTransactionRecord" "name" 0..=EVER, unless Unless::Null;
    "AbortTransactionRecord" "reason" 0..=EVER, unless Unless::Null;
    "PartitionRecord" "leader_recovery_state" 0..=EVER, unless Unless::Number(0);
    "PartitionRecord" "directories" 1..=EVER;
    "PartitionRecord" "eligible_leader_replicas" 2..=EVER, unless Unless::Null;
    "PartitionRecord" "last_known_elr" 2..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "isr" 0..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "leader" 0..=EVER, unless Unless::Number(-2);
    "PartitionChangeRecord" "replicas" 0..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "removing_replicas" 0..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "adding_replicas" 0..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "leader_recovery_state" 0..=EVER, unless Unless::Number(-1);
    "PartitionChangeRecord" "eligible_leader_replicas" 2..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "last_known_elr" 2..=EVER, unless Unless::Null;
    "PartitionChangeRecord" "directories" 1..=EVER, unless Unless::Null;
    "LeaderChangeVoter" "voter_directory_id" 1..=EVER;

    // Groups.
    "OffsetCommitValue" "leader_epoch" 3..=EVER;
    "OffsetCommitValue" "expire_timestamp" 1..=1;
    "OffsetCommitValue" "topic_id" 4..=EVER, unless Unless::NoId;
    "GroupMetadataValue" "current_state_timestamp" 2..=EVER;
    "MemberMetadata" "group_instance_id" 3..=EVER;
    "MemberMetadata" "rebalance_timeout" 1..=EVER;
    "ConsumerProtocolSubscription" "owned_partitions" 1..=EVER;
    "ConsumerProtocolSubscription" "generation_id" 2..=EVER;
    "ConsumerProtocolSubscription" "rack_id" 3..=EVER;
    "ConsumerGroupMetadataValue" "metadata_hash" 0..=EVER, unless Unless::Number(0);
    "ConsumerGroupMemberMetadataValue" "classic_member_metadata" 0..=EVER, unless Unless::Null;
    "ConsumerGroupTargetAssignmentMetadataValue" "assignment_timestamp" 0..=EVER, unless Unless::Number(0);
    "CurrentTopicPartitions" "assignment_epochs" 0..=EVER, unless Unless::Null;
    "ShareGroupTargetAssignmentMetadataValue" "assignment_timestamp" 0..=EVER, unless Unless::Number(0);
    "StreamsGroupMetadataValue" "validated_topology_epoch" 0..=EVER, unless Unless::Number(-1);
    "StreamsGroupMetadataValue" "last_assignment_configs" 0..=EVER, unless Unless::Null;
    "StreamsGroupMetadataValue" "stored_description_topology_epoch" 0..=EVER, unless Unless::Number(-1);
    "StreamsGroupMetadataValue" "failed_description_topology_epoch" 0..=EVER, unless Unless::Number(-1);
    "StreamsGroupTargetAssignmentMetadataValue" "assignment_timestamp" 0..=EVER, unless Unless::Number(0);
    "CurrentTasks" "assignment_epochs" 0..=EVER, unless Unless::Null;
}

impl Unless {
    fn is(self, value: &Json) -> bool {
        match self {
            Self::Null => *value == Json::Null,
            Self::Empty => *value == Json::List(vec![]),
            Self::Number(number) => *value == Json::number(number),
            Self::NoId => *value == Json::Text(NO_ID.to_owned()),
        }
    }
}

/// The message as JSON, with the fields that it has in this version.
pub(super) fn json(message: &impl Debug, version: i16) -> Json {
    let text = format!("{message:?}");
    let mut parser = Parser {
        rest: &text,
        version,
    };
    match parser.message() {
        Some(json) => json,
        None => Json::Text(UNREADABLE.to_owned()),
    }
}

struct Parser<'a> {
    rest: &'a str,
    version: i16,
}

impl Parser<'_> {
    /// The whole is always a struct, whatever its name looks like.
    fn message(&mut self) -> Option<Json> {
        let name = self.word();
        self.after_name(&name)
    }

    fn value(&mut self) -> Option<Json> {
        if self.rest.starts_with('"') {
            return Some(Json::Text(
                String::from_utf8_lossy(&self.quoted()?).into_owned(),
            ));
        }
        if self.rest.starts_with('[') {
            return self.list();
        }
        let word = self.word();
        match word.as_str() {
            "None" => Some(Json::Null),
            "Some" if self.take("(") => {
                let value = self.value()?;
                self.take(")").then_some(value)
            }
            "b" if self.rest.starts_with('"') => Some(Json::Bytes(self.quoted()?)),
            "true" | "false" => Some(Json::Plain(word)),
            _ if self.rest.starts_with(" {") => self.after_name(&word),
            _ if word.len() == ID_LENGTH => Some(Json::Text(word)),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Some(Json::Plain(word))
            }
            _ => Some(Json::Object(vec![])),
        }
    }

    /// Letters of names, numbers and ids.
    fn word(&mut self) -> String {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    /// ` { field: value, … }`, or nothing for a struct without fields.
    fn after_name(&mut self, name: &str) -> Option<Json> {
        let mut fields = Vec::new();
        if !self.take(" { ") {
            return Some(Json::Object(fields));
        }
        loop {
            let field = self.word();
            if !self.take(": ") {
                return None;
            }
            let value = self.value()?;
            if is_written(name, &field, &value, self.version) {
                let place = place(name, &field, &fields);
                fields.insert(place, (kafkas_name(name, &field), value));
            }
            if self.take(" }") {
                return Some(Json::Object(fields));
            }
            if !self.take(", ") {
                return None;
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        let mut items = Vec::new();
        if self.take("[]") {
            return Some(Json::List(items));
        }
        let mut is_first = true;
        loop {
            let mark = if std::mem::take(&mut is_first) {
                "["
            } else {
                ", "
            };
            if !self.take(mark) {
                return None;
            }
            items.push(self.value()?);
            if self.take("]") {
                return Some(Json::List(items));
            }
        }
    }

    /// What stands between quotes, with escapes undone.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        if !self.take("\"") {
            return None;
        }
        loop {
            let c = match self.char()? {
                '"' => return Some(bytes),
                '\\' => match self.char()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'x' => {
                        let (high, low) = (self.char()?, self.char()?);
                        let (high, low) = (high.to_digit(16)?, low.to_digit(16)?);
                        bytes.push(u8::try_from(high * 16 + low).ok()?);
                        continue;
                    }
                    'u' => self.code_point()?,
                    other => other,
                },
                c => c,
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// `{1f600}`
    fn code_point(&mut self) -> Option<char> {
        let is_open = self.take("{");
        let digits = self.word();
        let is_whole = is_open && self.take("}");
        let number = u32::from_str_radix(&digits, 16).ok().filter(|_| is_whole)?;
        char::from_u32(number)
    }
}

fn is_written(part: &str, field: &str, value: &Json, version: i16) -> bool {
    let mut rules = RULES.iter();
    match rules.find(|rule| rule.part == part && rule.field == field) {
        Some(rule) => {
            let exists = (rule.versions.0..=rule.versions.1).contains(&version);
            exists && !rule.unless.is_some_and(|unless| unless.is(value))
        }
        None => true,
    }
}

/// Names that are not simply ours in camel case: three old keys say `group` for what is `groupId`
/// everywhere else, and one word has two capitals.
fn kafkas_name(part: &str, field: &str) -> String {
    match (part, field) {
        ("LegacyOffsetCommitKey" | "OffsetCommitKey" | "GroupMetadataKey", "group_id") => {
            "group".to_owned()
        }
        (_, "kraft_version") => "kRaftVersion".to_owned(),
        (_, "kraft_version_feature") => "kRaftVersionFeature".to_owned(),
        _ => camel_case(field),
    }
}

/// Where Kafka shows a field: behind those before it, but for one that came to its record late.
fn place(part: &str, field: &str, fields: &[(String, Json)]) -> usize {
    let is_late = (part, field) == ("PartitionChangeRecord", "directories");
    let eligible = ["eligibleLeaderReplicas", "lastKnownElr"];
    let earlier = fields
        .iter()
        .position(|(name, _)| eligible.contains(&name.as_str()));
    earlier.filter(|_| is_late).unwrap_or(fields.len())
}

fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut is_next_large = false;
    for c in name.chars() {
        if c == '_' {
            is_next_large = true;
        } else if std::mem::take(&mut is_next_large) {
            camel.push(c.to_ascii_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_coordinators::group::records::OffsetCommitValue;
    use ottla_metadata::records::{
        EndTransactionRecord, PartitionChangeRecord, PartitionRecord, UserScramCredentialRecord,
    };
    use ottla_protocol::{Text, Uuid};

    fn shown(message: &impl Debug, version: i16) -> String {
        json(message, version).to_string()
    }

    #[test]
    fn fields_are_shown_where_they_are_written() {
        let change = PartitionChangeRecord {
            partition_id: 3,
            isr: Some(vec![1, 2]),
            leader: -1,
            ..PartitionChangeRecord::default()
        };
        assert_eq!(
            shown(&change, 2),
            "{\"partitionId\":3,\"topicId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"isr\":[1,2],\"leader\":-1}"
        );
        let partition = PartitionRecord {
            directories: vec![Uuid::from_u128(1)],
            ..PartitionRecord::default()
        };
        assert!(!shown(&partition, 0).contains("directories"));
        assert!(shown(&partition, 1).contains("\"directories\":[\"AAAAAAAAAAAAAAAAAAAAAQ\"]"));
        assert_eq!(shown(&EndTransactionRecord::default(), 0), "{}");
        let commit = OffsetCommitValue {
            metadata: Text::from_static("a\"b\\c\nü\u{1}'"),
            ..OffsetCommitValue::default()
        };
        assert!(shown(&commit, 3).contains("\"metadata\":\"a\\\"b\\\\c\\nü\\u0001'\""));
        assert!(!shown(&commit, 4).contains("expireTimestamp"));
    }

    #[test]
    fn bytes_are_base64() {
        let user = UserScramCredentialRecord {
            salt: Bytes::from_static(b"\0\"\\\xffz"),
            ..UserScramCredentialRecord::default()
        };
        assert!(shown(&user, 0).contains("\"salt\":\"ACJc/3o=\""));
    }

    /// The definitions, read as text: attributes, then one `pub name: Type,` a line.
    #[test]
    fn the_rules_are_those_of_the_definitions() {
        let sources = [
            include_str!("../../../../metadata/src/records/acls.rs"),
            include_str!("../../../../metadata/src/records/configs.rs"),
            include_str!("../../../../metadata/src/records/credentials.rs"),
            include_str!("../../../../metadata/src/records/features.rs"),
            include_str!("../../../../metadata/src/records/nodes.rs"),
            include_str!("../../../../metadata/src/records/producer_ids.rs"),
            include_str!("../../../../metadata/src/records/quotas.rs"),
            include_str!("../../../../metadata/src/records/topics.rs"),
            include_str!("../../../../coordinators/src/group/records/classic.rs"),
            include_str!("../../../../coordinators/src/group/records/consumer.rs"),
            include_str!("../../../../coordinators/src/group/records/share.rs"),
            include_str!("../../../../coordinators/src/group/records/streams.rs"),
            include_str!("../../../../protocol/src/messages/consumer_protocol.rs"),
            include_str!("../../../../protocol/src/messages/control_records.rs"),
        ];
        let mut defined: Vec<_> = sources
            .iter()
            .flat_map(|source| conditional(source))
            .collect();
        let known = RULES.iter().map(|rule| {
            let (first, last) = rule.versions;
            let is_tagged = rule.unless.is_some();
            (
                rule.part.to_owned(),
                rule.field.to_owned(),
                first,
                last,
                is_tagged,
            )
        });
        let mut known: Vec<_> = known.collect();
        defined.sort();
        known.sort();
        assert_eq!(defined, known);
    }

    /// Struct, field, first and last version, tagged.
    type Conditional = (String, String, i16, i16, bool);

    fn conditional(source: &str) -> Vec<Conditional> {
        let (mut part, mut attribute) = (String::new(), String::new());
        let mut found = Vec::new();
        for line in source.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("pub struct ") {
                part = name.split([' ', ';']).next().unwrap_or_default().to_owned();
            } else if let Some(text) = line.strip_prefix("#[field(") {
                attribute = text.trim_end_matches(")]").to_owned();
            } else if let Some((field, _)) =
                line.strip_prefix("pub ").and_then(|f| f.split_once(':'))
            {
                let attribute = std::mem::take(&mut attribute);
                let versions = attribute.split("versions = \"").nth(1);
                let versions = versions.and_then(|rest| rest.split('"').next());
                let (first, last) = range(versions.unwrap_or("0+"));
                let is_tagged = attribute.contains("tag = ");
                if first > 0 || last != EVER || is_tagged {
                    found.push((part.clone(), field.to_owned(), first, last, is_tagged));
                }
            }
        }
        found
    }

    fn range(text: &str) -> (i16, i16) {
        match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(first), _) => (first.parse().unwrap(), EVER),
            (None, Some((first, last))) => (first.parse().unwrap(), last.parse().unwrap()),
            (None, None) => (text.parse().unwrap(), text.parse().unwrap()),
        }
    }
}
