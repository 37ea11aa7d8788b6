//! Fetch (key 1, versions 4-18): records from the partitions this node leads.
//! v5 log start · v6 KAFKA_STORAGE_ERROR · v7 sessions · v9 leader epochs · v11 rack · v12 divergence, flexible · v13 topic
//! ids · v15 replica state · v16 leader hints · v17, v18 quorum only.
//! Record bytes are never read here: the answer carries slices of the segment files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_metadata::quotas::QuotaKind;
use ottla_node::{Ask, FetchPlan, FileSlice, Partition, Services, Told, TopicRef, Waiter, Wanted};
use ottla_node::{Isolation, ReadFrom};
use ottla_protocol::messages::{
    AbortedTransaction, FetchEpochEndOffset, FetchLeaderIdAndEpoch, FetchNodeEndpoint,
    FetchPartition, FetchPartitionData, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse,
};
use ottla_protocol::{NONE, Offset, Refusal, Text, Uuid};

use super::last_words::last_words;
use crate::answer::Answer;
use crate::api::leader_hint;
use crate::session::Call;
use crate::throttle;

const TOPIC_IDS_SINCE: i16 = 13;
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;
/// Of an offset in a partition that cannot be read.
const UNKNOWN: Offset = -1;
const NO_EPOCH: i32 = -1;
const STORAGE_ERROR_SINCE: i16 = 6;
/// Before it an error of the whole request is told in every partition, too.
const ERROR_ALONE_SINCE: i16 = 13;

/// What one request asks of every partition.
struct Terms {
    isolation: Isolation,
    is_follower: bool,
    bytes_min: i64,
    bytes_max: usize,
    /// Whether the request wants fewer than no bytes.
    is_below_zero: bool,
}

/// One partition's part of the answer.
struct Outcome {
    data: FetchPartitionData<FileSlice>,
    partition: Option<Arc<Partition>>,
}

pub(crate) async fn handle(
    services: Arc<Services>,
    call: Arc<Call>,
    request: FetchRequest,
) -> Answer {
    let terms = terms(&services, &call, &request);
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let deadline = tokio::time::Instant::now() + wait;
    let (isolation_level, session_id) = (request.isolation_level, request.session_id);
    // Wanted again only where the request is refused as a whole.
    let asked = match is_isolation(isolation_level) {
        true => Vec::new(),
        false => request.topics.clone(),
    };
    let plan = match services
        .fetch_sessions()
        .plan(ask(&call, request), Instant::now())
    {
        Ok(plan) => plan,
        Err(refusal) => {
            services.metrics().request_erred(call.key, refusal.code());
            let response = FetchResponse {
                error_code: refusal.code(),
                ..Default::default()
            };
            return Answer::fetch(&call, &response);
        }
    };
    if !is_isolation(isolation_level)
        && plan.wanted.iter().any(|wanted| is_known(&services, wanted))
    {
        services
            .metrics()
            .request_erred(call.key, Refusal::UnknownServerError.code());
        let response = refused_whole(&call, session_id, asked, Refusal::UnknownServerError);
        return Answer::fetch(&call, &response);
    }
    let mut outcomes = collect(&services, &plan, &terms).await;
    if !is_content(&outcomes, &terms, outcomes.len()) && !wait.is_zero() {
        let n_unknown = n_unknown(&outcomes);
        let waiter = Waiter::new();
        loop {
            for partition in outcomes
                .iter()
                .filter_map(|outcome| outcome.partition.as_ref())
            {
                partition.high_watermark_parking().park(&waiter);
            }
            // Parked first, looked at second: what happens in between wakes us.
            outcomes = collect(&services, &plan, &terms).await;
            if is_content(&outcomes, &terms, n_unknown) {
                break;
            }
            if tokio::time::timeout_at(deadline, waiter.woken())
                .await
                .is_err()
            {
                outcomes = collect(&services, &plan, &terms).await;
                break;
            }
        }
    }
    say_as_known(call.version, &mut outcomes);
    if let Some(throttled) = throttled(&services, &call, &plan, &outcomes) {
        return Answer::fetch(&call, &throttled);
    }
    count(&services, &call, &outcomes);
    Answer::fetch(&call, &respond(&services, &call, &plan, outcomes))
}

