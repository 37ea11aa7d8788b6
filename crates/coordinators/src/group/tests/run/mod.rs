//! A long run from a seed: clients of both protocols join, read, commit, change their minds, restart
//! in the other protocol and die, topics come, grow and go, the log fails and is compacted, and the
//! coordinator is loaded anew at any step; all on a simulated clock.
//!
//! | variable | what |
//! |---|---|
//! | `GROUP_SEEDS` | how many seeds (a few without it) |
//! | `GROUP_FIRST` | the first seed (0) |
//! | `GROUP_STEPS` | operations of each seed, at least (1,000) |
//! | `GROUP_SEED` | this seed alone, each step told |
//!
//! | place | what |
//! |---|---|
//! | `world` | what happens: who acts, what changes around them |
//! | `client` | one client, whichever protocol it speaks |
//! | `classic`, `consumer` | the two protocols from a client's side |
//! | `leader` | what a classic leader assigns |
//! | `check` | what must be true after each step, and in the end |
//! | `totals` | how often each thing happened |

mod chance;
mod check;
mod classic;
mod client;
mod consumer;
mod leader;
mod offsets;
mod totals;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use totals::Totals;
use world::World;

/// Enough for a change that breaks something to be noticed at once, and no more than seconds.
const SEEDS_BY_DEFAULT: u64 = 4;
const STEPS_BY_DEFAULT: u64 = 1000;
/// From so many seeds on each thing that can happen must have happened.
const SEEDS_FOR_ALL: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64, n_steps: u64, traces: bool) -> Totals {
    let mut world = World::new(seed, traces);
    for _ in 0..n_steps {
        world.step();
    }
    world.reload_often_enough();
    world.come_to_rest();
    world.totals
}

#[test]
fn no_group_loses_its_way() {
    let only = number("GROUP_SEED");
    let n_steps = number("GROUP_STEPS").unwrap_or(STEPS_BY_DEFAULT);
    let n_seeds = number("GROUP_SEEDS").unwrap_or(SEEDS_BY_DEFAULT);
    let first = only.or(number("GROUP_FIRST")).unwrap_or(0);
    let n = if only.is_some() { 1 } else { n_seeds };
    let mut totals = Totals::default();
    for seed in first..first + n {
        match catch_unwind(AssertUnwindSafe(|| run(seed, n_steps, only.is_some()))) {
            Ok(more) => totals.add(&more),
            Err(_) => panic!(
                "seed {seed} failed; again: GROUP_SEED={seed} GROUP_STEPS={n_steps} cargo test \
                 -p ottla-coordinators --lib no_group_loses_its_way -- --nocapture"
            ),
        }
    }
    eprintln!("{totals}\n{n} seeds");
    if n >= SEEDS_FOR_ALL {
        let never = totals.never();
        assert!(never.is_empty(), "{n} seeds never came to {never:?}");
    }
}
