//! A member of a classic group: joins, heartbeats while it works, commits, leaves.
//!
//! `poll` is the only thing a caller must keep doing: it joins again when the group says so, and
//! keeps every partition's place. Heartbeats run beside it and never wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
    LeaveGroupRequest, MemberIdentity, SyncGroupRequest, SyncGroupRequestAssignment,
};
use ottla_protocol::{
    Message, Offset, Reader, Refusal, Text, TopicPartition, Version, encode_body,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::admin::{self, Committer};
use crate::assign::{Assigned, range};
use crate::cluster::{Cluster, RETRY_AFTER, View, Which};
use crate::connection::Connection;
use crate::consume::{Consumer, Start};
use crate::fault::Fault;
use crate::fetched::Consumed;

/// The protocol type and the one protocol that we speak.
const CONSUMER: Text = Text::from_static("consumer");
const RANGE: Text = Text::from_static("range");
/// The version of subscription and assignment that every client reads.
const EMBEDDED_VERSION: i16 = 1;
/// Whether topics have come, gone or grown is looked at this often.
const LOOK_AT_TOPICS_EVERY: Duration = Duration::from_secs(5);

/// Which topics of a cluster are wanted.
pub type Wanted = Arc<dyn Fn(&View) -> Vec<String> + Send + Sync>;

#[derive(Debug, Clone)]
pub struct MemberSettings {
    pub group: String,
    /// Makes it a static member.
    pub instance: Option<String>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// `None`: the caller commits.
    pub commit_every: Option<Duration>,
}

/// A member and the partitions that it has.
pub struct Member {
    cluster: Cluster,
    settings: MemberSettings,
    wanted: Wanted,
    consumer: Consumer,
    member_id: String,
    generation: i32,
    heart: Option<Heart>,
    topics_at_join: BTreeMap<String, i32>,
    look_at_topics: Instant,
    commit_at: Instant,
}

/// Beats until it is dropped, or the group wants something.
struct Heart {
    task: JoinHandle<()>,
    /// Why the member has to join again.
    trouble: watch::Receiver<Option<Fault>>,
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    pub fn new(
        cluster: Cluster,
        settings: MemberSettings,
        consumer: Consumer,
        wanted: Wanted,
    ) -> Self {
        Self {
            cluster,
            settings,
            wanted,
            consumer,
            member_id: String::new(),
            generation: -1,
            heart: None,
            topics_at_join: BTreeMap::new(),
            look_at_topics: Instant::now(),
            commit_at: Instant::now(),
        }
    }

    /// The next records of the partitions that are ours, or none after a while.
    pub async fn poll(&mut self) -> Result<Vec<Consumed>, Fault> {
        self.stay_in().await?;
        if let Some(every) = self.settings.commit_every
            && Instant::now() >= self.commit_at
        {
            self.commit_at = Instant::now() + every;
            self.commit_or_log().await;
        }
        self.consumer.poll().await
    }

    /// Commits everything that `poll` has returned: who calls it again has used that.
    async fn commit_or_log(&mut self) {
        let positions = self.consumer.positions();
        if let Err(fault) = self.commit(&positions).await {
            tracing::warn!(%fault, "the offsets are not committed");
        }
    }

    /// Commits these offsets.
    pub async fn commit(&self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), Fault> {
        if offsets.is_empty() || self.generation < 0 {
            return Ok(());
        }
        let who = Committer {
            generation: self.generation,
            member: &self.member_id,
            instance: self.settings.instance.as_deref(),
        };
        admin::commit_as(&self.cluster, &self.settings.group, who, offsets).await
    }

    /// Goes back to these places: what was polled after them has not been used.
    pub fn rewind(&mut self, offsets: &BTreeMap<TopicPartition, Offset>) {
        for (at, offset) in offsets {
            self.consumer.seek(at, *offset);
        }
    }

    /// Commits where it stands, if commits are automatic, and leaves. A static member stays in for
    /// as long as its session lasts: it may only have restarted.
    pub async fn close(mut self) -> Result<(), Fault> {
        if self.settings.commit_every.is_some() {
            self.commit_or_log().await;
        }
        self.heart = None;
        if self.settings.instance.is_some() || self.member_id.is_empty() {
            return Ok(());
        }
        let connection = self.cluster.coordinator(&self.settings.group).await?;
        let version = connection.version_of::<LeaveGroupRequest>()?;
        let mut request = LeaveGroupRequest {
            group_id: Text::from(self.settings.group.as_str()),
            ..LeaveGroupRequest::default()
        };
        if version >= 3 {
            request.members = vec![MemberIdentity {
                member_id: Text::from(self.member_id.as_str()),
                ..MemberIdentity::default()
            }];
        } else {
            request.member_id = Text::from(self.member_id.as_str());
        }
        let answer = connection.ask_at(&request, version).await?;
        Fault::check(answer.error_code, None)
    }

    // ---- staying in ----

    async fn stay_in(&mut self) -> Result<(), Fault> {
        if Instant::now() >= self.look_at_topics {
            self.look_at_topics = Instant::now() + LOOK_AT_TOPICS_EVERY;
            if self.topics_now().await? != self.topics_at_join {
                self.heart = None;
            }
        }
        let trouble = self
            .heart
            .as_ref()
            .map(|heart| heart.trouble.borrow().clone());
        match trouble {
            Some(None) => Ok(()),
            Some(Some(fault)) => {
                tracing::debug!(%fault, "joining again");
                if self.settings.commit_every.is_some()
                    && fault.refusal() == Some(Refusal::RebalanceInProgress)
                {
                    self.commit_or_log().await;
                }
                self.forget_what_is_lost(&fault);
                self.join_until_in().await
            }
            None => {
                if self.settings.commit_every.is_some() {
                    self.commit_or_log().await;
                }
                self.join_until_in().await
            }
        }
    }

    fn forget_what_is_lost(&mut self, fault: &Fault) {
        match fault.refusal() {
            Some(Refusal::UnknownMemberId | Refusal::FencedInstanceId) => {
                self.member_id.clear();
                self.generation = -1;
            }
            Some(Refusal::IllegalGeneration) => self.generation = -1,
            _ => {}
        }
    }

    /// The partition counts of the topics that are wanted.
    async fn topics_now(&self) -> Result<BTreeMap<String, i32>, Fault> {
        let view = self
            .cluster
            .until_it_passes(|| self.cluster.refresh(Which::All))
            .await?;
        let count = |name: &String| {
            view.topics
                .get(name)
                .map_or(0, |topic| topic.partitions.len())
        };
        let wanted = (self.wanted)(&view);
        Ok(wanted
            .iter()
            .map(|name| (name.clone(), count(name) as i32))
            .collect())
    }

    async fn join_until_in(&mut self) -> Result<(), Fault> {
        self.heart = None;
        loop {
            match self.join_once().await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    self.forget_what_is_lost(&fault);
                    let again = fault.may_pass()
                        || matches!(
                            fault.refusal(),
                            Some(
                                Refusal::RebalanceInProgress
                                    | Refusal::UnknownMemberId
                                    | Refusal::IllegalGeneration
                                    | Refusal::MemberIdRequired
                            )
                        );
                    if !again {
                        return Err(fault);
                    }
                    tracing::debug!(%fault, "joining once more");
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn join_once(&mut self) -> Result<(), Fault> {
        self.topics_at_join = self.topics_now().await?;
        let connection = self.cluster.coordinator(&self.settings.group).await?;
        let joined = self.join(&connection).await?;
        self.generation = joined.generation_id;
        self.member_id = joined.member_id.to_string();
        let assignments = self.assignments(&joined).await?;
        let assigned = self.sync(&connection, assignments).await?;
        self.start_consuming(assigned).await?;
        self.heart = Some(self.beat(connection));
        Ok(())
    }

    async fn join(&mut self, connection: &Connection) -> Result<JoinGroupResponse, Fault> {
        loop {
            let request = JoinGroupRequest {
                group_id: Text::from(self.settings.group.as_str()),
                session_timeout_ms: ms(self.settings.session_timeout),
                rebalance_timeout_ms: ms(self.settings.rebalance_timeout),
                member_id: Text::from(self.member_id.as_str()),
                group_instance_id: self.settings.instance.as_deref().map(Text::from),
                protocol_type: CONSUMER,
                protocols: vec![JoinGroupRequestProtocol {
                    name: RANGE,
                    metadata: subscription(self.topics_at_join.keys()),
                }],
                reason: None,
            };
            let patience = self.settings.rebalance_timeout;
            let joined = connection.ask_patiently(&request, patience).await?;
            match Fault::check(joined.error_code, None) {
                Err(fault) if fault.refusal() == Some(Refusal::MemberIdRequired) => {
                    self.member_id = joined.member_id.to_string();
                }
                outcome => return outcome.map(|()| joined),
            }
        }
    }

    /// The leader's work; nothing for the others, and nothing where a returning leader is told to
    /// leave the assignment as it is.
    async fn assignments(&self, joined: &JoinGroupResponse) -> Result<Assigned, Fault> {
        if joined.leader != joined.member_id || joined.skip_assignment {
            return Ok(Assigned::new());
        }
        let mut subscriptions = BTreeMap::new();
        for member in &joined.members {
            subscriptions.insert(member.member_id.to_string(), topics_of(&member.metadata)?);
        }
        let view = self
            .cluster
            .until_it_passes(|| self.cluster.refresh(Which::All))
            .await?;
        let topics = subscriptions.values().flatten();
        let counted = topics.filter_map(|name| {
            view.topics
                .get(name)
                .map(|topic| (name.clone(), topic.partitions.len() as i32))
        });
        let counted = counted.collect();
        Ok(range(&subscriptions, &counted))
    }

    async fn sync(
        &self,
        connection: &Connection,
        assignments: Assigned,
    ) -> Result<Vec<TopicPartition>, Fault> {
        let request = SyncGroupRequest {
            group_id: Text::from(self.settings.group.as_str()),
            generation_id: self.generation,
            member_id: Text::from(self.member_id.as_str()),
            group_instance_id: self.settings.instance.as_deref().map(Text::from),
            protocol_type: Some(CONSUMER),
            protocol_name: Some(RANGE),
            assignments: assignments
                .into_iter()
                .map(|(member, topics)| SyncGroupRequestAssignment {
                    member_id: Text::from(member),
                    assignment: assignment(topics),
                })
                .collect(),
        };
        let patience = self.settings.rebalance_timeout;
        let synced = connection.ask_patiently(&request, patience).await?;
        Fault::check(synced.error_code, None)?;
        assigned_partitions(&synced.assignment)
    }

    async fn start_consuming(&mut self, assigned: Vec<TopicPartition>) -> Result<(), Fault> {
        let committed = admin::committed_offsets(&self.cluster, &self.settings.group).await?;
        let start = |at: TopicPartition| {
            let known = committed.get(&at).map(|known| Start::At(known.offset));
            (at, known.unwrap_or(Start::Anywhere))
        };
        self.consumer.assign(assigned.into_iter().map(start));
        if let Some(every) = self.settings.commit_every {
            self.commit_at = Instant::now() + every;
        }
        Ok(())
    }

    fn beat(&self, connection: Connection) -> Heart {
        let request = HeartbeatRequest {
            group_id: Text::from(self.settings.group.as_str()),
            generation_id: self.generation,
            member_id: Text::from(self.member_id.as_str()),
            group_instance_id: self.settings.instance.as_deref().map(Text::from),
        };
        let every = self.settings.heartbeat_interval;
        let (sender, trouble) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                sleep(every).await;
                let beaten = connection.ask(&request).await;
                if let Err(fault) = beaten.and_then(|answer| Fault::check(answer.error_code, None))
                {
                    // Nobody is left to tell once the member is gone.
                    let _ = sender.send(Some(fault));
                    return;
                }
            }
        });
        Heart { task, trouble }
    }
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

// ---- what consumers tell each other, which the broker passes on ----

fn embedded<M: ottla_protocol::Versioned>(message: &M) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(EMBEDDED_VERSION);
    match encode_body(message, EMBEDDED_VERSION) {
        Ok(body) => bytes.put_slice(&body),
        Err(bug) => unreachable!("all fields that are set exist in version 1: {bug:?}"),
    }
    bytes.freeze()
}

