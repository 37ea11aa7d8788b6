//! Offsets: of a timestamp, of an epoch, of a group; raising the start of a log.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{NOW, Story, TIMEOUT_MS, settle, versions};

impl Story<'_> {
    pub fn offsets(&mut self) {
        let topic = self.name("offsets");
        let id = self.make_topic(&topic, 2);
        self.write(&topic, 20);
        self.list_offsets(&topic);
        self.epochs(&topic);
        self.delete_records(&topic);
        self.group_offsets(&topic, id);
    }

    fn list_offsets(&mut self, topic: &Text) {
        let special = [
            (1, ListOffsetsRequest::LATEST),
            (1, ListOffsetsRequest::EARLIEST),
            (7, ListOffsetsRequest::MAX_TIMESTAMP),
            (8, ListOffsetsRequest::EARLIEST_LOCAL),
            (9, ListOffsetsRequest::LATEST_TIERED),
            (11, ListOffsetsRequest::EARLIEST_PENDING_UPLOAD),
            (1, -7),
        ];
        // Of a record in the middle, of the last, and after them all.
        let times = [5, 19, 1_000_000].map(|after| (after, *NOW + after));
        for version in versions::<ListOffsetsRequest>() {
            // A position in a version that does not know it yet is asked for too.
            for (since, timestamp) in special {
                let label = format!(
                    "{timestamp}{}",
                    if version < since { ", too early" } else { "" }
                );
                let mut request = list_offsets(version, topic, timestamp);
                self.ask(&label, version, &request);
                if timestamp == ListOffsetsRequest::LATEST {
                    if version >= 2 {
                        request.isolation_level = 1;
                    }
                    request.replica_id = -2;
                    self.ask("committed, as a debugging consumer", version, &request);
                }
            }
            for (after, timestamp) in times {
                let request = list_offsets(version, topic, timestamp);
                self.ask(
                    &format!("{after} ms after the first record"),
                    version,
                    &request,
                );
            }
            let mut request = list_offsets(version, &self.name("absent"), -1);
            self.ask("absent", version, &request);
            if version >= 4 {
                request = list_offsets(version, topic, -1);
                request.topics[0].partitions[0].current_leader_epoch = 5;
                self.ask("epoch from the future", version, &request);
            }
            request = list_offsets(version, topic, -1);
            let twice = request.topics[0].partitions[0].clone();
            request.topics[0].partitions.push(twice);
            self.ask("a partition twice", version, &request);
        }
    }

    fn epochs(&mut self, topic: &Text) {
        for version in versions::<OffsetForLeaderEpochRequest>() {
            let partition =
                |partition, current_leader_epoch, leader_epoch| OffsetForLeaderPartition {
                    partition,
                    current_leader_epoch,
                    leader_epoch,
                };
            let partitions = vec![
                partition(0, -1, 0),
                partition(1, 0, 0),
                partition(0, -1, 7),
                partition(0, 9, 0),
                partition(44, -1, 0),
            ];
            for partition in partitions {
                let label = format!("{partition:?}");
                let topics = vec![OffsetForLeaderTopic {
                    topic: topic.clone(),
                    partitions: vec![partition],
                }];
                let mut request = OffsetForLeaderEpochRequest {
                    topics,
                    ..Default::default()
                };
                if version >= 3 {
                    request.replica_id = -1;
                }
                self.ask(&label, version, &request);
            }
        }
    }

    fn delete_records(&mut self, topic: &Text) {
        for version in versions::<DeleteRecordsRequest>() {
            for (partition_index, offset) in [
                (0, 2 + i64::from(version)),
                (0, 1_000),
                (0, -7),
                (1, -1),
                (44, 0),
            ] {
                let partitions = vec![DeleteRecordsPartition {
                    partition_index,
                    offset,
                }];
                let topics = vec![DeleteRecordsTopic {
                    name: topic.clone(),
                    partitions,
                }];
                let label = format!("partition {partition_index} to {offset}");
                let request = DeleteRecordsRequest {
                    topics,
                    timeout_ms: TIMEOUT_MS,
                };
                self.ask(&label, version, &request);
            }
        }
    }

    fn group_offsets(&mut self, topic: &Text, id: Uuid) {
        self.offset_commit(topic, id);
        let pending = self.commit_in_a_transaction(topic);
        for version in versions::<OffsetFetchRequest>() {
            self.offset_fetch(version, topic, id, &pending);
        }
        self.offset_delete(topic);
    }

    fn offset_commit(&mut self, topic: &Text, id: Uuid) {
        for version in versions::<OffsetCommitRequest>() {
            let group = self.name(&format!("commits-{version}"));
            let mut request = offset_commit(version, &group, topic, id);
            self.ask("alone", version, &request);
            request.member_id = Text::from("nobody");
            request.generation_id_or_member_epoch = 3;
            if version >= 7 {
                request.group_instance_id = Some(Text::from("nobody"));
            }
            self.ask("as a member that is not there", version, &request);
            request = offset_commit(version, &group, topic, id);
            request.topics[0].partitions[0].committed_metadata =
                Some(Text::from("long".repeat(2_000)));
            self.ask("too much metadata", version, &request);
            request = offset_commit(
                version,
                &group,
                &self.name("absent"),
                Uuid::from_u128(1 << 79),
            );
            self.ask("absent topic", version, &request);
        }
    }

    /// Leaves an offset that a transaction has not committed yet; returns its group.
    fn commit_in_a_transaction(&mut self, topic: &Text) -> Text {
        let group = self.name("pending");
        let transactional_id = self.name("pending-txn");
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let Some(producer) = self.prepare_until(4, &request, |a| a.error_code) else {
            return group;
        };
        let add = AddOffsetsToTxnRequest {
            transactional_id: transactional_id.clone(),
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            group_id: group.clone(),
        };
        self.prepare_until(3, &add, |answer| answer.error_code);
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: 3,
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id,
            group_id: group.clone(),
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.clone(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        self.prepare_until(3, &request, |answer| {
            answer.topics[0].partitions[0].error_code
        });
        group
    }

    fn offset_fetch(&mut self, version: i16, topic: &Text, id: Uuid, pending: &Text) {
        let committed = self.name(&format!("commits-{version}"));
        // Version 1 has no commit of its own: OffsetCommit begins at 2.
        let committed = if version < 2 {
            self.name("commits-2")
        } else {
            committed
        };
        for (label, group) in [
            ("committed", committed),
            ("nothing committed", self.name("nobody")),
            ("pending", pending.clone()),
            ("committed with an epoch", self.name("commits-9")),
        ] {
            let mut request = offset_fetch(version, &group, topic, id);
            self.ask(label, version, &request);
            if version >= 2 {
                request.topics = (version >= 8).then(Vec::new);
                request
                    .groups
                    .iter_mut()
                    .for_each(|group| group.topics = None);
                self.ask(&format!("{label}, all topics"), version, &request);
            }
        }
        if version >= 9 {
            let mut request = offset_fetch(version, &self.name("commits-9"), topic, id);
            request.groups[0].member_id = Some(Text::from("nobody"));
            request.groups[0].member_epoch = 4;
            self.ask("as a member that is not there", version, &request);
        }
        if version >= 10 {
            let absent = Uuid::from_u128(1 << 80);
            let request = offset_fetch(version, &self.name("commits-10"), topic, absent);
            self.ask("absent topic", version, &request);
        }
    }

    fn offset_delete(&mut self, topic: &Text) {
        for (label, group, topic) in [
            ("committed", self.name("commits-2"), topic.clone()),
            ("again", self.name("commits-2"), topic.clone()),
            ("absent topic", self.name("commits-3"), self.name("absent")),
            ("absent group", self.name("nobody"), topic.clone()),
        ] {
            self.ask(label, 0, &offset_delete(&group, &topic));
        }
    }

    /// Asks again while a coordinator is still being found or loaded.
    pub fn prepare_until<R>(
        &mut self,
        version: i16,
        request: &R,
        error: impl Fn(&R::Response) -> i16,
    ) -> Option<R::Response>
    where
        R: ottla_protocol::Request + std::fmt::Debug,
        R::Response: std::fmt::Debug,
    {
        let mut last = None;
        for _ in 0..super::TRIES {
            let answer = self.prepare(version, request)?;
            if error(&answer) == 0 {
                return Some(answer);
            }
            last = Some(answer);
            settle();
        }
        println!("note: preparation failed: {last:?}");
        None
    }
}

