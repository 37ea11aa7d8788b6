//! What a broker does with a request: as `server` and `node` do it, with every wait an event.

use ottla_coordinators::TxnReply;
use ottla_protocol::batch::{Header, NO_SEQUENCE};
use ottla_protocol::messages::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, TxnOffsetCommitRequest,
};
use ottla_protocol::{Offset, ProducerEpoch, ProducerId, Refusal, Text};
use ottla_storage::producer::{Guard, Unverified, Verified};
use ottla_storage::{AppendOutcome, NotDone};

use bytes::Bytes;

use super::place::{InNameOf, OFFSETS, PLACES, TRANSACTIONS};
use super::seats::Owed;
use super::wire::{Asking, Call, Event, Joins, Produce, Reply, Request, Write};
use super::world::World;

/// In which version brokers ask each other.
const BETWEEN_BROKERS: i16 = 5;
/// How often a write that adds its partition waits for the end of the last transaction.
const ATTEMPTS_MAX: u32 = 4;
const ATTEMPT_PAUSE_MS: i64 = 20;

/// One write into a transaction.
#[derive(Debug, Clone, Copy)]
struct Joining {
    place: usize,
    producer: (ProducerId, ProducerEpoch),
    base_sequence: i32,
    joins: Joins,
}

impl World {
    /// A request comes in, unless its connection is gone.
    pub(super) fn arrive(&mut self, call: Call, request: Request) {
        let client = self.clients.get(call.client);
        if request.must_not_come_late() && client.is_some_and(|client| call.n < client.current) {
            return self.totals.count("fault: dropped with its connection");
        }
        if self.is_up {
            self.serve(call, request);
        }
    }

    pub(super) fn serve(&mut self, call: Call, request: Request) {
        self.totals.count("operations");
        self.trace(|_| format!("{call:?} {request:?}"));
        let name = request.name();
        match request {
            Request::Init(request, version) => {
                self.ask_transactions(call, name, |ledger, level, fresh, now| {
                    ledger.init(&request, version, level, fresh, now)
                });
            }
            Request::AddPartitions(transaction, version) => {
                self.ask_transactions(call, name, |ledger, level, _, now| {
                    ledger.add_partitions(&transaction, version, level, now)
                });
            }
            Request::AddOffsets(request, version) => {
                self.ask_transactions(call, name, |ledger, level, _, now| {
                    ledger.add_offsets(&request, version, PLACES[OFFSETS].1, level, now)
                });
            }
            Request::End(request, version) => {
                self.ask_transactions(call, name, |ledger, level, fresh, now| {
                    ledger.end(&request, version, level, fresh, now)
                });
            }
            Request::Produce(produce) => self.begin_produce(call, produce),
            Request::CommitOffsets(request, version) => {
                self.begin_commit(call, request, version);
            }
            Request::FetchOffset(partition) => self.fetch_offset(call, name, partition),
        }
    }

    /// An answer that waits for nothing.
    pub(super) fn answer(&mut self, call: Call, name: &str, reply: Reply) {
        self.answer_after(call, name, reply, None, reply);
    }

    /// An answer that waits until what stands at `after` is committed; `instead` if that takes too
    /// long.
    pub(super) fn answer_after(
        &mut self,
        call: Call,
        name: &str,
        reply: Reply,
        after: Option<(usize, Offset)>,
        instead: Reply,
    ) {
        let told = reply.refusal.map_or("ok", Refusal::name);
        self.totals.count(&format!("answer {name} {told}"));
        self.owe(after, Owed::Reply(call, reply), Owed::Reply(call, instead));
    }

    // ---- Produce ----

    fn begin_produce(&mut self, call: Call, produce: Produce) {
        let header = Header::parse(&produce.batch).expect("clients send whole batches");
        let joining = Joining {
            place: produce.place,
            producer: (header.producer_id(), header.producer_epoch()),
            base_sequence: header.base_sequence(),
            joins: produce.joins,
        };
        let id = produce.transactional_id.clone();
        match self.begin_joining(joining) {
            Err(refusal) => self.refuse_produce(call, told(refusal, joining.joins), joining.joins),
            Ok(None) => self.produce(call, &produce, Verified::Under(None)),
            Ok(Some(guard)) => {
                let write = Write::Produce(produce);
                self.ask_about(call, write, joining, guard, id);
            }
        }
    }

