//! A member of a group of the consumer protocol (KIP-848): the coordinator shares out, and one
//! heartbeat says everything.
//!
//! What to send and what an answer means is [`Standing`], which asks nobody. A task of its own sends
//! heartbeats; the consumer takes an assignment when it polls, and says so with the next heartbeat,
//! so that what it gave up goes to others only then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatTopicPartitions,
};
use ottla_protocol::{Refusal, Text, TopicPartition, Uuid};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::ConsumerSettings;
use super::member::{Pulse, tell};
use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::offsets::Committer;
use crate::pool::Lane;
use crate::settings::pause;

/// Epochs that mean something else.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;
/// Until the coordinator has named another.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);

type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

#[derive(Debug)]
pub(super) struct Member {
    group: String,
    settings: Arc<ConsumerSettings>,
    shared: Arc<Shared>,
    heart: Option<AbortHandle>,
}

/// What the consumer and its heart both see.
#[derive(Debug)]
struct Shared {
    standing: Mutex<Standing>,
    /// There is something to say.
    wake: Notify,
    pulse: watch::Sender<Pulse>,
}

impl Shared {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    pub(super) fn new(group: String, settings: Arc<ConsumerSettings>) -> Self {
        let standing = Standing {
            id: member_id(),
            ..Standing::default()
        };
        Self {
            group,
            settings,
            shared: Arc::new(Shared {
                standing: Mutex::new(standing),
                wake: Notify::new(),
                pulse: watch::channel(Pulse::Rejoin).0,
            }),
            heart: None,
        }
    }

