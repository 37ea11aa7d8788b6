//! What a changed setting does to a log that is there: what the next batches are told, what of the old
//! ones stays, and in which shape. Records of 1970, of 2100 and without a time are among them.
//!
//! Needs `log.retention.check.interval.ms` and `log.initial.task.delay.ms` of about half a second
//! (`broker.properties`); compaction is hurried by a dynamic setting.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::{TimestampKind, batches};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::fetch::fetch_request;
use super::records::produce_request;
use super::settings::change;
use super::{NOW, Step, Story, settle};
use crate::leaves::Leaf;

const TOPIC: i8 = DescribeConfigsRequest::TOPIC;
const BROKER: i8 = DescribeConfigsRequest::BROKER;
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Several times the interval of retention, and of the hurried cleaner.
const AT_WORK: Duration = Duration::from_secs(5);
/// The first millisecond of the year 2100.
const YEAR_2100: i64 = 4_102_444_800_000;
const HOUR: i64 = 3_600_000;
/// So that four batches fill a small segment.
const VALUE_BYTES: usize = 4_500;
const SMALL: (&str, &str) = ("internal.segment.bytes", "20000");
/// The answer has no log start, which retention moves at a moment of its own; but knows no zstd.
const PRODUCE: i16 = 4;
const PRODUCE_ZSTD: i16 = 7;
const FETCH: i16 = 12;

