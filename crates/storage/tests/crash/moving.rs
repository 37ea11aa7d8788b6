//! The log moves to the other directory and back, a step at a time, with all else in between.
//!
//! A seed that moves does not truncate and flips no bits: a log that has moved knows the producers
//! at its end as well as before, but has no snapshots of them from further back.

use std::sync::Arc;

use ottla_storage::{Directory, Fault, Log, NotCopied, NotDone, Swap};

use crate::world::{TOPIC_ID, World, partition};

/// The copy, and what a node knows of it.
pub(crate) struct Moving {
    pub(crate) log: Log,
    pub(crate) target: Arc<Directory>,
    /// Below it the log was compacted when the copy was begun.
    pub(crate) cleaned: Option<i64>,
    /// Where the log began when the copy was synced.
    pub(crate) settled_start: Option<i64>,
}

impl World {
    pub(crate) fn move_on(&mut self) {
        if !self.moves {
            return;
        }
        let is_moving = self.host.as_ref().is_some_and(|host| host.moving.is_some());
        match is_moving {
            false => self.begin_move(),
            true if self.dice.percent(4) => self.give_up_move(),
            true => self.advance_move(),
        }
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.moving.is_some())
    }

    fn begin_move(&mut self) {
        let (config, now_ms) = (self.config.clone(), self.now_ms);
        let host = self.host.as_mut().expect("the host is up");
        let mut all = host.directories.all().iter();
        let other = all.find(|one| !Arc::ptr_eq(one, &host.directory));
        let target = other.expect("there are two directories").clone();
        let cleaned = host.directory.cleaned(&partition());
        let id = ottla_protocol::Uuid::from_u128(TOPIC_ID);
        let made = host
            .directories
            .create_future(&target, &partition(), id, config, now_ms);
        match made {
            Ok(log) => {
                host.moving = Some(Moving {
                    log,
                    target,
                    cleaned,
                    settled_start: None,
                });
                self.totals.moves_begun += 1;
                self.trace(|| "a move begins".into());
            }
            Err(fault) => {
                // Or its lock would outlive the process.
                drop(target);
                self.move_failed(&fault);
            }
        }
    }

    fn advance_move(&mut self) {
        let (now_ms, n_bytes) = (self.now_ms, self.dice.within(1, 40_000) as usize);
        let host = self.host.as_mut().expect("the host is up");
        let Some(moving) = host.moving.as_mut() else {
            return;
        };
        match moving.log.copy_from(&host.log.view(), n_bytes, now_ms) {
            Ok(_) if !moving.log.has_all_of(&host.log) => {}
            Ok(_) if moving.settled_start != Some(host.log.start()) => {
                if let Err(fault) = settle(moving, &host.log) {
                    self.move_failed(&fault);
                }
            }
            Ok(_) => self.swap(),
            Err(NotCopied { is_source, why }) => {
                let is_refused = matches!(why, NotDone::Refused(_));
                assert!(
                    !(is_source && is_refused),
                    "a sound log is not copied: {why}"
                );
                self.trace(|| format!("a step of the move failed: {why}"));
                self.give_up_move();
            }
        }
    }

    fn swap(&mut self) {
        let now_ms = self.now_ms;
        let host = self.host.as_mut().expect("the host is up");
        let Some(moving) = host.moving.take() else {
            return;
        };
        let prepared = host
            .directories
            .prepare_swap(&moving.target, &moving.log, moving.cleaned);
        if let Err(fault) = prepared {
            host.moving = Some(moving);
            return self.move_failed(&fault);
        }
        let swap = Swap {
            current: &mut host.log,
            source: &host.directory,
            future: moving.log,
            target: &moving.target,
        };
        match host.directories.swap(swap, now_ms) {
            Ok(()) => {
                self.home = moving.target.path().to_owned();
                let source = std::mem::replace(&mut host.directory, moving.target);
                host.directories.forget_moved(&source, &partition());
                self.flushing = None;
                self.reserving = None;
                self.flushed();
                self.totals.moves += 1;
                self.trace(|| "the log has moved".into());
            }
            Err(not) => {
                self.trace(|| format!("no swap: {}", not.fault));
                // The directory is offline from here on; another start has it back.
                drop((not, moving.target));
                let is_power_cut = self.sim.is_in_doubt() || self.dice.percent(50);
                if !self.sim.is_dead() {
                    self.crash(is_power_cut);
                }
            }
        }
    }

    pub(crate) fn give_up_move(&mut self) {
        let now_ms = self.now_ms;
        let host = self.host.as_mut().expect("the host is up");
        let Some(moving) = host.moving.take() else {
            return;
        };
        self.totals.moves_given_up += 1;
        let deleted = host
            .directories
            .delete_log(&moving.target, moving.log, now_ms);
        drop(moving.target);
        self.trace(|| format!("the move is given up: {deleted:?}"));
        if deleted.is_err() && !self.sim.is_dead() {
            let is_power_cut = self.sim.is_in_doubt();
            self.crash(is_power_cut);
        }
    }

    fn move_failed(&mut self, fault: &Fault) {
        self.trace(|| format!("the move failed: {fault}"));
        if !self.sim.is_dead() && !fault.is_passing() {
            let is_power_cut = self.sim.is_in_doubt() || self.dice.percent(50);
            self.crash(is_power_cut);
        }
    }
}

fn settle(moving: &mut Moving, log: &Log) -> Result<(), Fault> {
    moving.log.take_producers(log)?;
    if let Some(target) = moving.log.recovery_plan()? {
        target
            .sync()
            .inspect_err(|fault| moving.log.poison(fault))?;
        moving.log.flushed_to(&target);
    }
    moving.settled_start = Some(moving.log.start());
    Ok(())
}
