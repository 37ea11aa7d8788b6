//! One transactional producer: a batch to the next of its partitions, the end of the transaction, and
//! so on, each time at its moment.
//!
//! By the protocol of `transaction.version` 2: the write itself adds its partition, and each end
//! brings the epoch of the next transaction. Everything goes over one connection, so the partitions
//! are those of the broker that coordinates the transactional id.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use ottla_client::ClientError;
use ottla_protocol::batch::{HEADER_LEN, stamp_producer};
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, PartitionProduceData, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::batch::Load;
use super::broker_cpu::CpuWatch;
use super::dialogue::{Dialogue, framed, read};
use super::histogram::Histogram;
use super::schedule::{Nanos, Pace, SECOND};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::Wire;

/// The first that adds partitions to a transaction.
pub(super) const PRODUCE_VERSION: i16 = 12;
/// The first whose answer has the next epoch.
pub(super) const END_VERSION: i16 = 5;
/// What a broker is given to get the acks.
const ACK_TIMEOUT_MS: i32 = 30_000;
/// The first batch of an epoch, and a transaction has one.
const FIRST_SEQUENCE: i32 = 0;
/// Before something is asked again: what Kafka's producer waits where its last transaction is still
/// being ended.
const AGAIN_AFTER: Nanos = SECOND / 50;

/// What all producers of a run see of the two requests of a transaction.
#[derive(Debug)]
pub(super) struct Steps {
    /// Until the records are acknowledged, and until the end is; asking again is part of it.
    pub(super) written: Histogram,
    pub(super) ended: Histogram,
    /// Requests that had to be asked again, for the last transaction was not at its end yet.
    pub(super) n_repeated: u64,
    /// In the warm-up, too.
    pub(super) n_aborted: u64,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self {
            written: Histogram::new(),
            ended: Histogram::new(),
            n_repeated: 0,
            n_aborted: 0,
        }
    }
}

/// What makes one producer.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) transactional_id: Text,
    /// Id and epoch.
    pub(super) producer: (i64, i16),
    pub(super) topic: Text,
    /// Written to in turn, the one at this place first.
    pub(super) partitions: Vec<i32>,
    pub(super) first: usize,
    pub(super) load: Load,
    /// Each so manieth transaction is aborted.
    pub(super) abort_every: Option<u64>,
    pub(super) pace: Pace,
    pub(super) cpu: CpuWatch,
    pub(super) steps: Arc<Mutex<Steps>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Between,
    Writing,
    Ending,
}

#[derive(Debug)]
pub(super) struct Transactor {
    transactional_id: Text,
    producer: (i64, i16),
    topic: Text,
    partitions: Vec<i32>,
    /// Stamped anew for each transaction.
    batch: Vec<u8>,
    amount: Amount,
    abort_every: Option<u64>,
    pace: Pace,
    cpu: CpuWatch,
    steps: Arc<Mutex<Steps>>,
    dialogue: Dialogue,
    step: Step,
    /// Of all so far, this one included.
    n_begun: u64,
    /// Which partition it is, however often it went round.
    turn: usize,
    /// When the transaction under way was due, and when its step was asked for.
    due: Nanos,
    asked: Nanos,
    /// Nothing is asked before.
    not_before: Nanos,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Done,
    Again,
}

impl Transactor {
    pub(super) fn new(parts: Parts) -> Self {
        let load = parts.load;
        Self {
            transactional_id: parts.transactional_id,
            producer: parts.producer,
            topic: parts.topic,
            partitions: parts.partitions,
            batch: load.batch.to_vec(),
            amount: Amount {
                requests: 1,
                records: load.n_records,
                bytes: load.batch.len() as u64,
                value_bytes: load.value_bytes,
            },
            abort_every: parts.abort_every,
            pace: parts.pace,
            cpu: parts.cpu,
            steps: parts.steps,
            dialogue: Dialogue::default(),
            step: Step::Between,
            n_begun: 0,
            turn: parts.first,
            due: 0,
            asked: 0,
            not_before: 0,
        }
    }

    fn is_to_be_aborted(&self) -> bool {
        self.abort_every
            .is_some_and(|every| self.n_begun.is_multiple_of(every))
    }

