//! Slices by offset within bounds and budgets; offsets by timestamp.

use ottla_protocol::Refusal;
use ottla_protocol::batch::{TimestampKind, batches};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::{Fault, Isolation, Log, LogConfig, NotDone, OffsetQuery, ReadFrom};

use crate::stand::*;

fn from(offset: i64, max_bytes: usize, at_least_one: bool) -> ReadFrom {
    let isolation = Isolation::LogEnd;
    ReadFrom {
        offset,
        isolation,
        max_bytes,
        at_least_one,
        with_aborted: false,
    }
}

fn filled(place: &tempfile::TempDir) -> Log {
    let mut log = open(place.path(), small());
    fill(&mut log, 90);
    log
}

#[test]
fn every_offset_finds_its_batch() {
    let place = tempfile::tempdir().unwrap();
    let log = filled(&place);
    let view = log.view();
    for offset in 0..90 {
        let slice = view.read(from(offset, 1, true)).unwrap().slice.unwrap();
        let bytes = bytes_of(&slice);
        let batch = batches(&bytes).next().unwrap().unwrap();
        assert_eq!(batch.base_offset(), offset / 3 * 3);
        assert_eq!(
            batch.size(),
            slice.length,
            "one byte asked for, one batch given"
        );
    }
    assert!(view.read(from(90, 1, true)).unwrap().slice.is_none());
    for offset in [-1, 91] {
        let refused = view.read(from(offset, 1, true)).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::OffsetOutOfRange);
    }
}

#[test]
fn a_budget_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let log = filled(&place);
    let view = log.view();
    let one = view.read(from(0, 1, true)).unwrap().slice.unwrap().length;
    assert!(view.read(from(0, one - 1, false)).unwrap().slice.is_none());
    assert_eq!(
        view.read(from(0, one, false))
            .unwrap()
            .slice
            .unwrap()
            .length,
        one
    );
    assert_eq!(
        view.read(from(0, one + 7, false))
            .unwrap()
            .slice
            .unwrap()
            .length,
        one + 7
    );
    let all = view
        .read(from(0, usize::MAX, false))
        .unwrap()
        .slice
        .unwrap()
        .length;
    assert!(all <= 2000, "a slice is of one segment");
}

#[test]
fn a_bound_is_kept_wherever_it_lies() {
    let place = tempfile::tempdir().unwrap();
    let mut log = filled(&place);
    for bound in (0..=90).rev() {
        // Also bounds inside a batch, and such as were never the end of an append.
        log.set_high_watermark(bound);
        let found = read_all(&log.view(), Isolation::HighWatermark);
        assert_eq!(found.len() as i64, bound / 3 * 3, "bound {bound}");
    }
    for bound in 0..=90 {
        log.set_high_watermark(bound);
        let found = read_all(&log.view(), Isolation::LastStable);
        assert_eq!(found.len() as i64, bound / 3 * 3, "bound {bound}");
    }
}

#[test]
fn a_view_outlives_its_segments() {
    let place = tempfile::tempdir().unwrap();
    let mut log = filled(&place);
    log.set_high_watermark(90);
    let view = log.view();
    log.set_config(LogConfig {
        retention_bytes: 0,
        ..small()
    });
    log.retain(NOW).unwrap();
    log.unlink_due(NOW + 60_000).unwrap();
    assert_eq!((log.start(), log.end()), (90, 90));
    assert_eq!(read_all(&view, Isolation::LogEnd).len(), 90);
    let refused = log.view().read(from(0, 1, true)).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::OffsetOutOfRange);
}

#[test]
fn timestamps_find_the_first_record_that_reaches_them() {
    for codec in Codec::ALL {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        for first in (0..300).step_by(10) {
            append(
                &mut log,
                &records_with(BatchBuilder::data(codec), first, 10),
            )
            .unwrap();
        }
        log.set_high_watermark(295);
        let view = log.view();
        let find = |timestamp, isolation| {
            let found = view
                .find_offset(OffsetQuery::At(timestamp), isolation)
                .unwrap();
            found.map(|found| (found.offset, found.timestamp, found.leader_epoch))
        };
        for i in 0..300 {
            let found = find(NOW + i, Isolation::LogEnd);
            assert_eq!(found, Some((i, NOW + i, Some(0))), "{codec:?}");
        }
        assert_eq!(find(0, Isolation::LogEnd), Some((0, NOW, Some(0))));
        assert_eq!(find(NOW + 300, Isolation::LogEnd), None);
        assert_eq!(
            find(NOW + 294, Isolation::HighWatermark),
            Some((294, NOW + 294, Some(0)))
        );
        assert_eq!(find(NOW + 295, Isolation::HighWatermark), None);
    }
}

