//! What the members of a group are subscribed to, all together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConsumerGroup, Member};

/// How many ask for a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::group) struct SubscriptionCount {
    /// Members that name it.
    pub(super) by_name: usize,
    /// Patterns that match it.
    pub(super) by_pattern: usize,
}

impl SubscriptionCount {
    /// Changes the count of a topic; one that nobody asks for is not counted.
    pub(super) fn change(
        all: &mut BTreeMap<Arc<str>, Self>,
        topic: &Arc<str>,
        change: impl FnOnce(&mut Self),
    ) {
        let count = all.entry(topic.clone()).or_default();
        change(count);
        if *count == Self::default() {
            all.remove(topic);
        }
    }
}

/// What a group would be subscribed to.
#[derive(Debug, Clone)]
pub(super) struct Subscriptions {
    pub(super) topics: BTreeMap<Arc<str>, SubscriptionCount>,
    pub(super) patterns: BTreeMap<Arc<str>, usize>,
    pub(super) n_members: usize,
}

impl Subscriptions {
    /// Without a member that is in the group.
    pub(super) fn lose(&mut self, group: &ConsumerGroup, member: &Member) {
        for topic in member.topics.iter() {
            SubscriptionCount::change(&mut self.topics, topic, |count| count.by_name -= 1);
        }
        let Some(pattern) = member.pattern() else {
            return;
        };
        let Some(n) = self.patterns.get_mut(pattern) else {
            return;
        };
        *n -= 1;
        if *n > 0 {
            return;
        }
        // The pattern goes with the last member that is subscribed to it.
        self.patterns.remove(pattern);
        for topic in group
            .resolved
            .get(pattern)
            .into_iter()
            .flat_map(|it| &it.topics)
        {
            SubscriptionCount::change(&mut self.topics, topic, |count| count.by_pattern -= 1);
        }
    }

    fn gain(&mut self, group: &ConsumerGroup, member: &Member) {
        for topic in member.topics.iter() {
            SubscriptionCount::change(&mut self.topics, topic, |count| count.by_name += 1);
        }
        let Some(pattern) = member.pattern() else {
            return;
        };
        let n = self.patterns.entry(pattern.clone()).or_default();
        *n += 1;
        // What `lose` took away with the pattern comes back with it.
        if *n == 1 && group.patterns.contains_key(pattern) {
            for topic in group
                .resolved
                .get(pattern)
                .into_iter()
                .flat_map(|it| &it.topics)
            {
                SubscriptionCount::change(&mut self.topics, topic, |count| count.by_pattern += 1);
            }
        }
    }

    /// Whether all members want the same topics.
    pub(super) fn are_homogeneous(&self) -> bool {
        match self.patterns.values().next() {
            None => self
                .topics
                .values()
                .all(|count| count.by_name == self.n_members),
            Some(n) if *n == self.n_members => self
                .topics
                .values()
                .all(|count| count.by_pattern == 1 && count.by_name == 0),
            Some(_) => false,
        }
    }
}

impl ConsumerGroup {
    pub(super) fn subscriptions(&self) -> Subscriptions {
        Subscriptions {
            topics: self.subscribed.clone(),
            patterns: self.patterns.clone(),
            n_members: self.members.len(),
        }
    }

    /// With `after` in the place of `before`, which may be no member yet.
    pub(super) fn subscriptions_after(&self, before: &Member, after: &Member) -> Subscriptions {
        let mut all = self.subscriptions();
        let is_known = self.members.contains_key(&before.id);
        let takes_over = after
            .instance
            .as_deref()
            .and_then(|instance| self.static_member(instance))
            .filter(|holder| holder.id != after.id);
        match takes_over {
            Some(holder) => all.lose(self, holder),
            None if is_known => all.lose(self, before),
            None => all.n_members += 1,
        }
        all.gain(self, after);
        all
    }
}