    pub(super) fn pulse(&self) -> Pulse {
        *self.shared.pulse.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Pulse> {
        self.shared.pulse.subscribe()
    }

    pub(super) fn is_joined(&self) -> bool {
        self.shared.standing().epoch > 0
    }

    pub(super) fn committer(&self) -> Committer {
        let standing = self.shared.standing();
        Committer {
            generation: standing.epoch,
            member: standing.id.clone(),
            instance: self.settings.instance.clone(),
        }
    }

    pub(super) fn subscribe(&mut self, topics: Vec<Arc<str>>) {
        if self.shared.standing().subscribe(topics) {
            tell(&self.shared.pulse, Pulse::Rejoin);
            self.shared.wake.notify_one();
        }
    }

    /// Take what was assigned; it is ours from here on.
    pub(super) async fn take(
        &mut self,
        cluster: &Arc<Cluster>,
    ) -> Result<BTreeSet<TopicPartition>, ClientError> {
        if self.heart.as_ref().is_none_or(AbortHandle::is_finished) {
            self.beat(cluster);
        }
        // IMPORTANT: before looking, so that what comes while we look is news again.
        self.shared.pulse.send_replace(Pulse::Steady);
        let (target, topics) = {
            let mut standing = self.shared.standing();
            if let Some(failure) = standing.failure.take() {
                return Err(failure);
            }
            (standing.target.clone(), standing.topics.clone())
        };
        let named = named(cluster, &topics, &target).await?;
        let mut standing = self.shared.standing();
        if standing.target != target {
            // The next look takes that.
            tell(&self.shared.pulse, Pulse::Rejoin);
        }
        if standing.own(target) {
            self.shared.wake.notify_one();
        }
        Ok(named)
    }

    fn beat(&mut self, cluster: &Arc<Cluster>) {
        let heart = Heart {
            cluster: Arc::clone(cluster),
            group: self.group.clone(),
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(&self.shared),
        };
        self.heart = Some(tokio::spawn(heart.run()).abort_handle());
    }

    /// Say good-bye; a static member only for a while.
    pub(super) async fn leave(&mut self, cluster: &Arc<Cluster>) {
        self.stop_heart();
        if !self.is_joined() {
            return;
        }
        let epoch = match self.settings.instance {
            Some(_) => LEAVES_FOR_A_WHILE,
            None => LEAVES,
        };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Text::from(self.group.as_str()),
            member_id: Text::from(self.shared.standing().id.as_str()),
            member_epoch: epoch,
            instance_id: self.settings.instance.as_deref().map(Text::from),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let left = async {
            let connection = cluster.coordinator(&self.group, Lane::Heartbeat).await?;
            connection.ask(&request, cluster.patience()).await
        };
        if let Err(error) = left.await {
            tracing::debug!(%error, "the group was not left");
        }
        self.shared.standing().epoch = JOINS;
    }

    fn stop_heart(&mut self) {
        if let Some(heart) = self.heart.take() {
            heart.abort();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop_heart();
    }
}

/// Assignments name topics by their ids.
async fn named(
    cluster: &Cluster,
    topics: &[Arc<str>],
    target: &Partitions,
) -> Result<BTreeSet<TopicPartition>, ClientError> {
    if target.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut view = cluster.topics(topics).await?;
    let lacks = |view: &crate::cluster::View| {
        let known: BTreeSet<Uuid> = view.topics.values().map(|topic| topic.id).collect();
        target.keys().any(|id| !known.contains(id))
    };
    if lacks(&view) {
        view = cluster.refresh(Ask::Named(topics)).await?;
    }
    if lacks(&view) {
        let what = "a topic that was assigned is not known yet";
        return Err(ClientError::refused(what, Refusal::UnknownTopicId));
    }
    let mut named = BTreeSet::new();
    for (name, topic) in &view.topics {
        let numbers = target.get(&topic.id).into_iter().flatten();
        named.extend(numbers.map(|n| TopicPartition::new(Arc::clone(name), *n)));
    }
    Ok(named)
}

/// A member names itself.
fn member_id() -> String {
    let id = std::iter::repeat_with(|| Uuid::random(crate::random::bytes()))
        .flatten()
        .next();
    id.unwrap_or_default().to_string()
}

/// Where a member stands, as far as it and the coordinator have told each other.
#[derive(Debug, Default)]
struct Standing {
    id: String,
    epoch: i32,
    topics: Vec<Arc<str>>,
    /// What the coordinator wants us to have; what we have.
    target: Partitions,
    owned: Partitions,
    are_topics_told: bool,
    is_owned_told: bool,
    /// Why there will be no heartbeat any more.
    failure: Option<ClientError>,
}

/// What an answer means for the consumer.
#[derive(Debug, PartialEq, Eq)]
enum News {
    None,
    /// There is an assignment to take.
    Assigned,
    /// We are nobody there any more, and join again.
    Fenced,
    /// It will not get better.
    Failed,
}

impl Standing {
    /// Whether that is news.
    fn subscribe(&mut self, topics: Vec<Arc<str>>) -> bool {
        let is_news = self.topics != topics;
        if is_news {
            self.topics = topics;
            self.are_topics_told = false;
        }
        is_news
    }

    /// Whether that is news.
    fn own(&mut self, partitions: Partitions) -> bool {
        let is_news = self.owned != partitions;
        if is_news {
            self.owned = partitions;
            self.is_owned_told = false;
        }
        is_news
    }

    /// What the coordinator does not know yet; everything when joining.
    fn request(
        &mut self,
        group: &str,
        settings: &ConsumerSettings,
    ) -> ConsumerGroupHeartbeatRequest {
        let is_joining = self.epoch == JOINS;
        let tells_topics = is_joining || !self.are_topics_told;
        let tells_owned = is_joining || !self.is_owned_told;
        (self.are_topics_told, self.is_owned_told) = (true, true);
        let topics = self.topics.iter().map(|topic| Text::from(&**topic));
        let owned = self.owned.iter();
        let owned = owned.map(|(id, numbers)| ConsumerGroupHeartbeatTopicPartitions {
            topic_id: *id,
            partitions: numbers.iter().copied().collect(),
        });
        let timeout = settings.max_poll_interval.as_millis();
        let rebalance_timeout_ms = i32::try_from(timeout).unwrap_or(i32::MAX);
        let assignor = settings.remote_assignor.as_deref().map(Text::from);
        ConsumerGroupHeartbeatRequest {
            group_id: Text::from(group),
            member_id: Text::from(self.id.as_str()),
            member_epoch: self.epoch,
            instance_id: settings.instance.as_deref().map(Text::from),
            rebalance_timeout_ms: if is_joining { rebalance_timeout_ms } else { -1 },
            subscribed_topic_names: tells_topics.then(|| topics.collect()),
            server_assignor: assignor.filter(|_| is_joining),
            topic_partitions: tells_owned.then(|| owned.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn answered(&mut self, answer: ConsumerGroupHeartbeatResponse) -> News {
        if let Some(id) = answer.member_id {
            self.id = id.to_string();
        }
        self.epoch = answer.member_epoch;
        let Some(assignment) = answer.assignment else {
            return News::None;
        };
        let topics = assignment.topic_partitions.into_iter();
        self.target = topics
            .map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()))
            .collect();
        if self.target == self.owned {
            News::None
        } else {
            News::Assigned
        }
    }

    fn refused(&mut self, error: ClientError) -> News {
        // What the request told may not have been heard.
        (self.are_topics_told, self.is_owned_told) = (false, false);
        match error.refusal() {
            Some(Refusal::UnknownMemberId | Refusal::FencedMemberEpoch) => {
                self.epoch = JOINS;
                self.target.clear();
                self.owned.clear();
                News::Fenced
            }
            _ if error.is_retriable() => News::None,
            _ => {
                self.failure = Some(error);
                News::Failed
            }
        }
    }
}

struct Heart {
    cluster: Arc<Cluster>,
    group: String,
    settings: Arc<ConsumerSettings>,
    shared: Arc<Shared>,
}

impl Heart {
    async fn run(self) {
        let mut interval = FIRST_INTERVAL;
        let mut n_failures = 0;
        loop {
            let request = {
                let mut standing = self.shared.standing();
                standing.request(&self.group, &self.settings)
            };
            let asked = self.ask(&request).await;
            let asked = self.cluster.heed(&self.group, asked);
            let (news, wait) = match asked {
                Ok(answer) => {
                    n_failures = 0;
                    let ms = u64::try_from(answer.heartbeat_interval_ms).unwrap_or_default();
                    interval = Duration::from_millis(ms.max(1));
                    (self.shared.standing().answered(answer), interval)
                }
                Err(error) => {
                    tracing::debug!(%error, "a heartbeat was missed");
                    let wait = pause(self.cluster.settings().retry_backoff, n_failures);
                    n_failures += 1;
                    (self.shared.standing().refused(error), wait.min(interval))
                }
            };
            match news {
                News::None => {}
                News::Assigned => tell(&self.shared.pulse, Pulse::Rejoin),
                News::Fenced => tell(&self.shared.pulse, Pulse::Lost),
                News::Failed => {
                    tell(&self.shared.pulse, Pulse::Lost);
                    return;
                }
            }
            if n_failures > 0 {
                sleep(wait).await;
            } else {
                let _ = timeout(wait, self.shared.wake.notified()).await;
            }
        }
    }

    async fn ask(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
        let connection = self
            .cluster
            .coordinator(&self.group, Lane::Heartbeat)
            .await?;
        let answer = connection.ask(request, self.cluster.patience()).await?;
        let what = format!("group {} cannot be joined", self.group);
        let message = answer.error_message.as_deref();
        ClientError::from_code(&what, answer.error_code, message)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::ConsumerGroupHeartbeatAssignment;

    use super::*;

    fn standing() -> Standing {
        let mut standing = Standing {
            id: "m".to_owned(),
            ..Standing::default()
        };
        standing.subscribe(vec![Arc::from("t")]);
        standing
    }

    fn request(standing: &mut Standing) -> ConsumerGroupHeartbeatRequest {
        standing.request("g", &ConsumerSettings::default())
    }

    fn answer(epoch: i32, partitions: Option<&[i32]>) -> ConsumerGroupHeartbeatResponse {
        let assignment = partitions.map(|partitions| ConsumerGroupHeartbeatAssignment {
            topic_partitions: vec![ConsumerGroupHeartbeatTopicPartitions {
                topic_id: Uuid::ZERO,
                partitions: partitions.to_vec(),
            }],
        });
        ConsumerGroupHeartbeatResponse {
            member_epoch: epoch,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    #[test]
    fn who_joins_tells_everything_and_then_only_what_is_new() {
        let mut standing = standing();
        let first = request(&mut standing);
        assert_eq!(first.member_epoch, 0);
        assert!(first.subscribed_topic_names.is_some() && first.topic_partitions == Some(vec![]));
        assert!(first.rebalance_timeout_ms > 0);
        assert_eq!(standing.answered(answer(1, Some(&[0, 1]))), News::Assigned);
        let second = request(&mut standing);
        assert_eq!((second.member_epoch, second.rebalance_timeout_ms), (1, -1));
        assert!(second.subscribed_topic_names.is_none() && second.topic_partitions.is_none());
        let target = standing.target.clone();
        assert!(standing.own(target.clone()) && !standing.own(target));
        assert!(request(&mut standing).topic_partitions.is_some());
        assert_eq!(standing.answered(answer(2, Some(&[0, 1]))), News::None);
        assert!(standing.subscribe(vec![Arc::from("u")]));
        assert!(request(&mut standing).subscribed_topic_names.is_some());
    }

    #[test]
    fn who_is_fenced_joins_again_with_nothing() {
        let mut standing = standing();
        standing.answered(answer(5, Some(&[0])));
        let target = standing.target.clone();
        standing.own(target);
        let fenced = ClientError::refused("x", Refusal::FencedMemberEpoch);
        assert_eq!(standing.refused(fenced), News::Fenced);
        let again = request(&mut standing);
        assert_eq!(
            (again.member_epoch, again.topic_partitions),
            (0, Some(vec![]))
        );
    }

    #[test]
    fn what_was_not_heard_is_told_again_and_what_will_not_pass_is_said() {
        let mut standing = standing();
        standing.answered(answer(1, Some(&[0])));
        request(&mut standing);
        let busy = ClientError::refused("x", Refusal::CoordinatorLoadInProgress);
        assert_eq!(standing.refused(busy), News::None);
        assert!(request(&mut standing).subscribed_topic_names.is_some());
        let wrong = ClientError::refused("x", Refusal::UnsupportedAssignor);
        assert_eq!(standing.refused(wrong), News::Failed);
        assert!(standing.failure.is_some());
    }
}
