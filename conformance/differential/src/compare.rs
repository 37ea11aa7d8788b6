//! The answers of two brokers to the same requests, field by field.

use std::collections::{BTreeMap, HashMap};

use crate::argued;
use crate::broker::SILENCE;
use crate::leaves::Leaf;
use crate::story::Step;

/// Fields that two honest brokers fill differently: ids and addresses that they choose, clocks,
/// sizes, and free text. Of these only whether they are filled is compared.
const THEIR_OWN: &[&str] = &[
    "throttle_time_ms",
    "cluster_id",
    "topic_id",
    "host",
    "port",
    "rack",
    "controller_id",
    "session_id",
    "subscription_id",
    "client_instance_id",
    "producer_id",
    "transaction_start_time_ms",
    "member_id",
    "leader",
    "client_host",
    "log_dir",
    "total_bytes",
    "usable_bytes",
    "partition_size",
    "last_timestamp",
    "log_append_time_ms",
    "last_fetch_timestamp",
    "last_caught_up_timestamp",
    "replica_directory_id",
    "high_watermark",
    "log_end_offset",
    "leader_epoch",
    "finalized_features_epoch",
    "error_message",
    "batch_index_error_message",
    "documentation",
    "records",
    "broker_epoch",
];

/// Free text as a rule; where a step has words, what both must say alike.
const WORDS: &str = "error_message";

/// Fields that tell the elements of a list apart.
const NAMES: &[&str] = &[
    "name",
    "topic_name",
    "topic",
    "resource_name",
    "group_id",
    "transactional_id",
    "key",
    "api_key",
    "partition_index",
    "partition",
    "index",
    "node_id",
    "broker_id",
    "replica_id",
    "user",
    "mechanism",
    "entity_type",
];

/// Settings that say where a broker is and who: no two have the same.
const WHERE_AND_WHO: &[&str] = &[
    "listeners",
    "advertised.listeners",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
    "broker.rack",
];

/// One difference, and the requests in which it shows.
#[derive(Default)]
struct Seen {
    versions: Vec<i16>,
    times: usize,
}

/// What became of the answers of one API.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub compared: usize,
    /// Differing fields with a reason on record, and without one.
    pub argued: usize,
    pub unexplained: usize,
}

/// By key of the API.
pub type Tallies = BTreeMap<i16, Tally>;

/// Prints what differs; true if nothing does without a reason on record.
pub fn compare(ours: &str, mine: &[Step], theirs: &str, other: &[Step]) -> (bool, Tallies) {
    let mut tallies = Tallies::new();
    let mut differences: BTreeMap<(String, String), Seen> = BTreeMap::new();
    let mut argued: BTreeMap<&str, usize> = BTreeMap::new();
    let mut compared = 0;
    let (mine, other) = (by_key(mine), by_key(other));
    for (key, step) in mine
        .iter()
        .chain(other.iter().filter(|(key, _)| !mine.contains_key(*key)))
    {
        let tally = tallies.entry(step.key).or_default();
        // What only one was asked came of an answer before that differed.
        let lines = match (mine.get(key), other.get(key)) {
            (Some(one), Some(two)) => {
                compared += 1;
                tally.compared += 1;
                between(one, two)
            }
            (Some(_), None) => vec!["asked | (not asked)".to_owned()],
            _ => vec!["(not asked) | asked".to_owned()],
        };
        for line in lines {
            if let Some(reason) = argued::difference(step.api, &step.label, &line) {
                *argued.entry(reason).or_default() += 1;
                tally.argued += 1;
                continue;
            }
            tally.unexplained += 1;
            let about = (format!("{} ({})", step.api, step.label), line);
            let seen = differences.entry(about).or_default();
            seen.times += 1;
            if !seen.versions.contains(&step.version) {
                seen.versions.push(step.version);
            }
        }
    }
    println!("\n{compared} answers compared: {ours} | {theirs}");
    let mut about = String::new();
    for ((request, line), seen) in &differences {
        if about != *request {
            println!("{request}");
            about.clone_from(request);
        }
        println!("    {line}    in {:?}", seen.versions);
    }
    for (reason, times) in &argued {
        println!("argued, {times} times: {reason}");
    }
    println!("{} differences", differences.len());
    // Where nothing was compared, nothing is proved.
    (differences.is_empty() && compared > 0, tallies)
}

/// The same request may be sent more than once: its place among its equals belongs to the key.
fn by_key(steps: &[Step]) -> BTreeMap<(&'static str, i16, &str, usize), &Step> {
    let mut times: BTreeMap<(&str, i16, &str), usize> = BTreeMap::new();
    let mut keyed = BTreeMap::new();
    for step in steps.iter().filter(|step| step.is_compared) {
        let time = times
            .entry((step.api, step.version, &step.label))
            .or_default();
        keyed.insert((step.api, step.version, step.label.as_str(), *time), step);
        *time += 1;
    }
    keyed
}

