//! Produce (key 0, versions 3-13): append batches to the partitions this node leads.
//! v7 zstd · v8 record errors · v9 flexible · v10 leader hints · v12 joins the transaction
//! implicitly (KIP-890) · v13 topic ids.
//! Waiting for the disk and for replicas is not decided here; see `node/parked.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::quotas::QuotaKind;
use ottla_node::{
    Acknowledgement, AppendRefused, Appended, JoinAs, Joined, Joining, JoiningProducer, Partition,
    Services, Turns, Verified, Waiter,
};
use ottla_protocol::batch::{self, Header, Prefix};
use ottla_protocol::messages::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse,
    ProduceLeaderIdAndEpoch, ProduceNodeEndpoint, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use ottla_protocol::{NONE, Offset, Refusal, Refused, Text};
use tokio::time::{Instant, timeout_at};

use super::last_words::last_words;
use crate::answer::Answer;
use crate::api::leader_hint;
use crate::session::{Call, Turn, Undecided};
use crate::throttle;

/// Kafka's own admin tools may write to internal topics; nobody else.
const ADMIN_CLIENT: &str = "__admin_client";
const ZSTD_SINCE: i16 = 7;
const TOPIC_IDS_SINCE: i16 = 13;
/// What is opened of the compressed batches of one request while others wait for the thread, and, with a
/// topic's `compression.type`, encoded anew: a few milliseconds. A few kilobytes can open to 100 MiB.
const OPENED_HERE_MAX: usize = 8 << 20;
/// Of the batches that every request since v3 carries.
const MAGIC: i8 = 2;

/// One partition's outcome so far.
struct Outcome {
    response: PartitionProduceResponse,
    /// The partition and the offset (exclusive) whose acknowledgement is awaited.
    awaited: Option<(Arc<Partition>, Offset)>,
}

/// What is to be written to one partition.
struct Write {
    index: i32,
    what: Result<(Arc<Partition>, Bytes), AppendRefused>,
    /// Of a batch that belongs to a transaction: what its coordinator says.
    verified: Verified,
}

pub(crate) async fn handle(
    services: Arc<Services>,
    call: Arc<Call>,
    request: ProduceRequest,
) -> Answer {
    let ProduceRequest {
        transactional_id,
        acks,
        timeout_ms,
        topic_data,
    } = request;
    let deadline = Instant::now() + Duration::from_millis(timeout_ms.max(0) as u64);
    // IMPORTANT: up to the first await everything is done in one poll, so that requests of a
    // connection are appended in the order in which they came. Where a transaction's coordinator
    // must be asked first, those behind stand in line.
    let undecided = &call.session.undecided;
    let mut turn = None;
    if !undecided.is_empty() {
        turn = Some(undecided.turn().await);
    }
    let mut writes: Vec<(TopicProduceData, Vec<Write>)> = Vec::with_capacity(topic_data.len());
    for mut topic in once_each(topic_data) {
        let partitions = std::mem::take(&mut topic.partition_data);
        let prepared = prepare(&services, &call, &topic, partitions, acks);
        // A name that is a slice of the frame would keep all of it in memory until the answer leaves.
        topic.name = Text::from(&*topic.name);
        writes.push((topic, prepared));
    }
    match joining(&call, transactional_id, &writes) {
        Ok(None) => {}
        Ok(Some(joining)) => {
            let Joins {
                producer,
                partitions,
                joiners,
            } = joining;
            let turns = enter_or_queue(&writes, undecided, &mut turn).await;
            let may_wait = turns.is_none();
            let questions = services.begin_joining(producer, partitions, may_wait).await;
            drop(turns);
            if questions.are_open() && turn.is_none() {
                turn = Some(undecided.turn().await);
            }
            let joined = services.join(questions).await;
            settle_joined(&mut writes, joiners, joined, call.version);
        }
        Err(refusal) => refuse_all(&mut writes, refusal),
    }
    let turns = enter_or_queue(&writes, undecided, &mut turn).await;
    let mut place = Place {
        undecided,
        turn,
        turns,
        left: OPENED_HERE_MAX,
    };
    let may_use_zstd = call.version >= ZSTD_SINCE;
    let mut topics: Vec<(TopicProduceData, Vec<Outcome>)> = Vec::with_capacity(writes.len());
    for (topic, writes) in writes {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(append(write, acks, may_use_zstd, &mut place).await);
        }
        topics.push((topic, outcomes));
    }
    drop(place);
    // Counted, and the pause begun, before the disk is waited for: those behind are not read.
    let quotas = services.quotas();
    let produce = quotas.of(QuotaKind::Produce);
    let of_bytes = produce.record(call.client(), call.n_bytes as f64, quotas.now_ms());
    let mut told = throttle::pause(&services, &call, QuotaKind::Produce, of_bytes, 0);
    if acks == 0 {
        quotas.record_exempt(call.busy.nanos());
        return match first_error(&topics) {
            None => Answer::Nothing,
            Some(error) => Answer::Close(format!(
                "a Produce request with acks=0 failed with error {error}; closing tells the producer"
            )),
        };
    }
    if acks == -1 {
        acknowledge(&mut topics, deadline).await;
    }
    let of_request = throttle::of_request(&services, &call);
    if of_request >= of_bytes {
        told = throttle::pause(&services, &call, QuotaKind::Request, of_request, 0);
    }
    let mut response = respond(&services, &call, topics);
    response.throttle_time_ms = told;
    Answer::encode(&call, &response)
}

