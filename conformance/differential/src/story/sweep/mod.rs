//! The sweep: every API in every version that both serve, asked once well and in many ways badly.
//!
//! A bad question is the good one with one thing spoilt. What a version cannot say is left out there, and
//! what comes out as the same bytes is not asked again, so that `numbers` counts different questions only.

mod malformed;
mod cluster;
mod topics;
mod records;
mod groups;
mod consumers;
mod offsets;
mod transactions;
mod settings;
mod replicas;
mod quotas;
mod credentials;
mod features;
mod telemetry;

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::Bytes;
use ottla_protocol::{Request, Text, Uuid, encode_body};

use super::{Kind, Step, Story, line, settle, versions};
use crate::broker::Broken;
use crate::leaves::leaves;

/// What a question is called, and how the good one becomes it.
type Bad<'a, R> = (&'a str, &'a dyn Fn(&mut R));

/// Not a question: it makes a list longer by one, so that the place of the list's length is known.
const GROWN: &str = "(grown)";
/// A name that no topic may have: one byte more than 249.
const TOO_LONG_FOR_A_TOPIC: usize = 250;
/// Near the longest text that there is (32,767 bytes).
const ENORMOUS_TEXT: usize = 30_000;
/// A list longer than anybody has use for, and short enough for a frame.
const ENORMOUS_LIST: usize = 500;
/// An answer that takes so long is worth a note.
const SLOW: std::time::Duration = std::time::Duration::from_secs(2);
/// Nobody has this id.
const NOBODY: i32 = 7_777;
/// No topic has this id.
const NO_TOPIC: Uuid = Uuid::from_u128(1 << 84);
/// Longer than the sweep: no member is lost on the way.
const SESSION_MS: i32 = 1_200_000;
/// Shorter than patience: a join that waits for nobody ends in time.
const REBALANCE_MS: i32 = 3_000;

/// A topic with 20 records in its first partition and none in its second.
struct Swept {
    topic: Text,
    id: Uuid,
}