/// Kafka knows two levels, and stumbles over every other one when it comes to read.
pub(super) fn is_isolation(level: i8) -> bool {
    matches!(level, READ_UNCOMMITTED | READ_COMMITTED)
}

fn is_known(services: &Services, wanted: &Wanted) -> bool {
    let image = services.image();
    let topic = match &wanted.topic {
        TopicRef::Id(id) => image.topics.find_by_id(*id),
        TopicRef::Name(name) => image.topics.find(name),
    };
    topic.is_some_and(|topic| topic.partition(wanted.partition).is_some())
}

/// What is answered where nothing can be read for anybody.
fn refused_whole(
    call: &Call,
    session_id: i32,
    asked: Vec<FetchTopic>,
    refusal: Refusal,
) -> FetchResponse<FileSlice> {
    let partition = |asked: &FetchPartition| FetchPartitionData {
        partition_index: asked.partition,
        error_code: refusal.code(),
        high_watermark: UNKNOWN,
        last_stable_offset: UNKNOWN,
        log_start_offset: UNKNOWN,
        aborted_transactions: Some(Vec::new()),
        records: Some(FileSlice::default()),
        ..Default::default()
    };
    let topic = |asked: FetchTopic| FetchableTopicResponse {
        partitions: asked.partitions.iter().map(partition).collect(),
        topic: asked.topic,
        topic_id: asked.topic_id,
    };
    let responses = match call.version {
        ERROR_ALONE_SINCE.. => Vec::new(),
        _ => asked.into_iter().map(topic).collect(),
    };
    FetchResponse {
        error_code: refusal.code(),
        session_id,
        responses,
        ..Default::default()
    }
}

/// The empty answer of a client that must pause. What it would have got does not count, and its
/// session has not been told of it.
fn throttled(
    services: &Services,
    call: &Call,
    plan: &FetchPlan,
    outcomes: &[Outcome],
) -> Option<FetchResponse<FileSlice>> {
    /// What an answer, and a partition in it, takes besides records: near enough for a rate.
    const ANSWER_BYTES: usize = 30;
    const PARTITION_BYTES: usize = 60;
    let quotas = services.quotas();
    let fetch = quotas.of(QuotaKind::Fetch);
    let of_request = throttle::of_request(services, call);
    let mut of_bytes = 0;
    if fetch.is_enabled() && of_request == 0 {
        let records = |outcome: &Outcome| outcome.data.records.as_ref().map_or(0, FileSlice::len);
        let sizes = outcomes.iter().map(records).filter(|n_bytes| *n_bytes > 0);
        let n_bytes: usize = sizes.map(|n_bytes| n_bytes + PARTITION_BYTES).sum();
        let n_bytes = (ANSWER_BYTES + n_bytes) as f64;
        of_bytes = fetch.admit(call.client(), n_bytes, quotas.now_ms());
    }
    let throttle_time_ms = throttle::pause(services, call, QuotaKind::Fetch, of_bytes, of_request);
    (throttle_time_ms > 0).then(|| FetchResponse {
        throttle_time_ms,
        session_id: plan.session_id(),
        ..Default::default()
    })
}

fn terms(services: &Services, call: &Call, request: &FetchRequest) -> Terms {
    let (replica, _) = request.replica();
    let isolation = if request.isolation_level == READ_COMMITTED {
        Isolation::LastStable
    } else {
        Isolation::HighWatermark
    };
    let quotas = services.quotas();
    let fetch = quotas.of(QuotaKind::Fetch);
    let at_once = fetch.most_at_once(call.client(), quotas.now_ms());
    let bytes_max = request
        .max_bytes
        .min(services.configured().settings.logs.fetch_max_bytes)
        .min(at_once as i32)
        .max(0);
    Terms {
        isolation,
        is_follower: replica >= 0,
        bytes_min: i64::from(request.min_bytes.min(bytes_max)),
        bytes_max: bytes_max as usize,
        is_below_zero: request.max_bytes < 0,
    }
}

