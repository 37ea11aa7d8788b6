//! Strangers who talk to the transaction coordinator and to the leaders behind it: each gets the
//! answer that Apache Kafka 4.3 gives, and what is stored stays as it was.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::Node;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, CreatableTopic,
    CreateTopicsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    InitProducerIdResponse, TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic, WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_protocol::{Refusal, Request, Text};

struct Stranger(TcpStream);

impl Stranger {
    fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.say(request, version);
        self.hear::<R>(version)
    }

    fn say<R: Request>(&mut self, request: &R, version: i16) {
        let frame = request_frame(request, version, 7, None).unwrap();
        self.0.write_all(&frame).unwrap();
    }

    fn hear<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        decode_response(answer.into(), version).unwrap().1
    }

    fn init(&mut self, id: &str, timeout_ms: i32, producer: (i64, i16)) -> InitProducerIdResponse {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: producer.0,
            producer_epoch: producer.1,
        };
        self.ask(&request, 4)
    }

    fn end(&mut self, id: &str, producer: (i64, i16), committed: bool) -> &'static str {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed,
        };
        name(self.ask(&request, 3).error_code)
    }

    fn add(&mut self, id: &str, producer: (i64, i16), partitions: Vec<i32>) -> Vec<&'static str> {
        self.add_topics(id, producer, vec![("t", partitions)])
    }

    fn add_topics(
        &mut self,
        id: &str,
        producer: (i64, i16),
        topics: Vec<(&'static str, Vec<i32>)>,
    ) -> Vec<&'static str> {
        let topic = |(name, partitions)| AddPartitionsToTxnTopic {
            name: Text::from_static(name),
            partitions,
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer.0,
            v3_and_below_producer_epoch: producer.1,
            v3_and_below_topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let response = self.ask(&request, 3);
        let topics = response.results_by_topic_v3_and_below.iter();
        let mut codes: Vec<_> = topics
            .flat_map(|topic| {
                let results = topic.results_by_partition.iter();
                results.map(|it| ((topic.name.clone(), it.partition_index), it))
            })
            .map(|(place, it)| (place, name(it.partition_error_code)))
            .collect();
        codes.sort_unstable();
        codes.into_iter().map(|(_, name)| name).collect()
    }

    fn add_offsets(&mut self, id: &str, producer: (i64, i16), group: &str) -> &'static str {
        let request = AddOffsetsToTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            group_id: group.into(),
        };
        name(self.ask(&request, 3).error_code)
    }

    fn commit_offset(
        &mut self,
        id: &str,
        producer: (i64, i16),
        (group, generation_id): (&str, i32),
        partition_index: i32,
    ) -> &'static str {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset: 5,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: id.into(),
            group_id: group.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            generation_id,
            member_id: Text::from_static(""),
            group_instance_id: None,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: Text::from_static("t"),
                partitions: vec![partition],
            }],
        };
        name(self.ask(&request, 3).topics[0].partitions[0].error_code)
    }

    fn mark(
        &mut self,
        producer: (i64, i16),
        coordinator_epoch: i32,
        partition: i32,
    ) -> &'static str {
        let marker = WritableTxnMarker {
            producer_id: producer.0,
            producer_epoch: producer.1,
            transaction_result: true,
            topics: vec![WritableTxnMarkerTopic {
                name: Text::from_static("t"),
                partition_indexes: vec![partition],
            }],
            coordinator_epoch,
            transaction_version: 0,
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![marker],
        };
        let response = self.ask(&request, 1);
        name(response.markers[0].topics[0].partitions[0].error_code)
    }
}

fn name(code: i16) -> &'static str {
    Refusal::from_code(code).map_or("NONE", Refusal::name)
}

