//! The `quorum-state` file as a value: the epoch and the vote that survive a crash.
//!
//! One line of JSON in one of two forms; which one is written follows kraft.version, both are
//! read.

use std::fmt::Write as _;

use ottla_protocol::{LeaderEpoch, NodeId, Uuid};
use serde_json::Value;

/// A replica of the metadata log: a node and the directory that holds its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaKey {
    pub id: NodeId,
    /// `None` where it is not known (kraft.version 0).
    pub directory_id: Option<Uuid>,
}

/// What this node promised or learnt about an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SavedElection {
    pub epoch: LeaderEpoch,
    pub leader: Option<NodeId>,
    pub voted: Option<ReplicaKey>,
}

/// The file is not a quorum-state file that we can trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAQuorumState {
    pub why: String,
}

impl std::fmt::Display for NotAQuorumState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "quorum-state is unreadable: {}", self.why)
    }
}

impl std::error::Error for NotAQuorumState {}

const NOBODY: i64 = -1;

impl SavedElection {
    /// The file's content. `voters` are listed at kraft.version 0 only.
    pub fn to_text(&self, kraft_version: i16, voters: &[NodeId]) -> String {
        let leader = self.leader.map_or(NOBODY, i64::from);
        let voted = self.voted.map_or(NOBODY, |key| i64::from(key.id));
        let epoch = self.epoch;
        if kraft_version > 0 {
            let directory = self
                .voted
                .and_then(|key| key.directory_id)
                .unwrap_or(Uuid::ZERO);
            return format!(
                r#"{{"leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted},"votedDirectoryId":"{directory}","data_version":1}}"#
            );
        }
        let mut text = format!(
            r#"{{"clusterId":"","leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted},"appliedOffset":0,"currentVoters":["#
        );
        for (position, voter) in voters.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _ = write!(text, r#"{comma}{{"voterId":{voter}}}"#);
        }
        text.push_str(r#"],"data_version":0}"#);
        text
    }

    /// Read either form. Fields that we do not know are ignored, as Kafka's reader does.
    pub fn from_text(text: &str) -> Result<Self, NotAQuorumState> {
        let value: Value = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        match number(&value, "data_version")? {
            0 | 1 => {}
            other => return Err(refuse(format!("data_version {other} is not 0 or 1"))),
        }
        let epoch = narrow(number(&value, "leaderEpoch")?, "leaderEpoch")?;
        if epoch < 0 {
            return Err(refuse(format!("leaderEpoch is {epoch}")));
        }
        let leader = node(number(&value, "leaderId")?, "leaderId")?;
        let voted = match node(number(&value, "votedId")?, "votedId")? {
            None => None,
            Some(id) => Some(ReplicaKey {
                id,
                directory_id: directory(&value)?,
            }),
        };
        Ok(Self {
            epoch,
            leader,
            voted,
        })
    }
}

fn number(value: &Value, field: &str) -> Result<i64, NotAQuorumState> {
    value
        .get(field)
        .and_then(Value::as_i64)
        .ok_or_else(|| refuse(format!("{field} is missing or no number")))
}

fn narrow(number: i64, field: &str) -> Result<i32, NotAQuorumState> {
    i32::try_from(number).map_err(|_| refuse(format!("{field} is {number}")))
}

fn node(number: i64, field: &str) -> Result<Option<NodeId>, NotAQuorumState> {
    match narrow(number, field)? {
        _ if number == NOBODY => Ok(None),
        id if id < 0 => Err(refuse(format!("{field} is {id}"))),
        id => Ok(Some(id)),
    }
}

fn directory(value: &Value) -> Result<Option<Uuid>, NotAQuorumState> {
    match value.get("votedDirectoryId") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let id: Uuid = text
                .parse()
                .map_err(|_| refuse(format!("votedDirectoryId {text}")))?;
            Ok(Some(id).filter(|id| !id.is_zero()))
        }
        Some(other) => Err(refuse(format!("votedDirectoryId {other}"))),
    }
}

fn refuse(why: String) -> NotAQuorumState {
    NotAQuorumState { why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(saved: SavedElection, kraft_version: i16, expected: Expect) {
        let text = saved.to_text(kraft_version, &[1, 2]);
        expected.assert_eq(&text);
        assert_eq!(SavedElection::from_text(&text), Ok(saved));
    }

    #[test]
    fn static_voters_are_listed() {
        check(
            SavedElection {
                epoch: 5,
                leader: None,
                voted: Some(ReplicaKey {
                    id: 3,
                    directory_id: None,
                }),
            },
            0,
            expect![[
                r#"{"clusterId":"","leaderId":-1,"leaderEpoch":5,"votedId":3,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#
            ]],
        );
    }

    #[test]
    fn dynamic_voters_are_in_the_log_and_the_vote_names_a_directory() {
        check(
            SavedElection {
                epoch: 5,
                leader: Some(1),
                voted: Some(ReplicaKey {
                    id: 3,
                    directory_id: Some(Uuid::from_u128(7)),
                }),
            },
            1,
            expect![[
                r#"{"leaderId":1,"leaderEpoch":5,"votedId":3,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAABw","data_version":1}"#
            ]],
        );
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"leaderId":1,"leaderEpoch":5,"votedId":-1,"data_version":2}"#,
            r#"{"leaderId":1,"leaderEpoch":-5,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":-2,"leaderEpoch":5,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":99999999999,"leaderEpoch":5,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":1,"leaderEpoch":5,"votedId":2,"votedDirectoryId":"x","data_version":1}"#,
        ] {
            assert!(SavedElection::from_text(text).is_err(), "{text}");
        }
    }
}
