//! The range assignor: of each topic, the members share the partitions in order.

use std::collections::BTreeMap;

/// Who gets what, by member id, topic and partition.
pub type Assigned = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Assigns the partitions of each topic to the members that are subscribed to it: in the order of
/// their ids, equal shares, one more for the first ones. Every client's range assignor does it like
/// this, so that groups of mixed clients agree whoever leads.
pub fn range(
    subscriptions: &BTreeMap<String, Vec<String>>,
    partitions: &BTreeMap<String, i32>,
) -> Assigned {
    let mut assigned: Assigned = subscriptions
        .keys()
        .map(|member| (member.clone(), BTreeMap::new()))
        .collect();
    for (topic, count) in partitions {
        let count = *count;
        let subscribed: Vec<&String> = subscriptions
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        let Ok(n) = i32::try_from(subscribed.len()) else {
            continue;
        };
        let mut next = 0;
        for (place, member) in (0..).zip(subscribed) {
            let share = count / n + i32::from(place < count % n);
            if share > 0
                && let Some(topics) = assigned.get_mut(member)
            {
                topics.insert(topic.clone(), (next..next + share).collect());
            }
            next += share;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: &[(&str, &[&str])], topics: &[(&str, i32)], expected: &str) {
        let subscriptions = members.iter().map(|(member, topics)| {
            (
                member.to_string(),
                topics.iter().map(ToString::to_string).collect(),
            )
        });
        let partitions = topics
            .iter()
            .map(|(topic, n)| (topic.to_string(), *n))
            .collect();
        let assigned = range(&subscriptions.collect(), &partitions);
        assert_eq!(format!("{assigned:?}"), expected);
    }

    #[test]
    fn partitions_are_shared_in_order() {
        check(
            &[("a", &["t", "u"]), ("b", &["t"])],
            &[("t", 3), ("u", 2)],
            r#"{"a": {"t": [0, 1], "u": [0, 1]}, "b": {"t": [2]}}"#,
        );
    }

    #[test]
    fn some_members_go_empty() {
        check(
            &[("a", &["t"]), ("b", &["t"])],
            &[("t", 1)],
            r#"{"a": {"t": [0]}, "b": {}}"#,
        );
        check(&[("a", &["missing"])], &[("t", 1)], r#"{"a": {}}"#);
    }
}
