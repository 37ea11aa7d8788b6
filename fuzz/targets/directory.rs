//! Any bytes as the files of a log directory: segments, indexes, snapshots, checkpoints. It opens or
//! is refused; what opened can be read, appended to, compacted, closed, and opened again as it was.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::directory::{Input, NAMES, place};
use ottla_fuzz::{Counting, peak_of};
use ottla_protocol::batch::batches;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::producer::{Appender, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{
    Directories, Disk, Fault, Host, Isolation, LeaderAppend, Log, LogConfig, LogView, Newest,
    NoEvents, OffsetQuery, OpenDirectories, Picture, ReadFrom, Round, compact,
};

#[global_allocator]
static COUNTING: Counting = Counting;

const NOW: i64 = 1_700_000_000_000;
/// What a scan reads at once, an opened batch, and the rest of a log.
const MEMORY_MAX: usize = 32 << 20;
/// Ends of a log, and inside of it.
const OFFSETS: [i64; 6] = [i64::MIN, -1, 0, 5, 1 << 31, i64::MAX];

fuzz_target!(|input: &[u8]| {
    let Some(input) = Input::read(input) else {
        return;
    };
    let place = place();
    input.write(&place).expect("the files can be written");
    let (_, peak) = peak_of(|| one_directory(&input, &place));
    assert!(peak <= MEMORY_MAX, "{peak} bytes");
});

fn one_directory(input: &Input<'_>, place: &Path) {
    let config = LogConfig {
        segment_bytes: 4000,
        index_interval_bytes: 100,
        cleanup_compact: input.is_compacted,
        ..LogConfig::default()
    };
    let Some(mut log) = open(place, &config) else {
        return;
    };
    look(&log.view());
    let before = (log.start(), log.end());
    let n_appended = append(&mut log);
    let end = before.1 + n_appended;
    assert_eq!((log.start(), log.end()), (before.0, end));
    look(&log.view());
    if input.is_compacted {
        log = compacted(log);
        assert_eq!((log.start(), log.end()), (before.0, end));
        look(&log.view());
    }
    if log.close().is_err() {
        return;
    }
    // Whatever was there: what we have closed is in order.
    fs::write(place.join(NAMES.mark), "").expect("a mark");
    for name in NAMES.checkpoints {
        let _ = fs::remove_file(place.join(name));
    }
    if before.0 == 0 {
        let log = open(place, &config).expect("it was closed in order");
        assert_eq!((log.start(), log.end()), (before.0, end));
        look(&log.view());
    }
}

fn open(place: &Path, config: &LogConfig) -> Option<Log> {
    let directories = Directories::open(OpenDirectories {
        disk: Disk::new(),
        paths: vec![place.to_owned()],
        metadata_path: place.to_owned(),
        node_id: 1,
        events: Arc::new(NoEvents),
    })
    .ok()?;
    let loaded = directories.load(&|_| config.clone(), 1, NOW).ok()?;
    loaded.logs.into_iter().next().map(|loaded| loaded.log)
}

/// Everything that a reader can ask. Errors are answers.
fn look(view: &LogView) {
    assert!(view.start() <= view.end());
    for isolation in [Isolation::LogEnd, Isolation::LastStable] {
        let mut offset = view.start();
        while let Some(next) = read(view, offset, isolation, 500) {
            assert!(next > offset, "{next} follows {offset}");
            offset = next;
        }
        for offset in OFFSETS {
            read(view, offset, isolation, 1);
        }
        for query in [
            OffsetQuery::Earliest,
            OffsetQuery::Latest,
            OffsetQuery::MaxTimestamp,
        ] {
            let _ = view.find_offset(query, isolation);
        }
        for timestamp in OFFSETS.into_iter().chain([NOW]) {
            let _ = view.find_offset(OffsetQuery::At(timestamp), isolation);
        }
    }
}

/// The offset behind what was read.
fn read(view: &LogView, offset: i64, isolation: Isolation, max_bytes: usize) -> Option<i64> {
    let from = ReadFrom {
        offset,
        isolation,
        max_bytes,
        at_least_one: true,
        with_aborted: true,
    };
    let slice = view.read(from).ok()?.slice?;
    let mut bytes = vec![0; slice.length];
    slice
        .file()
        .read_exact_at(&mut bytes, slice.position)
        .ok()?;
    let last = batches(&bytes).map_while(Result::ok).last()?;
    // A reader that asks inside of a batch gets all of it.
    Some(last.next_offset()).filter(|next| *next > offset)
}

/// The log while it is compacted.
struct Owner(RefCell<Log>);

impl Host for Owner {
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>> {
        Some(work(&mut self.0.borrow_mut()))
    }

    fn may_go_on(&self, _: usize) -> bool {
        true
    }
}

/// A round, if it can be carried out.
fn compacted(mut log: Log) -> Log {
    if log.roll(NOW).is_err() {
        return log;
    }
    if let Ok(Some(target)) = log.recovery_plan() {
        target.sync().expect("a disk in memory");
        log.flushed_to(&target);
    }
    let end = log.end();
    log.set_high_watermark(end);
    let picture = Picture::take(&log);
    let Ok(dirt) = picture.dirt(None, NOW) else {
        return log;
    };
    let round = Round {
        picture,
        dirt,
        now_ms: NOW,
        io_bytes: 1 << 16,
    };
    let owner = Owner(RefCell::new(log));
    let _ = compact(&round, &mut Newest::new(1 << 16, 0.9), &owner);
    owner.0.into_inner()
}

fn append(log: &mut Log) -> i64 {
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(NOW, Some(b"key"), Some(b"value"));
    let batch = batch.finish();
    let origin = Origin::Client { may_use_zstd: true };
    let checked = check(&batch, origin, &log.config().rules(), NOW).expect("a good batch");
    let how = LeaderAppend {
        leader_epoch: 1 << 20,
        appender: Appender::Client,
        transaction_version: TransactionVersion::SameEpoch,
        verified: Verified::NotAsked,
        now_ms: NOW,
    };
    i64::from(log.append_as_leader(&batch, &checked, how).is_ok())
}
