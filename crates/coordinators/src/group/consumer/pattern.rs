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
            if let Some(old) = old.filter(|old| self.patterns.get(*old) == Some(&1)) {
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
        let subscribed = self.patterns_after(old, new);
        let is_due = !around.is_resolving
            && !subscribed.is_empty()
            && self.is_resolving_due(is_new, subscribed.len(), around.topics, turn);
        let errand = is_due.then(|| PatternErrand {
            group: self.id.clone(),
            patterns: subscribed.into_iter().collect(),
        });
        Ok((change, errand))
    }

    fn patterns_after(&self, old: Option<&Arc<str>>, new: Option<&Arc<str>>) -> BTreeSet<Arc<str>> {
        let is_last =
            |pattern: &Arc<str>| Some(pattern) == old && self.patterns.get(pattern) == Some(&1);
        let stay = self.patterns.keys().filter(|pattern| !is_last(pattern));
        stay.chain(new).cloned().collect()
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
    use super::*;

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
