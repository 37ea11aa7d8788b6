//! Metadata (key 3, versions 0-13): brokers, topics, and who leads what.
//! v1 null asks for all topics, an empty list for none · v4 the client may forbid creation · v6
//! LISTENER_NOT_FOUND · v8 authorized operations · v9 flexible · v10 topic ids in the answer · v11
//! the cluster's operations move to DescribeCluster · v12 topics by id · v13 an error for the whole.
//! A topic that is created because somebody asked is UNKNOWN_TOPIC_OR_PARTITION for the time being.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_metadata::controller::check_topic_name;
use ottla_metadata::image::{Image, Partition, Topic};
use ottla_node::{Services, is_internal_topic};
use ottla_protocol::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::picture::{NOBODY, Picture, missing};
use crate::api::count_errors;
use crate::authorized;
use crate::endpoints::Endpoints;
use crate::session::Call;

const LISTENER_NOT_FOUND_SINCE: i16 = 6;
const LOOKUP_BY_ID_SINCE: i16 = 12;

/// What is asked for.
enum Wanted {
    All,
    Names(Vec<Text>),
    Ids(Vec<Uuid>),
}

pub(crate) async fn handle(
    services: &Arc<Services>,
    call: &Call,
    request: MetadataRequest,
) -> MetadataResponse {
    let wanted = match wanted(request.topics.as_deref(), call.version) {
        Ok(wanted) => wanted,
        Err(refusal) => return refused(request.topics.unwrap_or_default(), refusal),
    };
    let image = services.image();
    if let Wanted::Names(names) = &wanted
        && request.allow_auto_topic_creation
        && services.configured().settings.topics.auto_create
    {
        create_missing(services, &image, names, call.client());
    }
    let endpoints = Endpoints::new(services, call);
    let picture = Picture {
        image: &image,
        listener: endpoints.listener(),
    };
    let mut topics = describe(&picture, wanted, call.version);
    if request.include_topic_authorized_operations {
        let known = topics.iter_mut().filter(|topic| topic.name.is_some());
        known.for_each(|topic| topic.topic_authorized_operations = authorized::ON_TOPIC);
    }
    count_errors(services, call, topics.iter().map(|topic| topic.error_code));
    let cluster_operations = match request.include_cluster_authorized_operations {
        true => authorized::ON_CLUSTER,
        false => authorized::OMITTED,
    };
    MetadataResponse {
        brokers: brokers(&image, &endpoints),
        cluster_id: Some(services.cluster_id().into()),
        controller_id: picture.controller(services.node_id()),
        topics,
        cluster_authorized_operations: cluster_operations,
        ..Default::default()
    }
}

/// Each topic once, in the order of the request.
fn wanted(topics: Option<&[MetadataRequestTopic]>, version: i16) -> Result<Wanted, Refusal> {
    let Some(topics) = topics else {
        return Ok(Wanted::All);
    };
    if version == 0 && topics.is_empty() {
        return Ok(Wanted::All);
    }
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let lacks_name = topics.iter().any(|topic| topic.name.is_none());
    // v10 and v11 have the field for the id and no use for it.
    if (by_id || lacks_name) && version < LOOKUP_BY_ID_SINCE {
        return Err(Refusal::InvalidRequest);
    }
    if by_id {
        let mut seen = HashSet::new();
        let ids = topics.iter().map(|topic| topic.topic_id);
        return Ok(Wanted::Ids(
            ids.filter(|id| !id.is_zero() && seen.insert(*id)).collect(),
        ));
    }
    let mut seen = HashSet::new();
    let mut names = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = topic.name.as_ref().ok_or(Refusal::InvalidRequest)?;
        if seen.insert(name) {
            names.push(name.clone());
        }
    }
    Ok(Wanted::Names(names))
}

