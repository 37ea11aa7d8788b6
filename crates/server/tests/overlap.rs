//! Several requests of one connection in flight: what overlaps is waiting and nothing else.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod running;

use std::io::Write;
use std::time::{Duration, Instant};

use ottla_protocol::NONE;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use running::{
    Client, FETCH, PRODUCE, Running, batch, fetch, fetched, produce, produced, wait_until,
};

/// Much longer than anything here takes, and shorter than our patience.
const LONG_POLL: Duration = Duration::from_secs(30);
const METADATA: i16 = 12;
const NO_TOPICS: MetadataRequest = MetadataRequest {
    topics: Some(Vec::new()),
    allow_auto_topic_creation: false,
    include_cluster_authorized_operations: false,
    include_topic_authorized_operations: false,
};

#[test]
fn appends_of_an_idempotent_producer_keep_their_order() {
    const N: i32 = 40;
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    let new = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let producer = client.call(&new, 4);
    assert_eq!(producer.error_code, NONE);
    let (id, epoch) = (producer.producer_id, producer.producer_epoch);
    // Five at a time, as producers send them, with a look at the metadata in between; all of it cut
    // where no frame ends.
    for first in (0..N).step_by(5) {
        let mut together = Vec::new();
        for sequence in first..first + 5 {
            let records = batch(3000, Some((id, epoch, sequence)));
            together.extend(client.frame(&produce(0, records), PRODUCE));
            if sequence == first + 2 {
                together.extend(client.frame(&NO_TOPICS, METADATA));
            }
        }
        for piece in together.chunks(4999) {
            client.stream.write_all(piece).unwrap();
        }
        for sequence in first..first + 5 {
            let answer = client.receive::<ProduceRequest>(PRODUCE);
            assert_eq!(produced(&answer), (NONE, i64::from(sequence)));
            if sequence == first + 2 {
                client.receive::<MetadataRequest>(METADATA);
            }
        }
    }
    assert_eq!(running.n_in_flight(), 0);
}

#[test]
fn a_produce_that_waits_for_the_disk_keeps_only_those_who_would_not_see_it() {
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    running.syncs.hold(true);
    for partition in [0, 0, 1] {
        client.send(&produce(partition, batch(10, None)), PRODUCE);
    }
    client.send(&NO_TOPICS, METADATA);
    // What comes behind must see what was written before.
    client.send(&fetch(0, 0, Duration::ZERO), FETCH);
    client.send(&produce(0, batch(10, None)), PRODUCE);
    wait_until("three are appended", || {
        (running.end(0), running.end(1)) == (2, 1)
    });
    wait_until("the metadata is looked at", || running.n_in_flight() == 4);
    assert!(client.is_silent(Duration::from_millis(100)));
    assert_eq!(running.end(0), 2, "the fourth stands behind the fetch");
    running.syncs.hold(false);
    for (_, offset) in [(0, 0), (0, 1), (1, 0)] {
        let answer = client.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(produced(&answer), (NONE, offset));
    }
    client.receive::<MetadataRequest>(METADATA);
    let (error, high_watermark, n_bytes) = fetched(&client.receive::<FetchRequest>(FETCH));
    assert_eq!((error, high_watermark), (NONE, 2));
    assert!(n_bytes > 0);
    let last = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(produced(&last), (NONE, 2));
}

#[test]
fn a_fetch_that_waits_keeps_nobody_but_fetches_and_those_who_delete() {
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    let started = Instant::now();
    client.send(&fetch(1, 0, LONG_POLL), FETCH);
    client.send(&NO_TOPICS, METADATA);
    let latest = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..Default::default()
    };
    client.send(&latest, 5);
    client.send(&produce(0, batch(10, None)), PRODUCE);
    client.send(&fetch(0, 0, LONG_POLL), FETCH);
    wait_until("the produce is done", || running.end(0) == 1);
    assert_eq!(running.n_in_flight(), 4, "the second fetch is not begun");
    assert!(client.is_silent(Duration::from_millis(100)));
    let mut other = Client::connect(running.port);
    assert_eq!(
        produced(&other.call(&produce(1, batch(10, None)), PRODUCE)).0,
        NONE
    );
    assert!(fetched(&client.receive::<FetchRequest>(FETCH)).2 > 0);
    client.receive::<MetadataRequest>(METADATA);
    let offset = client.receive::<ListOffsetsRequest>(5).topics[0].partitions[0].offset;
    assert_eq!(offset, 0, "it was asked before the produce");
    assert_eq!(
        produced(&client.receive::<ProduceRequest>(PRODUCE)),
        (NONE, 0)
    );
    assert!(fetched(&client.receive::<FetchRequest>(FETCH)).2 > 0);
    assert!(started.elapsed() < LONG_POLL, "nobody sat the wait out");

    // A deletion stands behind the fetch, which ends as if it had never come.
    client.send(&fetch(0, 1, Duration::from_millis(300)), FETCH);
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    client.send(&delete, 4);
    assert_eq!(
        fetched(&client.receive::<FetchRequest>(FETCH)),
        (NONE, 1, 0)
    );
    let deleted = client.receive::<DeleteTopicsRequest>(4);
    assert_eq!(deleted.responses[0].error_code, NONE);
}

