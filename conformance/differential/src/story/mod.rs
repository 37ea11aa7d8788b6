//! The requests, in an order in which each finds the state that fills its answer.
//!
//! Every chapter sends its APIs in every version. A chapter uses names of its own, so that the same
//! story can be told again to the same broker, or to two brokers with answers to be compared.

mod cluster;
mod absent;
mod topics;
mod records;
mod fetch;
mod producers;
mod transactions;
mod groups;
mod consumers;
mod offsets;
mod settings;
mod limits;
mod effects;
mod administration;
mod denied;
mod sweep;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Request, Text, Uuid, Versioned};

use crate::broker::{Broken, Broker};
use crate::coverage::{Coverage, Line};
use crate::leaves::{Leaf, leaves};
use crate::numbers::Extent;

/// Longer than a change of metadata or of a quota takes to reach the broker's own picture.
const SETTLE: Duration = Duration::from_millis(300);
const TRIES: usize = 40;
/// What a minute of patience is to the broker.
pub const TIMEOUT_MS: i32 = 15_000;
/// When the story began, in milliseconds: one moment for all its records, whichever broker hears it,
/// and young enough that no broker's retention takes them.
pub static NOW: LazyLock<i64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
});

/// Why something was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As a part of the story: good and bad are told apart by the answer alone.
    Told,
    /// By the sweep, and nothing is wrong with it.
    Good,
    /// By the sweep: it can be read, and something is wrong with it.
    Bad,
    /// By the sweep: bytes that are no such request, or more than one.
    Malformed,
}

/// One request of the story and what came of it.
pub struct Step {
    pub kind: Kind,
    /// -1 for what is no request.
    pub key: i16,
    pub api: &'static str,
    pub version: i16,
    pub label: String,
    pub is_compared: bool,
    /// Where the words of a refusal are Kafka's own, and so compared too.
    pub has_words: bool,
    pub outcome: Result<Vec<Leaf>, String>,
}

pub struct Story<'a> {
    /// Asks under a quota that it always breaks, so that throttle times are filled.
    pub broker: Broker,
    /// Asks without quota: a throttled Fetch has no records.
    pub unthrottled: Broker,
    /// The controller's own listener, if it was named.
    pub controller: Option<Broker>,
    pub coverage: &'a mut Coverage,
    pub steps: Vec<Step>,
    /// What the broker serves, and (in a comparison) the other serves too.
    pub served: BTreeMap<i16, (i16, i16)>,
    /// Which of these versions the sweep asks.
    pub extent: Extent,
    /// The epoch of the broker that is registered and never runs.
    pub second_broker: Option<i64>,
    /// The id of the broker that answers.
    pub node: i32,
    /// Begins every name.
    pub prefix: String,
}