fn with_topics(node: &Node) -> Stranger {
    let mut stranger = Stranger(node.connect());
    let topic = CreatableTopic {
        name: Text::from_static("t"),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 20_000,
        ..Default::default()
    };
    assert_eq!(name(stranger.ask(&request, 5).topics[0].error_code), "NONE");
    // The first questions make the coordinators' topics.
    for (key_type, key) in [
        (FindCoordinatorRequest::TRANSACTION, "id"),
        (FindCoordinatorRequest::GROUP, "g"),
    ] {
        node.wait_until("has coordinators", || {
            let request = FindCoordinatorRequest {
                key: Text::from_static(key),
                key_type,
                ..Default::default()
            };
            stranger.ask(&request, 3).error_code == 0
        });
    }
    node.wait_until("has loaded its coordinators", || {
        stranger.init("id", 60_000, (-1, -1)).error_code == 0
            && stranger.end("nobody", (1, 0), true) == "INVALID_PRODUCER_ID_MAPPING"
    });
    stranger
}

/// What Apache Kafka 4.3.1 said to the same requests.
const KAFKAS: &str = "
init, empty id: INVALID_REQUEST
init, time 0: INVALID_TRANSACTION_TIMEOUT
init, too long: INVALID_TRANSACTION_TIMEOUT
init, id without epoch: INVALID_REQUEST
init, another's id: PRODUCER_FENCED
init, an epoch ahead: PRODUCER_FENCED
end, nothing begun: INVALID_TXN_STATE
abort, nothing begun: INVALID_TXN_STATE
end, empty id: INVALID_REQUEST
add, empty id: INVALID_REQUEST
offsets, empty id: INVALID_REQUEST
end, unknown id: INVALID_PRODUCER_ID_MAPPING
add, unknown id: INVALID_PRODUCER_ID_MAPPING
offsets, unknown id: INVALID_PRODUCER_ID_MAPPING
end, old epoch: PRODUCER_FENCED
add, old epoch: PRODUCER_FENCED
offsets, old epoch: PRODUCER_FENCED
end, epoch ahead: PRODUCER_FENCED
add, epoch ahead: PRODUCER_FENCED
offsets, epoch ahead: PRODUCER_FENCED
end, other producer: INVALID_PRODUCER_ID_MAPPING
add, other producer: INVALID_PRODUCER_ID_MAPPING
offsets, other producer: INVALID_PRODUCER_ID_MAPPING
add, no such partition: OPERATION_NOT_ATTEMPTED UNKNOWN_TOPIC_OR_PARTITION
add, nothing at all: 
add, topics of coordinators: TOPIC_AUTHORIZATION_FAILED TOPIC_AUTHORIZATION_FAILED OPERATION_NOT_ATTEMPTED
offsets, empty group: NONE
add: NONE NONE
init while open, too: PRODUCER_FENCED
end, old epoch, open: PRODUCER_FENCED
end, epoch ahead, open: PRODUCER_FENCED
commit: NONE
abort: NONE
offset, empty group: INVALID_GROUP_ID
offset, no partition: UNKNOWN_TOPIC_OR_PARTITION
offset, generation: INVALID_TXN_STATE
marker, no such partition: UNKNOWN_TOPIC_OR_PARTITION
marker, old epoch: INVALID_PRODUCER_EPOCH
marker, old coordinator: TRANSACTION_COORDINATOR_FENCED
marker, of nobody: NONE
";

const NOBODY: (i64, i16) = (-1, -1);

