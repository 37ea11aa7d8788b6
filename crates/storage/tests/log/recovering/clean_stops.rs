//! What a clean stop leaves, and what is not read after it.

use super::*;

/// Kafka does not look, and appends behind it what nobody can read.
#[test]
fn a_tail_torn_in_spite_of_a_clean_shutdown_is_cut() {
    for n_bytes in [1, 30, 100] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        fill(&mut log, 66);
        log.close().unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(last_file(place.path(), ".log"))
            .unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - n_bytes).unwrap();
        let mut log = open_clean(place.path(), small());
        assert_holds(&log, 0, 63);
        append(&mut log, &records(63, 3)).unwrap();
        assert_holds(&log, 0, 66);
        log.close().unwrap();
        assert_holds(&open_clean(place.path(), small()), 0, 66);
    }
}

#[test]
fn after_a_clean_shutdown_no_data_is_read() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig::default();
    let mut log = open(place.path(), config.clone());
    for first in (0..3000).step_by(100) {
        let builder = BatchBuilder::data(Codec::None).producer(1, 0, first as i32);
        append(&mut log, &records_with(builder, first, 100)).unwrap();
    }
    let size = log.size();
    let closed = log.close().unwrap();
    let before = files(place.path());
    let watch = Arc::new(Watch::default());
    let disk = Disk::breakable(Arc::clone(&watch) as Arc<dyn DiskFaults>);
    let how = OpenLog {
        is_clean: true,
        recovery_point: closed.end,
        high_watermark: closed.high_watermark,
        ..how(place.path(), config, disk)
    };
    let log = Log::open(how).unwrap();
    assert_eq!((log.end(), log.flushed()), (3000, 3000));
    assert_eq!(log.producers().get(1).unwrap().last_sequence(), 2999);
    let n_read = watch.of_logs.load(Ordering::Relaxed);
    assert!(n_read <= 8192, "{n_read} of {size} bytes were read");
    log.close().unwrap();
    assert!(
        files(place.path()) == before,
        "opening and closing changed files"
    );
}

#[test]
fn what_a_clean_stop_trims_is_synced() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        preallocate: true,
        segment_bytes: 100_000,
        // Each batch has an entry: the stop has no last words for an index.
        index_interval_bytes: 0,
        ..Default::default()
    };
    let last = Arc::new(LastCall::default());
    let disk = Disk::breakable(Arc::clone(&last) as Arc<dyn DiskFaults>);
    let mut log = Log::open(how(place.path(), config, disk)).unwrap();
    fill_as_producer(&mut log, 30);
    settle(&mut log);
    let size = log.size();
    log.close().unwrap();
    let path = last_file(place.path(), ".log");
    assert_eq!(fs::metadata(path).unwrap().len(), size);
    // Else a power cut brings zeros back behind the last batch, and the next one comes behind them.
    assert_eq!(*last.0.lock(), Some(DiskCall::Sync));
}
