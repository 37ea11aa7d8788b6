//! Many connections on one thread: who has news gets a turn, and who is due.
//!
//! Made of `epoll` and not of the runtime that the rest of the binary has: its timers count
//! milliseconds, and what is measured here are microseconds. A thread sleeps to the moment, within
//! what the kernel can; the generator's own lateness is measured (`Tally::late`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use super::schedule::{Nanos, SECOND, Window};
use super::tally::Tally;
use super::wire::Wire;

/// News taken from the kernel at once.
const NEWS: usize = 256;
/// A thread looks this often whether another has failed, or whether time is up.
const LOOK: Nanos = SECOND / 10;

/// The clock of a run: all its threads count from one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    started_ms: i64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: Instant::now(),
            started_ms: i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn now(&self) -> Nanos {
        nanos(self.started.elapsed())
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_ms(&self, now: Nanos) -> i64 {
        self.started_ms.saturating_add_unsigned(now / 1_000_000)
    }
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// What is said on one connection.
pub(super) trait Speaker: Send {
    /// Take in what has come, all of it, and send what is due and goes.
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next>;

    /// No more turns: tell what was not done.
    fn give_up(&mut self, now: Nanos, tally: &mut Tally);
}

/// A connection and who speaks on it.
pub(super) type Line = (Wire, Box<dyn Speaker>);

/// What a speaker sees of the run.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) clock: &'a Clock,
    pub(super) tally: &'a mut Tally,
}

/// When a speaker wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// When something comes, or when there is room to send again.
    News,
    /// Then, or with news.
    At(Nanos),
    Finished,
}

/// Run these, each list on a thread of its own; what all have seen.
pub(super) fn run(clock: &Clock, window: Window, threads: Vec<Vec<Line>>) -> anyhow::Result<Tally> {
    let has_failed = AtomicBool::new(false);
    let run_one = |mut lines: Vec<Line>| {
        let mut tally = Tally::new(window);
        take_turns(clock, &mut lines, &mut tally, &has_failed)?;
        Ok(tally)
    };
    let mut all = Tally::new(window);
    std::thread::scope(|scope| {
        let threads = threads
            .into_iter()
            .map(|lines| scope.spawn(|| run_one(lines)));
        let threads: Vec<_> = threads.collect();
        let mut failed: Option<anyhow::Error> = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(tally)) => all.add(&tally),
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        failed.map_or(Ok(()), Err)
    })?;
    Ok(all)
}

/// Deal lines out to `n` threads.
pub(super) fn over_threads(lines: Vec<Line>, n: usize) -> Vec<Vec<Line>> {
    let n = n.clamp(1, lines.len().max(1));
    let mut threads: Vec<Vec<Line>> = (0..n).map(|_| Vec::new()).collect();
    for (at, line) in lines.into_iter().enumerate() {
        if let Some(thread) = threads.get_mut(at % n) {
            thread.push(line);
        }
    }
    threads
}

/// Run all to their end, or until time is up or another thread has failed.
fn take_turns(
    clock: &Clock,
    lines: &mut [Line],
    tally: &mut Tally,
    has_failed: &AtomicBool,
) -> anyhow::Result<()> {
    let turns = Turns::new(clock, lines.len())?;
    let done = turns.all(lines, tally, has_failed);
    if done.is_err() {
        has_failed.store(true, Ordering::Relaxed);
    }
    done
}

struct Turns<'a> {
    clock: &'a Clock,
    epoll: rustix::fd::OwnedFd,
    /// Who is due when. What a line is due at really is in `due`; entries of other moments are old.
    queue: BinaryHeap<Reverse<(Nanos, usize)>>,
    due: Vec<Option<Nanos>>,
    is_finished: Vec<bool>,
}

impl<'a> Turns<'a> {
    fn new(clock: &'a Clock, n_lines: usize) -> anyhow::Result<Self> {
        // Without this a sleep may end 50 µs late. Where it is not allowed, it does.
        let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
        Ok(Self {
            clock,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll cannot be had")?,
            queue: BinaryHeap::with_capacity(n_lines),
            due: vec![None; n_lines],
            is_finished: vec![false; n_lines],
        })
    }