#[test]
fn strangers_get_kafkas_answers() {
    let mut node = Node::start(&[
        "transaction.state.log.num.partitions=1",
        "offsets.topic.num.partitions=1",
    ]);
    let mut it = with_topics(&node);
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: &str| answers.push(format!("{what}: {answer}"));

    let init = |it: &mut Stranger, id: &str, timeout, producer| {
        name(it.init(id, timeout, producer).error_code)
    };
    note("init, empty id", init(&mut it, "", 60_000, NOBODY));
    note("init, time 0", init(&mut it, "id", 0, NOBODY));
    note("init, too long", init(&mut it, "id", i32::MAX, NOBODY));
    note("init, id without epoch", init(&mut it, "id", 1, (5, -1)));
    note(
        "init, another's id",
        init(&mut it, "id", 60_000, (987_654, 0)),
    );
    let first = it.init("id", 60_000, NOBODY);
    let me = (first.producer_id, first.producer_epoch);
    let (old, ahead, other) = ((me.0, me.1 - 1), (me.0, me.1 + 1), (me.0 + 1000, me.1));
    note("init, an epoch ahead", init(&mut it, "id", 60_000, ahead));

    note("end, nothing begun", it.end("id", me, true));
    note("abort, nothing begun", it.end("id", me, false));
    for (who, id, producer) in [
        ("empty id", "", me),
        ("unknown id", "nobody", me),
        ("old epoch", "id", old),
        ("epoch ahead", "id", ahead),
        ("other producer", "id", other),
    ] {
        note(&format!("end, {who}"), it.end(id, producer, true));
        note(
            &format!("add, {who}"),
            &it.add(id, producer, vec![0]).join(" "),
        );
        note(
            &format!("offsets, {who}"),
            it.add_offsets(id, producer, "g"),
        );
    }
    note(
        "add, no such partition",
        &it.add("id", me, vec![0, 9]).join(" "),
    );
    note("add, nothing at all", &it.add("id", me, vec![]).join(" "));
    let topics = ["__consumer_offsets", "__transaction_state", "t"];
    let topics = topics.map(|topic| (topic, vec![0])).to_vec();
    note(
        "add, topics of coordinators",
        &it.add_topics("id", me, topics).join(" "),
    );
    note("offsets, empty group", it.add_offsets("id", me, ""));
    note("add", &it.add("id", me, vec![0, 1]).join(" "));
    note(
        "init while open, too",
        init(&mut it, "id", 60_000, (me.0 + 7, 0)),
    );
    note("end, old epoch, open", it.end("id", old, true));
    note("end, epoch ahead, open", it.end("id", ahead, true));
    note("commit", it.end("id", me, true));
    node.wait_until("ends it", || it.add("id", me, vec![0]) == ["NONE"]);
    note("abort", it.end("id", me, false));

    let commit = |it: &mut Stranger, producer, group, partition| {
        it.commit_offset("id", producer, group, partition)
    };
    note("offset, empty group", commit(&mut it, me, ("", -1), 0));
    note("offset, no partition", commit(&mut it, me, ("g", -1), 9));
    let mut generation = "";
    node.wait_until("has aborted", || {
        generation = commit(&mut it, me, ("g", 3), 0);
        generation != "CONCURRENT_TRANSACTIONS"
    });
    note("offset, generation", generation);

    note("marker, no such partition", it.mark(me, 0, 9));
    note("marker, old epoch", it.mark(old, 0, 0));
    note("marker, old coordinator", it.mark(me, -1, 0));
    note("marker, of nobody", it.mark((77_777, 0), 0, 0));

    assert_eq!(answers.join("\n"), KAFKAS.trim());
    assert!(node.is_running());
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

#[test]
fn many_who_begin_at_once_with_one_id_are_all_answered() {
    const N: usize = 50;
    let node = Node::start(&[
        "transaction.state.log.num.partitions=1",
        "offsets.topic.num.partitions=1",
        // Neither a timer nor the disk shall remind the coordinator of those in line.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=3600000",
        "ottla.flush.before.ack=false",
    ]);
    let mut first = with_topics(&node);
    let request = InitProducerIdRequest {
        transactional_id: Some("id".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let mut last = first.ask(&request, 4).producer_epoch;
    let mut strangers: Vec<_> = (0..N).map(|_| Stranger(node.connect())).collect();
    for _ in 0..20 {
        for stranger in &mut strangers {
            stranger.say(&request, 4);
        }
        let answers = strangers.iter_mut().map(|stranger| {
            let answer = stranger.hear::<InitProducerIdRequest>(4);
            assert_eq!(name(answer.error_code), "NONE");
            answer.producer_epoch
        });
        let mut epochs: Vec<_> = answers.collect();
        epochs.sort_unstable();
        let expected: Vec<_> = (last + 1..=last + N as i16).collect();
        assert_eq!(epochs, expected, "one after the other");
        last += N as i16;
    }
}
