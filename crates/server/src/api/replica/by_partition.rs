//! Answers that tell what became of each partition, topic by topic.

use ottla_metadata::controller::{ByPartition, Outcome};
use ottla_protocol::{Refused, Text};

use crate::api::code;

/// What is refused as a whole is refused for each partition that was named.
pub(super) fn refuse_each<P>(
    topics: Vec<(String, Vec<P>)>,
    index: impl Fn(P) -> i32,
    refused: &Refused,
) -> ByPartition {
    let topics = topics.into_iter();
    topics
        .map(|(topic, partitions)| {
            let partitions = partitions.into_iter();
            let outcomes = partitions.map(|one| (index(one), Err(refused.clone())));
            (topic, outcomes.collect())
        })
        .collect()
}

/// The code of every partition.
pub(super) fn codes(outcomes: &ByPartition) -> impl Iterator<Item = i16> {
    let outcomes = outcomes.iter().flat_map(|(_, outcomes)| outcomes);
    outcomes.map(|(_, outcome)| code(outcome))
}

/// The part of the answer for each topic, made of the parts for its partitions.
pub(super) fn lay_out<P, T>(
    outcomes: ByPartition,
    partition: impl Fn(i32, Outcome<()>) -> P,
    topic: impl Fn(Text, Vec<P>) -> T,
) -> Vec<T> {
    let topics = outcomes.into_iter();
    topics
        .map(|(name, outcomes)| {
            let outcomes = outcomes.into_iter();
            let partitions = outcomes.map(|(index, outcome)| partition(index, outcome));
            topic(name.into(), partitions.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Refusal;

    use super::*;

    #[test]
    fn what_is_refused_as_a_whole_is_refused_everywhere() {
        let named = vec![("t".to_owned(), vec![0, 3]), ("u".to_owned(), Vec::new())];
        let refused = refuse_each(named, |index| index, &Refusal::RequestTimedOut.into());
        assert_eq!(codes(&refused).collect::<Vec<_>>(), [7, 7]);
        let told = lay_out(
            refused,
            |index, outcome| (index, code(&outcome)),
            |topic, partitions| (topic.to_string(), partitions),
        );
        assert_eq!(
            told,
            [
                ("t".to_owned(), vec![(0, 7), (3, 7)]),
                ("u".to_owned(), Vec::new())
            ]
        );
    }
}