/// Every partition once: of two batches for it the last is written, as Kafka's map of them has it.
fn once_each(topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    if !topics.iter().any(repeats_a_partition) && !repeats_a_topic(&topics) {
        return topics;
    }
    let mut once: Vec<TopicProduceData> = Vec::new();
    let mut places = HashMap::new();
    for mut topic in topics {
        let partitions = std::mem::take(&mut topic.partition_data);
        let key = (topic.name.clone(), topic.topic_id);
        let place = *places.entry(key).or_insert(once.len());
        if place == once.len() {
            once.push(topic);
        }
        if let Some(topic) = once.get_mut(place) {
            topic.partition_data.extend(partitions);
        }
    }
    for topic in &mut once {
        let partitions = std::mem::take(&mut topic.partition_data);
        topic.partition_data = last_words(partitions, |data| data.index);
    }
    once
}

fn repeats_a_partition(topic: &TopicProduceData) -> bool {
    let partitions = &topic.partition_data;
    // Most requests can be seen not to, without sorting a copy.
    if partitions.is_sorted_by(|a, b| a.index < b.index) {
        return false;
    }
    let mut indexes: Vec<i32> = partitions.iter().map(|data| data.index).collect();
    indexes.sort_unstable();
    indexes.windows(2).any(|pair| pair[0] == pair[1])
}

fn repeats_a_topic(topics: &[TopicProduceData]) -> bool {
    let mut seen = HashSet::new();
    let mut names = topics.iter().map(|topic| (&*topic.name, topic.topic_id));
    topics.len() > 1 && !names.all(|name| seen.insert(name))
}

fn prepare(
    services: &Services,
    call: &Call,
    topic: &TopicProduceData,
    partitions: Vec<PartitionProduceData>,
    acks: i16,
) -> Vec<Write> {
    let name = if call.version >= TOPIC_IDS_SINCE {
        services
            .topic_name(topic.topic_id)
            .ok_or(Refusal::UnknownTopicId)
    } else {
        Ok(Arc::from(&*topic.name))
    };
    let find = |name: Arc<str>, data: &PartitionProduceData| {
        let records = check(call, &name, data.records.as_ref(), acks)?;
        let partition = services.leader_of(&name, data.index)?;
        let has_ids = call.version >= TOPIC_IDS_SINCE;
        if has_ids && partition.topic_id() != topic.topic_id {
            // The topic was made anew under its name: its partitions are taken in in a moment.
            return Err(Refusal::NotLeaderOrFollower.into());
        }
        Ok((partition, records))
    };
    partitions
        .into_iter()
        .map(|data| Write {
            index: data.index,
            what: name
                .clone()
                .map_err(AppendRefused::from)
                .and_then(|name| find(name, &data)),
            verified: Verified::NotAsked,
        })
        .collect()
}

