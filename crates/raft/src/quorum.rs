//! `Quorum`: one voter of the metadata log.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::{KRaftVersionRecord, LeaderChangeMessage, LeaderChangeVoter};
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::accumulate::Accumulator;
use crate::command::Command;
use crate::control::Control;
use crate::describe::{Description, ReplicaProgress};
use crate::log_tail::LogTail;
use crate::opening::{CannotOpen, Opening};
use crate::role::{Ballot, Candidate, Leader, Prospective, Resigned, Role, Unattached};
use crate::saved::{ReplicaKey, SavedElection};
use crate::voters::{Endpoint, KraftVersions, Voter, VoterHistory, VoterSet};

/// Both clocks: one for timers, one for what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some moment that does not matter.
    pub monotonic: Duration,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// Who this voter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub node_id: NodeId,
    /// Of the directory that holds the metadata log.
    pub directory_id: Uuid,
    /// Our controller listeners as others reach them; the first is the quorum's.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `controller.quorum.append.linger.ms`: the longest time that a record waits for company
    /// while another batch is on its way to the disk.
    pub append_linger: Duration,
}

/// Why records were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotAppend {
    NotLeader,
    /// They do not fit one batch of the metadata log.
    TooLarge,
}

/// Invariant: `epoch` never falls, and at most one vote was ever given in it.
#[derive(Debug)]
pub struct Quorum {
    me: Identity,
    settings: Settings,
    voters: VoterHistory,
    log: LogTail,
    epoch: LeaderEpoch,
    voted: Option<ReplicaKey>,
    high_watermark: Option<Offset>,
    role: Role,
    commands: VecDeque<Command>,
}

impl Quorum {
    /// Begin with what the files say. `saved` is `None` if there is no quorum-state file. A sole
    /// voter is leader of the next epoch when its first commands are done.
    pub fn open(
        me: Identity,
        settings: Settings,
        opening: Opening,
        saved: Option<SavedElection>,
        now: Now,
    ) -> Result<Self, CannotOpen> {
        let key = ReplicaKey {
            id: me.node_id,
            directory_id: Some(me.directory_id),
        };
        check_voters(&opening.voters, key)?;
        let saved = saved.unwrap_or_default();
        let epoch = saved.epoch.max(opening.tail.last_epoch());
        if epoch == LeaderEpoch::MAX {
            return Err(CannotOpen::NoEpochLeft);
        }
        // A vote of an epoch that the log has left behind means nothing any more.
        let is_current = epoch == saved.epoch;
        let mut quorum = Self {
            role: first_role(&me, is_current.then_some(saved)),
            me,
            settings,
            voters: opening.voters,
            log: opening.tail,
            epoch,
            voted: saved.voted.filter(|_| is_current),
            high_watermark: None,
            commands: VecDeque::new(),
        };
        quorum.stand(now);
        Ok(quorum)
    }

    /// Append `values` as one atomic batch. Returns the offset of the last one; whoever waits for
    /// it waits for a high watermark above it.
    pub fn append(&mut self, values: &[Bytes], now: Now) -> Result<Offset, CannotAppend> {
        let Role::Leader(leader) = &mut self.role else {
            return Err(CannotAppend::NotLeader);
        };
        if !leader.accumulator.append(values, now) {
            return Err(CannotAppend::TooLarge);
        }
        let last = leader.accumulator.next_offset() - 1;
        self.hand_out(now);
        Ok(last)
    }

    /// Raises kraft.version while the quorum runs, in a batch of its own behind all that was
    /// appended: from then on the voters are those in the log, whatever the settings say. Nothing
    /// happens if it is as high already.
    pub fn raise_kraft_version(&mut self, level: i16, now: Now) -> Result<(), CannotAppend> {
        let records = self.voters_at(level);
        let Role::Leader(leader) = &mut self.role else {
            return Err(CannotAppend::NotLeader);
        };
        if level <= self.voters.kraft_version() {
            return Ok(());
        }
        let first = leader.accumulator.next_offset();
        for (offset, record) in (first..).zip(&records) {
            self.voters.note(offset, record);
        }
        leader.accumulator.append_control(&records, now);
        self.hand_out(now);
        Ok(())
    }

    /// The batch of a `Command::Append` that ends at `end` is in the log.
    pub fn handle_appended(&mut self, end: Offset, now: Now) {
        self.log.extend(end, self.epoch, now.wall_ms);
    }

