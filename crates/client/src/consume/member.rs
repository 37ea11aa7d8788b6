//! A member of a classic group: join, sync, heartbeat, leave; as the leader, share out.
//!
//! A task of its own sends heartbeats while a generation lasts, and tells through a watch when
//! it is over. Joining happens in the caller's time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
    LeaveGroupRequest, MemberIdentity, SyncGroupRequest, SyncGroupRequestAssignment,
};
use ottla_protocol::{Refusal, Text, TopicPartition};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::ConsumerSettings;
use super::assign::{
    Subscriber, range, read_assignment, read_subscription, write_assignment, write_subscription,
};
use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::offsets::Committer;
use crate::pool::Lane;
use crate::settings::pause;

const PROTOCOL_TYPE: &str = "consumer";
const RANGE: &str = "range";
/// Leaving names members one by one up to this version.
const LAST_WITH_ONE_LEAVER: i16 = 2;
/// What JoinGroup may take beyond the rebalance timeout, as in Kafka's consumer.
const JOIN_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    Steady,
    /// Join again, as who we are.
    Rejoin,
    /// We are nobody there any more.
    Lost,
}

#[derive(Debug)]
pub(super) struct Member {
    group: String,
    settings: Arc<ConsumerSettings>,
    id: String,
    generation: i32,
    topics: Vec<Arc<str>>,
    /// What there is to share out; when it changes, the group should hear of it.
    seen: BTreeSet<TopicPartition>,
    pulse: watch::Sender<Pulse>,
    heart: Option<AbortHandle>,
}

impl Member {
    pub(super) fn new(group: String, settings: Arc<ConsumerSettings>) -> Self {
        Self {
            group,
            settings,
            id: String::new(),
            generation: -1,
            topics: Vec::new(),
            seen: BTreeSet::new(),
            pulse: watch::channel(Pulse::Rejoin).0,
            heart: None,
        }
    }

    pub(super) fn pulse(&self) -> Pulse {
        *self.pulse.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }

    pub(super) fn is_joined(&self) -> bool {
        self.generation >= 0
    }

    pub(super) fn committer(&self) -> Committer {
        Committer {
            generation: self.generation,
            member: self.id.clone(),
            instance: self.settings.instance.clone(),
        }
    }

    /// What to read, and which partitions that is at the moment.
    pub(super) fn subscribe(&mut self, topics: Vec<Arc<str>>, seen: &BTreeSet<TopicPartition>) {
        if self.topics != topics || self.seen != *seen {
            self.topics = topics;
            self.seen = seen.clone();
            tell(&self.pulse, Pulse::Rejoin);
        }
    }

