//! The catalogue of settings: one definition per setting, many uses.
//!
//! A [`Definition`] carries Kafka's name, type, default, allowed values, documentation and whether the
//! setting may change while the node runs. From it follow the start-up checks, DescribeConfigs, the
//! validation of alter requests and the generated documents. What must stay true: a setting is
//! *honoured* exactly when a typed struct here reads it ([`NodeSettings`], [`TopicConfig`]).
//!
//! Not here: how `server.properties`, the environment and flags become names and values (`cli`), and where
//! dynamic values are kept (`image/configs.rs`).

mod definition;
mod value;
mod duration;
mod typed;
mod node;
mod topic;
mod group;
mod ottla;
mod catalogue;
mod synonyms;
mod listeners;
mod node_settings;
mod topic_config;
mod resolve;
mod describe;
mod alter;
mod dynamic;
mod unserved;
mod markdown;

pub use alter::{ConfigChange, ConfigOperation};
pub use catalogue::Catalogue;
pub use definition::{Check, Definition, Dynamic, Kind, Scope, Shown, Start};
pub use describe::{Described, Source, Synonym};
pub use listeners::{Advertised, Listener, SecurityProtocol};
pub use markdown::{settings_compatibility_markdown, settings_markdown};
pub use node_settings::{
    CleanerSettings, ConnectionSettings, ConsumerGroupSettings, GroupSettings, LogSettings,
    MetadataLogSettings, NodeSettings, OttlaSettings, ProducerSettings, QuorumForm, QuotaSettings,
    Roles, TopicCreationSettings, TransactionSettings, Voter,
};
pub use ottla::OTTLA_PREFIX;
pub use resolve::{BrokerConfig, Overrides};
pub use topic_config::{CleanupPolicy, TimestampKind, TopicCompression, TopicConfig};
pub use unserved::Standing;
pub use value::BadValue;
