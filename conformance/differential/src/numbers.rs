//! How often each API was asked, well and badly, and what came of it: the table by API.
//!
//! The sweep promises one good question and five bad ones for every API in every version that is
//! served. The promise is counted here and not in the sweep, so that a question which was left out
//! shows.

use std::collections::BTreeMap;

use crate::Served;
use crate::compare::{Tallies, Tally};
use crate::story::{Kind, Step};

/// The least number of each for one API in one version.
const GOOD: usize = 1;
const BAD: usize = 5;

/// Versions that a broker names and nobody is served in: key, first, last.
const NAMED_ONLY: &[(i16, i16, i16)] = &[
    // Kafka names Produce 0 to 2 for librdkafka's sake (KAFKA-18659) and refuses them.
    (0, 0, 2),
];

/// Requests that have too little in them to be wrong in five ways: key, first and last version, why. The
/// bytes around them can be spoilt all the same, and then count.
const LITTLE: &[(i16, i16, i16, &str)] = &[
    (16, 0, 3, "ListGroups has no field before v4"),
    (18, 0, 2, "ApiVersions has no field before v3"),
    (60, 0, 0, "DescribeCluster v0 is one yes or no"),
    (71, 0, 0, "GetTelemetrySubscriptions v0 is one id"),
    (74, 0, 0, "ListConfigResources has no field before v1"),
];

/// The questions to one API in one version.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    good: usize,
    bad: usize,
    malformed: usize,
}

impl Count {
    fn of(steps: &[Step], key: i16, version: i16) -> Self {
        let mut count = Self::default();
        for step in steps {
            if (step.key, step.version) != (key, version) {
                continue;
            }
            match step.kind {
                Kind::Good => count.good += 1,
                Kind::Bad => count.bad += 1,
                Kind::Malformed => count.malformed += 1,
                Kind::Told => {}
            }
        }
        count
    }

    fn is_enough(self, key: i16, version: i16) -> bool {
        let is_little = LITTLE
            .iter()
            .any(|(of, from, to, _)| *of == key && (*from..=*to).contains(&version));
        let bad = match is_little {
            true => self.bad + self.malformed,
            false => self.bad,
        };
        self.good >= GOOD && bad >= BAD
    }
}

/// What is asked of one version of each API, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    EveryVersion,
    /// The first and the last version that are served: for a look that has to be short.
    Ends,
}

impl Extent {
    pub fn has(self, key: i16, (from, to): (i16, i16), version: i16) -> bool {
        let is_served = (from..=to).contains(&version) && !is_named_only(key, version);
        let is_end = || version == to || !(from..version).any(|at| !is_named_only(key, at));
        is_served && (self == Self::EveryVersion || is_end())
    }
}

/// The table by API, and what is wrong with the numbers in it.
pub struct Numbers {
    pub table: String,
    problems: Vec<String>,
}

impl Numbers {
    pub fn of(extent: Extent, served: &Served, steps: &[Step], tallies: &Tallies) -> Self {
        let mut numbers = Self {
            table: format!(
                "| key | {:30} | versions | good |   bad | malformed | fewest bad | compared | argued | unexplained |\n\
                 |---|---|---|---|---|---|---|---|---|---|\n",
                "API"
            ),
            problems: refused(steps),
        };
        let mut all = (Count::default(), Tally::default());
        for (key, (from, to)) in served {
            let versions = (*from..=*to).filter(|version| extent.has(*key, (*from, *to), *version));
            let counts: BTreeMap<i16, Count> = versions
                .map(|version| (version, Count::of(steps, *key, version)))
                .collect();
            let name = steps.iter().find(|step| step.key == *key);
            let name = name.map_or("?", |step| step.api.trim_end_matches("Request"));
            let tally = tallies.get(key).copied().unwrap_or_default();
            numbers.line(*key, name, &counts, tally, &mut all);
            for (version, count) in counts {
                if !count.is_enough(*key, version) {
                    let few = format!("too few: {name} ({key}) v{version}: {count:?}");
                    numbers.problems.push(few);
                }
            }
        }
        let n_apis = format!("{} APIs", served.len());
        numbers.row("all", &n_apis, "", &all.0, None, all.1);
        numbers
    }

    /// Prints them; true if all that is served was asked often enough, and the good questions were good.
    pub fn print(&self) -> bool {
        println!("\n{}", self.table);
        for (.., why) in LITTLE {
            println!("malformed ones count as bad: {why}");
        }
        for problem in &self.problems {
            println!("WRONG: {problem}");
        }
        self.problems.is_empty()
    }