/// Where in a request a write stands that belongs to a transaction: topic and partition.
type Joiner = (usize, usize);

/// What a request writes into a transaction.
struct Joins {
    producer: JoiningProducer,
    partitions: Vec<Joining>,
    /// Of each of these.
    joiners: Vec<Joiner>,
}

/// The writes that belong to a transaction, if there are any, and whose it is. They must belong to
/// one, and to the one that the request names.
fn joining(
    call: &Call,
    transactional_id: Option<Text>,
    writes: &[(TopicProduceData, Vec<Write>)],
) -> Result<Option<Joins>, Refusal> {
    let (mut joiners, mut partitions, mut producer) = (Vec::new(), Vec::new(), None);
    for (at, (_, writes)) in writes.iter().enumerate() {
        for (within, write) in writes.iter().enumerate() {
            let Ok((partition, records)) = &write.what else {
                continue;
            };
            let Some(header) = transactional(records) else {
                continue;
            };
            let own = (header.producer_id(), header.producer_epoch());
            if *producer.get_or_insert(own) != own {
                return Err(Refusal::InvalidProducerIdMapping);
            }
            joiners.push((at, within));
            partitions.push(Joining {
                partition: partition.clone(),
                base_sequence: header.base_sequence(),
            });
        }
    }
    let Some((producer_id, producer_epoch)) = producer else {
        return Ok(None);
    };
    let producer = JoiningProducer {
        transactional_id: transactional_id.ok_or(Refusal::TransactionalIdAuthorizationFailed)?,
        producer_id,
        producer_epoch,
        joins: JoinAs::produce(call.version),
    };
    Ok(Some(Joins {
        producer,
        partitions,
        joiners,
    }))
}

/// The header of a batch that belongs to a transaction.
fn transactional(records: &[u8]) -> Option<Header<'_>> {
    let header = Header::parse(records).ok()?;
    (header.is_transactional() && header.has_producer_id()).then_some(header)
}

fn settle_joined(
    writes: &mut [(TopicProduceData, Vec<Write>)],
    joiners: Vec<Joiner>,
    joined: Vec<Joined>,
    version: i16,
) {
    for ((at, within), joined) in joiners.into_iter().zip(joined) {
        let Some(write) = writes
            .get_mut(at)
            .and_then(|(_, writes)| writes.get_mut(within))
        else {
            continue;
        };
        match joined {
            Ok(verified) => write.verified = verified,
            Err(refusal) => {
                if let Ok((partition, _)) = &write.what {
                    partition.counters().failed_produce.add(1);
                }
                write.what = Err(not_joined(refusal, version).into());
            }
        }
    }
}

/// In words after which a producer does the right thing: ask again, or abort.
fn not_joined(refusal: Refusal, version: i16) -> Refused {
    let again = || {
        let why = format!(
            "Unable to verify the partition has been added to the transaction. Underlying error: {}",
            refusal.name()
        );
        Refused::new(Refusal::NotEnoughReplicas, why)
    };
    match refusal {
        Refusal::InvalidTxnState => Refused::new(
            refusal,
            "Partition was not added to the transaction".to_owned(),
        ),
        Refusal::NetworkException
        | Refusal::CoordinatorLoadInProgress
        | Refusal::CoordinatorNotAvailable
        | Refusal::NotCoordinator => again(),
        Refusal::ConcurrentTransactions if JoinAs::produce(version) != JoinAs::Add => again(),
        other => other.into(),
    }
}

fn refuse_all(writes: &mut [(TopicProduceData, Vec<Write>)], refusal: Refusal) {
    for write in writes.iter_mut().flat_map(|(_, writes)| writes) {
        write.what = Err(refusal.into());
    }
}