    /// Be part of the next generation; what we have in it.
    pub(super) async fn join(
        &mut self,
        cluster: &Arc<Cluster>,
    ) -> Result<BTreeSet<TopicPartition>, ClientError> {
        if self.pulse() == Pulse::Lost {
            self.forget();
        }
        // Joining is a sign of life; what the old generation hears does not concern the next one.
        self.stop_heart();
        let deadline = Instant::now() + self.settings.max_poll_interval;
        let mut n = 0;
        loop {
            let joined = self.join_once(cluster).await;
            let error = match cluster.heed(&self.group, joined) {
                Ok(share) => {
                    self.pulse.send_replace(Pulse::Steady);
                    self.beat(cluster);
                    return Ok(share);
                }
                Err(error) => error,
            };
            let is_again = match error.refusal() {
                // What every join may meet; only a broker that does not mean it says so for ever.
                Some(Refusal::MemberIdRequired | Refusal::RebalanceInProgress)
                    if Instant::now() < deadline =>
                {
                    continue;
                }
                Some(Refusal::UnknownMemberId | Refusal::IllegalGeneration) => {
                    self.forget();
                    true
                }
                _ => error.is_retriable(),
            };
            let wait = pause(cluster.settings().retry_backoff, n);
            n += 1;
            if !is_again || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn join_once(
        &mut self,
        cluster: &Arc<Cluster>,
    ) -> Result<BTreeSet<TopicPartition>, ClientError> {
        let connection = cluster.coordinator(&self.group, Lane::Group).await?;
        let patience = self.settings.max_poll_interval + JOIN_GRACE;
        let answer = connection.ask(&self.join_request()?, patience).await?;
        let what = format!("group {} cannot be joined", self.group);
        let refused = ClientError::from_code(&what, answer.error_code, None);
        if refused
            .as_ref()
            .is_err_and(|e| e.refusal() == Some(Refusal::MemberIdRequired))
        {
            self.id = answer.member_id.to_string();
        }
        refused?;
        self.id = answer.member_id.to_string();
        self.generation = answer.generation_id;
        let assignments = if answer.leader == answer.member_id && !answer.skip_assignment {
            self.share_out(cluster, &answer).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: Text::from(self.group.as_str()),
            generation_id: self.generation,
            member_id: answer.member_id,
            group_instance_id: self.instance(),
            protocol_type: Some(Text::from_static(PROTOCOL_TYPE)),
            protocol_name: answer.protocol_name,
            assignments,
        };
        let answer = connection.ask(&request, patience).await?;
        ClientError::from_code(&what, answer.error_code, None)?;
        read_assignment(answer.assignment)
    }

    fn join_request(&self) -> Result<JoinGroupRequest, ClientError> {
        let settings = &self.settings;
        Ok(JoinGroupRequest {
            group_id: Text::from(self.group.as_str()),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.max_poll_interval),
            member_id: Text::from(self.id.as_str()),
            group_instance_id: self.instance(),
            protocol_type: Text::from_static(PROTOCOL_TYPE),
            protocols: vec![JoinGroupRequestProtocol {
                name: Text::from_static(RANGE),
                metadata: write_subscription(&self.topics)?,
            }],
            reason: None,
        })
    }

    async fn share_out(
        &self,
        cluster: &Arc<Cluster>,
        answer: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut subscribers = Vec::new();
        for member in &answer.members {
            subscribers.push(Subscriber {
                member: member.member_id.to_string(),
                instance: member.group_instance_id.as_ref().map(ToString::to_string),
                topics: read_subscription(member.metadata.clone())?,
            });
        }
        let topics: BTreeSet<_> = subscribers.iter().flat_map(|s| s.topics.clone()).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let view = cluster.refresh(Ask::Named(&topics)).await?;
        let sizes: BTreeMap<Arc<str>, usize> = topics
            .into_iter()
            .filter_map(|topic| {
                let known = view
                    .topics
                    .get(&topic)
                    .filter(|known| known.refusal.is_none())?;
                let n = known.partitions.len();
                Some((topic, n))
            })
            .collect();
        let assigned = range(&subscribers, &sizes).into_iter();
        let assigned = assigned.map(|(member, share)| {
            Ok(SyncGroupRequestAssignment {
                member_id: Text::from(member),
                assignment: write_assignment(&share)?,
            })
        });
        assigned.collect()
    }

    fn instance(&self) -> Option<Text> {
        self.settings.instance.as_deref().map(Text::from)
    }

    fn forget(&mut self) {
        self.id.clear();
        self.generation = -1;
    }

    fn stop_heart(&mut self) {
        if let Some(heart) = self.heart.take() {
            heart.abort();
        }
    }

    fn beat(&mut self, cluster: &Arc<Cluster>) {
        self.stop_heart();
        let request = HeartbeatRequest {
            group_id: Text::from(self.group.as_str()),
            generation_id: self.generation,
            member_id: Text::from(self.id.as_str()),
            group_instance_id: self.instance(),
        };
        let heart = Heart {
            cluster: Arc::clone(cluster),
            group: self.group.clone(),
            request,
            interval: self.settings.heartbeat_interval,
            session: self.settings.session_timeout,
            pulse: self.pulse.clone(),
        };
        self.heart = Some(tokio::spawn(heart.run()).abort_handle());
    }

    /// Say good-bye, unless we are a static member, whose place is kept.
    pub(super) async fn leave(&mut self, cluster: &Arc<Cluster>) {
        self.stop_heart();
        if self.id.is_empty() || self.settings.instance.is_some() {
            return;
        }
        if let Err(error) = self.try_to_leave(cluster).await {
            tracing::debug!(%error, "the group was not left");
        }
        self.forget();
    }

    async fn try_to_leave(&self, cluster: &Arc<Cluster>) -> Result<(), ClientError> {
        let connection = cluster.coordinator(&self.group, Lane::Heartbeat).await?;
        let version = connection
            .versions()
            .newest::<LeaveGroupRequest>(i16::MAX)?;
        let member_id = Text::from(self.id.as_str());
        let mut request = LeaveGroupRequest {
            group_id: Text::from(self.group.as_str()),
            ..LeaveGroupRequest::default()
        };
        if version <= LAST_WITH_ONE_LEAVER {
            request.member_id = member_id;
        } else {
            request.members = vec![MemberIdentity {
                member_id,
                ..MemberIdentity::default()
            }];
        }
        connection.ask(&request, cluster.patience()).await?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop_heart();
    }
}

struct Heart {
    cluster: Arc<Cluster>,
    group: String,
    request: HeartbeatRequest,
    interval: Duration,
    session: Duration,
    pulse: watch::Sender<Pulse>,
}

impl Heart {
    async fn run(self) {
        let mut last = Instant::now();
        loop {
            sleep(self.interval).await;
            match self.once().await {
                Ok(()) => last = Instant::now(),
                Err(error) => match error.refusal() {
                    Some(Refusal::RebalanceInProgress) => {
                        last = Instant::now();
                        tell(&self.pulse, Pulse::Rejoin);
                    }
                    Some(
                        Refusal::UnknownMemberId
                        | Refusal::IllegalGeneration
                        | Refusal::FencedInstanceId,
                    ) => {
                        tell(&self.pulse, Pulse::Lost);
                        return;
                    }
                    _ if last.elapsed() > self.session => {
                        tell(&self.pulse, Pulse::Lost);
                        return;
                    }
                    _ => {
                        tracing::debug!(%error, "a heartbeat was missed");
                        self.cluster.forget_coordinator(&self.group);
                    }
                },
            }
        }
    }

    async fn once(&self) -> Result<(), ClientError> {
        let connection = self
            .cluster
            .coordinator(&self.group, Lane::Heartbeat)
            .await?;
        let answer = connection.ask(&self.request, self.session).await?;
        ClientError::from_code("a heartbeat was refused", answer.error_code, None)
    }
}

/// News of the membership; that it is lost is the last there can be.
pub(super) fn tell(pulse: &watch::Sender<Pulse>, news: Pulse) {
    pulse.send_if_modified(|current| {
        let is_news = *current != Pulse::Lost && *current != news;
        if is_news {
            *current = news;
        }
        is_news
    });
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