    fn all(
        mut self,
        lines: &mut [Line],
        tally: &mut Tally,
        has_failed: &AtomicBool,
    ) -> anyhow::Result<()> {
        // Told once for each change: a speaker takes all that is there in its turn.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for (n, (wire, _)) in lines.iter().enumerate() {
            let name = epoll::EventData::new_u64(n as u64);
            epoll::add(&self.epoll, wire.stream(), name, flags)
                .context("epoll does not take a connection")?;
            self.wake_at(n, 0);
        }
        let mut n_open = lines.len();
        let mut news = Vec::with_capacity(NEWS);
        let mut up = Vec::with_capacity(NEWS);
        while n_open > 0 {
            let now = self.clock.now();
            if now >= tally.window().give_up || has_failed.load(Ordering::Relaxed) {
                self.give_up(lines, now, tally);
                break;
            }
            self.sleep(now)?;
            self.whose_turn(&mut news, &mut up)?;
            for n in up.drain(..) {
                if let Some(line) = lines.get_mut(n)
                    && self.is_finished.get(n) == Some(&false)
                    && !self.turn(n, line, tally)?
                {
                    n_open -= 1;
                }
            }
        }
        Ok(())
    }

    /// Until the first is due, or until there is news.
    fn sleep(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.drop_old();
        let next = self
            .queue
            .peek()
            .map_or(Nanos::MAX, |Reverse((due, _))| *due);
        let sleep = next.saturating_sub(now).min(LOOK);
        if sleep == 0 {
            return Ok(());
        }
        // `epoll_wait` rounds up to milliseconds; `ppoll` on it does not.
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: sleep as _,
        };
        match poll(
            &mut [PollFd::new(&self.epoll, PollFlags::IN)],
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("poll failed"),
        }
    }

    fn drop_old(&mut self) {
        while let Some(Reverse((due, n))) = self.queue.peek() {
            if self.due.get(*n) == Some(&Some(*due)) {
                return;
            }
            self.queue.pop();
        }
    }

    /// Those with news first, then those that are due.
    fn whose_turn(
        &mut self,
        news: &mut Vec<epoll::Event>,
        up: &mut Vec<usize>,
    ) -> anyhow::Result<()> {
        news.clear();
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(news),
            Some(&at_once),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll failed"),
        }
        up.extend(news.iter().map(|event| event.data.u64() as usize));
        let now = self.clock.now();
        while let Some(&Reverse((due, n))) = self.queue.peek()
            && due <= now
        {
            self.queue.pop();
            if self.due.get(n) == Some(&Some(due)) {
                if let Some(mark) = self.due.get_mut(n) {
                    *mark = None;
                }
                up.push(n);
            }
        }
        Ok(())
    }

    /// False once it is finished.
    fn turn(
        &mut self,
        n: usize,
        (wire, speaker): &mut Line,
        tally: &mut Tally,
    ) -> anyhow::Result<bool> {
        let clock = self.clock;
        match speaker.turn(wire, &mut Scene { clock, tally })? {
            Next::News => {}
            Next::At(moment) => self.wake_at(n, moment),
            Next::Finished => {
                if let Some(mark) = self.is_finished.get_mut(n) {
                    *mark = true;
                }
                // A broker that hangs up now is nobody's concern.
                let _ = epoll::delete(&self.epoll, wire.stream());
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wake_at(&mut self, n: usize, moment: Nanos) {
        if let Some(mark) = self.due.get_mut(n)
            && *mark != Some(moment)
        {
            *mark = Some(moment);
            self.queue.push(Reverse((moment, n)));
        }
    }

    fn give_up(&self, lines: &mut [Line], now: Nanos, tally: &mut Tally) {
        for ((_, speaker), is_finished) in lines.iter_mut().zip(&self.is_finished) {
            if !is_finished {
                speaker.give_up(now, tally);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::Address;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    const PATIENCE: Nanos = 20 * SECOND;

    /// Counts its turns, and wants them at these moments; or reads until it has seen so much.
    enum Script {
        At(Vec<Nanos>),
        Read(usize),
        Never,
        Fails,
    }

    impl Speaker for Script {
        fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
            match self {
                Self::At(moments) => {
                    let now = scene.clock.now();
                    while moments.first().is_some_and(|due| *due <= now) {
                        scene.tally.answered(moments.remove(0), now);
                    }
                    Ok(moments.first().map_or(Next::Finished, |due| Next::At(*due)))
                }
                Self::Read(n) => {
                    wire.receive(100)?;
                    Ok(if wire.here().len() >= *n {
                        Next::Finished
                    } else {
                        Next::News
                    })
                }
                Self::Never => Ok(Next::News),
                Self::Fails => anyhow::bail!("no"),
            }
        }

        fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
            tally.unanswered(0, now);
        }
    }

    fn play(
        give_up: Nanos,
        scripts: Vec<Script>,
        far: impl FnOnce(Vec<TcpStream>),
    ) -> anyhow::Result<Tally> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut others = Vec::new();
        let lines = scripts.into_iter().map(|script| -> Line {
            let near = TcpStream::connect(address).unwrap();
            others.push(listener.accept().unwrap().0);
            let wire = Wire::new(near, Address::new("x", 1)).unwrap();
            (wire, Box::new(script))
        });
        let threads = over_threads(lines.collect(), 2);
        let window = Window {
            start: 0,
            from: 0,
            until: give_up,
            give_up,
        };
        far(others);
        run(&Clock::start(), window, threads)
    }

    #[test]
    fn nobody_has_a_turn_before_it_is_due() {
        let moments = vec![SECOND / 100, SECOND / 50, SECOND / 50 + 30_000];
        let others = vec![SECOND / 70];
        let scripts = vec![Script::At(moments), Script::At(others)];
        let tally = play(PATIENCE, scripts, |_| ()).unwrap();
        assert_eq!((tally.latency.len(), tally.n_unanswered), (4, 0));
    }

    #[test]
    fn news_gives_a_turn() {
        let scripts = vec![Script::Read(5), Script::Read(3), Script::Read(4)];
        let played = play(PATIENCE, scripts, |mut far| {
            std::thread::spawn(move || {
                for _ in 0..5 {
                    far.iter_mut().for_each(|far| far.write_all(b"x").unwrap());
                    std::thread::yield_now();
                }
                far
            });
        });
        assert_eq!(played.unwrap().n_unanswered, 0);
    }

    #[test]
    fn who_never_ends_is_given_up_and_who_fails_ends_all() {
        let scripts = vec![Script::Never, Script::At(vec![])];
        let tally = play(SECOND / 20, scripts, std::mem::forget).unwrap();
        assert_eq!(tally.n_unanswered, 1);
        assert!(tally.latency.max() >= SECOND / 20);
        let played = play(PATIENCE, vec![Script::Never, Script::Fails], |_| ());
        assert_eq!(played.unwrap_err().to_string(), "no");
    }
}