/// Turns to append all of it here and now, if that may be.
fn enter(writes: &[(TopicProduceData, Vec<Write>)]) -> Option<Turns> {
    let mut turns = Turns::default();
    let mut writes = writes.iter().flat_map(|(_, writes)| writes);
    let may = writes.all(|write| match &write.what {
        Ok((partition, _)) => partition.enter(&mut turns),
        Err(_) => true,
    });
    may.then_some(turns)
}

/// Turns to do it here and now, unless this request stands in the line already. A disk that is slow
/// has a thread of its own: then this takes its place in the line, since those behind would overtake.
async fn enter_or_queue<'a>(
    writes: &[(TopicProduceData, Vec<Write>)],
    undecided: &'a Undecided,
    place: &mut Option<Turn<'a>>,
) -> Option<Turns> {
    if place.is_some() {
        return None;
    }
    let turns = enter(writes);
    if turns.is_none() {
        *place = Some(undecided.turn().await);
    }
    turns
}

/// Where a request's writes are appended.
struct Place<'a> {
    undecided: &'a Undecided,
    /// It stands in the line, and may wait.
    turn: Option<Turn<'a>>,
    /// It does not, and appends all here and now.
    turns: Option<Turns>,
    /// Of [`OPENED_HERE_MAX`].
    left: usize,
}

impl Place<'_> {
    /// Nobody overtakes from here on, and no thread is counted as one that appends.
    async fn begin_to_wait(&mut self) {
        self.turns = None;
        if self.turn.is_none() {
            self.turn = Some(self.undecided.turn().await);
        }
    }
}

/// IMPORTANT: does not wait unless it may: whoever comes behind would overtake.
async fn append(write: Write, acks: i16, may_use_zstd: bool, place: &mut Place<'_>) -> Outcome {
    let Write {
        index,
        what,
        verified,
    } = write;
    let (partition, records) = match what {
        Ok(found) => found,
        Err(refused) => return outcome(index, Err(refused)),
    };
    partition.counters().total_produce.add(1);
    let may_wait = place.turn.is_some();
    if may_wait {
        tokio::task::consume_budget().await;
    }
    let mut turns = Turns::default();
    let here = match !may_wait || partition.enter(&mut turns) {
        true => partition.append_within(&mut place.left, &records, acks, may_use_zstd, verified),
        false => None,
    };
    drop(turns);
    let appended = match here {
        Some(appended) => appended,
        None => {
            place.begin_to_wait().await;
            let appended = partition.append_elsewhere(records, acks, may_use_zstd, verified);
            appended.await
        }
    };
    if appended.is_err() {
        partition.counters().failed_produce.add(1);
    }
    outcome(index, appended.map(|appended| (partition, appended)))
}

/// What can be refused without looking at the partition.
fn check(call: &Call, topic: &str, records: Option<&Bytes>, acks: i16) -> Result<Bytes, Refused> {
    if !(-1..=1).contains(&acks) {
        return Err(Refusal::InvalidRequiredAcks.into());
    }
    if ottla_node::is_internal_topic(topic) && call.client() != ADMIN_CLIENT {
        return Err(Refused::new(
            Refusal::InvalidTopicException,
            format!("clients may not write to the internal topic {topic}"),
        ));
    }
    let records = records
        .filter(|records| !records.is_empty())
        .ok_or_else(|| {
            invalid_record(
                "a Produce request carries one record batch for each partition, not none",
            )
        })?;
    only_batch(records)
}

/// The one batch that these bytes are. Bytes behind it that are not a whole one are left out, as Kafka
/// leaves them out.
fn only_batch(records: &Bytes) -> Result<Bytes, Refused> {
    let size = match whole_batch(records)? {
        None => return Err(invalid_record("there is no whole batch")),
        Some(prefix) if prefix.magic != MAGIC => {
            return Err(invalid_record("record batches must be of magic 2"));
        }
        Some(prefix) => prefix.size,
    };
    let behind = records.get(size..).unwrap_or_default();
    if whole_batch(behind)?.is_some() {
        return Err(invalid_record(
            "a Produce request carries one record batch for each partition, not several",
        ));
    }
    Ok(records.slice(..size))
}