/// A batch of one record: its time, its key, its codec.
type New = (i64, Option<&'static str>, Codec);
type Settings = &'static [(&'static str, &'static str)];

/// A topic's life: made with `made` and `first` written, then changed to `changed` and `then` written.
struct Case {
    name: &'static str,
    made: Settings,
    first: Vec<New>,
    changed: Settings,
    then: Vec<New>,
}

fn case(name: &'static str, made: Settings, first: Vec<New>, changed: Settings) -> Case {
    Case {
        name,
        made,
        first,
        changed,
        then: Vec::new(),
    }
}

impl Case {
    fn then(self, then: Vec<New>) -> Self {
        Self { then, ..self }
    }
}

/// `n` batches of one time, with three keys in turn.
fn at(time: i64, n: usize) -> Vec<New> {
    stepping(time, 0, n)
}

fn stepping(from: i64, step: i64, n: usize) -> Vec<New> {
    let keys = ["a", "b", "c"].into_iter().cycle();
    let times = (0..).map(|i| from + i * step);
    times
        .zip(keys)
        .take(n)
        .map(|(time, key)| (time, Some(key), Codec::None))
        .collect()
}

fn in_codec(codec: Codec) -> Vec<New> {
    vec![(*NOW, Some("a"), codec)]
}

fn by_retention() -> Vec<Case> {
    let now = *NOW;
    let later = |one: Vec<New>, two: Vec<New>| one.into_iter().chain(two).collect::<Vec<_>>();
    vec![
        case(
            "fewer bytes",
            &[SMALL],
            at(now, 20),
            &[("retention.bytes", "40000")],
        ),
        case(
            "no bytes",
            &[SMALL],
            at(now, 10),
            &[("retention.bytes", "0")],
        ),
        case(
            "less time",
            &[SMALL],
            later(at(now - HOUR, 8), at(now, 8)),
            &[("retention.ms", "1800000")],
        ),
        case("no time", &[SMALL], at(now, 10), &[("retention.ms", "0")]),
        case("no end", &[SMALL], at(0, 10), &[("retention.ms", "-1")]),
        case("of 1970", &[SMALL], later(at(0, 8), at(now, 6)), &[]),
        case(
            "of 2100 at first",
            &[
                SMALL,
                ("message.timestamp.after.max.ms", "9223372036854775807"),
            ],
            later(at(YEAR_2100, 1), at(now, 9)),
            &[("retention.ms", "1")],
        ),
        case(
            "of 2100 later",
            &[
                SMALL,
                ("message.timestamp.after.max.ms", "9223372036854775807"),
            ],
            later(at(now, 10), later(at(YEAR_2100, 1), at(now, 5))),
            &[("retention.ms", "1")],
        ),
        case(
            "without a time",
            &[SMALL],
            at(-1, 10),
            &[("retention.ms", "1")],
        ),
        case(
            "without a policy",
            &[SMALL, ("cleanup.policy", "")],
            at(now - HOUR, 10),
            &[("retention.ms", "1"), ("retention.bytes", "1")],
        ),
        case(
            "gets a policy",
            &[SMALL, ("cleanup.policy", ""), ("retention.bytes", "30000")],
            at(now, 10),
            &[("cleanup.policy", "delete")],
        ),
        case(
            "compacted only",
            &[
                SMALL,
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", "86400000"),
            ],
            at(now - HOUR, 10),
            &[("retention.ms", "1"), ("retention.bytes", "1")],
        ),
    ]
}

/// Where one segment ends and the next begins shows in what retention leaves.
fn by_roll() -> Vec<Case> {
    let now = *NOW;
    let few: Settings = &[("retention.bytes", "16000")];
    vec![
        case(
            "rolls by time",
            &[("segment.ms", "1000")],
            stepping(now, 300, 12),
            few,
        ),
        case(
            "goes back in time",
            &[("segment.ms", "1000")],
            stepping(now, -300, 12),
            few,
        ),
        case(
            "rolls by less time",
            &[],
            stepping(now, 300, 6),
            &[("segment.ms", "500"), ("retention.bytes", "16000")],
        )
        .then(stepping(now + 2000, 300, 6)),
        case(
            "rolls by less bytes",
            &[],
            at(now, 6),
            &[
                ("internal.segment.bytes", "10000"),
                ("retention.bytes", "16000"),
            ],
        )
        .then(at(now, 6)),
        case(
            "rolls by a full index",
            &[("index.interval.bytes", "0")],
            at(now, 6),
            &[("segment.index.bytes", "24"), ("retention.bytes", "16000")],
        )
        .then(at(now, 6)),
        case(
            "gets room ahead",
            &[SMALL],
            at(now, 3),
            &[("preallocate", "true")],
        )
        .then(at(now, 7)),
    ]
}

fn by_compaction() -> Vec<Case> {
    let now = *NOW;
    vec![
        case(
            "becomes compacted",
            &[SMALL],
            at(now, 14),
            &[
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.01"),
            ],
        ),
        case(
            "less dirt",
            &[
                SMALL,
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "1.0"),
            ],
            at(now, 14),
            &[("min.cleanable.dirty.ratio", "0.01")],
        ),
        case(
            "less delay",
            &[
                SMALL,
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "1.0"),
            ],
            at(now - HOUR, 14),
            &[("max.compaction.lag.ms", "60000")],
        ),
        case(
            "more delay",
            &[
                SMALL,
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", "86400000"),
            ],
            at(now - HOUR, 14),
            &[
                ("min.compaction.lag.ms", "60000"),
                ("min.cleanable.dirty.ratio", "0.01"),
            ],
        ),
        case(
            "both policies",
            &[
                SMALL,
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", "86400000"),
            ],
            at(now - HOUR, 14),
            &[
                ("cleanup.policy", "compact,delete"),
                ("retention.bytes", "30000"),
            ],
        ),
    ]
}