impl Story<'_> {
    /// All of it, or one part; the last question of all costs the broker its registration.
    pub(super) fn sweep(&mut self, part: Option<&str>) {
        let topic = self.name("swept");
        let id = self.make_topic(&topic, 2);
        self.write(&topic, 20);
        let swept = Swept { topic, id };
        let is_told = |name| part.is_none_or(|part| part == name);
        if is_told("groups") {
            self.sweep_groups(&swept);
            self.sweep_consumers(&swept);
            self.sweep_offsets(&swept);
        }
        if is_told("topics") {
            self.sweep_cluster(&swept);
            self.sweep_topics(&swept);
        }
        if is_told("records") {
            self.sweep_records(&swept);
        }
        if is_told("transactions") {
            self.sweep_transactions(&swept);
        }
        if is_told("settings") {
            self.sweep_settings(&swept);
        }
        if is_told("administration") {
            self.sweep_replicas(&swept);
            self.sweep_quotas();
            self.sweep_credentials();
            self.sweep_features();
            self.sweep_telemetry();
            self.sweep_unregistration();
        }
    }

    /// One API in one version: the good question, each bad one, and what is no question at all.
    fn questions<R>(&mut self, version: i16, good: &R, bad: &[Bad<'_, R>]) -> Option<R::Response>
    where
        R: Request + Debug + Clone,
        R::Response: Debug,
    {
        self.questions_after(version, good, || (), bad)
    }

    /// As [`Self::questions`], with a wait behind the good one.
    fn questions_after<R>(
        &mut self,
        version: i16,
        good: &R,
        wait: impl Fn(),
        bad: &[Bad<'_, R>],
    ) -> Option<R::Response>
    where
        R: Request + Debug + Clone,
        R::Response: Debug,
    {
        if !self.is_swept::<R>(version) {
            return None;
        }
        let body = match encode_body(good, version) {
            Ok(body) => body,
            Err(why) => {
                let why = Broken::Encode(format!("{why:?}"));
                self.coverage.broken(line::<R>(), version, "good", &why);
                return None;
            }
        };
        let answer = self.question(Kind::Good, "good", version, good);
        wait();
        let mut asked = BTreeSet::from([body.clone()]);
        let mut grown: Vec<Bytes> = Vec::new();
        for (label, spoil) in bad {
            let mut request = good.clone();
            spoil(&mut request);
            let Ok(bytes) = encode_body(&request, version) else {
                continue;
            };
            if *label == GROWN {
                grown.push(bytes);
            } else if asked.insert(bytes) {
                self.question(Kind::Bad, label, version, &request);
            }
        }
        self.malformed::<R>(version, &body, &grown);
        answer
    }

    /// A bad question that is made by hand, or asked in a state of its own.
    fn bad<R>(&mut self, label: &str, version: i16, request: &R) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let can_be_said = encode_body(request, version).is_ok();
        (can_be_said && self.is_swept::<R>(version))
            .then(|| self.question(Kind::Bad, label, version, request))
            .flatten()
    }

    fn is_swept<R: Request>(&self, version: i16) -> bool {
        let served = self.served.get(&R::KEY);
        served.is_some_and(|served| self.extent.has(R::KEY, *served, version))
    }

    fn question<R>(
        &mut self,
        kind: Kind,
        label: &str,
        version: i16,
        request: &R,
    ) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        self.coverage.asked(line::<R>(), version, &leaves(request));
        let since = std::time::Instant::now();
        let outcome = self.unthrottled.ask(version, request);
        if since.elapsed() > SLOW {
            println!(
                "note: {} v{version} ({label}) took {:?}",
                R::NAME,
                since.elapsed()
            );
        }
        self.answered::<R>(kind, label, version, outcome)
    }

    fn malformed<R>(&mut self, version: i16, body: &[u8], grown: &[Bytes])
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let header = self.unthrottled.header::<R>(version);
        let name = self.prefix.clone().into_bytes();
        let is_flexible = version >= R::FLEXIBLE_FROM;
        let spoilt = malformed::spoilt(&header, body, is_flexible, grown, &name);
        for (label, header, body) in spoilt {
            self.coverage.asked(line::<R>(), version, &[]);
            let outcome = self.unthrottled.ask_bytes::<R>(version, &header, &body);
            self.answered::<R>(Kind::Malformed, label, version, outcome);
        }
    }

    /// Only a good question needs an answer: the end of the connection is one, too.
    fn answered<R>(
        &mut self,
        kind: Kind,
        label: &str,
        version: i16,
        outcome: Result<R::Response, Broken>,
    ) -> Option<R::Response>
    where
        R: Request,
        R::Response: Debug,
    {
        match &outcome {
            Ok(answer) => self
                .coverage
                .answered(line::<R>(), version, &leaves(answer)),
            Err(why) if kind == Kind::Good || !why.is_no_answer() => {
                self.coverage.broken(line::<R>(), version, label, why);
            }
            Err(_) => {}
        }
        self.steps.push(Step {
            kind,
            key: R::KEY,
            api: R::NAME,
            version,
            label: format!("sweep, {label}"),
            is_compared: true,
            has_words: false,
            outcome: outcome.as_ref().map(leaves).map_err(Broken::to_string),
        });
        outcome.ok()
    }
}

fn text(words: &'static str) -> Text {
    Text::from_static(words)
}

fn long(n: usize) -> Text {
    Text::from("n".repeat(n))
}

/// As many different names as an enormous list wants.
fn many() -> impl Iterator<Item = Text> {
    (0..ENORMOUS_LIST).map(|n| Text::from(format!("nobodys-{n}")))
}

/// As often as the list has elements, once more.
fn twice<T: Clone>(list: &mut Vec<T>) {
    let again = list.clone();
    list.extend(again);
}