fn ask(call: &Call, request: FetchRequest) -> Ask {
    let uses_topic_ids = call.version >= TOPIC_IDS_SINCE;
    let topic = |name: &Text, id: Uuid| {
        if uses_topic_ids {
            TopicRef::Id(id)
        } else {
            TopicRef::Name(Arc::from(&**name))
        }
    };
    let mut wanted = Vec::new();
    for asked in &request.topics {
        let topic = topic(&asked.topic, asked.topic_id);
        wanted.extend(asked.partitions.iter().map(|partition| Wanted {
            topic: topic.clone(),
            partition: partition.partition,
            offset: partition.fetch_offset,
            bytes_max: partition.partition_max_bytes,
            leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start: partition.log_start_offset,
        }));
    }
    if may_repeat(&request.topics) {
        wanted = last_words(wanted, Wanted::key);
    }
    let mut forgotten = Vec::new();
    for gone in &request.forgotten_topics_data {
        let topic = topic(&gone.topic, gone.topic_id);
        forgotten.extend(
            gone.partitions
                .iter()
                .map(|partition| (topic.clone(), *partition)),
        );
    }
    Ask {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids,
        wanted,
        forgotten,
    }
}

/// Whether a partition may be named twice. Most requests can be seen not to.
fn may_repeat(topics: &[FetchTopic]) -> bool {
    let ascends = |topic: &FetchTopic| {
        topic
            .partitions
            .is_sorted_by(|a, b| a.partition < b.partition)
    };
    topics.len() > 1 || !topics.iter().all(ascends)
}

/// Looks at every wanted partition, within the byte budget of the request, and in no more files
/// than an answer may keep open.
async fn collect(services: &Services, plan: &FetchPlan, terms: &Terms) -> Vec<Outcome> {
    let mut left = terms.bytes_max;
    let mut n_files_left = services.descriptors().files_of_answer();
    let mut is_first = true;
    let mut outcomes = Vec::with_capacity(plan.wanted.len());
    for (at, wanted) in plan.wanted.iter().enumerate() {
        // Here, where nothing else has to be kept meanwhile: ten thousand wait in this function.
        make_way(at + 1).await;
        let mut outcome = fetch_one(services, wanted, terms, left, is_first).await;
        // The first reading takes the request's bound as it is, those behind what is left of it.
        if wanted.bytes_max < 0 || (terms.is_below_zero && at == 0) {
            outcome = stumbled(wanted, terms, outcome);
        }
        let n_bytes = outcome.data.records.as_ref().map_or(0, FileSlice::len);
        left = left.saturating_sub(n_bytes);
        n_files_left = n_files_left.saturating_sub(usize::from(n_bytes > 0));
        if n_files_left == 0 {
            left = 0;
        }
        is_first &= n_bytes == 0;
        outcomes.push(outcome);
    }
    outcomes
}

/// Lets others of this thread go ahead, now and then: a request may name millions of partitions.
pub(super) async fn make_way(n_done: usize) {
    const AT_A_STRETCH: usize = 1000;
    if n_done.is_multiple_of(AT_A_STRETCH) {
        tokio::task::yield_now().await;
    }
}

/// Kafka stumbles over a negative bound where there is something to read.
fn stumbled(wanted: &Wanted, terms: &Terms, outcome: Outcome) -> Outcome {
    let bound = match terms.isolation {
        Isolation::LastStable => outcome.data.last_stable_offset,
        _ => outcome.data.high_watermark,
    };
    let has_diverged = outcome.data.diverging_epoch.end_offset >= 0;
    match outcome.data.error_code == NONE && !has_diverged && wanted.offset < bound {
        true => refused(wanted, Refusal::UnknownServerError, outcome.partition),
        false => outcome,
    }
}