/// Who asks for a topic that was deleted, and for one where nothing happens, is answered with both
/// when there is something to tell.
#[test]
fn a_fetch_waits_though_one_of_its_topics_is_unknown() {
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    let mut both = fetch(1, 0, LONG_POLL);
    both.topics.insert(
        0,
        FetchTopic {
            topic: "deleted".into(),
            ..both.topics[0].clone()
        },
    );
    client.send(&both, FETCH);
    wait_until("it is come", || running.n_in_flight() == 1);
    assert!(client.is_silent(Duration::from_millis(300)));
    let mut other = Client::connect(running.port);
    let mine = other.call(&produce(1, batch(10, None)), PRODUCE);
    assert_eq!(produced(&mine).0, NONE);
    let answer = client.receive::<FetchRequest>(FETCH);
    assert_eq!(fetched(&answer).0, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    let quiet = &answer.responses[1].partitions[0];
    assert_eq!((quiet.error_code, quiet.high_watermark), (NONE, 1));

    // With nothing to wait for it is answered at once.
    both.topics.truncate(1);
    let asked = Instant::now();
    assert_eq!(fetched(&client.call(&both, FETCH)).0, 3);
    assert!(asked.elapsed() < LONG_POLL / 2);

    // What is deleted in the wait is told, too.
    client.send(&fetch(0, 0, LONG_POLL), FETCH);
    wait_until("it waits", || running.n_in_flight() == 1);
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(other.call(&delete, 4).responses[0].error_code, NONE);
    assert_ne!(fetched(&client.receive::<FetchRequest>(FETCH)).0, NONE);
    assert!(asked.elapsed() < LONG_POLL);
}

#[test]
fn what_a_closed_connection_sent_is_done_and_nothing_of_it_stays() {
    let running = Running::start(&[]);
    wait_until("nobody is there", || running.n_connections() == 0);
    running.syncs.hold(true);
    let mut client = Client::connect(running.port);
    for _ in 0..5 {
        client.send(&produce(0, batch(100_000, None)), PRODUCE);
    }
    wait_until("all are appended", || running.end(0) == 5);
    assert_eq!(running.n_in_flight(), 5);
    drop(client);
    wait_until("the connection is gone", || {
        running.n_in_flight() == 0 && running.n_connections() == 0
    });
    let partition = running.services().leader_of("t", 0).unwrap();
    assert_eq!(partition.high_watermark_parking().n_waiting(), 0);
    running.syncs.hold(false);
    wait_until("they are on the disk", || partition.high_watermark() == 5);
    let mut next = Client::connect(running.port);
    assert_eq!(
        produced(&next.call(&produce(0, batch(10, None)), PRODUCE)),
        (NONE, 5)
    );
}

#[test]
fn nothing_is_asked_behind_a_request_that_ends_the_connection() {
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    let mut together = client.frame(&produce(0, batch(10, None)), PRODUCE).to_vec();
    let mut unknown = produce(9, batch(10, None));
    unknown.acks = 0;
    together.extend(client.frame(&unknown, PRODUCE));
    together.extend(client.frame(&produce(0, batch(10, None)), PRODUCE));
    client.stream.write_all(&together).unwrap();
    assert_eq!(
        produced(&client.receive::<ProduceRequest>(PRODUCE)),
        (NONE, 0)
    );
    assert!(client.is_closed(), "acks=0 learns of an error by the end");
    assert_eq!(running.end(0), 1, "the third was never asked");
}

#[test]
fn a_client_that_sends_and_does_not_read_is_not_read_either() {
    let running = Running::start(&[]);
    let mut client = Client::connect(running.port);
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // Until it ends nobody can tell that the client has gone: its end is behind what is not read.
    client.send(&fetch(0, 0, Duration::from_secs(10)), FETCH);
    let look = client.frame(&NO_TOPICS, METADATA);
    let mut n_sent = 0;
    while client.stream.write_all(&look).is_ok() {
        n_sent += look.len();
        assert!(n_sent < 64 << 20, "it is read without end");
    }
    assert_eq!(running.n_in_flight(), 64, "the fetch and 63 behind it");
    drop(client);
    wait_until("it is gone", || running.n_in_flight() == 0);
}

#[test]
fn what_opens_to_very_much_is_appended_elsewhere_and_in_its_place() {
    let running = Running::start(&[("ottla.append.mode", "inline")]);
    let mut client = Client::connect(running.port);
    let n_elsewhere = || running.metric("ottla_appends_on_directory_thread_total");
    let zeros = |n: usize| {
        let mut builder = BatchBuilder::data(Codec::Lz4);
        builder.push(0, None, Some(&vec![0; n]));
        builder.finish()
    };
    assert_eq!(
        produced(&client.call(&produce(0, zeros(1 << 20)), PRODUCE)),
        (NONE, 0)
    );
    assert_eq!(n_elsewhere(), 0.0);
    let mut both = produce(0, zeros(20 << 20));
    let second = PartitionProduceData {
        index: 1,
        records: Some(batch(10, None)),
    };
    both.topic_data[0].partition_data.push(second);
    let mut together = client.frame(&both, PRODUCE).to_vec();
    for partition in [1, 0] {
        let next = produce(partition, batch(10, None));
        together.extend(client.frame(&next, PRODUCE));
    }
    client.stream.write_all(&together).unwrap();
    let answer = client.receive::<ProduceRequest>(PRODUCE);
    let partitions = &answer.responses[0].partition_responses;
    let offsets: Vec<_> = partitions
        .iter()
        .map(|it| (it.error_code, it.base_offset))
        .collect();
    assert_eq!(offsets, [(NONE, 1), (NONE, 0)]);
    for offset in [1, 2] {
        let next = client.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(produced(&next), (NONE, offset));
    }
    assert_eq!(n_elsewhere(), 1.0);
}
