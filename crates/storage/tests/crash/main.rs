//! A long run from a seed: work on a log over a disk whose power fails, start again, compare with a
//! model.
//!
//! | variable | what |
//! |---|---|
//! | `CRASH_SEEDS` | how many seeds (a few without it) |
//! | `CRASH_FIRST` | the first seed (0) |
//! | `CRASH_STEPS` | operations of each seed, at least (1,000) |
//! | `CRASH_SEED` | this seed alone, each step told |

mod chance;
mod check;
mod compaction;
mod disk;
mod flips;
mod model;
mod moving;
mod totals;
mod work;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use crate::totals::Totals;
use crate::world::World;

/// Enough for a change that breaks something to be noticed at once, and no more than seconds.
const SEEDS_BY_DEFAULT: u64 = 12;
const STEPS_BY_DEFAULT: u64 = 1000;
const CRASHES_MIN: u64 = 5;
/// From so many seeds on each thing that can happen must have happened.
const SEEDS_FOR_ALL: u64 = 100;

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
    while world.totals.operations < n_steps {
        world.step();
    }
    let mut crashes = || {
        world.crash(true);
        world.totals += world.sim.take_totals();
        world.totals.power_cuts < CRASHES_MIN
    };
    while crashes() {}
    // What was put in order last must hold, too.
    for _ in 0..20 {
        world.step();
    }
    world.crash(true);
    world.totals += world.sim.take_totals();
    world.totals
}

#[test]
fn nothing_promised_is_lost_whatever_the_disk_does() {
    let only = number("CRASH_SEED");
    let n_steps = number("CRASH_STEPS").unwrap_or(STEPS_BY_DEFAULT);
    let n_seeds = number("CRASH_SEEDS").unwrap_or(SEEDS_BY_DEFAULT);
    let first = only.or(number("CRASH_FIRST")).unwrap_or(0);
    let last = if only.is_some() {
        first
    } else {
        first + n_seeds - 1
    };
    let began = Instant::now();
    let mut totals = Totals::default();
    for seed in first..=last {
        match catch_unwind(AssertUnwindSafe(|| run(seed, n_steps, only.is_some()))) {
            Ok(more) => totals += more,
            Err(_) => panic!(
                "seed {seed} failed; again: CRASH_SEED={seed} CRASH_STEPS={n_steps} cargo test \
                 -p ottla-storage --test crash"
            ),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let n = last - first + 1;
    eprintln!(
        "{totals}\n{n} seeds in {seconds:.1} s, {:.0} operations a second",
        totals.operations as f64 / seconds
    );
    if n >= SEEDS_FOR_ALL {
        for (name, count) in totals.all() {
            assert!(count > 0, "{n} seeds never came to {name}");
        }
    }
}
