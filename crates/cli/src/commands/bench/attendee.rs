//! A member of a group on its connection: it joins, stays until the group is complete and a while
//! longer, and leaves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::assembly::Assembly;
use super::broker_cpu::BrokerCpu;
use super::dialogue::Dialogue;
use super::member::Member;
use super::schedule::{Nanos, SECOND};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::Wire;

/// Who has nothing to say looks this often whether the group is complete.
const LOOK: Nanos = SECOND / 20;

/// What the members of a group know of each other.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) assembly: Assembly,
    cpu: Option<BrokerCpu>,
    /// What the broker had used before the first join, and when the group was complete.
    cpu_before: Nanos,
    cpu_after: Nanos,
}

impl Gathering {
    pub(super) fn new(assembly: Assembly, cpu: Option<BrokerCpu>) -> anyhow::Result<Self> {
        let cpu_before = cpu.as_ref().map_or(Ok(0), BrokerCpu::used)?;
        Ok(Self {
            assembly,
            cpu,
            cpu_before,
            cpu_after: cpu_before,
        })
    }

    fn completed(&mut self) -> anyhow::Result<()> {
        if let Some(cpu) = &self.cpu {
            self.cpu_after = cpu.used()?;
        }
        Ok(())
    }

    /// 0 where nobody looks.
    pub(super) fn cpu_used(&self) -> Nanos {
        self.cpu_after.saturating_sub(self.cpu_before)
    }
}

#[derive(Debug)]
pub(super) struct Attendee {
    place: usize,
    member: Box<dyn Member>,
    dialogue: Dialogue,
    gathering: Arc<Mutex<Gathering>>,
    /// How long the complete group stays together.
    hold: Nanos,
    has_joined: bool,
    asked: Nanos,
}

impl Attendee {
    pub(super) fn new(
        place: usize,
        member: Box<dyn Member>,
        gathering: Arc<Mutex<Gathering>>,
        hold: Nanos,
    ) -> Self {
        Self {
            place,
            member,
            dialogue: Dialogue::default(),
            gathering,
            hold,
            has_joined: false,
            asked: 0,
        }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        let Some(frame) = self.dialogue.hear(wire)? else {
            return Ok(());
        };
        let now = scene.clock.now();
        let one = Amount {
            requests: 1,
            ..Amount::default()
        };
        scene.tally.done(now, one);
        if self.member.is_beating() {
            scene.tally.answered(self.asked, now);
        }
        if let Some(share) = self.member.answer(frame, now)? {
            let mut gathering = self.gathering();
            if gathering.assembly.has(self.place, share, now) {
                gathering.completed()?;
            }
        }
        Ok(())
    }

    fn speak(&mut self, wire: &Wire, now: Nanos) -> anyhow::Result<()> {
        if !self.has_joined {
            self.has_joined = true;
            self.gathering().assembly.joins(now);
        }
        self.asked = now;
        let member = &mut self.member;
        self.dialogue.ask(wire, |id| member.question(id, now))
    }

    fn is_over(&self, now: Nanos) -> bool {
        let complete = self.gathering().assembly.complete();
        complete.is_some_and(|complete| now >= complete + self.hold)
    }
}

impl Speaker for Attendee {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        self.listen(wire, scene)?;
        let now = scene.clock.now();
        if self.dialogue.is_waiting() {
            return Ok(Next::News);
        }
        if self.member.has_left() {
            return Ok(Next::Finished);
        }
        if self.is_over(now) {
            self.member.leave();
        }
        let due = self.member.due();
        if due > now {
            return Ok(Next::At(due.min(now + LOOK)));
        }
        self.speak(wire, now)?;
        Ok(Next::News)
    }

    fn give_up(&mut self, _: Nanos, tally: &mut Tally) {
        if self.dialogue.is_waiting() {
            tally.n_unanswered += 1;
        }
    }
}
