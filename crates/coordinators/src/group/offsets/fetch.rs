//! OffsetFetch (key 9): where a group has got to.
//! v2 all topics · v7 stable offsets only · v8 several groups · v9 members · v10 topic ids.

use ottla_protocol::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::Committed;
use crate::group::{GroupLedger, Topics};
use crate::ledger::Read;

/// From here on a request names several groups.
const SEVERAL_GROUPS_FROM: i16 = 8;
/// From here on a group has an error of its own.
const GROUP_ERROR_FROM: i16 = 2;
/// From here on topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;

impl GroupLedger {
    /// OffsetFetch of one group; [`offset_fetch_groups`] and [`offset_fetch_response`] translate
    /// the versions that ask for one group only. A group that nobody knows has committed nothing.
    pub fn fetch_offsets(
        &self,
        request: &OffsetFetchRequestGroup,
        version: i16,
        require_stable: bool,
        topics: &dyn Topics,
    ) -> Read<OffsetFetchResponseGroup> {
        let when = self.seen(&request.group_id);
        if let Err(refusal) = self.may_fetch(request) {
            return Read {
                reply: offset_fetch_refused(request, refusal, version),
                when,
            };
        }
        let fetch = Fetch {
            ledger: self,
            group: &request.group_id,
            version,
            require_stable,
        };
        let found = match &request.topics {
            Some(asked) => asked.iter().map(|topic| fetch.one(topic, topics)).collect(),
            None => fetch.all(topics),
        };
        let reply = OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            topics: found,
            ..OffsetFetchResponseGroup::default()
        };
        Read { reply, when }
    }

    /// Members of the consumer protocol must be known, and at their epoch.
    fn may_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), Refusal> {
        let is_member = request.member_id.is_some() || request.member_epoch >= 0;
        if let Some(group) = self.consumers.get(&*request.group_id)
            && is_member
        {
            let member_id = request.member_id.as_deref().unwrap_or_default();
            return group.may_fetch(member_id, request.member_epoch);
        }
        if is_member && self.others.contains_key(&*request.group_id) {
            return Err(Refusal::UnknownMemberId);
        }
        Ok(())
    }
}

/// One group's OffsetFetch.
struct Fetch<'a> {
    ledger: &'a GroupLedger,
    group: &'a str,
    version: i16,
    require_stable: bool,
}

impl Fetch<'_> {
    fn one(
        &self,
        asked: &OffsetFetchRequestTopics,
        topics: &dyn Topics,
    ) -> OffsetFetchResponseTopics {
        let by_id = self.version >= TOPIC_IDS_FROM;
        let name = if by_id {
            topics.name(asked.topic_id)
        } else {
            Some(asked.name.clone())
        };
        let partitions = asked.partition_indexes.iter().map(|partition| match &name {
            None => refused(*partition, Refusal::UnknownTopicId, None),
            Some(name) => self.partition(name, asked.topic_id, *partition),
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopics {
            name: name.unwrap_or_default(),
            topic_id: asked.topic_id,
            partitions,
        }
    }

    fn all(&self, topics: &dyn Topics) -> Vec<OffsetFetchResponseTopics> {
        let mut found = Vec::new();
        for (name, partitions) in self.ledger.offsets_of(self.group).into_iter().flatten() {
            let topic_id = topics.id(name).unwrap_or_default();
            // A client that knows topics by id only cannot be told of one without.
            if self.version >= TOPIC_IDS_FROM && topic_id.is_zero() {
                continue;
            }
            let partitions = partitions
                .keys()
                .map(|p| self.partition(name, Uuid::ZERO, *p));
            found.push(OffsetFetchResponseTopics {
                name: Text::from(&**name),
                topic_id,
                partitions: partitions.collect(),
            });
        }
        found
    }

    fn partition(
        &self,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
    ) -> OffsetFetchResponsePartitions {
        if self.require_stable && self.ledger.offsets.is_pending(self.group, topic, partition) {
            return refused(
                partition,
                Refusal::UnstableOffsetCommit,
                Some(Text::default()),
            );
        }
        let offsets = self.ledger.offsets_of(self.group);
        let committed = offsets.and_then(|topics| topics.get(topic)?.get(&partition));
        match committed {
            Some(committed) if is_for(committed, topic_id) => OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                metadata: Some(Text::from(&*committed.metadata)),
                error_code: 0,
            },
            _ => nothing(partition),
        }
    }
}

/// An offset of a topic that was deleted says nothing about a new one of the same name.
fn is_for(committed: &Committed, asked: Uuid) -> bool {
    committed.topic_id.is_zero() || asked.is_zero() || committed.topic_id == asked
}

fn nothing(partition: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Text::default()),
        error_code: 0,
    }
}

fn refused(
    partition: i32,
    refusal: Refusal,
    metadata: Option<Text>,
) -> OffsetFetchResponsePartitions {
    let metadata = Some(metadata.unwrap_or_default());
    OffsetFetchResponsePartitions {
        error_code: refusal.code(),
        metadata,
        ..nothing(partition)
    }
}

/// The groups that a request of any version asks for.
pub fn offset_fetch_groups(
    request: &OffsetFetchRequest,
    version: i16,
) -> Vec<OffsetFetchRequestGroup> {
    if version >= SEVERAL_GROUPS_FROM {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topic = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            topic_id: Uuid::ZERO,
            partition_indexes: topic.partition_indexes.clone(),
        });
        topic.collect()
    });
    let group_id = request.group_id.clone();
    vec![OffsetFetchRequestGroup {
        group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

/// The response of any version; before v8 to the one group that was asked for.
pub fn offset_fetch_response(
    groups: Vec<OffsetFetchResponseGroup>,
    version: i16,
) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if version >= SEVERAL_GROUPS_FROM {
        response.groups = groups;
        return response;
    }
    for group in groups.into_iter().take(1) {
        response.error_code = group.error_code;
        response.topics = group.topics.into_iter().map(old_topic).collect();
    }
    response
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let old = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let partitions = topic.partitions.into_iter().map(old).collect();
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions,
    }
}

/// The whole group is refused, where the version has a place to say so.
pub fn offset_fetch_refused(
    request: &OffsetFetchRequestGroup,
    refusal: Refusal,
    version: i16,
) -> OffsetFetchResponseGroup {
    let group_id = request.group_id.clone();
    if version >= GROUP_ERROR_FROM {
        let error_code = refusal.code();
        return OffsetFetchResponseGroup {
            group_id,
            error_code,
            ..Default::default()
        };
    }
    let topics = request
        .topics
        .iter()
        .flatten()
        .map(|topic| OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partition_indexes
                .iter()
                .map(|partition| refused(*partition, refusal, None))
                .collect(),
        });
    OffsetFetchResponseGroup {
        group_id,
        topics: topics.collect(),
        ..Default::default()
    }
}