/// What the next batch is told.
fn by_refusal() -> Vec<Case> {
    let now = *NOW;
    let one = || at(now, 1);
    vec![
        case(
            "smaller batches",
            &[],
            one(),
            &[("max.message.bytes", "1000")],
        )
        .then(one()),
        case(
            "larger batches",
            &[("max.message.bytes", "1000")],
            one(),
            &[("max.message.bytes", "9000")],
        )
        .then(one()),
        case(
            "less far back",
            &[],
            at(now - HOUR, 1),
            &[("message.timestamp.before.max.ms", "1000")],
        )
        .then(at(now - HOUR, 1)),
        case(
            "further ahead",
            &[],
            at(YEAR_2100, 1),
            &[("message.timestamp.after.max.ms", "9223372036854775807")],
        )
        .then(at(YEAR_2100, 1)),
        case("before all time", &[], at(-2, 1), &[]),
        case(
            "long before",
            &[],
            at(i64::MIN, 1),
            &[("message.timestamp.before.max.ms", "1000")],
        )
        .then(at(0, 1)),
        case(
            "the time of the append",
            &[],
            one(),
            &[("message.timestamp.type", "LogAppendTime")],
        )
        .then(at(0, 1)),
        case(
            "too few replicas",
            &[],
            one(),
            &[("min.insync.replicas", "2")],
        )
        .then(one()),
        case(
            "keys are needed",
            &[],
            vec![(now, None, Codec::None)],
            &[("cleanup.policy", "compact")],
        )
        .then(vec![(now, None, Codec::None)]),
        case(
            "in gzip",
            &[],
            in_codec(Codec::Lz4),
            &[
                ("compression.type", "gzip"),
                ("compression.gzip.level", "9"),
            ],
        )
        .then(in_codec(Codec::Lz4)),
        case(
            "in zstd",
            &[],
            in_codec(Codec::None),
            &[
                ("compression.type", "zstd"),
                ("compression.zstd.level", "-5"),
            ],
        )
        .then(in_codec(Codec::None)),
        case(
            "in snappy",
            &[],
            in_codec(Codec::Gzip),
            &[("compression.type", "snappy")],
        )
        .then(in_codec(Codec::Gzip)),
        case(
            "in lz4",
            &[],
            in_codec(Codec::Snappy),
            &[("compression.type", "lz4")],
        )
        .then(in_codec(Codec::Snappy)),
        case(
            "in no codec",
            &[],
            in_codec(Codec::Zstd),
            &[("compression.type", "uncompressed")],
        )
        .then(in_codec(Codec::Zstd)),
        case(
            "as the producer likes",
            &[("compression.type", "gzip")],
            in_codec(Codec::Zstd),
            &[("compression.type", "producer")],
        )
        .then(in_codec(Codec::Zstd)),
    ]
}

fn batch((time, key, codec): New) -> Bytes {
    let mut batch = BatchBuilder::data(codec);
    batch.push(time, key.map(str::as_bytes), Some(&[b'v'; VALUE_BYTES]));
    batch.finish()
}