#[test]
fn a_search_that_comes_across_bad_bytes_is_refused_as_by_kafka() {
    for (damage, expected) in [
        // How many headers the last record has; how long it is; how long the batch is.
        (-1_isize, Refusal::InvalidRecord),
        (61, Refusal::InvalidRecord),
        (8, Refusal::CorruptMessage),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        append(
            &mut log,
            &records_with(BatchBuilder::data(Codec::None), 0, 1),
        )
        .unwrap();
        let path = place.path().join("00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes
            .len()
            .checked_add_signed(damage)
            .filter(|_| damage < 0);
        bytes[at.unwrap_or(damage.unsigned_abs())] = 0xff;
        std::fs::write(&path, bytes).unwrap();
        let view = log.view();
        let found = view.find_offset(OffsetQuery::At(NOW), Isolation::LogEnd);
        let Err(NotDone::Fault(Fault::Corrupt { refusal, .. })) = found else {
            panic!("{damage}: {found:?}");
        };
        assert_eq!(refusal, expected, "{damage}");
    }
}

#[test]
fn the_other_queries() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let find = |log: &Log, query| {
        let found = log
            .view()
            .find_offset(query, Isolation::HighWatermark)
            .unwrap();
        found.map(|found| (found.offset, found.timestamp, found.leader_epoch))
    };
    assert_eq!(find(&log, OffsetQuery::Earliest), Some((0, -1, None)));
    assert_eq!(find(&log, OffsetQuery::Latest), Some((0, -1, None)));
    assert_eq!(find(&log, OffsetQuery::MaxTimestamp), None);
    fill(&mut log, 30);
    // A largest time in the middle of a batch in the middle of the log, and the same time later.
    let mut builder = BatchBuilder::data(Codec::None);
    for i in [30, 5000, 31] {
        builder.push(
            NOW + i,
            None,
            Some(format!("record {:08}", log.end()).as_bytes()),
        );
    }
    append(&mut log, &builder.finish()).unwrap();
    let mut late = BatchBuilder::data(Codec::None);
    late.push(NOW + 5000, None, Some(b"late"));
    append(&mut log, &late.finish()).unwrap();
    for i in 34..90 {
        append(&mut log, &records(i, 1)).unwrap();
    }
    log.set_high_watermark(60);
    assert_eq!(find(&log, OffsetQuery::Earliest), Some((0, -1, Some(0))));
    assert_eq!(find(&log, OffsetQuery::Latest), Some((60, -1, Some(0))));
    assert_eq!(
        find(&log, OffsetQuery::MaxTimestamp),
        Some((31, NOW + 5000, Some(0)))
    );
    // The same after a restart, when nothing is remembered.
    log.close().unwrap();
    let mut log = open_clean(place.path(), small());
    log.set_high_watermark(60);
    assert_eq!(
        find(&log, OffsetQuery::MaxTimestamp),
        Some((31, NOW + 5000, Some(0)))
    );
}

#[test]
fn a_batch_is_opened_as_far_as_its_record_and_in_passing_not_far() {
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), LogConfig::default());
        let mut builder = BatchBuilder::data(codec);
        builder.push(NOW, None, Some(b"first"));
        builder.push(NOW + 1, None, Some(&vec![0; 8 << 20]));
        builder.push(NOW + 2, None, Some(b"last"));
        append(&mut log, &builder.finish()).unwrap();
        let view = log.view();
        let found = |query| {
            let found = view.find_offset(query, Isolation::LogEnd).unwrap();
            found.map(|found| (found.offset, found.timestamp))
        };
        let passing = |query| {
            let found = view.find_offset_in_memory(query, Isolation::LogEnd)?;
            Some(found.unwrap().map(|found| (found.offset, found.timestamp)))
        };
        for (query, offset) in [
            (OffsetQuery::At(NOW + 2), 2),
            (OffsetQuery::MaxTimestamp, 2),
        ] {
            assert_eq!(passing(query), None, "{codec:?}");
            assert_eq!(found(query), Some((offset, NOW + offset)));
        }
        for offset in [0, 1] {
            let query = OffsetQuery::At(NOW + offset);
            assert_eq!(found(query), Some((offset, NOW + offset)));
        }
        // Nothing behind it is opened.
        let first = Some((0, NOW));
        assert_eq!(passing(OffsetQuery::At(NOW)), Some(first), "{codec:?}");
    }
}

#[test]
fn where_the_leader_sets_the_time_the_producers_is_not_looked_at() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        timestamp_kind: TimestampKind::LogAppendTime,
        ..small()
    };
    let mut log = open(place.path(), config);
    for first in [0, 3] {
        let builder = BatchBuilder::data(Codec::Lz4);
        append(&mut log, &records_with(builder, 50 + first, 3)).unwrap();
    }
    let view = log.view();
    let find = |query| {
        let found = view.find_offset(query, Isolation::LogEnd).unwrap();
        found.map(|found| (found.offset, found.timestamp))
    };
    assert_eq!(find(OffsetQuery::At(NOW)), Some((0, NOW)));
    assert_eq!(find(OffsetQuery::At(NOW + 1)), None);
    assert_eq!(find(OffsetQuery::MaxTimestamp), Some((0, NOW)));
}