fn refused(topics: Vec<MetadataRequestTopic>, refusal: Refusal) -> MetadataResponse {
    let error_code = refusal.code();
    let topics = topics.into_iter().map(|topic| MetadataResponseTopic {
        error_code,
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse {
        topics: topics.collect(),
        error_code,
        ..Default::default()
    }
}

/// Lets be made what is asked for and not there. It is answered as missing all the same: the
/// client asks again.
fn create_missing(services: &Arc<Services>, image: &Image, names: &[Text], client_id: &str) {
    let is_missing =
        |name: &&str| image.topics.find(name).is_none() && check_topic_name(name).is_ok();
    let names = names.iter().map(|name| &**name);
    services.create_on_demand(names.filter(is_missing), client_id);
}

fn describe(picture: &Picture<'_>, wanted: Wanted, version: i16) -> Vec<MetadataResponseTopic> {
    let topics = &picture.image.topics;
    match wanted {
        Wanted::All => {
            let mut all: Vec<&Arc<Topic>> = topics.iter().collect();
            all.sort_by_cached_key(|topic| java_hash(&topic.name));
            let described = |topic| described(picture, topic, version);
            all.into_iter().filter_map(described).collect()
        }
        Wanted::Names(names) => {
            let one = |name: Text| {
                let found = topics
                    .find(&name)
                    .and_then(|topic| described(picture, topic, version));
                found.unwrap_or_else(|| MetadataResponseTopic {
                    error_code: missing(&name).code(),
                    is_internal: is_internal_topic(&name),
                    name: Some(name),
                    ..Default::default()
                })
            };
            names.into_iter().map(one).collect()
        }
        Wanted::Ids(ids) => {
            let one = |id: Uuid| {
                let found = topics
                    .find_by_id(id)
                    .and_then(|topic| described(picture, topic, version));
                found.unwrap_or_else(|| MetadataResponseTopic {
                    error_code: Refusal::UnknownTopicId.code(),
                    name: None,
                    topic_id: id,
                    ..Default::default()
                })
            };
            ids.into_iter().map(one).collect()
        }
    }
}

/// Kafka keeps the topics in hash sets, and so do its tools, which list them in an order that
/// depends on ours where two hashes fall together: the hash of a Java string, spread as these sets do.
fn java_hash(name: &str) -> i32 {
    let step = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
    let hash = name.encode_utf16().fold(0, step);
    (hash ^ (hash >> 16)).cast_signed()
}

/// None for a topic that has no partition yet: it is on its way.
fn described(
    picture: &Picture<'_>,
    topic: &Arc<Topic>,
    version: i16,
) -> Option<MetadataResponseTopic> {
    if topic.partitions.is_empty() {
        return None;
    }
    let partition = |(index, partition): (&i32, &Arc<Partition>)| {
        described_partition(picture, *index, partition, version)
    };
    Some(MetadataResponseTopic {
        error_code: NONE,
        name: Some((*topic.name).into()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    })
}

fn described_partition(
    picture: &Picture<'_>,
    index: i32,
    partition: &Partition,
    version: i16,
) -> MetadataResponsePartition {
    // v0 names only replicas that can be reached, and says when some cannot.
    let named = |nodes: &[i32]| -> Vec<i32> {
        let is_named = |node: &i32| version > 0 || picture.is_reachable(*node);
        nodes.iter().copied().filter(is_named).collect()
    };
    let replica_nodes = named(&partition.replicas);
    let isr_nodes = named(&partition.in_sync);
    let leader = picture.leader(partition);
    let is_leader_known = partition
        .leader
        .is_some_and(|leader| picture.image.nodes.broker(leader).is_some());
    let refusal = match leader {
        None if is_leader_known && version >= LISTENER_NOT_FOUND_SINCE => {
            Some(Refusal::ListenerNotFound)
        }
        None => Some(Refusal::LeaderNotAvailable),
        Some(_) => {
            let is_complete = replica_nodes.len() == partition.replicas.len()
                && isr_nodes.len() == partition.in_sync.len();
            (!is_complete).then_some(Refusal::ReplicaNotAvailable)
        }
    };
    MetadataResponsePartition {
        error_code: refusal.map_or(NONE, Refusal::code),
        partition_index: index,
        leader_id: leader.unwrap_or(NOBODY),
        leader_epoch: partition.leader_epoch,
        replica_nodes,
        isr_nodes,
        offline_replicas: picture.offline(partition),
    }
}

fn brokers(image: &Image, endpoints: &Endpoints) -> Vec<MetadataResponseBroker> {
    let alive = image
        .nodes
        .brokers
        .values()
        .filter(|broker| !broker.is_fenced);
    let reachable = alive.filter_map(|broker| Some((broker, endpoints.of(broker)?)));
    reachable
        .map(|(broker, place)| MetadataResponseBroker {
            node_id: broker.id,
            host: place.host.into(),
            port: place.port,
            rack: broker.rack.as_deref().map(Into::into),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> MetadataRequestTopic {
        MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: Some(Text::from_static(name)),
        }
    }

    fn with_id(id: u128) -> MetadataRequestTopic {
        MetadataRequestTopic {
            topic_id: Uuid::from_u128(id),
            name: None,
        }
    }

    fn check(topics: Option<&[MetadataRequestTopic]>, version: i16, expected: &str) {
        let found = match wanted(topics, version) {
            Ok(Wanted::All) => "all".to_owned(),
            Ok(Wanted::Names(names)) => {
                format!("{:?}", names.iter().map(|n| &**n).collect::<Vec<_>>())
            }
            Ok(Wanted::Ids(ids)) => format!("{} ids", ids.len()),
            Err(refusal) => refusal.name().to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_list_asks_for_all_in_v0_and_for_none_later() {
        check(Some(&[]), 0, "all");
        check(Some(&[]), 1, "[]");
        check(None, 1, "all");
    }

    #[test]
    fn topics_asked_for_twice_are_answered_once() {
        check(
            Some(&[named("b"), named("a"), named("b")]),
            9,
            r#"["b", "a"]"#,
        );
        check(
            Some(&[with_id(1000), with_id(1000), with_id(1001)]),
            12,
            "2 ids",
        );
    }

    #[test]
    fn ids_come_with_v12() {
        check(Some(&[with_id(1000)]), 11, "INVALID_REQUEST");
        let nothing = MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: None,
        };
        check(Some(std::slice::from_ref(&nothing)), 11, "INVALID_REQUEST");
    }

    #[test]
    fn topics_come_in_the_order_of_their_hashes() {
        assert_eq!(java_hash("stamped"), -1_897_372_342);
        assert!(java_hash("stamped") < java_hash("orders"));
    }
}
