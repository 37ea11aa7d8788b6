//! What is written to the metadata log: every record of Kafka 4.3, and its frame.
//!
//! A record's value is a frame version, the record's key and version (three unsigned varints), and
//! the message; nothing may follow. Which version is written depends on the finalized
//! metadata.version, never on what we can do: an older node that finds a newer version stops.
//!
//! Tagged fields that we do not know are passed over, and are not there any more when an image is
//! written as a snapshot. So it is in Kafka, whose images hold objects of their own, not records: a
//! field that must not be lost is given a version, and an unknown version is refused.

mod topics;
mod nodes;
mod configs;
mod quotas;
mod acls;
mod credentials;
mod features;
mod producer_ids;
mod level;
mod batch;

pub use acls::*;
pub use batch::{UnreadableBatch, read_batch};
pub use configs::*;
pub use credentials::*;
pub use features::*;
pub use level::MetadataVersion;
pub use nodes::*;
pub use producer_ids::*;
pub use quotas::*;
pub use topics::*;

use bytes::Bytes;
use ottla_protocol::field::write_body;
use ottla_protocol::{Malformed, Reader, Unsupported, Versioned, Writer, decode_body};

/// The only frame there is.
const FRAME_VERSION: u32 = 1;

/// A value in the metadata log that we cannot read. Going on without it would mean a wrong image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    Malformed(Malformed),
    FrameVersion(u32),
    /// A record of a later Kafka.
    UnknownRecord {
        key: u32,
    },
    /// A version of a record that we know, of a later Kafka.
    UnknownVersion {
        name: &'static str,
        version: u32,
        known: (i16, i16),
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "metadata record: {malformed}"),
            Self::FrameVersion(version) => {
                write!(
                    f,
                    "metadata record with frame version {version}, only 1 is known"
                )
            }
            Self::UnknownRecord { key } => {
                write!(
                    f,
                    "metadata record type {key} is not known; it comes from a newer Kafka"
                )
            }
            Self::UnknownVersion {
                name,
                version,
                known,
            } => write!(
                f,
                "{name} version {version} is not known (only {} to {}); it comes from a newer Kafka",
                known.0, known.1
            ),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Writes the enum of all records, and its conversions, from one list.
macro_rules! records {
    ($($variant:ident($message:ident)),* $(,)?) => {
        /// Any record of the metadata log.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $($variant($message),)*
        }

        $(impl From<$message> for Record {
            fn from(message: $message) -> Self {
                Self::$variant(message)
            }
        })*

        impl Record {
            /// Read a framed value: the record, and the version that it was written in.
            pub fn decode(value: &Bytes) -> Result<(Self, i16), Unreadable> {
                let mut reader = Reader::new(value.clone());
                let frame_version = reader.uvarint("frame version")?;
                if frame_version != FRAME_VERSION {
                    return Err(Unreadable::FrameVersion(frame_version));
                }
                let key = reader.uvarint("record key")?;
                let version = reader.uvarint("record version")?;
                let body = reader.rest();
                match i16::try_from(key) {
                    $(Ok($message::KEY) => {
                        let number = known_version::<$message>(version)?;
                        Ok((Self::$variant(decode_body(body, number)?), number))
                    })*
                    _ => Err(Unreadable::UnknownRecord { key }),
                }
            }

            /// The framed value, in one of the record's own versions.
            pub fn encode_at(&self, version: i16) -> Result<Bytes, Unsupported> {
                match self {
                    $(Self::$variant(message) => frame(message, version),)*
                }
            }

            /// The record's name, as in Kafka's schemas.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $message::NAME,)*
                }
            }

            /// The record's key.
            pub fn key(&self) -> i16 {
                match self {
                    $(Self::$variant(_) => $message::KEY,)*
                }
            }
        }
    };
}

records! {
    RegisterBroker(RegisterBrokerRecord),
    UnregisterBroker(UnregisterBrokerRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    Config(ConfigRecord),
    PartitionChange(PartitionChangeRecord),
    FenceBroker(FenceBrokerRecord),
    UnfenceBroker(UnfenceBrokerRecord),
    RemoveTopic(RemoveTopicRecord),
    DelegationToken(DelegationTokenRecord),
    UserScramCredential(UserScramCredentialRecord),
    FeatureLevel(FeatureLevelRecord),
    ClientQuota(ClientQuotaRecord),
    ProducerIds(ProducerIdsRecord),
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    AccessControlEntry(AccessControlEntryRecord),
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    NoOp(NoOpRecord),
    ZkMigrationState(ZkMigrationStateRecord),
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    BeginTransaction(BeginTransactionRecord),
    EndTransaction(EndTransactionRecord),
    AbortTransaction(AbortTransactionRecord),
    RemoveDelegationToken(RemoveDelegationTokenRecord),
    RegisterController(RegisterControllerRecord),
    ClearElr(ClearElrRecord),
}

impl Record {
    /// The framed value in the version that `level` calls for.
    pub fn encode(&self, level: MetadataVersion) -> Result<Bytes, Unsupported> {
        self.encode_at(self.version_at(level))
    }

    /// The version of this record that a cluster at `level` writes.
    pub fn version_at(&self, level: MetadataVersion) -> i16 {
        match self {
            Self::RegisterBroker(_) if level.has_cordoned_directories() => 4,
            Self::RegisterBroker(_) if level.has_directories() => 3,
            Self::RegisterBroker(_) if level.level() >= 8 => 2,
            Self::RegisterBroker(_) if level.has_controlled_shutdown_state() => 1,
            Self::Partition(_) | Self::PartitionChange(_) if level.has_elr() => 2,
            Self::Partition(_) | Self::PartitionChange(_) if level.has_directories() => 1,
            Self::BrokerRegistrationChange(change) => change.lowest_version(),
            _ => 0,
        }
    }
}

impl BrokerRegistrationChangeRecord {
    /// Kafka picks the version by use: the lowest that can say it.
    fn lowest_version(&self) -> i16 {
        if self.cordoned_log_dirs.is_some() {
            3
        } else if !self.log_dirs.is_empty() {
            2
        } else {
            i16::from(self.in_controlled_shutdown != 0)
        }
    }
}

fn known_version<M: Versioned>(version: u32) -> Result<i16, Unreadable> {
    i16::try_from(version)
        .ok()
        .filter(|number| M::knows(*number))
        .ok_or(Unreadable::UnknownVersion {
            name: M::NAME,
            version,
            known: M::VERSIONS,
        })
}

fn frame<M: Versioned>(message: &M, version: i16) -> Result<Bytes, Unsupported> {
    let mut writer = Writer::new();
    writer.uvarint(FRAME_VERSION);
    writer.uvarint(u32::from(M::KEY.unsigned_abs()));
    writer.uvarint(u32::from(version.unsigned_abs()));
    write_body(message, version, &mut writer)?;
    Ok(writer.finish())
}
