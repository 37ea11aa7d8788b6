//! The consumer protocol from a client's side.

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatTopicPartitions as Owned,
};
use ottla_protocol::{Refusal, Text};

use super::client::Client;
use super::world::{GROUP, World};
use crate::group::{Client as Caller, GroupReply};

pub(super) const REBALANCE_TIMEOUT_MS: i32 = 20_000;

impl World {
    /// One heartbeat.
    pub(super) fn beat(&mut self, at: usize, is_heard: bool) {
        let request = request(&self.clients[at]);
        let topics = self.host.topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let caller = Caller {
                id: "c",
                host: "/::1",
            };
            ledger.consumer_group_heartbeat(&request, 1, caller, fresh, &topics, now)
        });
        let Some(GroupReply::ConsumerHeartbeat(response)) = self.asked(at, step) else {
            panic!("a heartbeat is answered at once");
        };
        match is_heard {
            true => self.hear_beat(at, &response),
            false => self.clients[at].says_all = true,
        }
    }

    fn hear_beat(&mut self, at: usize, response: &ConsumerGroupHeartbeatResponse) {
        let refusal = Refusal::from_code(response.error_code);
        let client = &mut self.clients[at];
        client.last_refusal = refusal;
        match refusal {
            None => {
                client.epoch = response.member_epoch;
                client.says_all = false;
                if let Some(assignment) = &response.assignment {
                    let topics = assignment.topic_partitions.iter();
                    client.using = topics
                        .map(|it| (it.topic_id, it.partitions.iter().copied().collect()))
                        .collect();
                }
            }
            Some(Refusal::FencedMemberEpoch | Refusal::UnknownMemberId) => client.start_over(),
            // Kafka's client ends here; ours has its group taken away for a while, and tries again.
            Some(Refusal::GroupIdNotFound | Refusal::GroupMaxSizeReached) => client.start_over(),
            Some(Refusal::FencedInstanceId) => client.stop(),
            Some(_) => client.says_all = true,
        }
        if let Some(refusal) = refusal {
            self.totals.count(refusal.name());
        }
    }

    /// It says that it goes, for good or for a while.
    pub(super) fn leave_consumer(&mut self, at: usize, epoch: i32) {
        let client = &self.clients[at];
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Text::from_static(GROUP),
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            member_epoch: epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        self.clients[at].stop();
        let topics = self.host.topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let caller = Caller {
                id: "c",
                host: "/::1",
            };
            ledger.consumer_group_heartbeat(&request, 1, caller, fresh, &topics, now)
        });
        self.asked(at, step);
    }
}

fn request(client: &Client) -> ConsumerGroupHeartbeatRequest {
    let using = client.using.iter().map(|(topic_id, partitions)| Owned {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    });
    let mut request = ConsumerGroupHeartbeatRequest {
        group_id: Text::from_static(GROUP),
        member_id: client.id.clone(),
        member_epoch: client.epoch,
        instance_id: client.instance.clone(),
        topic_partitions: Some(using.collect()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    if client.says_all {
        let topics = client.topics.iter().map(|topic| Text::from_static(topic));
        request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
        request.subscribed_topic_names = Some(topics.collect());
        // Said aloud: a static member that says nothing keeps what its former self wanted.
        request.subscribed_topic_regex = Some(Text::from_static(client.pattern.unwrap_or("")));
        request.server_assignor = Some(Text::from_static("uniform"));
    }
    request
}