    fn produce(&mut self, call: Call, produce: &Produce, verified: Verified) {
        let place = produce.place;
        match self.write(place, &produce.batch, InNameOf::client(verified)) {
            Ok(outcome) => {
                if outcome.is_duplicate {
                    self.totals.count("duplicates found");
                }
                let after = Some((place, outcome.last_offset));
                let instead = Reply::refused(Refusal::RequestTimedOut);
                self.answer_after(call, "Produce", Reply::DONE, after, instead);
            }
            Err(refusal) => self.answer(call, "Produce", Reply::refused(refusal)),
        }
    }

    fn refuse_produce(&mut self, call: Call, refusal: Refusal, joins: Joins) {
        let refusal = not_joined(refusal, joins);
        self.answer(call, "Produce", Reply::refused(refusal));
    }

    // ---- TxnOffsetCommit ----

    fn begin_commit(&mut self, call: Call, request: TxnOffsetCommitRequest, version: i16) {
        let joining = Joining {
            place: OFFSETS,
            producer: (request.producer_id, request.producer_epoch),
            base_sequence: NO_SEQUENCE,
            joins: joins_of_commit(version),
        };
        let id = request.transactional_id.clone();
        match self.begin_joining(joining) {
            Err(refusal) => self.refuse_commit(call, told(refusal, joining.joins)),
            Ok(None) => self.commit_offsets(call, &request, Verified::Under(None)),
            Ok(Some(guard)) => {
                let write = Write::CommitOffsets(request, version);
                self.ask_about(call, write, joining, guard, id);
            }
        }
    }

    fn refuse_commit(&mut self, call: Call, refusal: Refusal) {
        let refusal = match refusal {
            Refusal::NotLeaderOrFollower | Refusal::KafkaStorageError => Refusal::NotCoordinator,
            other => other,
        };
        self.answer(call, "TxnOffsetCommit", Reply::refused(refusal));
    }

    // ---- whether the partition belongs to the transaction ----

    fn begin_joining(&mut self, joining: Joining) -> Result<Option<Guard>, Refusal> {
        let now_ms = self.wall_ms();
        self.places[joining.place].begin_verification(Unverified {
            producer_id: joining.producer.0,
            producer_epoch: joining.producer.1,
            base_sequence: joining.base_sequence,
            bumps_epoch: joining.joins == Joins::Add,
            now_ms,
        })
    }

    fn ask_about(
        &mut self,
        call: Call,
        write: Write,
        joining: Joining,
        guard: Guard,
        transactional_id: Text,
    ) {
        let (topic, index) = PLACES[joining.place];
        let question = AddPartitionsToTxnTransaction {
            transactional_id,
            producer_id: joining.producer.0,
            producer_epoch: joining.producer.1,
            verify_only: joining.joins != Joins::Add,
            topics: vec![AddPartitionsToTxnTopic {
                name: Text::from_static(topic),
                partitions: vec![index],
            }],
        };
        let asking = Asking {
            call,
            write,
            guard,
            place: joining.place,
            life: self.places[joining.place].life,
            attempt: 1,
            question,
        };
        self.send(Event::Ask(Box::new(asking)));
    }

    /// The coordinator is asked by a leader.
    pub(super) fn ask(&mut self, asking: Box<Asking>) {
        if !self.is_up {
            return;
        }
        let question = asking.question.clone();
        let decided = self.on_transactions(|ledger, level, _, now| {
            ledger.add_partitions(&question, BETWEEN_BROKERS, level, now)
        });
        let (reply, after) = match decided {
            Ok((reply, after)) => (refusal_of(reply), after),
            Err(refusal) => (Some(refusal), None),
        };
        let what = match question.verify_only {
            true => "verification",
            false => "implicit addition",
        };
        let told = reply.map_or("ok", Refusal::name);
        self.totals.count(&format!("answer {what} {told}"));
        let unheard = Some(Refusal::CoordinatorNotAvailable);
        self.owe(
            after.map(|after| (TRANSACTIONS, after)),
            Owed::Told(asking.clone(), reply),
            Owed::Told(asking, unheard),
        );
    }

