//! A member of a group, by whatever protocol: when it speaks, what it says, what an answer means.
//! Pure.

use bytes::Bytes;
use ottla_client::ClientError;
use ottla_protocol::{NONE, Refusal, Text};

use super::schedule::{Nanos, SECOND};

/// Until a coordinator that is not ready is asked again.
const RETRY: Nanos = SECOND / 50;

/// How members of a group are.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) group: Text,
    pub(super) topic: Text,
    pub(super) n_partitions: i32,
    /// When the coordinator takes them for dead.
    pub(super) session_ms: i32,
    /// How often members of the classic protocol say that they live.
    pub(super) heartbeat: Nanos,
}

/// What a member has in the end, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// Shares of one generation belong together. The same for all where members get theirs one by
    /// one.
    pub(super) generation: i32,
    pub(super) partitions: Vec<i32>,
}

/// Each question is answered before the next one.
pub(super) trait Member: std::fmt::Debug + Send {
    /// When the next question is due.
    fn due(&self) -> Nanos;

    /// The next question, as a frame.
    fn question(&mut self, correlation_id: i32, now: Nanos) -> anyhow::Result<Bytes>;

    /// Whether that is a heartbeat that a coordinator answers at once.
    fn is_beating(&self) -> bool;

    /// What came; a share if the answer tells one.
    fn answer(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<Option<Share>>;

    /// Have nothing more to say but good-bye.
    fn leave(&mut self);

    fn has_left(&self) -> bool;
}

/// What a member makes of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Join again, as who it is.
    Rejoin,
    /// Join again, as somebody new.
    Lost,
    /// The same again, then.
    Later(Nanos),
}

pub(super) fn judge(
    what: &str,
    group: &str,
    (code, message): (i16, Option<&str>),
    now: Nanos,
) -> anyhow::Result<Verdict> {
    if code == NONE {
        return Ok(Verdict::Done);
    }
    match Refusal::from_code(code) {
        Some(
            Refusal::MemberIdRequired | Refusal::RebalanceInProgress | Refusal::IllegalGeneration,
        ) => Ok(Verdict::Rejoin),
        Some(Refusal::UnknownMemberId | Refusal::FencedMemberEpoch) => Ok(Verdict::Lost),
        // A coordinator that was just named may not know it yet.
        Some(
            Refusal::CoordinatorLoadInProgress
            | Refusal::CoordinatorNotAvailable
            | Refusal::NotCoordinator,
        ) => Ok(Verdict::Later(now + RETRY)),
        _ => {
            let what = format!("{what} of group {group} was refused");
            ClientError::from_code(&what, code, message)?;
            Ok(Verdict::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_live_with_some_refusals_and_tell_the_others() {
        let judge = |refusal: Refusal| judge("X", "g", (refusal.code(), Some("why")), 5);
        for (refusal, verdict) in [
            (Refusal::MemberIdRequired, Verdict::Rejoin),
            (Refusal::RebalanceInProgress, Verdict::Rejoin),
            (Refusal::UnknownMemberId, Verdict::Lost),
            (Refusal::FencedMemberEpoch, Verdict::Lost),
            (
                Refusal::CoordinatorLoadInProgress,
                Verdict::Later(5 + RETRY),
            ),
        ] {
            assert_eq!(judge(refusal).unwrap(), verdict);
        }
        let full = judge(Refusal::GroupMaxSizeReached).unwrap_err().to_string();
        assert!(full.starts_with("X of group g was refused"), "{full}");
        assert_eq!(super::judge("X", "g", (0, None), 5).unwrap(), Verdict::Done);
        assert!(super::judge("X", "g", (9_999, None), 5).is_err());
    }
}
