//! Who may write to a log in one epoch: the ledger that has read it last. A ledger can end while an
//! append of its own is still under way on another thread; written behind the end that the next one
//! has read, it would be in the log and in no ledger.

use parking_lot::Mutex;

use crate::partitions::AppendRefused;
use ottla_protocol::Refusal;

/// How often the log has been read; held while something is appended.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<u64>);

impl Readings {
    /// Before the first.
    pub(super) const NONE: u64 = 0;

    /// Another ledger reads the log, as the reading that comes back: of the former ones nothing is
    /// written any more. Waits for an append that is under way.
    pub(super) fn begin(&self) -> u64 {
        let mut last = self.0.lock();
        *last += 1;
        *last
    }

    /// Appends what a ledger of this reading has decided.
    pub(super) fn append<T>(
        &self,
        reading: u64,
        append: impl FnOnce() -> Result<T, AppendRefused>,
    ) -> Result<T, AppendRefused> {
        let last = self.0.lock();
        if *last != reading {
            return Err(Refusal::NotLeaderOrFollower.into());
        }
        append()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{channel, sync_channel};

    #[test]
    fn who_has_not_read_the_log_last_writes_nothing() {
        let readings = Readings::default();
        assert!(readings.append(Readings::NONE, || Ok(())).is_ok());
        let first = readings.begin();
        assert!(readings.append(Readings::NONE, || Ok(())).is_err());
        assert!(readings.append(first, || Ok(())).is_ok());
        let second = readings.begin();
        let late = readings.append(first, || -> Result<(), _> { panic!("it may not begin") });
        assert_eq!(
            late.unwrap_err().refused.refusal,
            Refusal::NotLeaderOrFollower
        );
        assert!(readings.append(second, || Ok(())).is_ok());
    }

    #[test]
    fn an_append_that_is_under_way_is_waited_for() {
        let readings = Arc::new(Readings::default());
        let first = readings.begin();
        let (began, has_begun) = channel();
        let (go_on, may_go_on) = sync_channel(0);
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let (of_first, tell_first) = (readings.clone(), tell.clone());
            scope.spawn(move || {
                let _ = of_first.append(first, || {
                    began.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    tell_first.send("written").unwrap();
                    Ok(())
                });
            });
            has_begun.recv().unwrap();
            let next = readings.clone();
            scope.spawn(move || {
                next.begin();
                tell.send("read").unwrap();
            });
            assert!(told.try_recv().is_err());
            go_on.send(()).unwrap();
        });
        assert_eq!(told.iter().collect::<Vec<_>>(), ["written", "read"]);
    }
}
