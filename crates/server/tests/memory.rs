//! Request memory: clients that stop half way keep nobody out, and nobody's answer late.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod running;

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_metadata::quotas::QuotaKind;
use ottla_protocol::NONE;
use ottla_protocol::messages::*;
use running::{
    Client, FETCH, PRODUCE, Running, batch, fetch, fetched, produce, produced, wait_until,
};

const LARGEST: usize = 1 << 20;
/// Room for the largest frame, the reserve of a sixteenth, and less than two frames beside them.
const SETTINGS: [(&str, &str); 2] = [
    ("socket.request.max.bytes", "1048576"),
    ("queued.max.request.bytes", "3145728"),
];

/// Claims a frame of the largest size, sends most of it and falls silent.
fn half_a_frame(running: &Running) -> Client {
    let mut client = Client::connect(running.port);
    let mut sent = (LARGEST as i32).to_be_bytes().to_vec();
    // Produce 9, of which the body will never be looked at.
    sent.extend([0, 0, 0, 9]);
    sent.resize(LARGEST - 100_000, 0);
    // Those who get no memory are not read.
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let _ = client.stream.write_all(&sent);
    client
}

#[test]
fn clients_that_stop_half_way_hold_up_neither_answers_nor_others() {
    const WAIT: Duration = Duration::from_secs(1);
    let running = Running::start(&SETTINGS);
    let mut slow: Vec<Client> = (0..3).map(|_| half_a_frame(&running)).collect();
    wait_until("memory is short", || {
        running.metric("ottla_connections_waiting_for_memory") > 0.0
    });
    assert!(running.metric("kafka_network_socketserver_memorypoolused") > 2e6);

    // A large frame that must wait for memory, behind a fetch whose answer falls due meanwhile.
    let mut client = Client::connect(running.port);
    let started = Instant::now();
    client.send(&fetch(1, 0, WAIT), FETCH);
    client.send(&produce(0, batch(500_000, None)), PRODUCE);
    assert_eq!(fetched(&client.receive::<FetchRequest>(FETCH)).0, NONE);
    let took = started.elapsed();
    assert!(took >= WAIT && took < 5 * WAIT, "the answer took {took:?}");
    assert_eq!(running.end(0), 0, "the produce does wait");

    // Small frames and large fetches pass.
    let mut other = Client::connect(running.port);
    let small = other.call(&produce(1, batch(60_000, None)), PRODUCE);
    assert_eq!(produced(&small), (NONE, 0));
    let mut large = fetch(1, 0, Duration::ZERO);
    let one = large.topics[0].partitions[0].clone();
    large.topics[0].partitions.resize(4000, one);
    assert_eq!(fetched(&other.call(&large, FETCH)).0, NONE);
    assert!(started.elapsed() < 5 * WAIT);

    // Who keeps memory and brings nothing is let go, and all the others are served.
    assert_eq!(
        produced(&client.receive::<ProduceRequest>(PRODUCE)),
        (NONE, 0)
    );
    let a_moment = Duration::from_millis(100);
    assert!(slow.iter_mut().any(|client| !client.is_silent(a_moment)));
    drop(slow);
    let four = (0..4).map(|_| Client::connect(running.port));
    let mut four: Vec<Client> = four.collect();
    for client in &mut four {
        client.send(&produce(0, batch(900_000, None)), PRODUCE);
    }
    for client in &mut four {
        assert_eq!(produced(&client.receive::<ProduceRequest>(PRODUCE)).0, NONE);
    }
    drop(four);
    wait_until("all is given back", || {
        running.metric("kafka_network_socketserver_memorypoolused") == 0.0
    });
}

#[test]
fn who_does_not_read_is_granted_no_memory_meanwhile() {
    const WAIT: Duration = Duration::from_secs(1);
    let running = Running::start(&SETTINGS);
    let used = || running.metric("kafka_network_socketserver_memorypoolused");
    // More than sockets take.
    let mut other = Client::connect(running.port);
    for _ in 0..40 {
        let answer = other.call(&produce(0, batch(900_000, None)), PRODUCE);
        assert_eq!(produced(&answer).0, NONE);
    }
    let slow: Vec<Client> = (0..3).map(|_| half_a_frame(&running)).collect();
    wait_until("memory is short", || {
        running.metric("ottla_connections_waiting_for_memory") > 0.0
    });

    // A large frame that must wait for memory, behind an answer that falls due and is not read.
    let mut client = Client::connect(running.port);
    let mut all = fetch(0, 0, WAIT);
    all.min_bytes = i32::MAX;
    all.max_bytes = i32::MAX;
    all.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    client.send(&all, FETCH);
    client.send(&produce(1, batch(500_000, None)), PRODUCE);
    std::thread::sleep(2 * WAIT);
    drop(slow);
    wait_until("nobody holds memory", || used() == 0.0);
    assert_eq!(running.end(1), 0, "the produce does wait");

    assert_eq!(fetched(&client.receive::<FetchRequest>(FETCH)).0, NONE);
    let answer = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(produced(&answer), (NONE, 0));
}

const LONG: Duration = Duration::from_secs(30);

