//! Patterns of topics. All topics are held against them elsewhere, since there may be many; what
//! was found comes back and is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Refusal;

use super::advance::Around;
use super::check::UnfitRequest;
use super::subscribe::SubscriptionCount;
use super::{ConsumerGroup, Member, Resolved};
use crate::group::TopicImage;
use crate::group::topic_hash::TopicHashes;
use crate::group::turn::Turn;
use crate::pattern::whole_name;

/// How long a group's patterns are left alone after they have been resolved. Kafka's constant.
const REST_MS: i64 = 10_000;

/// What a heartbeat does to the pattern that its member is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternChange {
    None,
    /// Nobody knows yet what it stands for: the group's epoch waits for that.
    Changed,
    /// It is known, or there is none any more.
    Resolved,
}

/// Patterns of a group that are to be held against all topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternErrand {
    /// Whose they are.
    pub group: Arc<str>,
    patterns: Vec<Arc<str>>,
}

/// What they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPatterns {
    /// Whose they are.
    pub group: Arc<str>,
    found: BTreeMap<Arc<str>, Resolved>,
}

impl PatternErrand {
    /// Holds them against all topics of the metadata at `version`.
    pub fn resolve<'a>(
        &self,
        topics: impl Iterator<Item = &'a str>,
        version: i64,
        now_ms: i64,
    ) -> ResolvedPatterns {
        let compile = |pattern: &Arc<str>| Some((pattern.clone(), whole_name(pattern).ok()?));
        let compiled: Vec<_> = self.patterns.iter().filter_map(compile).collect();
        let nothing = || Resolved {
            topics: BTreeSet::new(),
            version,
            at_ms: now_ms,
        };
        let mut found: BTreeMap<Arc<str>, Resolved> = self
            .patterns
            .iter()
            .map(|pattern| (pattern.clone(), nothing()))
            .collect();
        for topic in topics {
            for (pattern, regex) in &compiled {
                if regex.is_match(topic)
                    && let Some(resolved) = found.get_mut(pattern)
                {
                    resolved.topics.insert(topic.into());
                }
            }
        }
        ResolvedPatterns {
            group: self.group.clone(),
            found,
        }
    }
}