pub fn offset_delete(group: &Text, topic: &Text) -> OffsetDeleteRequest {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 1 }];
    let topics = vec![OffsetDeleteRequestTopic {
        name: topic.clone(),
        partitions,
    }];
    OffsetDeleteRequest {
        group_id: group.clone(),
        topics,
    }
}

fn list_offsets(version: i16, topic: &Text, timestamp: i64) -> ListOffsetsRequest {
    let partition = |partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: if version >= 4 { 0 } else { -1 },
        timestamp,
    };
    let partitions = vec![partition(0), partition(1)];
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: vec![ListOffsetsTopic {
            name: topic.clone(),
            partitions,
        }],
        timeout_ms: if version >= 10 { TIMEOUT_MS } else { 0 },
    }
}

pub fn offset_commit(version: i16, group: &Text, topic: &Text, id: Uuid) -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 5,
        committed_leader_epoch: if version >= 6 { 0 } else { -1 },
        committed_metadata: Some(Text::from("note")),
    };
    let mut topic = OffsetCommitRequestTopic {
        name: topic.clone(),
        topic_id: id,
        partitions: vec![partition(0), partition(1)],
    };
    match version {
        10.. => topic.name = Text::new(),
        _ => topic.topic_id = Uuid::ZERO,
    }
    OffsetCommitRequest {
        group_id: group.clone(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: if version <= 4 { 3_600_000 } else { -1 },
        topics: vec![topic],
        ..Default::default()
    }
}

pub fn offset_fetch(version: i16, group: &Text, topic: &Text, id: Uuid) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest {
        require_stable: version >= 7,
        ..Default::default()
    };
    if version >= 8 {
        let topic = OffsetFetchRequestTopics {
            name: if version < 10 {
                topic.clone()
            } else {
                Text::new()
            },
            topic_id: if version < 10 { Uuid::ZERO } else { id },
            partition_indexes: vec![0, 1],
        };
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![topic]),
            ..Default::default()
        }];
    } else {
        request.group_id = group.clone();
        request.topics = Some(vec![OffsetFetchRequestTopic {
            name: topic.clone(),
            partition_indexes: vec![0, 1],
        }]);
    }
    request
}
