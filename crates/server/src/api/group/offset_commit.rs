//! OffsetCommit (key 8, versions 2-10): a group stores how far it has read.
//! v5 no retention time of its own · v6 leader epochs · v7 static members · v8 flexible · v9 errors
//! of the consumer protocol · v10 topic ids.
//! Topics that do not exist are refused one by one, whoever the coordinator is.

use ottla_node::{GroupTopics, Pace, Services};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::api::count_errors;
use crate::session::Call;

const TOPIC_IDS_SINCE: i16 = 10;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let (group_id, version) = (request.group_id.clone(), call.version);
    let known = services.groups().topics();
    let asked = request.topics.clone();
    let committed = services
        .groups()
        .decide(&group_id, Pace::InLine, move |ledger, now| {
            ledger.commit_offsets(&request, version, &known, now)
        });
    let response = committed
        .await
        .unwrap_or_else(|refusal| refused(&asked, version, &services.groups().topics(), refusal));
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    response
}

/// There is no coordinator here: every partition says so, except those that do not exist.
fn refused(
    asked: &[OffsetCommitRequestTopic],
    version: i16,
    known: &dyn GroupTopics,
    refusal: Refusal,
) -> OffsetCommitResponse {
    let by_id = version >= TOPIC_IDS_SINCE;
    let topics = asked.iter().map(|topic| {
        let name = if by_id {
            known.name(topic.topic_id)
        } else {
            Some(topic.name.clone())
        };
        let verdict = |partition| match &name {
            None => Refusal::UnknownTopicId,
            Some(name) if known.has_partition(name, partition) => refusal,
            Some(_) => Refusal::UnknownTopicOrPartition,
        };
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: verdict(partition.partition_index).code(),
            });
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::OffsetCommitRequestPartition;
    use ottla_protocol::{Text, Uuid};

    use super::*;

    struct OneTopic;

    impl GroupTopics for OneTopic {
        fn id(&self, name: &str) -> Option<Uuid> {
            (name == "a").then_some(Uuid::from_u128(1000))
        }

        fn name(&self, id: Uuid) -> Option<Text> {
            (id == Uuid::from_u128(1000)).then_some(Text::from_static("a"))
        }

        fn has_partition(&self, name: &str, partition: i32) -> bool {
            name == "a" && partition == 0
        }
    }

    fn codes(topic: OffsetCommitRequestTopic, version: i16) -> Vec<i16> {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            partitions: vec![partition(0), partition(1)],
            ..topic
        };
        let response = refused(&[topic], version, &OneTopic, Refusal::NotCoordinator);
        response.topics[0]
            .partitions
            .iter()
            .map(|partition| partition.error_code)
            .collect()
    }

    #[test]
    fn topics_that_do_not_exist_keep_their_own_error() {
        let named = |name| OffsetCommitRequestTopic {
            name: Text::from_static(name),
            ..Default::default()
        };
        assert_eq!(codes(named("a"), 9), [16, 3]);
        assert_eq!(codes(named("b"), 9), [3, 3]);
        let with_id = |id| OffsetCommitRequestTopic {
            topic_id: Uuid::from_u128(id),
            ..Default::default()
        };
        assert_eq!(codes(with_id(1000), 10), [16, 3]);
        assert_eq!(codes(with_id(1001), 10), [100, 100]);
    }
}