    fn partition(&self) -> anyhow::Result<i32> {
        let n = self.partitions.len().max(1);
        let found = self.partitions.get(self.turn % n);
        found.copied().context("no partition is to be written to")
    }

    fn listen(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        let Some(frame) = self.dialogue.hear(wire)? else {
            return Ok(());
        };
        let now = scene.clock.now();
        let told = match self.step {
            Step::Writing => self.written(frame)?,
            Step::Ending | Step::Between => self.ended(frame)?,
        };
        let counts = scene.tally.window().counts(self.asked);
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if told == Told::Again {
            self.not_before = now + AGAIN_AFTER;
            steps.n_repeated += u64::from(counts);
            return Ok(());
        }
        let took = now.saturating_sub(self.asked);
        let seen = match self.step {
            Step::Writing => &mut steps.written,
            Step::Ending | Step::Between => &mut steps.ended,
        };
        if counts {
            seen.record(took);
        }
        if self.step == Step::Writing {
            self.step = Step::Ending;
            self.asked = now;
            return Ok(());
        }
        steps.n_aborted += u64::from(self.is_to_be_aborted());
        drop(steps);
        self.step = Step::Between;
        self.turn = self.turn.wrapping_add(1);
        scene.tally.done(now, self.amount);
        scene.tally.answered(self.due, now);
        Ok(())
    }

    fn written(&self, frame: Bytes) -> anyhow::Result<Told> {
        let answer: ProduceResponse = read(frame, PRODUCE_VERSION)?;
        let of_partition = answer.responses.first();
        let of_partition = of_partition.and_then(|topic| topic.partition_responses.first());
        let of_partition =
            of_partition.context("an answer to Produce says nothing of its partition")?;
        let (code, message) = (of_partition.error_code, &of_partition.error_message);
        let what = format_args!(
            "records of transactional id {} were not written to {}-{}",
            self.transactional_id, self.topic, of_partition.index
        );
        told(code, message.as_deref(), &what)
    }

    fn ended(&mut self, frame: Bytes) -> anyhow::Result<Told> {
        let answer: EndTxnResponse = read(frame, END_VERSION)?;
        let what = format_args!(
            "a transaction of transactional id {} was not ended",
            self.transactional_id
        );
        let told = told(answer.error_code, None, &what)?;
        if told == Told::Done {
            self.producer = (answer.producer_id, answer.producer_epoch);
        }
        Ok(told)
    }

    fn begin(&mut self, due: Nanos, now: Nanos, scene: &mut Scene<'_>) {
        scene.tally.sent(due, now);
        self.pace.sent();
        self.step = Step::Writing;
        self.n_begun += 1;
        (self.due, self.asked) = (due, now);
        let (id, epoch) = self.producer;
        if let Some(header) = self.batch.get_mut(..HEADER_LEN) {
            stamp_producer(
                header,
                scene.clock.wall_ms(now),
                (id, epoch, FIRST_SEQUENCE),
            );
        }
    }

    fn ask(&mut self, wire: &Wire) -> anyhow::Result<()> {
        if self.step == Step::Writing {
            let request = self.write()?;
            return self
                .dialogue
                .ask(wire, |id| framed(&request, PRODUCE_VERSION, id));
        }
        let (producer_id, producer_epoch) = self.producer;
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id,
            producer_epoch,
            committed: !self.is_to_be_aborted(),
        };
        self.dialogue
            .ask(wire, |id| framed(&request, END_VERSION, id))
    }

    fn write(&self) -> anyhow::Result<ProduceRequest> {
        Ok(ProduceRequest {
            transactional_id: Some(self.transactional_id.clone()),
            acks: -1,
            timeout_ms: ACK_TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                topic_id: Uuid::ZERO,
                partition_data: vec![PartitionProduceData {
                    index: self.partition()?,
                    records: Some(Bytes::copy_from_slice(&self.batch)),
                }],
            }],
        })
    }
}

/// Only what passes by itself is asked again.
fn told(code: i16, message: Option<&str>, what: &std::fmt::Arguments<'_>) -> anyhow::Result<Told> {
    if code == NONE {
        return Ok(Told::Done);
    }
    match Refusal::from_code(code) {
        Some(Refusal::ConcurrentTransactions | Refusal::CoordinatorLoadInProgress) => {
            Ok(Told::Again)
        }
        _ => {
            ClientError::from_code(&what.to_string(), code, message)?;
            Ok(Told::Done)
        }
    }
}

