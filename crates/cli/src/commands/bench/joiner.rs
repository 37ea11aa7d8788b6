//! A member that joins its group, and is then handed on: it is a member without its connection, too.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use super::classic_member::ClassicMember;
use super::dialogue::Dialogue;
use super::member::Member;
use super::schedule::Nanos;
use super::tally::Tally;
use super::turns::{Next, Scene, Speaker};
use super::wire::Wire;

/// Those that have joined, each with its place among all.
pub(super) type Joined = Arc<Mutex<Vec<(usize, ClassicMember)>>>;

#[derive(Debug)]
pub(super) struct Joiner {
    place: usize,
    /// `None` when it has joined.
    member: Option<ClassicMember>,
    dialogue: Dialogue,
    joined: Joined,
}

impl Joiner {
    pub(super) fn new(place: usize, member: ClassicMember, joined: Joined) -> Self {
        Self {
            place,
            member: Some(member),
            dialogue: Dialogue::default(),
            joined,
        }
    }
}

impl Speaker for Joiner {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        let heard = self.dialogue.hear(wire)?;
        let now = scene.clock.now();
        let mut member = self.member.take().context("who has joined has no turn")?;
        if let Some(frame) = heard
            && member.answer(frame, now)?.is_some()
        {
            let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
            joined.push((self.place, member));
            return Ok(Next::Finished);
        }
        let next = if self.dialogue.is_waiting() {
            Next::News
        } else if member.due() > now {
            Next::At(member.due())
        } else {
            self.dialogue.ask(wire, |id| member.question(id, now))?;
            Next::News
        };
        self.member = Some(member);
        Ok(next)
    }

    fn give_up(&mut self, _: Nanos, tally: &mut Tally) {
        tally.n_unanswered += 1;
    }
}
