//! Which partitions are meant: a list of `TOPIC:PARTITIONS`, or a topic and numbers.

use anyhow::{Context, bail};
use regex_lite::Regex;

use crate::commands::connect::topic_pattern;

/// A partition is taken if one of the rules takes it.
#[derive(Debug)]
pub(super) struct Filter(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    topic: Regex,
    numbers: Numbers,
}

#[derive(Debug, PartialEq, Eq)]
enum Numbers {
    All,
    Some(Vec<i32>),
    /// The end is not among them.
    Range(i32, i32),
}

impl Filter {
    /// A topic's pattern and numbers; no numbers are all.
    pub(super) fn of_topic(topic: Option<&str>, numbers: Option<&str>) -> anyhow::Result<Self> {
        let numbers = match numbers.filter(|numbers| !numbers.is_empty()) {
            None => Numbers::All,
            Some(text) => {
                let list: Result<_, _> = text.split(',').map(str::parse).collect();
                Numbers::Some(list.ok().with_context(|| {
                    format!(
                        "--partitions expects a comma separated list of numeric partition ids, but \
                         received: {text}"
                    )
                })?)
            }
        };
        let topic = topic_pattern(topic.unwrap_or(".*"))?;
        Ok(Self(vec![Rule { topic, numbers }]))
    }

    pub(super) fn of_patterns(patterns: &str) -> anyhow::Result<Self> {
        let rules = patterns.split(',').map(Rule::read);
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    pub(super) fn takes(&self, topic: &str, number: i32) -> bool {
        self.0
            .iter()
            .any(|rule| rule.topic.is_match(topic) && rule.numbers.take(number))
    }
}

impl Rule {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (topic, numbers) = match text.split_once(':') {
            Some((topic, numbers)) => match Numbers::read(numbers) {
                Some(numbers) => (topic, numbers),
                None => bail!("Invalid rule specification: {text}"),
            },
            None => (text, Numbers::All),
        };
        let topic = if topic.is_empty() { ".*" } else { topic };
        let topic = topic_pattern(topic)?;
        Ok(Self { topic, numbers })
    }
}

impl Numbers {
    /// `3`, `1-3`, `1-`, `-3`, or nothing.
    fn read(text: &str) -> Option<Self> {
        let bound = |text: &str, default: i32| match text {
            "" => Some(default),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        match text.split_once('-') {
            Some((first, end)) => Some(Self::Range(bound(first, 0)?, bound(end, i32::MAX)?)),
            None if text.is_empty() => Some(Self::All),
            None => Some(Self::Some(vec![bound(text, 0)?])),
        }
    }

    fn take(&self, number: i32) -> bool {
        match self {
            Self::All => true,
            Self::Some(list) => list.contains(&number),
            Self::Range(first, end) => (*first..*end).contains(&number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_partitions() {
        let filter = Filter::of_patterns("events:1-3,orders:0,log.*:5-,:-1,all").unwrap();
        for (topic, number, is_taken) in [
            ("events", 1, true),
            ("events", 3, false),
            ("orders", 0, true),
            ("orders", 1, false),
            ("log.a", 7, true),
            ("log.a", 4, false),
            ("other", 0, true),
            ("other", 1, false),
            ("all", 99, true),
            ("allx", 99, false),
        ] {
            assert_eq!(filter.takes(topic, number), is_taken, "{topic}:{number}");
        }
        for bad in ["a:b", "a:1-2-3", "a:+1", "a:1:2"] {
            assert!(Filter::of_patterns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_topic_and_numbers() {
        let filter = Filter::of_topic(Some("a|b"), Some("0,2")).unwrap();
        assert!(filter.takes("b", 2) && !filter.takes("b", 1) && !filter.takes("c", 0));
        assert!(Filter::of_topic(None, None).unwrap().takes("x", 9));
        assert!(Filter::of_topic(None, Some("one")).is_err());
    }
}