async fn fetch_one(
    services: &Services,
    wanted: &Wanted,
    terms: &Terms,
    left: usize,
    is_first: bool,
) -> Outcome {
    let partition = match find(services, wanted, terms) {
        Ok(partition) => partition,
        Err(refusal) => return refused(wanted, refusal, None),
    };
    let view = partition.view();
    let mut data = FetchPartitionData {
        partition_index: wanted.partition,
        high_watermark: view.high_watermark(),
        last_stable_offset: view.last_stable(),
        log_start_offset: view.start(),
        aborted_transactions: None,
        records: Some(FileSlice::default()),
        ..Default::default()
    };
    if wanted.last_fetched_epoch >= 0 {
        let end = view.end_offset_for(wanted.last_fetched_epoch);
        if end.epoch < 0 || end.end_offset < 0 || wanted.offset < view.start() {
            return refused(wanted, Refusal::OffsetOutOfRange, Some(partition));
        }
        if end.epoch < wanted.last_fetched_epoch || end.end_offset < wanted.offset {
            data.diverging_epoch = FetchEpochEndOffset {
                epoch: end.epoch,
                end_offset: end.end_offset,
            };
            return Outcome {
                data,
                partition: Some(partition),
            };
        }
    }
    let from = ReadFrom {
        offset: wanted.offset,
        isolation: terms.isolation,
        max_bytes: left.min(wanted.bytes_max.max(0) as usize),
        at_least_one: is_first,
        with_aborted: terms.isolation == Isolation::LastStable,
    };
    match partition.fetch(&view, from).await {
        Ok((records, aborted)) => {
            if terms.isolation == Isolation::LastStable {
                let aborted = aborted.iter().map(|aborted| AbortedTransaction {
                    producer_id: aborted.producer_id,
                    first_offset: aborted.first_offset,
                });
                data.aborted_transactions = Some(aborted.collect());
            }
            data.records = Some(records);
            Outcome {
                data,
                partition: Some(partition),
            }
        }
        Err(why) => refused(wanted, why.refusal, Some(partition)),
    }
}

fn find(services: &Services, wanted: &Wanted, terms: &Terms) -> Result<Arc<Partition>, Refusal> {
    let partition = match &wanted.topic {
        TopicRef::Id(id) => {
            let name = services.topic_name(*id).ok_or(Refusal::UnknownTopicId)?;
            let found = services.leader_of(&name, wanted.partition)?;
            // A topic that was made anew may be known a moment before its partitions are.
            Some(found)
                .filter(|found| found.topic_id() == *id)
                .ok_or(Refusal::NotLeaderOrFollower)?
        }
        TopicRef::Name(name) => services.leader_of(name, wanted.partition)?,
    };
    // To a fetch every negative epoch says nothing, to other requests only -1.
    check_epoch(&partition, wanted.leader_epoch.max(NO_EPOCH))?;
    if terms.is_follower {
        // Nobody but this node has a replica: whoever says so has older or newer metadata.
        let names_epoch = wanted.leader_epoch >= 0;
        let refusal = if names_epoch {
            Refusal::UnknownLeaderEpoch
        } else {
            Refusal::NotLeaderOrFollower
        };
        return Err(refusal);
    }
    Ok(partition)
}

/// Compares the epoch in which the client believes we lead (-1: it does not say) with ours.
pub(super) fn check_epoch(partition: &Partition, claimed: i32) -> Result<(), Refusal> {
    let current = partition
        .leader_epoch()
        .ok_or(Refusal::NotLeaderOrFollower)?;
    judge_epoch(current, claimed)
}

