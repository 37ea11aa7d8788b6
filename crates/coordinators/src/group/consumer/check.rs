//! What a ConsumerGroupHeartbeat must look like, whatever the group.

use ottla_protocol::Refusal;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::member::{AWAY_EPOCH, JOIN_EPOCH, LEAVE_EPOCH};
use crate::group::assign::Assignor;

/// From here on a client makes its member id itself.
const OWN_MEMBER_ID_FROM: i16 = 1;

/// A request that is not granted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct UnfitRequest {
    pub(in crate::group) refusal: Refusal,
    pub(in crate::group) why: String,
}

impl UnfitRequest {
    pub(super) fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { refusal, why }
    }
}

/// Refuses what makes no sense for any group.
pub(super) fn check(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    assignors: &[Assignor],
) -> Result<(), UnfitRequest> {
    let epoch = request.member_epoch;
    if version >= OWN_MEMBER_ID_FROM || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH {
        must_say(Some(&request.member_id), "MemberId")?;
    }
    must_say(Some(&request.group_id), "GroupId")?;
    must_say(request.instance_id.as_deref(), "InstanceId")?;
    must_say(request.rack_id.as_deref(), "RackId")?;
    match epoch {
        JOIN_EPOCH => check_join(request)?,
        AWAY_EPOCH if request.instance_id.is_none() => {
            return Err(invalid(
                "InstanceId is missing: only a static member leaves for a while.",
            ));
        }
        ..AWAY_EPOCH => return Err(invalid(format!("MemberEpoch {epoch} means nothing."))),
        _ => {}
    }
    let Some(asked) = request.server_assignor.as_deref() else {
        return Ok(());
    };
    let known: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
    if known.contains(&asked) {
        return Ok(());
    }
    let known = known.join(", ");
    let why = format!("ServerAssignor {asked} is not supported. Supported assignors: {known}.");
    Err(UnfitRequest::new(Refusal::UnsupportedAssignor, why))
}

fn check_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), UnfitRequest> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid(
            "RebalanceTimeoutMs is missing: a member that joins says it.",
        ));
    }
    if request
        .topic_partitions
        .as_ref()
        .is_none_or(|owned| !owned.is_empty())
    {
        return Err(invalid(
            "TopicPartitions must be empty: a member that joins has none.",
        ));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        let why = "SubscribedTopicNames and SubscribedTopicRegex are both missing: a member that \
                   joins says one of them.";
        return Err(invalid(why));
    }
    Ok(())
}

/// A text that is there must not be blank, in Java's sense.
fn must_say(text: Option<&str>, field: &str) -> Result<(), UnfitRequest> {
    match text {
        Some(text) if text.trim_matches(|it| it <= ' ').is_empty() => {
            Err(invalid(format!("{field} is empty.")))
        }
        _ => Ok(()),
    }
}

fn invalid(why: impl Into<String>) -> UnfitRequest {
    UnfitRequest::new(Refusal::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;
    use ottla_protocol::messages::ConsumerGroupHeartbeatTopicPartitions as Owned;

    use super::*;

    fn joining() -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: Text::from_static("g"),
            member_id: Text::from_static("m"),
            rebalance_timeout_ms: 1,
            subscribed_topic_names: Some(Vec::new()),
            topic_partitions: Some(Vec::new()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn refusal(
        version: i16,
        spoil: impl FnOnce(&mut ConsumerGroupHeartbeatRequest),
    ) -> Option<Refusal> {
        let mut request = joining();
        spoil(&mut request);
        let checked = check(&request, version, &[Assignor::Uniform]);
        checked.err().map(|unfit| unfit.refusal)
    }

    #[test]
    fn each_fault_has_its_code() {
        let invalid = Some(Refusal::InvalidRequest);
        let blank = || Text::from_static(" \t");
        assert_eq!(refusal(1, |_| ()), None);
        assert_eq!(refusal(1, |it| it.member_id = blank()), invalid);
        assert_eq!(refusal(0, |it| it.member_id = blank()), None);
        assert_eq!(refusal(1, |it| it.group_id = blank()), invalid);
        assert_eq!(refusal(1, |it| it.instance_id = Some(blank())), invalid);
        assert_eq!(refusal(1, |it| it.rack_id = Some(Text::default())), invalid);
        assert_eq!(refusal(1, |it| it.rebalance_timeout_ms = -1), invalid);
        assert_eq!(refusal(1, |it| it.topic_partitions = None), invalid);
        assert_eq!(
            refusal(1, |it| it.topic_partitions = Some(vec![Owned::default()])),
            invalid
        );
        assert_eq!(refusal(1, |it| it.subscribed_topic_names = None), invalid);
        assert_eq!(refusal(1, |it| it.member_epoch = -2), invalid);
        assert_eq!(refusal(1, |it| it.member_epoch = -3), invalid);
        assert_eq!(refusal(1, |it| it.member_epoch = i32::MIN), invalid);
        assert_eq!(
            refusal(1, |it| it.server_assignor =
                Some(Text::from_static("range"))),
            Some(Refusal::UnsupportedAssignor)
        );
    }

    #[test]
    fn who_is_in_says_only_what_has_changed() {
        let alive = |epoch| {
            move |it: &mut ConsumerGroupHeartbeatRequest| {
                *it = ConsumerGroupHeartbeatRequest {
                    group_id: Text::from_static("g"),
                    member_id: Text::from_static("m"),
                    member_epoch: epoch,
                    ..ConsumerGroupHeartbeatRequest::default()
                }
            }
        };
        assert_eq!(refusal(1, alive(3)), None);
        assert_eq!(refusal(1, alive(-1)), None);
        assert_eq!(
            refusal(0, |it| (it.member_epoch, it.member_id) =
                (2, Text::default())),
            Some(Refusal::InvalidRequest)
        );
    }
}
