//! One decision in the making: what it may look at, and what has come of it so far.

use super::classic::ClassicGroup;
use super::records::GroupRecord;
use super::reply::GroupReply;
use super::settings::GroupSettings;
use super::timers::Timers;
use crate::ledger::{Freed, Now, Ticket, When};

/// Handed down through the rules while they decide.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) settings: &'a GroupSettings,
    pub(crate) timers: &'a mut Timers,
    /// What must be committed before a reply may leave that rests on the group's records.
    pub(crate) seen: When,
    tickets: &'a mut u64,
    records: Vec<GroupRecord>,
    released: Vec<Freed<GroupReply>>,
    successor: Option<ClassicGroup>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) released: Vec<Freed<GroupReply>>,
    /// The classic group that takes the place of one of the consumer protocol, once its record is
    /// appended.
    pub(crate) successor: Option<ClassicGroup>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(
        now: Now,
        settings: &'a GroupSettings,
        timers: &'a mut Timers,
        tickets: &'a mut u64,
        seen: When,
    ) -> Self {
        Self {
            now,
            settings,
            timers,
            seen,
            tickets,
            records: Vec::new(),
            released: Vec::new(),
            successor: None,
        }
    }

    pub(crate) fn write(&mut self, record: GroupRecord) {
        self.records.push(record);
    }

    pub(crate) fn writes_nothing(&self) -> bool {
        self.records.is_empty()
    }

    /// A ticket that no one has had.
    pub(crate) fn ticket(&mut self) -> Ticket {
        *self.tickets += 1;
        Ticket(*self.tickets)
    }

    pub(crate) fn release(&mut self, ticket: Ticket, reply: GroupReply, when: When) {
        self.released.push(Freed {
            ticket,
            reply,
            when,
        });
    }

    pub(crate) fn succeeded_by(&mut self, group: ClassicGroup) {
        self.successor = Some(group);
    }

    pub(crate) fn done(self) -> Outcome {
        Outcome {
            records: self.records,
            released: self.released,
            successor: self.successor,
        }
    }
}
