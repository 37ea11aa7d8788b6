//! The topics whose settings change, and what is written to them before and after.

use ottla_protocol::compress::Codec;

use crate::story::NOW;

/// The first millisecond of the year 2100.
pub(super) const YEAR_2100: i64 = 4_102_444_800_000;
pub(super) const HOUR: i64 = 3_600_000;
/// Four batches fill a segment.
pub(super) const SMALL: (&str, &str) = ("internal.segment.bytes", "20000");

/// A batch of one record: its time, its key, its codec.
pub(super) type New = (i64, Option<&'static str>, Codec);
type Settings = &'static [(&'static str, &'static str)];

/// A topic's life: made with `made` and `first` written, then changed to `changed` and `then` written.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) made: Settings,
    pub(super) first: Vec<New>,
    pub(super) changed: Settings,
    pub(super) then: Vec<New>,
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
pub(super) fn at(time: i64, n: usize) -> Vec<New> {
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

pub(super) fn by_retention() -> Vec<Case> {
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
pub(super) fn by_roll() -> Vec<Case> {
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

pub(super) fn by_compaction() -> Vec<Case> {
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
pub(super) fn by_refusal() -> Vec<Case> {
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
