//! What a classic leader assigns: of each topic to those who want it, evenly. A cooperative one
//! leaves with everyone what they have, and keeps back what is to move until it has been given up.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
};
use ottla_protocol::{Text, Versioned, encode_body};

use super::client::{Client, Fellow, Using};
use crate::group::tests::host::SomeTopics;
use crate::group::{Topics, embedded};

/// Topic and partitions, by name.
type Named = BTreeMap<Text, Vec<i32>>;

/// One member's wish.
struct Wish {
    id: Text,
    topics: Vec<Text>,
    owned: Named,
    generation: i32,
}

/// The assignments, by member.
pub(super) fn assign(
    fellows: &[Fellow],
    is_cooperative: bool,
    topics: &SomeTopics,
) -> Vec<(Text, Bytes)> {
    let wishes: Vec<Wish> = fellows.iter().filter_map(wish).collect();
    let mut given: BTreeMap<Text, Named> = BTreeMap::new();
    for (topic, _, n) in topics.all() {
        for (partition, taker) in share_out(&wishes, is_cooperative, topic, n) {
            let named = given.entry(wishes[taker].id.clone()).or_default();
            named.entry(topic.clone()).or_default().push(partition);
        }
    }
    let bytes = |wish: &Wish| {
        let named = given.get(&wish.id).cloned().unwrap_or_default();
        (wish.id.clone(), written(&assignment(named)))
    };
    wishes.iter().map(bytes).collect()
}

/// Partitions of one topic, each with its taker.
fn share_out(
    wishes: &[Wish],
    is_cooperative: bool,
    topic: &Text,
    n_partitions: i32,
) -> Vec<(i32, usize)> {
    let takers: Vec<usize> = (0..wishes.len())
        .filter(|at| wishes[*at].topics.contains(topic))
        .collect();
    let most = (n_partitions as usize).div_ceil(takers.len().max(1));
    let mut n_given = vec![0; wishes.len()];
    let mut shared = Vec::new();
    let mut free = Vec::new();
    for partition in 0..n_partitions {
        let owner = is_cooperative.then(|| owner(wishes, topic, partition));
        match owner.flatten() {
            None => free.push(partition),
            Some(owner) if takers.contains(&owner) && n_given[owner] < most => {
                n_given[owner] += 1;
                shared.push((partition, owner));
            }
            // It has to be given up first.
            Some(_) => {}
        }
    }
    for partition in free {
        if let Some(taker) = takers.iter().copied().min_by_key(|at| n_given[*at]) {
            n_given[taker] += 1;
            shared.push((partition, taker));
        }
    }
    shared
}

/// Who has the partition. Of two that say so, the one that has heard more lately.
fn owner(wishes: &[Wish], topic: &Text, partition: i32) -> Option<usize> {
    let owns = |wish: &Wish| {
        let owned = wish.owned.get(topic);
        owned.is_some_and(|owned| owned.contains(&partition))
    };
    let owners = wishes.iter().enumerate().filter(|(_, wish)| owns(wish));
    owners
        .max_by_key(|(_, wish)| wish.generation)
        .map(|(at, _)| at)
}

fn wish(fellow: &Fellow) -> Option<Wish> {
    let said = embedded::subscription(&fellow.metadata)?;
    let owned = said.owned_partitions.iter();
    Some(Wish {
        id: fellow.id.clone(),
        topics: said.topics.clone(),
        owned: owned
            .map(|it| (it.topic.clone(), it.partitions.clone()))
            .collect(),
        generation: said.generation_id,
    })
}

fn assignment(named: Named) -> ConsumerProtocolAssignment {
    let topics = named.into_iter();
    ConsumerProtocolAssignment {
        assigned_partitions: topics
            .map(|(topic, partitions)| ConsumerProtocolTopicPartition { topic, partitions })
            .collect(),
        user_data: None,
    }
}

/// What a classic client says of itself.
pub(super) fn metadata(client: &Client, topics: &SomeTopics) -> Bytes {
    let owned = client.using.iter().filter_map(|(topic, partitions)| {
        Some(ConsumerProtocolTopicPartition {
            topic: topics.name(*topic)?,
            partitions: partitions.iter().copied().collect(),
        })
    });
    // Who gives everything up first need not: librdkafka does not, so that it says the same each time.
    let says_generation = client.is_cooperative || client.number.is_multiple_of(2);
    written(&ConsumerProtocolSubscription {
        topics: client
            .topics
            .iter()
            .map(|it| Text::from_static(it))
            .collect(),
        owned_partitions: owned.collect(),
        generation_id: if says_generation { client.epoch } else { -1 },
        ..ConsumerProtocolSubscription::default()
    })
}

/// What it was given.
pub(super) fn using(bytes: &Bytes, topics: &SomeTopics) -> Using {
    let given = embedded::assignment(bytes).expect("an assignment can be read");
    let known = given.assigned_partitions.iter();
    known
        .filter_map(|it| {
            Some((
                topics.id(&it.topic)?,
                it.partitions.iter().copied().collect(),
            ))
        })
        .collect()
}

fn written<M: Versioned>(message: &M) -> Bytes {
    let newest = M::VERSIONS.1;
    let mut bytes = BytesMut::new();
    bytes.put_i16(newest);
    bytes.put_slice(&encode_body(message, newest).expect("it can be written"));
    bytes.freeze()
}
