//! What Kafka's scripts print of a failure: the class of its exception, and its words. Needed only
//! where they stand on standard output, which other scripts read.

use ottla_client::ClientError;
use ottla_protocol::{Refusal, Refused};

const ERRORS: &str = "org.apache.kafka.common.errors";

/// `org.apache.kafka.common.errors.NameException: words`
pub(crate) fn exception(error: &ClientError) -> String {
    match error {
        ClientError::Refused { refused, .. } => {
            let class = class(refused.refusal);
            format!("{ERRORS}.{class}: {}", words(refused))
        }
        ClientError::Unserved { .. } => format!("{ERRORS}.UnsupportedVersionException: {error}"),
        ClientError::Invalid(_) => format!("{ERRORS}.InvalidRequestException: {error}"),
        ClientError::BadAnswer { .. } => format!("org.apache.kafka.common.KafkaException: {error}"),
        ClientError::Unreachable { .. }
        | ClientError::NobodyAnswers { .. }
        | ClientError::TimedOut { .. } => format!("{ERRORS}.TimeoutException: {error}"),
    }
}

/// The name of its exception, as a log directory's error is named.
pub(crate) fn class_path(refusal: Refusal) -> String {
    format!("{ERRORS}.{}", class(refusal))
}

/// What the broker said, else what Kafka says.
pub(crate) fn words(refused: &Refused) -> &str {
    match &refused.message {
        Some(message) => message,
        None => default_words(refused.refusal),
    }
}

/// Where scripts print the words of the code itself.
pub(crate) fn default_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        Refusal::GroupIdNotFound => "The group id does not exist.",
        Refusal::NonEmptyGroup => "The group is not empty.",
        Refusal::InvalidGroupId => "The configured groupId is invalid.",
        Refusal::GroupAuthorizationFailed => "Group authorization failed.",
        other => other.message(),
    }
}

/// The order in which Kafka's scripts print what they keep in a hash table: it looks like none, and is
/// always the same.
pub(crate) fn hash_order(names: Vec<String>) -> Vec<String> {
    let table = grown(16, names.len());
    in_table(names, String::as_str, table)
}

/// The same for a table that was made for as many as there are, and filled from one of the other
/// kind, as answers of Kafka's brokers are.
pub(crate) fn hash_order_of<T>(items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    let n = items.len();
    let items = in_table(items, &key, grown(16, n));
    in_table(items, key, grown(n.next_power_of_two(), n))
}

/// A table doubles when it is full to three quarters.
fn grown(mut table: usize, n: usize) -> usize {
    while n * 4 > table * 3 {
        table *= 2;
    }
    table
}

fn in_table<T>(mut items: Vec<T>, key: impl Fn(&T) -> &str, table: usize) -> Vec<T> {
    let slot = |item: &T| hash(key(item)) as usize & (table - 1);
    items.sort_by_key(slot);
    items
}

/// Java's hash of a string, spread as its hash tables spread it.
fn hash(text: &str) -> u32 {
    let units = text.encode_utf16();
    let hash = units.fold(0_u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    });
    hash ^ (hash >> 16)
}

/// Most classes are named as the codes are.
fn class(refusal: Refusal) -> String {
    match refusal {
        Refusal::UnknownServerError => "UnknownServerException".to_owned(),
        Refusal::CorruptMessage => "CorruptRecordException".to_owned(),
        Refusal::RequestTimedOut => "TimeoutException".to_owned(),
        Refusal::MessageTooLarge => "RecordTooLargeException".to_owned(),
        Refusal::StaleControllerEpoch => "ControllerMovedException".to_owned(),
        Refusal::OffsetMetadataTooLarge => "OffsetMetadataTooLarge".to_owned(),
        Refusal::RecordListTooLarge => "RecordBatchTooLargeException".to_owned(),
        Refusal::TopicAlreadyExists => "TopicExistsException".to_owned(),
        Refusal::InvalidConfig => "InvalidConfigurationException".to_owned(),
        Refusal::OutOfOrderSequenceNumber => "OutOfOrderSequenceException".to_owned(),
        Refusal::DuplicateSequenceNumber => "DuplicateSequenceException".to_owned(),
        Refusal::InvalidProducerIdMapping => "InvalidPidMappingException".to_owned(),
        Refusal::InvalidTransactionTimeout => "InvalidTxnTimeoutException".to_owned(),
        Refusal::NonEmptyGroup => "GroupNotEmptyException".to_owned(),
        Refusal::InvalidRegularExpression => "InvalidRegularExpression".to_owned(),
        other => named(other.name()),
    }
}

/// `GROUP_ID_NOT_FOUND` → `GroupIdNotFoundException`; what ends in a word that says so already, or
/// in a failure, is not lengthened by two.
fn named(code: &str) -> String {
    let code = ["_EXCEPTION", "_FAILED", "_FAILURE", "_ERROR"]
        .into_iter()
        .find_map(|suffix| code.strip_suffix(suffix))
        .unwrap_or(code);
    let mut name = String::new();
    for word in code.split('_') {
        let (first, rest) = word.split_at(word.len().min(1));
        name.push_str(first);
        name.push_str(&rest.to_ascii_lowercase());
    }
    name.push_str("Exception");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_kafka_names_them() {
        for (refusal, name) in [
            (Refusal::GroupIdNotFound, "GroupIdNotFoundException"),
            (Refusal::NonEmptyGroup, "GroupNotEmptyException"),
            (Refusal::OffsetOutOfRange, "OffsetOutOfRangeException"),
            (Refusal::PolicyViolation, "PolicyViolationException"),
            (Refusal::InvalidTopicException, "InvalidTopicException"),
            (
                Refusal::TopicAuthorizationFailed,
                "TopicAuthorizationException",
            ),
            (Refusal::KafkaStorageError, "KafkaStorageException"),
        ] {
            assert_eq!(class(refusal), name);
        }
    }

    #[test]
    fn what_lies_in_a_hash_table_has_an_order() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            hash_order(names("events log.one stamped orders")),
            names("log.one stamped orders events")
        );
        assert_eq!(hash_order(names("fresh modern")), names("modern fresh"));
        assert_eq!(
            hash_order_of(
                names("producer_byte_rate request_percentage consumer_byte_rate"),
                |it| it
            ),
            names("consumer_byte_rate request_percentage producer_byte_rate")
        );
    }

    #[test]
    fn an_exception_has_the_brokers_words_or_kafkas() {
        let bare = ClientError::refused("x", Refusal::GroupIdNotFound);
        assert_eq!(
            exception(&bare),
            "org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist."
        );
        let told = ClientError::refused(
            "x",
            Refused::new(Refusal::GroupIdNotFound, "Group g is gone."),
        );
        assert!(exception(&told).ends_with(": Group g is gone."));
    }
}