/// What the first batch says of itself; `None` if it is not there to its end.
fn whole_batch(bytes: &[u8]) -> Result<Option<Prefix>, Refused> {
    match batch::peek(bytes) {
        Some(Err(corrupt)) => Err(Refused::new(Refusal::CorruptMessage, corrupt.to_string())),
        Some(Ok(prefix)) if !(0..=MAGIC).contains(&prefix.magic) => Err(Refused::new(
            Refusal::CorruptMessage,
            format!("no batch is of magic {}", prefix.magic),
        )),
        found => Ok(found
            .and_then(Result::ok)
            .filter(|prefix| prefix.size <= bytes.len())),
    }
}

fn invalid_record(why: &str) -> Refused {
    Refused::new(Refusal::InvalidRecord, why.to_owned())
}

fn outcome(index: i32, appended: Result<(Arc<Partition>, Appended), AppendRefused>) -> Outcome {
    match appended {
        Ok((partition, appended)) => Outcome {
            response: PartitionProduceResponse {
                index,
                error_code: NONE,
                base_offset: appended.base_offset,
                log_append_time_ms: appended.append_time_ms,
                log_start_offset: appended.log_start,
                ..Default::default()
            },
            awaited: Some((partition, appended.end)),
        },
        Err(refused) => Outcome {
            response: PartitionProduceResponse {
                index,
                error_code: refused.refused.refusal.code(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: refused.log_start,
                record_errors: refused
                    .record_errors
                    .into_iter()
                    .map(|error| BatchIndexAndErrorMessage {
                        batch_index: error.batch_index,
                        batch_index_error_message: Some(error.message.into()),
                    })
                    .collect(),
                error_message: refused.refused.message.map(Into::into),
                ..Default::default()
            },
            awaited: None,
        },
    }
}

fn first_error(topics: &[(TopicProduceData, Vec<Outcome>)]) -> Option<&'static str> {
    let outcomes = topics.iter().flat_map(|(_, outcomes)| outcomes);
    let code = outcomes
        .map(|outcome| outcome.response.error_code)
        .find(|code| *code != NONE)?;
    Some(Refusal::from_code(code).map_or("UNKNOWN_SERVER_ERROR", Refusal::name))
}

/// Waits until every partition has what was appended on all in-sync replicas, or the deadline.
async fn acknowledge(topics: &mut [(TopicProduceData, Vec<Outcome>)], deadline: Instant) {
    let waiter = Waiter::new();
    for outcome in topics.iter_mut().flat_map(|(_, outcomes)| outcomes) {
        let Some((partition, required)) = outcome.awaited.take() else {
            continue;
        };
        let error = loop {
            // Parked first, looked at second: what happens in between wakes us.
            match partition.acknowledgement(required) {
                Acknowledgement::Wait => partition.high_watermark_parking().park(&waiter),
                other => break settle(other),
            }
            match partition.acknowledgement(required) {
                Acknowledgement::Wait => {}
                other => break settle(other),
            }
            if let Some(refusal) = partition.append_fault() {
                break Some(refusal);
            }
            if timeout_at(deadline, waiter.woken()).await.is_err() {
                break Some(Refusal::RequestTimedOut);
            }
        };
        if let Some(refusal) = error {
            outcome.response.error_code = refusal.code();
            outcome.response.base_offset = -1;
            outcome.response.log_append_time_ms = -1;
        }
    }
}

fn settle(acknowledgement: Acknowledgement) -> Option<Refusal> {
    (acknowledgement == Acknowledgement::TooFew).then_some(Refusal::NotEnoughReplicasAfterAppend)
}