impl Story<'_> {
    pub fn effects(&mut self) {
        let hurry = ("log.cleaner.backoff.ms", SET, Some("100"));
        self.alter("hurry", vec![change(BROKER, "", &[hurry])]);
        let all: Vec<Case> = [by_retention(), by_roll(), by_compaction(), by_refusal()]
            .into_iter()
            .flatten()
            .collect();
        for case in &all {
            self.make_with(case.name, case.made);
            self.write_each(case.name, "first", &case.first);
        }
        let changed = all
            .iter()
            .filter(|case| !case.changed.is_empty())
            .map(|case| {
                let set: Vec<_> = case
                    .changed
                    .iter()
                    .map(|(name, value)| (*name, SET, Some(*value)))
                    .collect();
                change(TOPIC, &self.topic_of(case.name), &set)
            });
        let changed = changed.collect();
        self.alter("what the cases change", changed);
        settle();
        for case in &all {
            self.write_each(case.name, "then", &case.then);
        }
        std::thread::sleep(AT_WORK);
        for case in &all {
            self.tell_what_is_held(case.name, case.name);
        }
        self.effects_of_the_broker();
        let calm = ("log.cleaner.backoff.ms", DELETE, None);
        self.alter("calm", vec![change(BROKER, "", &[calm])]);
    }

    /// The same from further off: the cluster's default, the broker's own value, the topic's.
    fn effects_of_the_broker(&mut self) {
        let (plain, own) = ("plain", "has its own");
        self.make_with(plain, &[SMALL]);
        self.make_with(
            own,
            &[
                SMALL,
                ("max.message.bytes", "1000000"),
                ("retention.bytes", "-1"),
                ("message.timestamp.type", "CreateTime"),
            ],
        );
        let node = self.node.to_string();
        let steps: [(&str, &str, i8, Option<&str>); 8] = [
            ("", "message.max.bytes", SET, Some("3000")),
            (&node, "message.max.bytes", SET, Some("900000")),
            (&node, "message.max.bytes", DELETE, None),
            ("", "message.max.bytes", DELETE, None),
            ("", "log.message.timestamp.type", SET, Some("LogAppendTime")),
            ("", "log.message.timestamp.type", DELETE, None),
            ("", "compression.type", SET, Some("gzip")),
            ("", "compression.type", DELETE, None),
        ];
        for (place, name, operation, value) in steps {
            let label = format!("{name} {value:?} for '{}'", place.len());
            self.alter(
                &label,
                vec![change(BROKER, place, &[(name, operation, value)])],
            );
            settle();
            for topic in [plain, own] {
                self.write_each(topic, &label, &at(*NOW - HOUR, 2));
            }
        }
        let fewer = ("log.retention.bytes", SET, Some("12000"));
        self.alter("fewer bytes", vec![change(BROKER, "", &[fewer])]);
        std::thread::sleep(AT_WORK / 2);
        for topic in [plain, own] {
            self.tell_what_is_held(topic, "what the broker's settings left");
        }
        self.alter(
            "the end",
            vec![change(BROKER, "", &[("log.retention.bytes", DELETE, None)])],
        );
    }

    fn topic_of(&self, case: &str) -> Text {
        self.name(&case.replace(' ', "-"))
    }

    fn alter(&mut self, label: &str, resources: Vec<IncrementalAlterConfigsResource>) {
        let request = IncrementalAlterConfigsRequest {
            resources,
            validate_only: false,
        };
        self.ask_in_words(label, 1, &request);
    }

    fn make_with(&mut self, case: &str, settings: &[(&str, &str)]) {
        let name = self.topic_of(case);
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Text::from(*name),
            value: Some(Text::from(*value)),
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: 1,
            replication_factor: 1,
            configs: settings.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        self.ask_in_words(&format!("make '{case}'"), 7, &request);
        self.wait_for_topic(&name);
        settle();
    }

    fn write_each(&mut self, case: &str, when: &str, all: &[New]) {
        let topic = self.topic_of(case);
        for (n, new) in all.iter().enumerate() {
            let version = match new.2 {
                Codec::Zstd => PRODUCE_ZSTD,
                _ => PRODUCE,
            };
            let request = produce_request(version, &topic, Uuid::ZERO, 0, batch(*new));
            let broker = self.unthrottled.clone();
            self.ask_at(&broker, &format!("{case}, {when} {n}"), version, &request);
        }
    }

    /// Start and end, and every batch with its offsets, codec and time.
    fn tell_what_is_held(&mut self, case: &str, label: &str) {
        let topic = self.topic_of(case);
        let (start, end) = (self.offset_at(&topic, -2), self.offset_at(&topic, -1));
        let mut facts = vec![
            ("start".to_owned(), start.to_string()),
            ("end".to_owned(), end.to_string()),
        ];
        let mut offset = start;
        while offset < end {
            let request = fetch_request(FETCH, &topic, Uuid::ZERO, 0, offset);
            let Some(answer) = self.prepare(FETCH, &request) else {
                break;
            };
            let records = answer
                .responses
                .into_iter()
                .flat_map(|topic| topic.partitions);
            let bytes: Vec<u8> = records
                .filter_map(|partition| partition.records)
                .flat_map(|records| records.to_vec())
                .collect();
            let before = offset;
            for batch in batches(&bytes).flatten() {
                let header = batch.header();
                let time = match header.timestamp_kind() {
                    TimestampKind::CreateTime => header.max_timestamp().to_string(),
                    TimestampKind::LogAppendTime => "of the append".to_owned(),
                };
                let codec = header.codec().map_or("?", Codec::name);
                let (first, last) = (header.base_offset(), header.last_offset());
                let n = header.n_records();
                facts.push((
                    format!("batch {first}"),
                    format!("to {last}, {n} records in {codec}, {time}"),
                ));
                offset = header.next_offset();
            }
            if offset == before {
                break;
            }
        }
        let leaf = |(path, value)| Leaf {
            path,
            place: (String::new(), String::new()),
            value,
        };
        self.steps.push(Step {
            api: "what is held",
            version: 0,
            label: format!("{case}: {label}"),
            is_compared: true,
            has_words: false,
            outcome: Ok(facts.into_iter().map(leaf).collect()),
        });
    }

    fn offset_at(&mut self, topic: &Text, timestamp: i64) -> i64 {
        let partition = ListOffsetsPartition {
            timestamp,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.clone(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let answer = self.prepare(7, &request);
        let found =
            answer.and_then(|answer| Some(answer.topics.first()?.partitions.first()?.offset));
        found.unwrap_or(-1)
    }
}