fn judge_epoch(current: i32, claimed: i32) -> Result<(), Refusal> {
    match claimed {
        NO_EPOCH => Ok(()),
        claimed if claimed < current => Err(Refusal::FencedLeaderEpoch),
        claimed if claimed > current => Err(Refusal::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

fn refused(wanted: &Wanted, refusal: Refusal, partition: Option<Arc<Partition>>) -> Outcome {
    let data = FetchPartitionData {
        partition_index: wanted.partition,
        error_code: refusal.code(),
        high_watermark: UNKNOWN,
        last_stable_offset: UNKNOWN,
        log_start_offset: UNKNOWN,
        aborted_transactions: aborted_of_refused(refusal),
        records: Some(FileSlice::default()),
        ..Default::default()
    };
    Outcome { data, partition }
}

/// Kafka refuses a topic that nobody knows before it looks at the partition, and leaves the list
/// empty; a partition that refuses has no list.
fn aborted_of_refused(refusal: Refusal) -> Option<Vec<AbortedTransaction>> {
    is_unknown(refusal.code()).then(Vec::new)
}

/// Clients of old versions take KAFKA_STORAGE_ERROR for one that does not pass; told that the leader is
/// elsewhere, they look for it and come again.
fn say_as_known(version: i16, outcomes: &mut [Outcome]) {
    if version >= STORAGE_ERROR_SINCE {
        return;
    }
    for Outcome { data, .. } in outcomes {
        if data.error_code == Refusal::KafkaStorageError.code() {
            data.error_code = Refusal::NotLeaderOrFollower.code();
        }
    }
}

fn is_unknown(error_code: i16) -> bool {
    error_code == Refusal::UnknownTopicOrPartition.code()
        || error_code == Refusal::UnknownTopicId.code()
}

fn n_unknown(outcomes: &[Outcome]) -> usize {
    let unknown = outcomes.iter();
    unknown
        .filter(|outcome| is_unknown(outcome.data.error_code))
        .count()
}

/// Whether the answer may leave at once: enough bytes, or anything the client must know now. As in
/// Kafka what nobody knew when the request came waits for the rest, if there is any: else who still
/// asks for one deleted topic would ask without a pause.
fn is_content(outcomes: &[Outcome], terms: &Terms, n_unknown_before: usize) -> bool {
    let (mut n_bytes, mut n_unknown) = (0, 0);
    for Outcome { data, .. } in outcomes {
        if is_unknown(data.error_code) {
            n_unknown += 1;
            continue;
        }
        if data.error_code != NONE || data.diverging_epoch.end_offset >= 0 {
            return true;
        }
        n_bytes += data.records.as_ref().map_or(0, FileSlice::len);
    }
    let is_news = n_unknown == outcomes.len() || n_unknown > n_unknown_before;
    is_news || n_bytes as i64 >= terms.bytes_min
}

fn count(services: &Services, call: &Call, outcomes: &[Outcome]) {
    for Outcome { data, partition } in outcomes {
        if data.error_code != NONE {
            services.metrics().request_erred(call.key, data.error_code);
        }
        let Some(partition) = partition else { continue };
        let counters = partition.counters();
        counters.total_fetch.add(1);
        if data.error_code != NONE {
            counters.failed_fetch.add(1);
        }
        counters
            .bytes_out
            .add(data.records.as_ref().map_or(0, FileSlice::len) as u64);
    }
}

fn respond(
    services: &Services,
    call: &Call,
    plan: &FetchPlan,
    outcomes: Vec<Outcome>,
) -> FetchResponse<FileSlice> {
    let told: Vec<Told> = outcomes.iter().map(|outcome| told(&outcome.data)).collect();
    let (session_id, is_listed) =
        services
            .fetch_sessions()
            .tell(plan, &told, ottla_node::random_i32, Instant::now());
    let mut response = FetchResponse {
        session_id,
        ..Default::default()
    };
    let listed = plan
        .wanted
        .iter()
        .zip(outcomes)
        .zip(is_listed)
        .filter(|(_, listed)| *listed);
    for ((wanted, Outcome { mut data, .. }), _) in listed {
        let (topic, topic_id) = match &wanted.topic {
            TopicRef::Id(id) => (Text::new(), *id),
            TopicRef::Name(name) => (Text::from(&**name), Uuid::ZERO),
        };
        let hint = leader_hint(
            services,
            call,
            data.error_code,
            &topic,
            topic_id,
            wanted.partition,
        );
        if let Some(hint) = hint {
            data.current_leader = FetchLeaderIdAndEpoch {
                leader_id: hint.leader,
                leader_epoch: hint.leader_epoch,
            };
            if !response
                .node_endpoints
                .iter()
                .any(|node| node.node_id == hint.leader)
            {
                response.node_endpoints.push(FetchNodeEndpoint {
                    node_id: hint.leader,
                    host: hint.host.into(),
                    port: hint.port,
                    rack: hint.rack.map(Into::into),
                });
            }
        }
        match response.responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => {
                last.partitions.push(data);
            }
            _ => response.responses.push(FetchableTopicResponse {
                topic,
                topic_id,
                partitions: vec![data],
            }),
        }
    }
    response
}

fn told(data: &FetchPartitionData<FileSlice>) -> Told {
    Told {
        high_watermark: data.high_watermark,
        log_start: data.log_start_offset,
        has_records: data
            .records
            .as_ref()
            .is_some_and(|records| !records.is_empty()),
        has_error: data.error_code != NONE,
        has_advice: data.preferred_read_replica >= 0 || data.diverging_epoch.end_offset >= 0,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn wanted(topic: &str, partition: i32, offset: Offset) -> Wanted {
        Wanted {
            topic: TopicRef::Name(Arc::from(topic)),
            partition,
            offset,
            bytes_max: 1,
            leader_epoch: NO_EPOCH,
            last_fetched_epoch: NO_EPOCH,
            log_start: UNKNOWN,
        }
    }

    #[test]
    fn a_partition_that_is_named_twice_is_read_once() {
        let all = vec![wanted("a", 0, 5), wanted("b", 0, 6), wanted("a", 0, 7)];
        let once: Vec<_> = last_words(all, Wanted::key)
            .iter()
            .map(|wanted| wanted.offset)
            .collect();
        assert_eq!(once, [7, 6]);
        let topic = |partitions: &[i32]| FetchTopic {
            partitions: partitions
                .iter()
                .map(|partition| FetchPartition {
                    partition: *partition,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        assert!(!may_repeat(&[topic(&[0, 1, 5])]));
        assert!(may_repeat(&[topic(&[0, 0])]));
        assert!(may_repeat(&[topic(&[0]), topic(&[1])]));
    }

    #[test]
    fn what_nobody_knows_waits_for_the_rest() {
        let terms = Terms {
            isolation: Isolation::HighWatermark,
            is_follower: false,
            bytes_min: 1,
            bytes_max: 100,
            is_below_zero: false,
        };
        let quiet = || Outcome {
            data: Default::default(),
            partition: None,
        };
        let with = |refusal| refused(&wanted("a", 0, 0), refusal, None);
        for refusal in [Refusal::UnknownTopicOrPartition, Refusal::UnknownTopicId] {
            let unknown = || with(refusal);
            assert!(!is_content(&[unknown(), quiet()], &terms, 1));
            assert!(is_content(&[unknown(), quiet()], &terms, 0), "just deleted");
            assert!(is_content(&[unknown(), unknown()], &terms, 2));
            let elsewhere = with(Refusal::NotLeaderOrFollower);
            assert!(is_content(&[unknown(), elsewhere], &terms, 1));
        }
        assert!(!is_content(&[quiet()], &terms, 0));
        assert!(is_content(&[], &terms, 0));
    }

    #[test]
    fn fewer_than_no_bytes_are_refused_where_there_are_some() {
        let terms = Terms {
            isolation: Isolation::HighWatermark,
            is_follower: false,
            bytes_min: 1,
            bytes_max: 0,
            is_below_zero: true,
        };
        let code = |offset| {
            let data = FetchPartitionData {
                high_watermark: 7,
                ..Default::default()
            };
            let outcome = Outcome {
                data,
                partition: None,
            };
            let stumbled = stumbled(&wanted("a", 0, offset), &terms, outcome);
            stumbled.data.error_code
        };
        assert_eq!((code(6), code(7)), (-1, NONE));
    }

    #[tokio::test]
    async fn many_partitions_make_way_and_few_do_not() {
        for (n_done, waits) in [(1, false), (999, false), (1000, true), (3000, true)] {
            let context = &mut Context::from_waker(Waker::noop());
            let polled = pin!(make_way(n_done)).poll(context);
            assert_eq!(polled.is_pending(), waits, "{n_done}");
        }
    }

    #[test]
    fn old_clients_are_told_of_a_failed_disk_what_they_understand() {
        let code = |version, refusal| {
            let mut outcomes = [refused(&wanted("a", 0, 0), refusal, None)];
            say_as_known(version, &mut outcomes);
            outcomes[0].data.error_code
        };
        assert_eq!(code(5, Refusal::KafkaStorageError), 6);
        assert_eq!(code(6, Refusal::KafkaStorageError), 56);
        assert_eq!(code(4, Refusal::OffsetOutOfRange), 1);
    }

    #[test]
    fn only_minus_one_is_no_epoch() {
        assert_eq!(judge_epoch(3, NO_EPOCH), Ok(()));
        assert_eq!(judge_epoch(3, 3), Ok(()));
        assert_eq!(judge_epoch(3, 4), Err(Refusal::UnknownLeaderEpoch));
        assert_eq!(judge_epoch(3, 2), Err(Refusal::FencedLeaderEpoch));
        assert_eq!(judge_epoch(3, -5), Err(Refusal::FencedLeaderEpoch));
    }

    #[test]
    fn two_levels_of_isolation_are_known() {
        assert!(is_isolation(0) && is_isolation(1));
        assert!(!is_isolation(2) && !is_isolation(-1));
    }
}
