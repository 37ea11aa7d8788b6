//! A classic group becomes one of the consumer protocol while its members are in: the first member
//! that speaks it has come. Everybody keeps what the last assignment gave, at the generation's number
//! as epoch, and goes on in the classic protocol (`classic_members`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Refusal;

use super::check::UnfitRequest;
use super::member::Held;
use super::{ConsumerGroup, Member};
use crate::group::TopicImage;
use crate::group::assign::Partitions;
use crate::group::classic::{ClassicGroup, ClassicState, Member as ClassicMember};
use crate::group::embedded;
use crate::group::records::GroupRecord;
use crate::group::records::consumer::{ClassicMemberMetadata, ClassicProtocol};
use crate::group::settings::ConsumerSettings;
use crate::group::topic_hash::TopicHashes;
use ottla_protocol::Text;

/// Why a group stays what it is.
fn stays(group: &ClassicGroup, why: &str) -> UnfitRequest {
    let why = format!(
        "The classic group {} cannot become a consumer group: {why}.",
        group.id()
    );
    UnfitRequest::new(Refusal::GroupIdNotFound, why)
}

/// Whether a classic group with members may become one of the consumer protocol.
pub(super) fn may_upgrade(
    group: &ClassicGroup,
    settings: &ConsumerSettings,
) -> Result<(), UnfitRequest> {
    if !settings.migration.upgrades() {
        return Err(stays(group, "group.consumer.migration.policy forbids it"));
    }
    if !group.speaks_consumer() {
        return Err(stays(group, "its members are not consumers"));
    }
    if group.members().count() > settings.max_size {
        return Err(stays(
            group,
            "it has more members than a consumer group may",
        ));
    }
    Ok(())
}

impl ConsumerGroup {
    /// The group as it is at the moment of the change.
    pub(super) fn of_classic(
        classic: &ClassicGroup,
        topics: &dyn TopicImage,
        hashes: &mut TopicHashes,
    ) -> Result<Self, UnfitRequest> {
        let mut group = Self::new(classic.id().clone());
        group.epoch = classic.generation();
        group.target_epoch = classic.generation();
        let protocol = classic.protocol_or_next();
        for known in classic.members() {
            let mut given = assigned(classic, known, topics)?;
            // A leader may have given a partition twice; one has it from now on.
            for (topic, partitions) in &mut given {
                partitions.retain(|partition| !group.owners.is_owned(*topic, *partition));
            }
            given.retain(|_, partitions| !partitions.is_empty());
            let metadata = known.metadata(protocol.as_deref());
            let member = member(classic, known, &metadata, &given)?;
            group.target.insert(known.id.clone(), given);
            group.put(member);
        }
        // In the midst of a rebalance nobody may have anything: the group counts as one whose topics
        // have changed, so that all is shared out anew even if the newcomer wants nothing else than
        // the static member whose place it takes.
        if classic.state() == ClassicState::Stable {
            group.metadata_hash = hashes.of_group(group.subscribed.keys(), topics);
        }
        Ok(group)
    }

    /// The records of a group that has just been made of a classic one.
    pub(super) fn founding_records(&self) -> Vec<GroupRecord> {
        let members = || self.members.values();
        let targets = self.target.iter();
        let mut records: Vec<GroupRecord> = members().map(|it| self.member_record(it)).collect();
        records.push(self.epoch_record(self.epoch, self.metadata_hash));
        records.extend(targets.map(|(id, target)| self.target_record(id, target)));
        records.push(self.target_epoch_record(Some((self.target_epoch, self.target_at_ms))));
        records.extend(members().map(|it| self.current_record(it)));
        records
    }
}

/// What the leader gave the member, of topics that exist.
fn assigned(
    classic: &ClassicGroup,
    member: &ClassicMember,
    topics: &dyn TopicImage,
) -> Result<Partitions, UnfitRequest> {
    let Some(assignment) = embedded::assignment(&member.assignment) else {
        return Err(stays(classic, "an assignment of its members is malformed"));
    };
    if assignment.user_data.is_some_and(|bytes| !bytes.is_empty()) {
        let why = "its assignor puts data of its own into assignments, which would be lost";
        return Err(stays(classic, why));
    }
    let mut given = Partitions::new();
    for topic in &assignment.assigned_partitions {
        if let Some(id) = topics.id(&topic.topic) {
            let partitions = topic.partitions.iter().copied();
            given.entry(id).or_default().extend(partitions);
        }
    }
    Ok(given)
}

fn member(
    classic: &ClassicGroup,
    known: &ClassicMember,
    metadata: &Bytes,
    given: &Partitions,
) -> Result<Member, UnfitRequest> {
    let Some(subscription) = embedded::subscription(metadata) else {
        return Err(stays(classic, "the metadata of its members is malformed"));
    };
    let generation = classic.generation();
    let since = |partitions: &std::collections::BTreeSet<i32>| -> BTreeMap<i32, i32> {
        partitions.iter().map(|it| (*it, generation)).collect()
    };
    let topics = subscription.topics.iter();
    Ok(Member {
        epoch: generation,
        previous_epoch: generation,
        instance: known.instance.clone(),
        rack: rack(subscription.rack_id.as_ref()),
        rebalance_timeout_ms: known.rebalance_timeout_ms,
        client_id: known.client_id.clone(),
        client_host: known.client_host.clone(),
        topics: Arc::new(topics.map(|topic| (**topic).into()).collect()),
        assigned: given
            .iter()
            .map(|(id, it)| (*id, since(it)))
            .collect::<Held>(),
        classic: Some(ClassicMemberMetadata {
            session_timeout_ms: known.session_timeout_ms,
            supported_protocols: known.protocols.iter().map(supported).collect(),
        }),
        ..Member::new(known.id.clone())
    })
}

/// No rack, or an empty one, is none.
pub(super) fn rack(said: Option<&Text>) -> Option<Arc<str>> {
    said.filter(|rack| !rack.is_empty())
        .map(|rack| (**rack).into())
}

fn supported((name, metadata): &(Arc<str>, Bytes)) -> ClassicProtocol {
    ClassicProtocol {
        name: Text::from(&**name),
        metadata: metadata.clone(),
    }
}
