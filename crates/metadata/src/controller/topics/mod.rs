//! Create, delete, add partitions.

mod create;
mod delete;
mod grow;
mod assign;

pub use create::{CreatedTopic, NewTopic, PARTITIONS_PER_REQUEST_MAX};
pub use delete::{DeleteTarget, DeletedTopic};
pub use grow::NewPartitions;

use std::collections::BTreeMap;

use ottla_protocol::{Refusal, Refused};

use super::{Outcome, RECORDS_PER_REQUEST_MAX};

/// By name: each name once, in the order of the request, names that came twice last.
pub type ByName<T> = Vec<(String, Outcome<T>)>;

/// A directory name must hold a topic's, a dash and a partition number.
const LENGTH_MAX: usize = 249;

/// Whether Kafka takes this as a topic name, and if not, why.
pub fn check_topic_name(name: &str) -> Result<(), Refused> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > LENGTH_MAX {
        format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )
    } else {
        return Ok(());
    };
    Err(Refused::new(
        Refusal::InvalidTopicException,
        format!("Topic name is invalid: {why}"),
    ))
}

/// What was named once, in order, and the names that were named more often.
fn by_name<T>(all: &[T], name: impl Fn(&T) -> &String) -> (Vec<&T>, Vec<String>) {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(name(one)).or_default() += 1;
    }
    let twice = counts
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(name, _)| (*name).clone())
        .collect();
    let once = all
        .iter()
        .filter(|one| counts.get(name(one)) == Some(&1))
        .collect();
    (once, twice)
}

fn duplicates<T>(names: Vec<String>) -> impl Iterator<Item = (String, Outcome<T>)> {
    names.into_iter().map(|name| {
        (
            name,
            Err(Refused::new(
                Refusal::InvalidRequest,
                "Duplicate topic name.",
            )),
        )
    })
}

fn refuse_all<T, R>(all: &[&T], name: impl Fn(&T) -> &String, refused: &Refused) -> ByName<R> {
    all.iter()
        .map(|one| (name(one).clone(), Err(refused.clone())))
        .collect()
}

/// A name for words that are said of each partition: no more of it than a topic's may have.
pub(super) fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LENGTH_MAX)]
}

/// Refuses a request that names more partitions than the controller looks at in one go. Those of
/// which it has nothing to write are more than [`RECORDS_PER_REQUEST_MAX`] at times, but not by orders.
///
/// # Errors
/// `POLICY_VIOLATION`
pub fn check_number<P>(topics: &[(String, Vec<P>)]) -> Result<(), Refused> {
    const NAMED_MAX: usize = 10 * RECORDS_PER_REQUEST_MAX;
    let n_partitions: usize = topics.iter().map(|(_, partitions)| partitions.len()).sum();
    match n_partitions <= NAMED_MAX {
        true => Ok(()),
        false => Err(too_many_records()),
    }
}

pub(super) fn too_many_records() -> Refused {
    Refused::new(
        Refusal::PolicyViolation,
        "Unable to perform excessively large batch operation.",
    )
}