fn open<M: Message>(bytes: &Bytes, newest: i16) -> Result<M, Fault> {
    let bad = |why: String| Fault::BadAnswer {
        api: "SyncGroup",
        why,
    };
    let mut reader = Reader::new(bytes.clone());
    let version = reader
        .i16("version")
        .map_err(|why| bad(format!("{why:?}")))?;
    // Later versions only add at the end.
    let version = Version {
        number: version.clamp(0, newest),
        flexible: false,
    };
    M::decode(&mut reader, version).map_err(|why| bad(format!("{why:?}")))
}

fn subscription<'a>(topics: impl Iterator<Item = &'a String>) -> Bytes {
    embedded(&ConsumerProtocolSubscription {
        topics: topics.map(|topic| Text::from(topic.as_str())).collect(),
        ..ConsumerProtocolSubscription::default()
    })
}

fn topics_of(metadata: &Bytes) -> Result<Vec<String>, Fault> {
    let subscription: ConsumerProtocolSubscription = open(metadata, 3)?;
    Ok(subscription
        .topics
        .iter()
        .map(|topic| topic.to_string())
        .collect())
}

fn assignment(topics: BTreeMap<String, Vec<i32>>) -> Bytes {
    let topic = |(topic, partitions)| ConsumerProtocolTopicPartition {
        topic: Text::from(topic),
        partitions,
    };
    embedded(&ConsumerProtocolAssignment {
        assigned_partitions: topics.into_iter().map(topic).collect(),
        ..ConsumerProtocolAssignment::default()
    })
}

/// The partitions in a member's assignment, as `DescribeGroups` shows it, too.
pub fn assigned_partitions(bytes: &Bytes) -> Result<Vec<TopicPartition>, Fault> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = open(bytes, 3)?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| TopicPartition::new(&*topic.topic, *partition))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_consumers_tell_each_other_comes_back() {
        let topics = ["a".to_owned(), "b".to_owned()];
        assert_eq!(topics_of(&subscription(topics.iter())).unwrap(), topics);
        let given = BTreeMap::from([("t".to_owned(), vec![0, 2])]);
        let expected = [TopicPartition::new("t", 0), TopicPartition::new("t", 2)];
        assert_eq!(assigned_partitions(&assignment(given)).unwrap(), expected);
        assert_eq!(assigned_partitions(&Bytes::new()).unwrap(), []);
        assert!(assigned_partitions(&Bytes::from_static(b"\0")).is_err());
    }
}