    /// Everything below `end` is on the disk.
    pub fn handle_flushed(&mut self, end: Offset, now: Now) {
        self.log.flush(end);
        self.advance();
        self.hand_out(now);
    }

    /// The moment of `next_timeout` has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.hand_out(now);
    }

    /// The node goes down: lead no more. What was appended is still handed out to be written, but
    /// no high watermark follows: who waits for one is told that the leader is gone.
    pub fn handle_shutdown(&mut self, now: Now) {
        if let Role::Leader(leader) = &mut self.role {
            while let Some(ready) = leader.accumulator.next(true, now) {
                self.commands.push_back(Command::Append {
                    base_offset: ready.base_offset,
                    end_offset: ready.end_offset,
                    batch: ready.bytes,
                });
            }
            self.become_role(Role::Resigned(Resigned));
            self.announce();
        }
    }

    /// When to call `handle_timeout` if nothing else happens.
    pub fn next_timeout(&self) -> Option<Duration> {
        match &self.role {
            Role::Leader(leader) => leader.accumulator.next_timeout(),
            _ => None,
        }
    }

    /// The next thing for the host to do, to be done before it asks again.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn leader(&self) -> Option<NodeId> {
        self.role.leader(self.me.node_id)
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// `None` until the first record of the own epoch is committed.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The offset that the next appended record gets, batches in the making included.
    pub fn next_offset(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.accumulator.next_offset(),
            _ => self.log.end(),
        }
    }

    pub fn log(&self) -> &LogTail {
        &self.log
    }

    pub fn voters(&self) -> &VoterSet {
        self.voters.voters()
    }

    pub fn kraft_version(&self) -> i16 {
        self.voters.kraft_version()
    }

    /// For DescribeQuorum; `None` unless we lead and know a high watermark.
    pub fn describe(&self, now: Now) -> Option<Description> {
        let high_watermark = self.high_watermark.filter(|_| self.is_leader())?;
        let progress = |voter: &Voter| ReplicaProgress {
            id: voter.id,
            directory_id: voter.directory_id.unwrap_or(Uuid::ZERO),
            log_end: self.log.end(),
            last_fetch_ms: now.wall_ms,
            last_caught_up_ms: now.wall_ms,
        };
        Some(Description {
            leader_id: self.me.node_id,
            leader_epoch: self.epoch,
            high_watermark,
            voters: self.voters().iter().map(progress).collect(),
            observers: Vec::new(),
            nodes: self.voters().iter().cloned().collect(),
        })
    }

    /// Stand for election.
    fn stand(&mut self, now: Now) {
        let leader = self.role.leader(self.me.node_id);
        let ballot = Ballot::with(self.me.node_id);
        self.become_role(Role::Prospective(Prospective { leader, ballot }));
        self.count_votes(now);
    }

    /// Take every step that the granted votes allow; with one voter that is all of them.
    fn count_votes(&mut self, now: Now) {
        let majority = self.voters().majority();
        if matches!(&self.role, Role::Prospective(role) if role.ballot.is_won(majority)) {
            self.epoch += 1;
            self.voted = Some(self.key());
            let ballot = Ballot::with(self.me.node_id);
            self.become_role(Role::Candidate(Candidate { ballot }));
            self.save();
        }
        let won = match &self.role {
            Role::Candidate(role) if role.ballot.is_won(majority) => Some(role.ballot.clone()),
            _ => None,
        };
        if let Some(ballot) = won {
            self.lead(&ballot, now);
        }
    }

    fn lead(&mut self, ballot: &Ballot, now: Now) {
        let epoch_start = self.log.end();
        let mut accumulator =
            Accumulator::new(self.epoch, epoch_start, self.settings.append_linger);
        let records = self.start_of_epoch(ballot);
        for (offset, record) in (epoch_start..).zip(&records) {
            // Voters hold from the moment they are appended.
            self.voters.note(offset, record);
        }
        accumulator.append_control(&records, now);
        self.become_role(Role::Leader(Box::new(Leader {
            epoch_start,
            accumulator,
            handed_out: epoch_start,
            has_claimed: false,
        })));
        // Kafka's file names the leader and drops the vote, which the election has used up.
        self.voted = None;
        self.save();
        self.announce();
        self.hand_out(now);
    }

    /// LEADER_CHANGE opens every epoch. At kraft.version 1 the voters follow if the log has never
    /// had them, or if our own line in them is out of date.
    fn start_of_epoch(&self, ballot: &Ballot) -> Vec<Control> {
        let voter = |id: &NodeId| LeaderChangeVoter {
            voter_id: *id,
            voter_directory_id: Uuid::ZERO,
        };
        let mut records = vec![Control::LeaderChange(LeaderChangeMessage {
            version: 0,
            leader_id: self.me.node_id,
            voters: self.voters().ids().iter().map(voter).collect(),
            granting_voters: ballot.granted().iter().map(voter).collect(),
        })];
        let level = self.voters.kraft_version();
        let (voters, offset) = self.voters.last();
        let is_unwritten = offset == Some(VoterHistory::BEFORE_THE_LOG);
        let is_outdated = voters.find(self.me.node_id) != Some(&self.own_line());
        if level > 0 && (is_unwritten || is_outdated) {
            records.extend(self.voters_at(level));
        }
        records
    }

    /// The level, and the voters with what we know of ourselves.
    fn voters_at(&self, level: i16) -> [Control; 2] {
        let level = Control::KraftVersion(KRaftVersionRecord {
            version: 0,
            kraft_version: level,
        });
        let voters = self.voters().with(self.own_line());
        [level, Control::Voters(voters.to_record())]
    }

    fn own_line(&self) -> Voter {
        Voter {
            id: self.me.node_id,
            directory_id: Some(self.me.directory_id),
            endpoints: self.me.endpoints.clone(),
            kraft_versions: KraftVersions::OURS,
        }
    }

    fn hand_out(&mut self, now: Now) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        while let Some(ready) = leader.accumulator.next(leader.is_idle(&self.log), now) {
            leader.handed_out = ready.end_offset;
            self.commands.push_back(Command::Append {
                base_offset: ready.base_offset,
                end_offset: ready.end_offset,
                batch: ready.bytes,
            });
        }
    }

    fn advance(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(next) = leader.high_watermark(vec![self.log.flushed()]) else {
            return;
        };
        if self.high_watermark.is_some_and(|current| next <= current) {
            return;
        }
        self.high_watermark = Some(next);
        self.commands.push_back(Command::HighWatermark(next));
        if !std::mem::replace(&mut leader.has_claimed, true) {
            let start = leader.epoch_start;
            self.commands.push_back(Command::Lead {
                epoch: self.epoch,
                start,
            });
        }
    }

    fn become_role(&mut self, next: Role) {
        assert!(
            self.role.may_become(&next),
            "{} to {}",
            self.role.name(),
            next.name()
        );
        self.role = next;
    }

    fn announce(&mut self) {
        let leader = self.leader();
        self.commands.push_back(Command::LeaderChanged {
            epoch: self.epoch,
            leader,
        });
    }

    fn save(&mut self) {
        let saved = SavedElection {
            epoch: self.epoch,
            leader: self.leader(),
            voted: self.voted,
        };
        let text = saved.to_text(self.voters.kraft_version(), &self.voters().ids());
        // A file that the host has not begun to write, and that nothing rests on yet, is replaced.
        if matches!(self.commands.back(), Some(Command::SaveElection { .. })) {
            self.commands.pop_back();
        }
        self.commands.push_back(Command::SaveElection { text });
    }

    fn key(&self) -> ReplicaKey {
        ReplicaKey {
            id: self.me.node_id,
            directory_id: Some(self.me.directory_id),
        }
    }
}

fn check_voters(voters: &VoterHistory, me: ReplicaKey) -> Result<(), CannotOpen> {
    let level = voters.kraft_version();
    if level > KraftVersions::OURS.max {
        return Err(CannotOpen::KraftVersion { level });
    }
    let voters = voters.voters();
    if voters.is_empty() {
        Err(CannotOpen::NoVoters)
    } else if !voters.contains(me) {
        Err(CannotOpen::NotAVoter {
            me,
            voters: voters.ids(),
        })
    } else if voters.len() > 1 {
        Err(CannotOpen::SeveralVoters {
            voters: voters.ids(),
        })
    } else {
        Ok(())
    }
}

/// The role that the file leads to, before any timer runs.
fn first_role(me: &Identity, saved: Option<SavedElection>) -> Role {
    let leader = saved.and_then(|saved| saved.leader);
    if leader == Some(me.node_id) {
        return Role::Resigned(Resigned);
    }
    Role::Unattached(Unattached { leader })
}
