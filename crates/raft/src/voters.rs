//! Who votes, and since which offset.
//!
//! kraft.version 0: the set comes from `controller.quorum.voters` and changes only by a rise to 1.
//! kraft.version 1: the last KRAFT_VOTERS record in snapshot or log holds, from the moment it is appended.

use ottla_protocol::messages::{
    VotersRecord, VotersRecordEndpoint, VotersRecordKRaftVersionFeature, VotersRecordVoter,
};
use ottla_protocol::{NodeId, Offset, Text, Uuid};

use crate::control::Control;
use crate::saved::ReplicaKey;

/// Where a voter listens, by listener name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// The kraft.version levels that a node can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KraftVersions {
    pub min: i16,
    pub max: i16,
}

impl KraftVersions {
    /// What this implementation can run.
    pub const OURS: Self = Self { min: 0, max: 1 };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    pub id: NodeId,
    /// `None` in a static set: it then matches any directory of that node.
    pub directory_id: Option<Uuid>,
    pub endpoints: Vec<Endpoint>,
    pub kraft_versions: KraftVersions,
}

impl Voter {
    pub fn key(&self) -> ReplicaKey {
        ReplicaKey {
            id: self.id,
            directory_id: self.directory_id,
        }
    }

    fn is(&self, key: ReplicaKey) -> bool {
        let same_directory = match (self.directory_id, key.directory_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) => true,
            (Some(_), None) => false,
        };
        self.id == key.id && same_directory
    }
}

/// Invariant: at most one voter per node id, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VoterSet(Vec<Voter>);

impl VoterSet {
    pub fn new(mut voters: Vec<Voter>) -> Self {
        voters.sort_by_key(|voter| voter.id);
        voters.dedup_by_key(|voter| voter.id);
        Self(voters)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.0.iter().map(|voter| voter.id).collect()
    }

    pub fn contains(&self, key: ReplicaKey) -> bool {
        self.0.iter().any(|voter| voter.is(key))
    }

    pub fn find(&self, id: NodeId) -> Option<&Voter> {
        self.0.iter().find(|voter| voter.id == id)
    }

    /// How many votes decide.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// This set with one voter's endpoints and versions replaced.
    pub fn with(&self, updated: Voter) -> Self {
        Self(
            self.0
                .iter()
                .map(|voter| {
                    if voter.id == updated.id {
                        updated.clone()
                    } else {
                        voter.clone()
                    }
                })
                .collect(),
        )
    }

    pub fn to_record(&self) -> VotersRecord {
        VotersRecord {
            version: 0,
            voters: self.0.iter().map(voter_to_record).collect(),
        }
    }

    pub fn from_record(record: &VotersRecord) -> Self {
        Self::new(record.voters.iter().map(voter_from_record).collect())
    }
}

fn voter_to_record(voter: &Voter) -> VotersRecordVoter {
    VotersRecordVoter {
        voter_id: voter.id,
        voter_directory_id: voter.directory_id.unwrap_or(Uuid::ZERO),
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| VotersRecordEndpoint {
                name: Text::from(endpoint.listener.as_str()),
                host: Text::from(endpoint.host.as_str()),
                port: endpoint.port,
            })
            .collect(),
        kraft_version_feature: VotersRecordKRaftVersionFeature {
            min_supported_version: voter.kraft_versions.min,
            max_supported_version: voter.kraft_versions.max,
        },
    }
}

fn voter_from_record(record: &VotersRecordVoter) -> Voter {
    Voter {
        id: record.voter_id,
        directory_id: Some(record.voter_directory_id).filter(|id| !id.is_zero()),
        endpoints: record
            .endpoints
            .iter()
            .map(|endpoint| Endpoint {
                listener: endpoint.name.to_string(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
            })
            .collect(),
        kraft_versions: KraftVersions {
            min: record.kraft_version_feature.min_supported_version,
            max: record.kraft_version_feature.max_supported_version,
        },
    }
}

/// Voter sets and kraft.version levels by the offset of their record.
///
/// Offset -1 stands for "from the bootstrap snapshot": known, but never written to the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VoterHistory {
    fixed: VoterSet,
    sets: Vec<(Offset, VoterSet)>,
    kraft_versions: Vec<(Offset, i16)>,
}

impl VoterHistory {
    /// The offset of what only the bootstrap snapshot says.
    pub(crate) const BEFORE_THE_LOG: Offset = -1;

    /// `fixed` is `controller.quorum.voters`, or empty.
    pub(crate) fn new(fixed: VoterSet) -> Self {
        Self {
            fixed,
            ..Self::default()
        }
    }

    /// A control record of the log, at its offset.
    pub(crate) fn note(&mut self, offset: Offset, control: &Control) {
        match control {
            Control::KraftVersion(record) => self.note_kraft_version(offset, record.kraft_version),
            Control::Voters(record) => self.note_voters(offset, VoterSet::from_record(record)),
            Control::LeaderChange(_) | Control::SnapshotHeader(_) | Control::SnapshotFooter(_) => {}
        }
    }

    pub(crate) fn note_kraft_version(&mut self, offset: Offset, level: i16) {
        self.kraft_versions.push((offset, level));
    }

    pub(crate) fn note_voters(&mut self, offset: Offset, voters: VoterSet) {
        self.sets.push((offset, voters));
    }

    pub(crate) fn kraft_version(&self) -> i16 {
        self.kraft_versions.last().map_or(0, |(_, level)| *level)
    }

    /// The set that holds now, and the offset of its record.
    pub(crate) fn last(&self) -> (&VoterSet, Option<Offset>) {
        match self.sets.last() {
            Some((offset, set)) if self.kraft_version() > 0 => (set, Some(*offset)),
            _ => (&self.fixed, None),
        }
    }

    pub(crate) fn voters(&self) -> &VoterSet {
        self.last().0
    }
}
