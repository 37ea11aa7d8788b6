//! A long run from a seed: processes read, process and write in transactions, while they crash, have
//! zombies and fall asleep, while requests, answers and markers are lost, doubled and late, while
//! coordinators, leaders and the whole broker start again at any step, and the disk's power fails;
//! all of it on a simulated clock.
//!
//! What is under test is real: `TxnLedger`, `GroupLedger`, `Log` with its producers, its transaction
//! index and its recovery, and all records as bytes. What is simulated is what stands between them
//! (`node`, `server`), the network, the clients and the disk.
//!
//! | variable | what |
//! |---|---|
//! | `TXN_SEEDS` | how many seeds (a few without it) |
//! | `TXN_FIRST` | the first seed (0) |
//! | `TXN_STEPS` | operations of each seed, at least (1,000) |
//! | `TXN_SEED` | this seed alone, each step told |
//!
//! | place | what |
//! |---|---|
//! | `wire` | what travels: requests, answers, questions between brokers |
//! | `world` | the clock, the post, and who is there |
//! | `client`, `hear` | a producer as Kafka's client library is one, old and new protocol |
//! | `place` | a log, its leader and its checkpoints |
//! | `serve` | what a broker does with a request |
//! | `seats` | the two coordinators: decide, append, replay, answer |
//! | `markers` | the ends of transactions on their way |
//! | `restart` | how coordinators, leaders and the broker end and begin |
//! | `fate` | what befalls all of them |
//! | `reader` | who reads committed records only |
//! | `book` | what was promised to whom |
//! | `check` | what must be true at any time, and when all is quiet |
//! | `wanted` | what must have happened in a long run |

mod wire;
mod world;
mod client;
mod hear;
mod place;
mod serve;
mod seats;
mod markers;
mod restart;
mod fate;
mod reader;
mod book;
mod check;
mod wanted;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use crate::totals::Totals;
use world::World;

/// Enough for a change that breaks something to be noticed at once, and no more than seconds.
const SEEDS_BY_DEFAULT: u64 = 8;
const STEPS_BY_DEFAULT: u64 = 1000;
/// From so many seeds on each thing that can happen must have happened.
const SEEDS_FOR_ALL: u64 = 1000;
/// One seed in so many runs twice, and must go the same way.
const TWICE_EVERY: u64 = 50;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// In memory, if the system has such a place.
fn place() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a directory can be made")
}

fn run(seed: u64, n_steps: u64, traces: bool) -> Totals {
    let place = place();
    let mut world = World::new(place.path(), seed, traces);
    world.run(n_steps);
    world.start_anew_often_enough();
    world.come_to_rest();
    world.into_totals()
}

#[test]
fn exactly_once_whatever_happens() {
    let only = number("TXN_SEED");
    let n_steps = number("TXN_STEPS").unwrap_or(STEPS_BY_DEFAULT);
    let n_seeds = number("TXN_SEEDS").unwrap_or(SEEDS_BY_DEFAULT);
    let first = only.or(number("TXN_FIRST")).unwrap_or(0);
    let n = if only.is_some() { 1 } else { n_seeds };
    let began = Instant::now();
    let mut totals = Totals::default();
    for seed in first..first + n {
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let more = run(seed, n_steps, only.is_some());
            if seed.is_multiple_of(TWICE_EVERY) {
                let again = run(seed, n_steps, false);
                assert!(more == again, "twice the same seed, two ways");
            }
            more
        }));
        match ran {
            Ok(more) => totals += more,
            Err(_) => panic!(
                "seed {seed} failed; again: TXN_SEED={seed} TXN_STEPS={n_steps} cargo test \
                 -p ottla-sim --lib exactly_once_whatever_happens -- --nocapture"
            ),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let n_operations = totals.n("operations");
    eprintln!(
        "{totals}{n} seeds in {seconds:.1} s, {:.0} operations a second",
        n_operations as f64 / seconds
    );
    if n >= SEEDS_FOR_ALL {
        let never = totals.never(&wanted::all());
        assert!(never.is_empty(), "{n} seeds never came to {never:?}");
    }
}
