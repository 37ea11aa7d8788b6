//! Fetch, alone and in sessions.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{Story, versions};

impl Story<'_> {
    pub fn fetches(&mut self, topic: &Text, id: Uuid, stamped: &(Text, Uuid)) {
        let aborted = self.name("aborted");
        let aborted_id = self.make_topic(&aborted, 1);
        self.write(&aborted, 2);
        self.transaction("txn-aborted", &aborted, 1, Some(false));
        let cluster_id = self.cluster_id();
        for version in versions::<FetchRequest>() {
            self.fetch(version, topic, id, stamped);
            let unthrottled = self.unthrottled.clone();
            let mut request = fetch_request(version, &aborted, aborted_id, 0, 0);
            request.isolation_level = 1;
            request.cluster_id = cluster_id.clone().filter(|_| version >= 12);
            self.ask_at(&unthrottled, "aborted", version, &request);
        }
    }

    fn fetch(&mut self, version: i16, topic: &Text, id: Uuid, stamped: &(Text, Uuid)) {
        let unthrottled = self.unthrottled.clone();
        let first = fetch_request(version, topic, id, 0, 0);
        self.prove("throttled", version, &first);
        // How much a throttled answer holds is the quota's affair.
        self.ask_at(&unthrottled, "first records", version, &first);
        let (name, stamped_id) = stamped;
        let request = fetch_request(version, name, *stamped_id, 0, 2);
        self.ask_at(
            &unthrottled,
            "after the start was raised",
            version,
            &request,
        );
        let mut committed = first.clone();
        committed.isolation_level = 1;
        self.ask_at(&unthrottled, "committed", version, &committed);
        for (label, index, offset) in [
            ("below the start", 0, -5),
            ("above the end", 0, 1_000_000),
            ("absent partition", 44, 0),
        ] {
            let request = fetch_request(version, topic, id, index, offset);
            self.ask_at(&unthrottled, label, version, &request);
        }
        let absent = Uuid::from_u128(1 << 82);
        let request = fetch_request(version, &self.name("absent"), absent, 0, 0);
        self.ask_at(&unthrottled, "absent topic", version, &request);
        if version >= 9 {
            let mut request = first.clone();
            request.topics[0].partitions[0].current_leader_epoch = 9;
            self.ask_at(&unthrottled, "epoch from the future", version, &request);
        }
        if version >= 12 {
            let mut request = fetch_request(version, topic, id, 0, 1_000_000);
            request.topics[0].partitions[0].last_fetched_epoch = 0;
            self.ask_at(&unthrottled, "diverging", version, &request);
        }
        if version >= 7 {
            self.fetch_in_a_session(version, first);
        }
    }

    fn fetch_in_a_session(&mut self, version: i16, mut request: FetchRequest) {
        let unthrottled = self.unthrottled.clone();
        request.session_epoch = 0;
        let opened = self.ask_at(&unthrottled, "open a session", version, &request);
        let Some(opened) = opened else { return };
        request.session_id = opened.session_id;
        request.session_epoch = 1;
        self.ask_at(&unthrottled, "go on in the session", version, &request);
        let topics = std::mem::take(&mut request.topics);
        let forget = |topic: FetchTopic| FetchForgottenTopic {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: vec![0],
        };
        request.forgotten_topics_data = topics.into_iter().map(forget).collect();
        request.session_epoch = 2;
        self.ask_at(&unthrottled, "forget the topic", version, &request);
        self.ask_at(&unthrottled, "an old session epoch", version, &request);
        request.session_id = 1;
        self.ask_at(&unthrottled, "another session", version, &request);
    }
}

pub fn fetch_request(
    version: i16,
    topic: &Text,
    id: Uuid,
    partition: i32,
    fetch_offset: i64,
) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: if version >= 9 { 0 } else { -1 },
        partition_max_bytes: 100_000,
        ..Default::default()
    };
    let (topic, topic_id) = match version {
        13.. => (Text::new(), id),
        _ => (topic.clone(), Uuid::ZERO),
    };
    let topic = FetchTopic {
        topic,
        topic_id,
        partitions: vec![partition],
    };
    FetchRequest {
        max_wait_ms: 50,
        min_bytes: 1,
        max_bytes: 1_000_000,
        topics: vec![topic],
        rack_id: Text::from(if version >= 11 { "RACK1" } else { "" }),
        ..Default::default()
    }
}