/// A client whose long pause has begun while it was sending a large frame, and the rest of that.
fn paused_half_way(running: &Running) -> (Client, Bytes) {
    let mut other = Client::connect(running.port);
    let limit = AlterClientQuotasRequest {
        entries: vec![AlterClientQuotasRequestEntryData {
            entity: vec![AlterClientQuotasEntityData {
                entity_type: "client-id".into(),
                entity_name: None,
            }],
            ops: vec![AlterClientQuotasOpData {
                key: "consumer_byte_rate".into(),
                value: 1000.0,
                remove: false,
            }],
        }],
        validate_only: false,
    };
    assert_eq!(other.call(&limit, 1).entries[0].error_code, NONE);
    wait_until("the quota is in force", || {
        let quotas = running.services().quotas();
        quotas.of(QuotaKind::Fetch).is_enabled()
    });
    // The first takes more than is allowed, and is let go.
    let mine = other.call(&produce(1, batch(100_000, None)), PRODUCE);
    assert_eq!(produced(&mine), (NONE, 0));
    let first = other.call(&fetch(1, 0, Duration::ZERO), FETCH);
    assert_eq!(first.throttle_time_ms, 0);

    let mut client = Client::connect(running.port);
    client.send(&fetch(1, 1, LONG), FETCH);
    wait_until("the fetch waits", || running.n_in_flight() == 1);
    let frame = client.frame(&produce(0, batch(900_000, None)), PRODUCE);
    let half = frame.len() / 2;
    client.stream.write_all(&frame[..half]).unwrap();
    wait_until("half of it is here", || {
        running.metric("kafka_network_socketserver_memorypoolused") > 0.0
    });
    let mine = other.call(&produce(1, batch(10, None)), PRODUCE);
    assert_eq!(produced(&mine), (NONE, 1));
    let pause_ms = client.receive::<FetchRequest>(FETCH).throttle_time_ms;
    assert!(pause_ms > 20_000, "{pause_ms} ms");
    (client, frame.slice(half..))
}

fn n_paused(running: &Running) -> f64 {
    running.metric("kafka_server_fetch_queue_size")
}

/// A pause that begins while a large frame comes ends what is read, not what is here.
#[test]
fn a_large_frame_that_came_before_a_pause_is_served_within_it() {
    let running = Running::start(&[]);
    let (mut client, rest) = paused_half_way(&running);
    let asked = Instant::now();
    client.stream.write_all(&rest).unwrap();
    let answer = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(produced(&answer), (NONE, 0));
    assert!(asked.elapsed() < LONG / 2);
    assert!(n_paused(&running) > 0.0);
    drop(client);
}

#[test]
fn a_pause_ends_with_its_connection_though_that_ends_in_a_panic() {
    let running = Running::start(&[("ottla.append.mode", "inline")]);
    let (mut client, rest) = paused_half_way(&running);
    assert!(n_paused(&running) > 0.0);
    running.syncs.panic_at_writes(true);
    client.stream.write_all(&rest).unwrap();
    assert!(client.is_closed());
    wait_until("nobody is paused", || n_paused(&running) == 0.0);
    running.syncs.panic_at_writes(false);
}

#[test]
fn memory_is_given_back_when_the_bytes_are_in_the_file() {
    let running = Running::start(&SETTINGS);
    running.syncs.hold(true);
    // Many times what is allowed in memory, none of it acknowledged.
    let mut producers: Vec<Client> = (0..4).map(|_| Client::connect(running.port)).collect();
    for _ in 0..5 {
        for producer in &mut producers {
            producer.send(&produce(0, batch(900_000, None)), PRODUCE);
        }
    }
    wait_until("all are appended", || running.end(0) == 20);
    assert_eq!(running.n_in_flight(), 20);
    running.syncs.hold(false);
    for producer in &mut producers {
        for _ in 0..5 {
            let answer = producer.receive::<ProduceRequest>(PRODUCE);
            assert_eq!(produced(&answer).0, NONE);
        }
    }
}

#[test]
fn a_frame_of_exactly_the_largest_size_comes_through_and_one_byte_more_does_not() {
    let running = Running::start(&SETTINGS);
    let mut client = Client::connect(running.port);
    let empty = client.frame(&produce(0, batch(0, None)), PRODUCE).len();
    let mut fill = LARGEST - empty;
    let frame = |client: &mut Client, fill| client.frame(&produce(0, batch(fill, None)), PRODUCE);
    let mut exact = frame(&mut client, fill);
    while exact.len() > LARGEST + 4 {
        fill -= exact.len() - (LARGEST + 4);
        exact = frame(&mut client, fill);
    }
    assert_eq!(exact.len(), LARGEST + 4);
    let mut first = Client::connect(running.port);
    let exact = first.frame(&produce(0, batch(fill, None)), PRODUCE);
    first.stream.write_all(&exact).unwrap();
    // The batch itself may be above max.message.bytes: what counts is that it is answered.
    let _ = first.receive::<ProduceRequest>(PRODUCE);
    let mut second = Client::connect(running.port);
    let _ = second.stream.write_all(&(LARGEST as i32 + 1).to_be_bytes());
    assert!(second.is_closed());
}
