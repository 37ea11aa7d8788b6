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

/// Prints the table; true if all that is served was asked often enough, and the good questions were good.
pub fn report(served: &Served, steps: &[Step], tallies: &Tallies) -> bool {
    let mut problems = refused(steps);
    println!(
        "\n{:4}{:32}{:9}{:>6}{:>6}{:>10}{:>12}{:>10}{:>8}{:>12}",
        "key",
        "API",
        "versions",
        "good",
        "bad",
        "malformed",
        "fewest bad",
        "compared",
        "argued",
        "unexplained"
    );
    let mut all = (Count::default(), Tally::default());
    for (key, (from, to)) in served {
        let versions = (*from..=*to).filter(|version| !is_named_only(*key, *version));
        let counts: BTreeMap<i16, Count> = versions
            .map(|version| (version, Count::of(steps, *key, version)))
            .collect();
        let name = steps.iter().find(|step| step.key == *key);
        let name = name.map_or("?", |step| step.api.trim_end_matches("Request"));
        let tally = tallies.get(key).copied().unwrap_or_default();
        print_line(*key, name, &counts, tally, &mut all);
        for (version, count) in counts {
            if !count.is_enough(*key, version) {
                problems.push(format!("too few: {name} ({key}) v{version}: {count:?}"));
            }
        }
    }
    let (count, tally) = all;
    println!(
        "{:45}{:>6}{:>6}{:>10}{:>12}{:>10}{:>8}{:>12}",
        "all",
        count.good,
        count.bad,
        count.malformed,
        "",
        tally.compared,
        tally.argued,
        tally.unexplained
    );
    for (.., why) in LITTLE {
        println!("malformed ones count as bad: {why}");
    }
    for problem in &problems {
        println!("WRONG: {problem}");
    }
    problems.is_empty()
}

fn print_line(
    key: i16,
    name: &str,
    counts: &BTreeMap<i16, Count>,
    tally: Tally,
    all: &mut (Count, Tally),
) {
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    let (good, bad) = (sum(|count| count.good), sum(|count| count.bad));
    let malformed = sum(|count| count.malformed);
    let fewest = counts.values().map(|count| count.bad).min();
    let first = counts.keys().next().copied().unwrap_or_default();
    let last = counts.keys().last().copied().unwrap_or_default();
    println!(
        "{key:<4}{name:32}{:9}{good:>6}{bad:>6}{malformed:>10}{:>12}{:>10}{:>8}{:>12}",
        format!("{first}-{last}"),
        fewest.unwrap_or_default(),
        tally.compared,
        tally.argued,
        tally.unexplained
    );
    all.0.good += good;
    all.0.bad += bad;
    all.0.malformed += malformed;
    all.1.compared += tally.compared;
    all.1.argued += tally.argued;
    all.1.unexplained += tally.unexplained;
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
    use super::{Count, refused, report};
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
        assert!(report(&served, &steps(5), &Tallies::new()));
        assert!(!report(&served, &steps(4), &Tallies::new()));
        assert!(!report(&served, &asked(0, 5), &Tallies::new()));
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
        assert!(report(&served, &[], &Tallies::new()));
    }
}