impl Story<'_> {
    /// Tells all of it.
    pub fn tell(&mut self, only: Option<&str>) {
        self.learn_who_answers();
        self.throttle_myself();
        match only {
            Some("limits") => return self.limits(),
            Some("effects") => return self.effects(),
            Some("administration") => return self.administration(),
            Some("sweep") => return self.sweep(None),
            Some(part) => {
                let part = part.strip_prefix("sweep-");
                if part.is_some() {
                    return self.sweep(part);
                }
            }
            None => {}
        }
        self.api_versions();
        self.register_a_second_broker();
        self.topics();
        self.records();
        self.while_it_is_unfenced();
        self.producers();
        self.groups();
        self.consumers();
        self.offsets();
        self.settings();
        self.limits();
        self.effects();
        self.cluster();
        self.describe_topic_partitions();
        self.delete_topics();
        self.administration();
        self.denied();
        self.sweep(None);
    }

    /// Sends one request and records what it proves. `None` if it is not served or went wrong.
    pub fn ask<R>(&mut self, label: &str, version: i16, request: &R) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let broker = self.broker.clone();
        self.ask_at(&broker, label, version, request)
    }

    /// As [`Self::ask`], for an answer that holds more than this story made: it proves our
    /// messages, but two brokers need not agree on it.
    pub fn prove<R>(&mut self, label: &str, version: i16, request: &R) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let broker = self.broker.clone();
        self.prove_at(&broker, label, version, request)
    }

    pub fn prove_at<R>(
        &mut self,
        broker: &Broker,
        label: &str,
        version: i16,
        request: &R,
    ) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let answer = self.ask_at(broker, label, version, request)?;
        if let Some(step) = self.steps.last_mut() {
            step.is_compared = false;
        }
        Some(answer)
    }

    /// As [`Self::ask`], where the words of a refusal are compared, too.
    pub fn ask_in_words<R>(&mut self, label: &str, version: i16, request: &R) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        let broker = self.unthrottled.clone();
        let answer = self.ask_at(&broker, label, version, request)?;
        if let Some(step) = self.steps.last_mut() {
            step.has_words = true;
        }
        Some(answer)
    }

    pub fn ask_at<R>(
        &mut self,
        broker: &Broker,
        label: &str,
        version: i16,
        request: &R,
    ) -> Option<R::Response>
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        if !self.serves::<R>(version) {
            return None;
        }
        self.coverage.asked(line::<R>(), version, &leaves(request));
        let outcome = broker.ask(version, request);
        match &outcome {
            Ok(answer) => self
                .coverage
                .answered(line::<R>(), version, &leaves(answer)),
            Err(why) => self.coverage.broken(line::<R>(), version, label, why),
        }
        self.steps.push(Step {
            kind: Kind::Told,
            key: R::KEY,
            api: R::NAME,
            version,
            label: label.to_owned(),
            is_compared: true,
            has_words: false,
            outcome: outcome.as_ref().map(leaves).map_err(Broken::to_string),
        });
        outcome.ok()
    }

    /// Asks ApiVersions in a version that nobody knows.
    fn ask_from_the_future(&mut self) {
        let request = ApiVersionsRequest::default();
        let outcome = self.broker.ask_from_the_future(&request);
        let line = line::<ApiVersionsRequest>();
        self.coverage.asked(line, 0, &[]);
        match &outcome {
            Ok(answer) => self.coverage.answered(line, 0, &leaves(answer)),
            Err(why) => self.coverage.broken(line, 0, "from the future", why),
        }
        self.steps.push(Step {
            kind: Kind::Told,
            key: ApiVersionsRequest::KEY,
            api: ApiVersionsRequest::NAME,
            version: 0,
            label: "from the future".to_owned(),
            is_compared: true,
            has_words: false,
            outcome: outcome.as_ref().map(leaves).map_err(Broken::to_string),
        });
    }

    /// Sends what only prepares: neither proof nor comparison. `None` if it is not served.
    pub fn prepare<R>(&mut self, version: i16, request: &R) -> Option<R::Response>
    where
        R: Request + Debug,
    {
        if !self.serves::<R>(version) {
            return None;
        }
        match self.unthrottled.ask(version, request) {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.coverage
                    .broken(line::<R>(), version, "preparation", &why);
                None
            }
        }
    }

    pub fn serves<R: Request>(&self, version: i16) -> bool {
        let served = self.served.get(&R::KEY);
        served.is_some_and(|(from, to)| (*from..=*to).contains(&version))
    }

    pub fn name(&self, name: &str) -> Text {
        Text::from(format!("{}-{name}", self.prefix))
    }

    /// Makes a topic with one replica and waits until it can be written.
    pub fn make_topic(&mut self, name: &Text, partitions: i32) -> Uuid {
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.prepare(7, &request);
        let id = answer
            .and_then(|a| a.topics.first().map(|t| t.topic_id))
            .unwrap_or_default();
        self.wait_for_topic(name);
        id
    }

    pub fn wait_for_topic(&mut self, name: &Text) {
        let topic = MetadataRequestTopic {
            name: Some(name.clone()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        for _ in 0..TRIES {
            let answer = self.unthrottled.ask(12, &request);
            let is_ready = answer.is_ok_and(|answer| {
                let is_led = |p: &MetadataResponsePartition| p.error_code == 0;
                let ready = |t: &MetadataResponseTopic| {
                    t.error_code == 0 && t.partitions.iter().all(is_led)
                };
                answer.topics.iter().all(ready)
            });
            if is_ready {
                return;
            }
            std::thread::sleep(SETTLE / 3);
        }
    }

    /// Appends `n` plain records to partition 0 and says whether that worked.
    pub fn write(&mut self, topic: &Text, n: i64) -> bool {
        self.write_batch(topic, plain_batch(n))
    }

    /// Until it works: a new partition refuses for a moment.
    pub fn write_batch(&mut self, topic: &Text, batch: Bytes) -> bool {
        for _ in 0..TRIES {
            let request = records::produce_request(9, topic, Uuid::ZERO, 0, batch.clone());
            let answer = self.prepare(9, &request);
            if answer.is_some_and(|answer| records::produce_error(&answer) == Some(0)) {
                return true;
            }
            std::thread::sleep(SETTLE / 3);
        }
        false
    }
}

pub fn settle() {
    std::thread::sleep(SETTLE);
}

/// All versions that we know of an API.
pub fn versions<R: Versioned>() -> RangeInclusive<i16> {
    R::VERSIONS.0..=R::VERSIONS.1
}

pub fn plain_batch(n: i64) -> Bytes {
    let mut batch = BatchBuilder::data(Codec::None);
    for at in 0..n {
        batch.push(*NOW + at, Some(b"key"), Some(b"value"));
    }
    batch.finish()
}

fn line<R: Request>() -> Line {
    Line {
        key: R::KEY,
        request: R::NAME,
        response: R::Response::NAME,
        versions: R::VERSIONS,
    }
}