impl Speaker for Transactor {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        self.listen(wire, scene)?;
        let now = scene.clock.now();
        self.cpu.look(now)?;
        if self.dialogue.is_waiting() {
            return Ok(Next::News);
        }
        if self.step == Step::Between {
            match self.pace.due(now) {
                Some(due) if due > now => return Ok(Next::At(due)),
                Some(due) => self.begin(due, now, scene),
                // A schedule ends with its last moment, and the others have theirs still to come.
                None if now < scene.tally.window().until => {
                    return Ok(Next::At(scene.tally.window().until));
                }
                None => return Ok(Next::Finished),
            }
        }
        if self.not_before > now {
            return Ok(Next::At(self.not_before));
        }
        self.ask(wire)?;
        Ok(Next::News)
    }

    fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
        if self.step != Step::Between {
            tally.unanswered(self.due, now);
        }
        let overdue = self.pace.overdue(now);
        overdue.for_each(|due| tally.unanswered(due, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use ottla_client::Address;
    use ottla_protocol::batch::Batch;
    use ottla_protocol::header::{RequestStart, response_frame};
    use ottla_protocol::messages::{PartitionProduceResponse, TopicProduceResponse};
    use ottla_protocol::{Message, Reader, Versioned};

    use super::super::schedule::{Schedule, Window};
    use super::super::turns::{self, Clock};

    /// A broker that answers one connection, and refuses what it is told to with these codes first.
    struct Broker {
        stream: TcpStream,
        refusals: Vec<i16>,
        /// What came: the write's partition, sequence and producer, or how a transaction ended.
        heard: Vec<String>,
    }

    impl Broker {
        fn frame(&mut self) -> Option<Bytes> {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).ok()?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).ok()?;
            Some(Bytes::from(frame))
        }

        /// Until the connection is closed.
        fn serve(mut self) -> Vec<String> {
            while let Some(frame) = self.frame() {
                let mut reader = Reader::new(frame);
                let start = RequestStart::decode(&mut reader).unwrap();
                let code = self.refusals.pop().unwrap_or(NONE);
                let id = start.correlation_id;
                let answer = if start.api_key == 0 {
                    self.written(start, &mut reader, code, id)
                } else {
                    self.ended(start, &mut reader, code, id)
                };
                self.stream.write_all(&answer).unwrap();
            }
            self.heard
        }

        fn written(
            &mut self,
            start: RequestStart,
            reader: &mut Reader,
            code: i16,
            id: i32,
        ) -> Bytes {
            let version = ProduceRequest::version(PRODUCE_VERSION);
            start.rest(reader, version.flexible).unwrap();
            let request = ProduceRequest::decode(reader, version).unwrap();
            assert_eq!(request.transactional_id.as_deref(), Some("me"));
            let partition = &request.topic_data[0].partition_data[0];
            let records = partition.records.clone().unwrap();
            let batch = Batch::parse(&records).unwrap();
            batch.verify_crc().unwrap();
            assert!(batch.is_transactional());
            self.heard.push(format!(
                "{} in {} by {}/{}: {code}",
                batch.base_sequence(),
                partition.index,
                batch.producer_id(),
                batch.producer_epoch()
            ));
            let response = ProduceResponse {
                responses: vec![TopicProduceResponse {
                    name: "t".into(),
                    partition_responses: vec![PartitionProduceResponse {
                        index: partition.index,
                        error_code: code,
                        ..PartitionProduceResponse::default()
                    }],
                    ..TopicProduceResponse::default()
                }],
                ..ProduceResponse::default()
            };
            response_frame(&response, PRODUCE_VERSION, id).unwrap()
        }

        fn ended(&mut self, start: RequestStart, reader: &mut Reader, code: i16, id: i32) -> Bytes {
            let version = EndTxnRequest::version(END_VERSION);
            start.rest(reader, version.flexible).unwrap();
            let request = EndTxnRequest::decode(reader, version).unwrap();
            let how = if request.committed { "commit" } else { "abort" };
            let (producer, epoch) = (request.producer_id, request.producer_epoch);
            self.heard
                .push(format!("{how} of {producer}/{epoch}: {code}"));
            let response = EndTxnResponse {
                error_code: code,
                producer_id: producer,
                producer_epoch: epoch + 1,
                ..EndTxnResponse::default()
            };
            response_frame(&response, END_VERSION, id).unwrap()
        }
    }

    /// So many transactions, three milliseconds apart; what the broker heard, and what was seen.
    fn played(
        n: u64,
        abort_every: Option<u64>,
        refusals: &[i16],
    ) -> (Vec<String>, anyhow::Result<Tally>, Steps) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let broker = Broker {
            stream,
            refusals: refusals.iter().rev().copied().collect(),
            heard: Vec::new(),
        };
        let serving = std::thread::spawn(move || broker.serve());
        let window = Window {
            start: 0,
            from: 0,
            until: SECOND,
            give_up: 60 * SECOND,
        };
        // All is begun long before the window ends, so that all of it counts.
        let begun = Window {
            until: n * 3 * SECOND / 1000,
            ..window
        };
        let steps = Arc::new(Mutex::new(Steps::new()));
        let transactor = Transactor::new(Parts {
            transactional_id: Text::from_static("me"),
            producer: (7, 3),
            topic: Text::from_static("t"),
            partitions: vec![4, 9],
            first: 0,
            load: Load::transactional(100, 2).unwrap(),
            abort_every,
            pace: Pace::Fixed(Schedule::new(1000, 3, &begun, (0, 1))),
            cpu: CpuWatch::new(None, window),
            steps: Arc::clone(&steps),
        });
        let wire = Wire::new(near, Address::new("x", 1)).unwrap();
        let line: turns::Line = (wire, Box::new(transactor));
        let tally = turns::run(&Clock::start(), window, vec![vec![line]]);
        let heard = serving.join().unwrap();
        let steps = Arc::into_inner(steps).unwrap().into_inner().unwrap();
        (heard, tally, steps)
    }

    #[test]
    fn each_transaction_is_a_write_and_an_end_in_an_epoch_of_its_own() {
        let (heard, tally, steps) = played(4, Some(2), &[]);
        let expected = [
            "0 in 4 by 7/3: 0",
            "commit of 7/3: 0",
            "0 in 9 by 7/4: 0",
            "abort of 7/4: 0",
            "0 in 4 by 7/5: 0",
            "commit of 7/5: 0",
            "0 in 9 by 7/6: 0",
            "abort of 7/6: 0",
        ];
        assert_eq!(heard, expected);
        let total = tally.unwrap().total;
        assert_eq!((total.requests, total.records), (4, 8));
        assert_eq!(total.value_bytes, 800);
        assert_eq!((steps.n_repeated, steps.n_aborted), (0, 2));
        assert_eq!((steps.written.len(), steps.ended.len()), (4, 4));
    }

    #[test]
    fn what_passes_by_itself_is_asked_again_a_little_later() {
        let busy = Refusal::ConcurrentTransactions.code();
        let (heard, tally, steps) = played(1, None, &[busy, NONE, busy, busy]);
        let expected = [
            "0 in 4 by 7/3: 51",
            "0 in 4 by 7/3: 0",
            "commit of 7/3: 51",
            "commit of 7/3: 51",
            "commit of 7/3: 0",
        ];
        assert_eq!(heard, expected);
        let tally = tally.unwrap();
        assert_eq!((tally.total.requests, steps.n_repeated), (1, 3));
        assert!(tally.latency.max() >= 3 * AGAIN_AFTER);
        assert!(steps.written.max() >= AGAIN_AFTER && steps.ended.max() >= 2 * AGAIN_AFTER);
    }

    #[test]
    fn any_other_refusal_ends_the_run_with_a_sentence() {
        for (refusals, words) in [
            (
                [Refusal::InvalidProducerEpoch.code(), NONE],
                "records of transactional id me were not written to t-4",
            ),
            (
                [NONE, Refusal::ProducerFenced.code()],
                "a transaction of transactional id me was not ended",
            ),
        ] {
            let (_, tally, _) = played(2, None, &refusals);
            let why = tally.unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
