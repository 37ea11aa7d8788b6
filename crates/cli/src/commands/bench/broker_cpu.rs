//! How much processor time the broker used, where it runs on this machine (`--broker-pid`).
//!
//! From `/proc/PID/stat`, which counts in ticks of 10 ms: a difference is off by a tick at most, to
//! either side, so that a mean of many is not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use rustix::param::clock_ticks_per_second;

use super::schedule::{Nanos, SECOND, Window};

/// Where utime and stime stand, counted from the state, the first field behind the name.
const UTIME: usize = 11;
const STIME: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct BrokerCpu {
    pid: u32,
    path: PathBuf,
    ticks_per_second: u64,
}

impl BrokerCpu {
    /// Of a process that is there.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let cpu = Self {
            pid,
            path: PathBuf::from(format!("/proc/{pid}/stat")),
            ticks_per_second: clock_ticks_per_second(),
        };
        ensure!(cpu.ticks_per_second > 0, "the kernel tells no ticks");
        cpu.used()?;
        Ok(cpu)
    }

    /// Since it was started, all its threads.
    pub(super) fn used(&self) -> anyhow::Result<Nanos> {
        let pid = self.pid;
        let stat = std::fs::read_to_string(&self.path)
            .with_context(|| format!("--broker-pid {pid} is no process of this machine"))?;
        let ticks = ticks(&stat)
            .with_context(|| format!("{} is not as it should be", self.path.display()))?;
        let nanos = u128::from(ticks) * u128::from(SECOND) / u128::from(self.ticks_per_second);
        Ok(Nanos::try_from(nanos).unwrap_or(Nanos::MAX))
    }
}

/// A process may have any name, with spaces and parentheses, so what counts is behind the last one.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let field = |n| behind.split_whitespace().nth(n)?.parse::<u64>().ok();
    field(UTIME)?.checked_add(field(STIME)?)
}

/// The use within a window, read by those who have a turn about then.
#[derive(Debug)]
pub(super) struct CpuInWindow {
    cpu: BrokerCpu,
    window: Window,
    begin: Option<Nanos>,
    end: Option<Nanos>,
}

impl CpuInWindow {
    pub(super) fn new(cpu: BrokerCpu, window: Window) -> Self {
        Self {
            cpu,
            window,
            begin: None,
            end: None,
        }
    }

    pub(super) fn look(&mut self, now: Nanos) -> anyhow::Result<()> {
        let place = if self.begin.is_none() && now >= self.window.from {
            &mut self.begin
        } else if self.end.is_none() && now >= self.window.until {
            &mut self.end
        } else {
            return Ok(());
        };
        *place = Some(self.cpu.used()?);
        Ok(())
    }

    /// `None` unless somebody looked after the window began and after it ended.
    pub(super) fn used(&self) -> Option<Nanos> {
        Some(self.end?.saturating_sub(self.begin?))
    }
}

/// The same, for those who have turns on different threads. Nothing is read if nobody asked for it.
#[derive(Debug, Clone)]
pub(super) struct CpuWatch(Option<Arc<Mutex<CpuInWindow>>>);

impl CpuWatch {
    pub(super) fn new(cpu: Option<BrokerCpu>, window: Window) -> Self {
        Self(cpu.map(|cpu| Arc::new(Mutex::new(CpuInWindow::new(cpu, window)))))
    }

    pub(super) fn look(&self, now: Nanos) -> anyhow::Result<()> {
        match &self.0 {
            Some(cpu) => cpu.lock().unwrap_or_else(PoisonError::into_inner).look(now),
            None => Ok(()),
        }
    }

    /// Microseconds for each of `n` that were done within the window, to a hundredth.
    pub(super) fn micros_for_each(&self, n: u64) -> Option<f64> {
        let cpu = self.0.as_ref()?;
        let used = cpu.lock().unwrap_or_else(PoisonError::into_inner).used()?;
        let each = (n > 0).then(|| used as f64 / n as f64)?;
        Some((each / 10.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_look_like_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 17 0 0 20 0 9 0 12345 6 7";
        for name in ["ottla", "a b) 1 2 3 (c", "((("] {
            assert_eq!(ticks(&format!("42 ({name}) {rest}")), Some(267), "{name}");
        }
        for bad in [
            "",
            "42 (x) S 1 2",
            "42 x S",
            &format!("42 (x) {}", rest.replace("17", "-")),
        ] {
            assert_eq!(ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_process_uses_grows_and_who_is_not_there_is_told() {
        let cpu = BrokerCpu::of(std::process::id()).unwrap();
        let before = cpu.used().unwrap();
        let mut n = 0_u64;
        while cpu.used().unwrap() < before + SECOND / 20 {
            n = std::hint::black_box(n + 1);
        }
        let nobody = BrokerCpu::of(u32::MAX).unwrap_err().to_string();
        assert!(nobody.contains("--broker-pid 4294967295"), "{nobody}");
    }

    #[test]
    fn a_window_is_read_at_its_ends_and_once() {
        let window = Window {
            start: 0,
            from: 10,
            until: 20,
            give_up: 30,
        };
        let cpu = BrokerCpu::of(std::process::id()).unwrap();
        let mut measured = CpuInWindow::new(cpu, window);
        for (now, reads) in [(9, 0), (10, 1), (19, 1), (21, 2), (30, 2)] {
            measured.look(now).unwrap();
            let found = [measured.begin, measured.end].into_iter().flatten().count();
            assert_eq!(found, reads, "{now}");
            assert_eq!(measured.used().is_some(), reads == 2);
        }
    }

    #[test]
    fn what_each_cost_is_known_where_it_was_asked_for() {
        let window = Window {
            start: 0,
            from: 10,
            until: 20,
            give_up: 30,
        };
        let nothing = CpuWatch::new(None, window);
        nothing.look(15).unwrap();
        assert_eq!(nothing.micros_for_each(5), None);
        let watch = CpuWatch::new(Some(BrokerCpu::of(std::process::id()).unwrap()), window);
        watch.look(15).unwrap();
        assert_eq!(watch.micros_for_each(5), None, "not at the end yet");
        watch.clone().look(25).unwrap();
        assert!(watch.micros_for_each(5).is_some_and(|micros| micros >= 0.0));
        assert_eq!(watch.micros_for_each(0), None);
    }
}