    /// A leader hears what the coordinator says.
    pub(super) fn told(&mut self, mut asking: Asking, refusal: Option<Refusal>) {
        let place = &self.places[asking.place];
        if place.life != asking.life || place.log.is_none() {
            return;
        }
        let client = self.clients.get(asking.call.client);
        let is_old = matches!(&asking.write, Write::CommitOffsets(_, version) if *version < 5);
        if is_old && client.is_some_and(|client| asking.call.n < client.current) {
            return self.totals.count("fault: dropped with its connection");
        }
        let joins = asking.write.joins();
        if refusal == Some(Refusal::ConcurrentTransactions)
            && joins == Joins::Add
            && asking.attempt < ATTEMPTS_MAX
            && matches!(asking.write, Write::Produce(_))
        {
            let question = &asking.question;
            let joining = Joining {
                place: asking.place,
                producer: (question.producer_id, question.producer_epoch),
                base_sequence: asking.write.base_sequence(),
                joins,
            };
            match self.begin_joining(joining) {
                Ok(Some(guard)) => {
                    asking.guard = guard;
                    asking.attempt += 1;
                    return self.after(ATTEMPT_PAUSE_MS, Event::Ask(Box::new(asking)));
                }
                Ok(None) => return self.go_on(asking, Verified::Under(None)),
                Err(refusal) => return self.refuse_write(&asking, told(refusal, joins)),
            }
        }
        match refusal {
            Some(refusal) => self.refuse_write(&asking, told(refusal, joins)),
            None => {
                let verified = Verified::Under(Some(asking.guard));
                self.go_on(asking, verified);
            }
        }
    }

    fn go_on(&mut self, asking: Asking, verified: Verified) {
        match &asking.write {
            Write::Produce(produce) => self.produce(asking.call, produce, verified),
            Write::CommitOffsets(request, _) => self.commit_offsets(asking.call, request, verified),
        }
    }

    fn refuse_write(&mut self, asking: &Asking, refusal: Refusal) {
        match &asking.write {
            Write::Produce(produce) => self.refuse_produce(asking.call, refusal, produce.joins),
            Write::CommitOffsets(..) => self.refuse_commit(asking.call, refusal),
        }
    }

    // ---- the log ----

    /// Appends as a leader does. If the disk fails for good, the process ends with this step.
    pub(super) fn write(
        &mut self,
        at: usize,
        batch: &Bytes,
        name_of: InNameOf,
    ) -> Result<AppendOutcome, Refusal> {
        let now_ms = self.wall_ms();
        let place = &mut self.places[at];
        if place.log.is_none() {
            return Err(Refusal::NotLeaderOrFollower);
        }
        let appended = place.append(batch, name_of, now_ms);
        self.trace(|_| format!("{at} appends: {appended:?}"));
        match appended {
            Ok(outcome) => {
                self.totals.add("rolls", u64::from(outcome.has_rolled));
                self.advance_soon(at);
                Ok(outcome)
            }
            Err(NotDone::Refused(refused)) => Err(refused.refusal),
            Err(NotDone::Fault(fault)) => {
                self.failed(&fault);
                Err(Refusal::KafkaStorageError)
            }
        }
    }
}

impl Write {
    fn joins(&self) -> Joins {
        match self {
            Self::Produce(produce) => produce.joins,
            Self::CommitOffsets(_, version) => joins_of_commit(*version),
        }
    }

    fn base_sequence(&self) -> i32 {
        let Self::Produce(produce) = self else {
            return NO_SEQUENCE;
        };
        let header = Header::parse(&produce.batch).expect("clients send whole batches");
        header.base_sequence()
    }
}

fn joins_of_commit(version: i16) -> Joins {
    match version {
        ..=3 => Joins::Verify,
        4 => Joins::VerifyAbortable,
        _ => Joins::Add,
    }
}

/// What AddPartitionsToTxn says of the one partition that was asked for.
fn refusal_of(reply: TxnReply) -> Option<Refusal> {
    super::seats::reply_of(&reply).refusal
}

/// A coordinator's refusal in words that a producer of this version expects.
fn told(refusal: Refusal, joins: Joins) -> Refusal {
    match refusal {
        Refusal::ProducerFenced => Refusal::InvalidProducerEpoch,
        Refusal::TransactionAbortable if joins == Joins::Verify => Refusal::InvalidTxnState,
        other => other,
    }
}

/// In words after which a producer does the right thing: ask again, or abort.
fn not_joined(refusal: Refusal, joins: Joins) -> Refusal {
    match refusal {
        Refusal::NetworkException
        | Refusal::CoordinatorLoadInProgress
        | Refusal::CoordinatorNotAvailable
        | Refusal::NotCoordinator => Refusal::NotEnoughReplicas,
        Refusal::ConcurrentTransactions if joins != Joins::Add => Refusal::NotEnoughReplicas,
        other => other,
    }
}