fn between(mine: &Step, theirs: &Step) -> Vec<String> {
    let has_words = mine.has_words && theirs.has_words;
    let (mine, theirs) = match (&mine.outcome, &theirs.outcome) {
        (Ok(mine), Ok(theirs)) => (flat(mine, has_words), flat(theirs, has_words)),
        // One that hangs up and one that says nothing are not alike, nor is it well where both are silent.
        (Err(mine), Err(theirs)) => {
            let is_silent = mine == SILENCE || theirs == SILENCE;
            return is_silent
                .then(|| format!("{mine} | {theirs}"))
                .into_iter()
                .collect();
        }
        (Ok(_), Err(why)) => return vec![format!("answered | {why}")],
        (Err(why), Ok(_)) => return vec![format!("{why} | answered")],
    };
    let paths = mine
        .keys()
        .chain(theirs.keys().filter(|path| !mine.contains_key(*path)));
    let absent = "(absent)".to_owned();
    paths
        .filter_map(|path| {
            let one = mine.get(path).unwrap_or(&absent);
            let two = theirs.get(path).unwrap_or(&absent);
            (one != two).then(|| format!("{path}: {one} | {two}"))
        })
        .collect()
}

/// Path to value; lists of things with a name are told apart by it, not by their place.
fn flat(leaves: &[Leaf], has_words: bool) -> BTreeMap<String, String> {
    let mut flat: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Names::of(leaves);
    for leaf in leaves {
        let path = names.named(&leaf.path);
        let field = leaf.place.1.as_str();
        let is_their_own =
            THEIR_OWN.contains(&field) && !(has_words && field == WORDS) || is_where_or_who(&path);
        let value = match is_their_own && !says_nothing(&leaf.value) {
            true => "(filled)",
            false => &leaf.value,
        };
        // `Some` and its content have one path: the content is what stays.
        flat.insert(path, value.to_owned());
    }
    flat
}

fn is_where_or_who(path: &str) -> bool {
    let setting = path
        .split("configs[")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    setting.is_some_and(|setting| WHERE_AND_WHO.contains(&setting))
}

fn says_nothing(value: &str) -> bool {
    matches!(
        value,
        "None" | "0" | "-1" | "\"\"" | "[]" | "b\"\"" | "AAAAAAAAAAAAAAAAAAAAAA"
    )
}

/// `configs[3].value` becomes `configs[retention.ms].value`: two brokers list settings, features
/// and APIs in orders of their own. The second of a name is `configs[retention.ms #2]`.
struct Names<'a> {
    /// Path to value.
    values: HashMap<&'a str, &'a str>,
    /// Path of an element to what stands in its brackets; `None` where it has no name.
    shown: HashMap<String, Option<String>>,
    /// List and name, and how often that was seen.
    seen: HashMap<(String, String), usize>,
}

impl<'a> Names<'a> {
    fn of(leaves: &'a [Leaf]) -> Self {
        let said = leaves.iter().filter(|leaf| leaf.value != "Some");
        Self {
            values: said
                .map(|leaf| (leaf.path.as_str(), leaf.value.as_str()))
                .collect(),
            shown: HashMap::new(),
            seen: HashMap::new(),
        }
    }

    fn named(&mut self, path: &str) -> String {
        let mut named = String::new();
        let mut rest = path;
        let mut walked = String::new();
        while let Some(end) = rest.find(']') {
            let (element, tail) = rest.split_at(end + 1);
            walked.push_str(element);
            match self.shown(&walked) {
                Some(name) => {
                    let list = element.rfind('[').unwrap_or(0);
                    named.push_str(&format!("{}[{name}]", &element[..list]));
                }
                None => named.push_str(element),
            }
            rest = tail;
        }
        named + rest
    }

    fn shown(&mut self, element: &str) -> Option<String> {
        if let Some(shown) = self.shown.get(element) {
            return shown.clone();
        }
        let shown = self.name_of(element).map(|name| {
            let list = &element[..element.rfind('[').unwrap_or(0)];
            let times = self
                .seen
                .entry((list.to_owned(), name.clone()))
                .or_default();
            *times += 1;
            match *times {
                1 => name,
                times => format!("{name} #{times}"),
            }
        });
        self.shown.insert(element.to_owned(), shown.clone());
        shown
    }

    fn name_of(&self, element: &str) -> Option<String> {
        NAMES
            .iter()
            .find_map(|field| self.said(&format!("{element}.{field}")))
            .or_else(|| self.entity_of(element))
    }

