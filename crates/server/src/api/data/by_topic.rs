//! What is answered of partitions, laid out topic by topic, where Kafka keeps the partitions of a request
//! in a map: a topic that is named twice is told once, and one without partitions not at all.

use std::collections::HashMap;

use ottla_protocol::Text;

/// In the order in which topics were first named.
#[derive(Debug)]
pub(super) struct ByTopic<P> {
    topics: Vec<(Text, Vec<P>)>,
    places: HashMap<Text, usize>,
}

impl<P> Default for ByTopic<P> {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<P> ByTopic<P> {
    pub(super) fn put(&mut self, topic: &Text, partition: P) {
        let next = self.topics.len();
        let place = *self.places.entry(topic.clone()).or_insert(next);
        match self.topics.get_mut(place) {
            Some((_, partitions)) => partitions.push(partition),
            None => self.topics.push((topic.clone(), vec![partition])),
        }
    }

    pub(super) fn lay_out<T>(self, topic: impl Fn(Text, Vec<P>) -> T) -> Vec<T> {
        let topics = self.topics.into_iter();
        topics
            .map(|(name, partitions)| topic(name, partitions))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_told_once_in_its_first_place() {
        let mut by_topic = ByTopic::default();
        for (topic, partition) in [("b", 0), ("a", 1), ("b", 2)] {
            by_topic.put(&Text::from_static(topic), partition);
        }
        let told = by_topic.lay_out(|topic, partitions| (topic.to_string(), partitions));
        assert_eq!(
            told,
            [("b".to_owned(), vec![0, 2]), ("a".to_owned(), vec![1])]
        );
    }
}
