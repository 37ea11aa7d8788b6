//! What was proved: per API and version, whether it was understood, and which fields were filled.

use std::collections::{BTreeMap, BTreeSet};

use crate::argued;
use crate::broker::Broken;
use crate::leaves::Leaf;
use crate::schema::Schema;

type Place = (String, String);

/// One API at one version.
#[derive(Default)]
struct Pair {
    asked: usize,
    answered: usize,
    request: BTreeSet<Place>,
    response: BTreeSet<Place>,
}

/// One API: the names of its two messages, its versions, and what happened in each.
struct Api {
    key: i16,
    request: &'static str,
    response: &'static str,
    versions: (i16, i16),
    pairs: BTreeMap<i16, Pair>,
}

pub struct Coverage {
    schema: Schema,
    apis: BTreeMap<i16, Api>,
    problems: Vec<String>,
}

/// The name, key and versions of an API, for its line in the table.
#[derive(Clone, Copy)]
pub struct Line {
    pub key: i16,
    pub request: &'static str,
    pub response: &'static str,
    pub versions: (i16, i16),
}

impl Coverage {
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            apis: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    pub fn asked(&mut self, line: Line, version: i16, request: &[Leaf]) {
        let filled = self.filled(request);
        let pair = self.pair(line, version);
        pair.asked += 1;
        pair.request.extend(filled);
    }

    pub fn answered(&mut self, line: Line, version: i16, response: &[Leaf]) {
        let filled = self.filled(response);
        let pair = self.pair(line, version);
        pair.answered += 1;
        pair.response.extend(filled);
    }

    pub fn broken(&mut self, line: Line, version: i16, label: &str, why: &Broken) {
        self.problems
            .push(format!("{} v{version} ({label}): {why}", line.request));
    }

    fn pair(&mut self, line: Line, version: i16) -> &mut Pair {
        let api = self.apis.entry(line.key).or_insert_with(|| Api {
            key: line.key,
            request: line.request,
            response: line.response,
            versions: line.versions,
            pairs: BTreeMap::new(),
        });
        api.pairs.entry(version).or_default()
    }

    fn filled(&self, leaves: &[Leaf]) -> Vec<Place> {
        let says = |leaf: &&Leaf| !self.schema.is_default(&leaf.place, &leaf.value);
        leaves
            .iter()
            .filter(says)
            .map(|leaf| leaf.place.clone())
            .collect()
    }

    /// Prints the table and what it lacks; true if nothing went wrong and every lack is argued.
    pub fn report(&self) -> bool {
        println!(
            "{:4}{:28}{:8}{:>9}{:>9}{:>10}{:>10}",
            "key", "API", "versions", "requests", "answers", "sent", "received"
        );
        for api in self.apis.values() {
            self.report_api(api);
        }
        println!(
            "\nrequests: how many were sent; answers: how many came, decoded, and encoded to the same bytes;\n\
             sent, received: fields that held another value than the default, of those that exist,\n\
             each counted once in every version.\n"
        );
        let unargued = self.report_lacks();
        self.report_problems() && unargued == 0
    }

    /// Prints what went wrong; true if nothing did.
    pub fn report_problems(&self) -> bool {
        for problem in &self.problems {
            println!("WRONG: {problem}");
        }
        self.problems.is_empty()
    }

    fn report_api(&self, api: &Api) {
        let sum = |of: fn(&Pair) -> usize| api.pairs.values().map(of).sum::<usize>();
        let all = |name: &str| {
            let of = |version| self.schema.reachable(name, version).len();
            (api.versions.0..=api.versions.1).map(of).sum::<usize>()
        };
        let versions = format!("{}-{}", api.versions.0, api.versions.1);
        let sent = format!("{}/{}", self.seen(api, true), all(api.request));
        let received = format!("{}/{}", self.seen(api, false), all(api.response));
        println!(
            "{:<4}{:28}{versions:8}{:>9}{:>9}{sent:>10}{received:>10}",
            api.key,
            api.request.trim_end_matches("Request"),
            sum(|pair| pair.asked),
            sum(|pair| pair.answered),
        );
    }

    fn seen(&self, api: &Api, request: bool) -> usize {
        let name = if request { api.request } else { api.response };
        let of = |(version, pair): (&i16, &Pair)| {
            let seen = if request {
                &pair.request
            } else {
                &pair.response
            };
            let all = self.schema.reachable(name, *version);
            all.iter().filter(|place| seen.contains(place)).count()
        };
        api.pairs.iter().map(of).sum()
    }

    /// Prints what was not reached, each with its reason; counts those without one.
    fn report_lacks(&self) -> usize {
        let mut unargued = 0;
        for api in self.apis.values() {
            for request in [true, false] {
                for (place, versions) in self.lacks(api, request) {
                    let reason = argued::reason(&place.0, &place.1, &versions);
                    unargued += usize::from(reason.is_none());
                    println!(
                        "not reached: {}.{} in {}: {}",
                        place.0,
                        place.1,
                        spans(&versions),
                        reason.unwrap_or("NO REASON GIVEN")
                    );
                }
            }
            for version in api.versions.0..=api.versions.1 {
                if api
                    .pairs
                    .get(&version)
                    .is_none_or(|pair| pair.answered == 0)
                {
                    unargued += 1;
                    println!("not reached: {} v{version}: never answered", api.request);
                }
            }
        }
        unargued
    }

    /// Places without a value, and the versions in which that is so.
    fn lacks(&self, api: &Api, request: bool) -> BTreeMap<Place, Vec<i16>> {
        let name = if request { api.request } else { api.response };
        let mut lacks: BTreeMap<Place, Vec<i16>> = BTreeMap::new();
        for (version, pair) in &api.pairs {
            let seen = if request {
                &pair.request
            } else {
                &pair.response
            };
            for place in self.schema.reachable(name, *version) {
                if !seen.contains(&place) {
                    lacks.entry(place).or_default().push(*version);
                }
            }
        }
        lacks
    }
}

/// `v0-3, v5`
fn spans(versions: &[i16]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < versions.len() {
        let mut end = at;
        while end + 1 < versions.len() && versions[end + 1] == versions[end] + 1 {
            end += 1;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&format!("v{}", versions[at]));
        if end > at {
            text.push_str(&format!("-{}", versions[end]));
        }
        at = end + 1;
    }
    text
}