    /// Whom a quota is for: it may take two to say that.
    fn entity_of(&self, element: &str) -> Option<String> {
        let said = |at: usize, field| self.said(&format!("{element}.entity[{at}].{field}"));
        let mut entity: Vec<String> = (0..)
            .map_while(|at| Some((said(at, "entity_type")?, said(at, "entity_name"))))
            .map(|(kind, name)| format!("{kind} {}", name.unwrap_or_default()))
            .collect();
        entity.sort();
        (!entity.is_empty()).then(|| entity.join(", "))
    }

    fn said(&self, path: &str) -> Option<String> {
        let value = self.values.get(path)?;
        Some(value.trim_matches('"').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, between, compare};
    use crate::leaves::leaves;
    use crate::story::{Kind, Step};

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Setting {
        name: &'static str,
        value: i32,
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Answer {
        throttle_time_ms: i32,
        settings: Vec<Setting>,
    }

    fn step(throttle_time_ms: i32, settings: &[(&'static str, i32)]) -> Step {
        let settings = settings.iter().map(|(name, value)| Setting {
            name,
            value: *value,
        });
        let answer = Answer {
            throttle_time_ms,
            settings: settings.collect(),
        };
        Step {
            kind: Kind::Told,
            key: 7,
            api: "A",
            version: 0,
            label: String::new(),
            is_compared: true,
            has_words: false,
            outcome: Ok(leaves(&answer)),
        }
    }

    #[test]
    fn order_and_clocks_do_not_matter_but_values_do() {
        let one = step(7, &[("a", 1), ("b", 2)]);
        assert_eq!(
            between(&one, &step(9, &[("b", 2), ("a", 1)])),
            Vec::<String>::new()
        );
        assert_eq!(
            between(&one, &step(9, &[("b", 3), ("a", 1)])),
            ["settings[b].value: 2 | 3"]
        );
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Quota {
        entity: Vec<Entity>,
        value: f64,
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Entity {
        entity_type: &'static str,
        entity_name: Option<&'static str>,
    }

    #[test]
    fn quotas_are_told_apart_by_whom_they_are_for() {
        let quota = |who: &[(&'static str, Option<&'static str>)], value| Quota {
            entity: who
                .iter()
                .map(|&(entity_type, entity_name)| Entity {
                    entity_type,
                    entity_name,
                })
                .collect(),
            value,
        };
        let told = |quotas: [Quota; 3]| Step {
            outcome: Ok(leaves(&quotas)),
            ..step(7, &[])
        };
        let all = ("user", None);
        let (a, x) = (("user", Some("a")), ("client-id", Some("x")));
        let one = told([quota(&[all], 1.0), quota(&[a], 2.0), quota(&[a, x], 3.0)]);
        let same = told([quota(&[x, a], 3.0), quota(&[a], 2.0), quota(&[all], 1.0)]);
        assert_eq!(between(&one, &same), Vec::<String>::new());
        let other = told([quota(&[x, a], 3.0), quota(&[a], 1.0), quota(&[all], 1.0)]);
        assert_eq!(between(&one, &other).len(), 1);
    }

    #[test]
    fn who_is_told_twice_is_told_apart() {
        let once = step(7, &[("a", 1)]);
        assert_eq!(
            between(&once, &step(7, &[("a", 1), ("a", 1)])),
            [
                "settings[a #2].name: (absent) | \"a\"",
                "settings[a #2].value: (absent) | 1"
            ]
        );
    }

    #[test]
    fn what_only_one_was_asked_and_nothing_at_all_is_no_agreement() {
        let one = || step(7, &[("a", 1)]);
        assert!(compare("ours", &[one()], "theirs", &[one()]).0);
        assert!(!compare("ours", &[one(), one()], "theirs", &[one()]).0);
        assert!(!compare("ours", &[one()], "theirs", &[one(), one()]).0);
        assert!(!compare("ours", &[], "theirs", &[]).0);
    }

    #[test]
    fn silence_is_a_difference_and_two_ends_of_connections_are_none() {
        let broken = |why: &str| Step {
            outcome: Err(why.to_owned()),
            ..step(7, &[])
        };
        let (end, silence) = ("no answer: end of file", crate::broker::SILENCE);
        assert!(between(&broken(end), &broken("no answer: reset")).is_empty());
        assert_eq!(between(&broken(end), &broken(silence)).len(), 1);
        assert_eq!(between(&broken(silence), &broken(silence)).len(), 1);
        assert_eq!(between(&broken(silence), &step(7, &[])).len(), 1);
    }

    #[test]
    fn every_api_has_its_own_tally() {
        let other = step(7, &[("a", 2)]);
        let (is_same, tallies) = compare("ours", &[step(7, &[("a", 1)])], "theirs", &[other]);
        let tally = Tally {
            compared: 1,
            argued: 0,
            unexplained: 1,
        };
        assert_eq!((is_same, tallies.get(&7)), (false, Some(&tally)));
    }
}