impl ConsumerGroup {
    /// What becomes of the group's patterns, and which are to be resolved.
    pub(super) fn change_pattern(
        &self,
        before: &Member,
        after: &Member,
        around: &Around<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(PatternChange, Option<PatternErrand>), UnfitRequest> {
        let (old, new) = (before.pattern(), after.pattern());
        let mut change = PatternChange::None;
        let mut is_new = false;
        if before.pattern != after.pattern {
            change = PatternChange::Changed;
            if let Some(old) = old.filter(|old| self.has_one_subscriber(old)) {
                turn.write(self.pattern_record(old, None));
            }
            match new {
                Some(new) if !self.patterns.contains_key(new) => {
                    check_pattern(new)?;
                    is_new = true;
                }
                Some(new) if self.resolved.contains_key(new) => change = PatternChange::Resolved,
                None if old.is_some() => change = PatternChange::Resolved,
                _ => {}
            }
        }
        // Counted first: there may be many, and hardly ever is it time to look at them.
        let n_subscribed = self.n_patterns_after(old, new);
        let is_due = !around.is_resolving
            && n_subscribed > 0
            && self.is_resolving_due(is_new, n_subscribed, around.topics, turn);
        let errand = is_due.then(|| PatternErrand {
            group: self.id.clone(),
            patterns: self.patterns_after(old, new).into_iter().collect(),
        });
        Ok((change, errand))
    }

    fn patterns_after(&self, old: Option<&Arc<str>>, new: Option<&Arc<str>>) -> BTreeSet<Arc<str>> {
        let goes = |pattern: &Arc<str>| Some(pattern) == old && self.has_one_subscriber(pattern);
        let stay = self.patterns.keys().filter(|pattern| !goes(pattern));
        stay.chain(new).cloned().collect()
    }

    fn n_patterns_after(&self, old: Option<&Arc<str>>, new: Option<&Arc<str>>) -> usize {
        let goes = old != new && old.is_some_and(|old| self.has_one_subscriber(old));
        let comes = new.is_some_and(|new| !self.patterns.contains_key(new));
        self.patterns.len() + usize::from(comes) - usize::from(goes)
    }

    fn has_one_subscriber(&self, pattern: &str) -> bool {
        self.patterns.get(pattern) == Some(&1)
    }

    fn is_resolving_due(
        &self,
        is_new: bool,
        n_subscribed: usize,
        topics: &dyn TopicImage,
        turn: &Turn<'_>,
    ) -> bool {
        let now_ms = turn.now.wall_ms;
        // All are resolved together, so any of them says when.
        let Some(last) = self.resolved.values().next() else {
            return true;
        };
        let interval_ms = i64::from(turn.settings.consumer.regex_refresh_interval_ms);
        now_ms > last.at_ms.saturating_add(REST_MS)
            && (is_new
                || n_subscribed != self.resolved.len()
                || last.version < topics.created_version()
                || now_ms > last.at_ms.saturating_add(interval_ms))
    }

    /// Writes down what patterns stand for, and moves the group on if that is something else than
    /// before. Whether it does.
    pub(in crate::group) fn take_resolved(
        &self,
        resolved: &ResolvedPatterns,
        topics: &dyn TopicImage,
        hashes: &mut TopicHashes,
        turn: &mut Turn<'_>,
    ) -> bool {
        let mut names = self.subscribed.clone();
        let mut is_other = false;
        for (pattern, found) in &resolved.found {
            if !self.patterns.contains_key(pattern) {
                continue;
            }
            let known = self.resolved.get(pattern).map(|known| &known.topics);
            let known = known.cloned().unwrap_or_default();
            if known != found.topics {
                is_other = true;
                for topic in &known {
                    SubscriptionCount::change(&mut names, topic, |count| count.by_pattern -= 1);
                }
                for topic in &found.topics {
                    SubscriptionCount::change(&mut names, topic, |count| count.by_pattern += 1);
                }
            }
            turn.write(self.pattern_record(pattern, Some(found)));
        }
        let hash = hashes.of_group(names.keys(), topics);
        let moves_on = is_other || hash != self.metadata_hash;
        if moves_on {
            turn.write(self.epoch_record(self.epoch.saturating_add(1), hash));
        }
        moves_on
    }
}

fn check_pattern(pattern: &str) -> Result<(), UnfitRequest> {
    let unfit = |why| {
        let why = format!("SubscribedTopicRegex {pattern} is no regular expression: {why}.");
        UnfitRequest::new(Refusal::InvalidRegularExpression, why)
    };
    whole_name(pattern).map(drop).map_err(unfit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_protocol::{Text, Uuid};

    use super::*;
    use crate::group::settings::GroupSettings;
    use crate::group::timers::Timers;
    use crate::group::{TopicImage, Topics};
    use crate::ledger::{Now, When};

    struct NoTopics;

    impl Topics for NoTopics {
        fn id(&self, _: &str) -> Option<Uuid> {
            None
        }

        fn name(&self, _: Uuid) -> Option<Text> {
            None
        }

        fn has_partition(&self, _: &str, _: i32) -> bool {
            false
        }
    }

    impl TopicImage for NoTopics {
        fn n_partitions(&self, _: &str) -> i32 {
            0
        }

        fn racks(&self, _: &str, _: i32) -> Vec<Text> {
            Vec::new()
        }

        fn topics_version(&self) -> i64 {
            1
        }

        fn created_version(&self) -> i64 {
            1
        }
    }

    const RESOLVED_AT_MS: i64 = 1_000_000;

    /// Each member has the pattern of its place; all are resolved.
    fn group(patterns: impl Iterator<Item = String>) -> ConsumerGroup {
        let mut group = ConsumerGroup::new("g".into());
        for (n, pattern) in patterns.enumerate() {
            let found = Resolved {
                topics: BTreeSet::new(),
                version: 1,
                at_ms: RESOLVED_AT_MS,
            };
            group.resolve(&pattern, Some(found));
            let mut member = Member::new(format!("m{n}").into());
            member.pattern = Some(pattern.into());
            group.put(member);
        }
        group
    }

    /// What a member's heartbeat gives out to be resolved, so long after all were resolved.
    fn errand(group: &ConsumerGroup, member: &str, after_ms: i64) -> Option<PatternErrand> {
        let (settings, mut timers, mut tickets) = (GroupSettings::default(), Timers::default(), 0);
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: RESOLVED_AT_MS + after_ms,
        };
        let mut turn = Turn::new(now, &settings, &mut timers, &mut tickets, When::AtOnce);
        let around = Around {
            topics: &NoTopics,
            hashes: &mut TopicHashes::default(),
            is_resolving: false,
        };
        let member = &group.members[member];
        let changed = group.change_pattern(member, member, &around, &mut turn);
        changed.unwrap().1
    }

    #[test]
    fn heartbeats_in_a_group_of_a_great_many_patterns() {
        let group = group((0..100_000).map(|n| format!("p{n}")));
        for n in 0..100_000 {
            assert_eq!(errand(&group, &format!("m{n}"), REST_MS), None);
        }
        let refresh_ms = GroupSettings::default().consumer.regex_refresh_interval_ms;
        let all = errand(&group, "m7", i64::from(refresh_ms) + 1).unwrap();
        assert_eq!(all.patterns.len(), 100_000);
    }

    #[test]
    fn patterns_that_come_and_go_are_counted() {
        let mut group = group(["a", "b", "b"].into_iter().map(Into::into));
        let patterns = [None, Some("a"), Some("b"), Some("c")];
        let patterns = patterns.map(|it| it.map(Arc::<str>::from));
        let check = |group: &ConsumerGroup| {
            for old in patterns.iter().map(Option::as_ref) {
                for new in patterns.iter().map(Option::as_ref) {
                    let after = group.patterns_after(old, new).len();
                    assert_eq!(group.n_patterns_after(old, new), after, "{old:?} {new:?}");
                }
            }
        };
        check(&group);
        group.take("m0");
        check(&group);
    }

    #[test]
    fn every_pattern_is_answered_and_topics_match_as_a_whole() {
        let errand = PatternErrand {
            group: "g".into(),
            patterns: ["a.*", "b", "("].map(Into::into).into(),
        };
        let resolved = errand.resolve(["a", "ab", "bb", "ca"].into_iter(), 7, 9);
        let topics = |pattern: &str| {
            let topics = resolved.found[pattern].topics.iter();
            topics.map(|topic| &**topic).collect::<Vec<_>>()
        };
        assert_eq!(topics("a.*"), ["a", "ab"]);
        assert!(topics("b").is_empty() && topics("(").is_empty());
        assert_eq!(resolved.found["b"].version, 7);
    }
}