    fn line(
        &mut self,
        key: i16,
        name: &str,
        counts: &BTreeMap<i16, Count>,
        tally: Tally,
        all: &mut (Count, Tally),
    ) {
        let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
        let count = Count {
            good: sum(|count| count.good),
            bad: sum(|count| count.bad),
            malformed: sum(|count| count.malformed),
        };
        let fewest = counts.values().map(|count| count.bad).min();
        let first = counts.keys().next().copied().unwrap_or_default();
        let last = counts.keys().last().copied().unwrap_or_default();
        let versions = format!("{first}-{last}");
        self.row(&key.to_string(), name, &versions, &count, fewest, tally);
        all.0.good += count.good;
        all.0.bad += count.bad;
        all.0.malformed += count.malformed;
        all.1.compared += tally.compared;
        all.1.argued += tally.argued;
        all.1.unexplained += tally.unexplained;
    }

    fn row(
        &mut self,
        key: &str,
        name: &str,
        versions: &str,
        count: &Count,
        fewest: Option<usize>,
        tally: Tally,
    ) {
        self.table.push_str(&format!(
            "| {key:3} | {name:30} | {versions:8} | {:4} | {:5} | {:9} | {:>10} | {:8} | {:6} | {:11} |\n",
            count.good,
            count.bad,
            count.malformed,
            fewest.map(|n| n.to_string()).unwrap_or_default(),
            tally.compared,
            tally.argued,
            tally.unexplained
        ));
    }
}

/// Good questions that were answered with an error, or not at all: they were not as good as was thought.
fn refused(steps: &[Step]) -> Vec<String> {
    let mut refused = Vec::new();
    for step in steps.iter().filter(|step| step.kind == Kind::Good) {
        let wrong = match &step.outcome {
            Err(why) => Some(why.clone()),
            Ok(leaves) => leaves
                .iter()
                .find(|leaf| leaf.place.1.ends_with("error_code") && leaf.value != "0")
                .map(|leaf| format!("{} is {}", leaf.path, leaf.value)),
        };
        if let Some(why) = wrong {
            let (api, version) = (step.api, step.version);
            refused.push(format!(
                "a good question was refused: {api} v{version}: {why}"
            ));
        }
    }
    refused
}

fn is_named_only(key: i16, version: i16) -> bool {
    NAMED_ONLY
        .iter()
        .any(|(of, from, to)| *of == key && (*from..=*to).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::{Count, Extent, Numbers, refused};
    use crate::Served;
    use crate::compare::Tallies;
    use crate::leaves::leaves;
    use crate::story::{Kind, Step};

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Answer {
        error_code: i16,
    }

    fn step(kind: Kind, version: i16, error_code: i16) -> Step {
        Step {
            kind,
            key: 3,
            api: "A",
            version,
            label: String::new(),
            is_compared: true,
            has_words: false,
            outcome: Ok(leaves(&Answer { error_code })),
        }
    }

    fn asked(version: i16, bad: usize) -> Vec<Step> {
        let good = std::iter::once(step(Kind::Good, version, 0));
        good.chain((0..bad).map(|_| step(Kind::Bad, version, 42)))
            .collect()
    }

    #[test]
    fn a_version_that_was_asked_too_seldom_shows() {
        let served = Served::from([(3, (0, 1))]);
        let steps = |bad| {
            asked(0, 5)
                .into_iter()
                .chain(asked(1, bad))
                .collect::<Vec<_>>()
        };
        let is_enough = |swept, steps: Vec<Step>| {
            Numbers::of(swept, &served, &steps, &Tallies::new()).problems == Vec::<String>::new()
        };
        assert!(is_enough(Extent::EveryVersion, steps(5)));
        assert!(!is_enough(Extent::EveryVersion, steps(4)));
        assert!(!is_enough(Extent::EveryVersion, asked(0, 5)));
        assert!(!is_enough(Extent::Ends, asked(0, 5)));
    }

    #[test]
    fn malformed_bytes_count_where_there_is_little_to_spoil() {
        let count = Count {
            good: 1,
            bad: 0,
            malformed: 5,
        };
        assert!(count.is_enough(18, 2));
        assert!(!count.is_enough(18, 3));
    }

    #[test]
    fn a_good_question_that_is_refused_shows() {
        assert_eq!(refused(&asked(0, 5)).len(), 0);
        assert_eq!(refused(&[step(Kind::Good, 0, 42)]).len(), 1);
    }

    #[test]
    fn what_is_named_and_never_served_is_not_asked_for() {
        let served = Served::from([(0, (0, 2))]);
        let numbers = Numbers::of(Extent::EveryVersion, &served, &[], &Tallies::new());
        assert_eq!(numbers.problems, Vec::<String>::new());
    }

    #[test]
    fn the_ends_are_the_first_and_the_last_that_are_served() {
        let ends = |key, served: (i16, i16)| {
            let has = |version: &i16| Extent::Ends.has(key, served, *version);
            (served.0..=served.1).filter(has).collect::<Vec<_>>()
        };
        assert_eq!(ends(3, (0, 13)), [0, 13]);
        assert_eq!(ends(3, (4, 4)), [4]);
        assert_eq!(ends(0, (0, 13)), [3, 13]);
    }
}