fn respond(
    services: &Services,
    call: &Call,
    topics: Vec<(TopicProduceData, Vec<Outcome>)>,
) -> ProduceResponse {
    let mut response = ProduceResponse::default();
    for (topic, outcomes) in topics {
        let mut partition_responses = Vec::with_capacity(outcomes.len());
        for mut outcome in outcomes {
            let error = outcome.response.error_code;
            if error != NONE {
                services.metrics().request_erred(call.key, error);
            }
            if let Some(hint) = leader_hint(
                services,
                call,
                error,
                &topic.name,
                topic.topic_id,
                outcome.response.index,
            ) {
                outcome.response.current_leader = ProduceLeaderIdAndEpoch {
                    leader_id: hint.leader,
                    leader_epoch: hint.leader_epoch,
                };
                if !response
                    .node_endpoints
                    .iter()
                    .any(|node| node.node_id == hint.leader)
                {
                    response.node_endpoints.push(ProduceNodeEndpoint {
                        node_id: hint.leader,
                        host: hint.host.into(),
                        port: hint.port,
                        rack: hint.rack.map(Into::into),
                    });
                }
            }
            partition_responses.push(outcome.response);
        }
        // Kafka answers by partitions, and a topic without them is not told.
        if !partition_responses.is_empty() {
            response.responses.push(TopicProduceResponse {
                name: topic.name,
                topic_id: topic.topic_id,
                partition_responses,
            });
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch_builder::BatchBuilder;
    use ottla_protocol::compress::Codec;

    use super::*;

    fn topic(name: &'static str, batches: &[(i32, &'static [u8])]) -> TopicProduceData {
        TopicProduceData {
            name: Text::from_static(name),
            partition_data: batches
                .iter()
                .map(|(index, records)| PartitionProduceData {
                    index: *index,
                    records: Some(Bytes::from_static(records)),
                })
                .collect(),
            ..Default::default()
        }
    }

    fn written(topics: Vec<TopicProduceData>) -> Vec<(String, i32, Bytes)> {
        let topics = once_each(topics).into_iter();
        topics
            .flat_map(|topic| {
                let name = topic.name.to_string();
                let batches = topic.partition_data.into_iter();
                batches.map(move |it| (name.clone(), it.index, it.records.unwrap_or_default()))
            })
            .collect()
    }

    #[test]
    fn of_two_batches_for_one_partition_the_last_is_written() {
        let written = written(vec![
            topic("a", &[(1, b"1"), (0, b"2"), (1, b"3")]),
            topic("b", &[(1, b"4")]),
            topic("a", &[(0, b"5"), (2, b"6")]),
        ]);
        let expected = [("a", 1, "3"), ("a", 0, "5"), ("a", 2, "6"), ("b", 1, "4")];
        let expected = expected.map(|(name, index, records)| {
            (
                name.to_owned(),
                index,
                Bytes::from_static(records.as_bytes()),
            )
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn one_whole_batch_is_written_and_what_is_cut_off_behind_it_is_not() {
        let mut builder = BatchBuilder::data(Codec::None);
        builder.push(5, None, Some(b"value"));
        let one = builder.finish();
        let joined = |parts: &[&[u8]]| only_batch(&Bytes::from(parts.concat()));
        let code = |parts: &[&[u8]]| joined(parts).map_err(|refused| refused.refusal);
        let half = &one[..one.len() / 2];
        assert_eq!(code(&[&one]), Ok(one.clone()));
        assert_eq!(code(&[&one, half]), Ok(one.clone()));
        assert_eq!(code(&[&one, b"x"]), Ok(one.clone()));
        assert_eq!(code(&[&one, &one]), Err(Refusal::InvalidRecord));
        assert_eq!(code(&[half]), Err(Refusal::InvalidRecord));
        assert_eq!(code(&[b"x"]), Err(Refusal::InvalidRecord));
        for (magic, refusal) in [
            (1, Refusal::InvalidRecord),
            (3, Refusal::CorruptMessage),
            (0xff, Refusal::CorruptMessage),
        ] {
            let mut other = one.to_vec();
            other[16] = magic;
            assert_eq!(code(&[&other]), Err(refusal), "{magic}");
            assert!(code(&[&one, &other]).is_err(), "{magic}");
        }
    }

    #[test]
    fn what_is_named_once_stays_as_it_is() {
        let all = || {
            vec![
                topic("a", &[(1, b"1"), (0, b"2")]),
                topic("b", &[(0, b"3")]),
            ]
        };
        assert_eq!(once_each(all()), all());
    }
}
