//! The catalogue of settings: one definition per setting, many uses.
//!
//! A [`Definition`] carries Kafka's name, type, default, allowed values, documentation and whether the
//! setting may change while the node runs. From it follow the start-up checks, DescribeConfigs, the
//! validation of alter requests and the generated documents. What must stay true: a setting is
//! *honoured* exactly when a typed struct here reads it ([`NodeSettings`], [`TopicConfig`]).
//!
//! Not here: how `server.properties`, the environment and flags become names and values (`cli`), and where
//! dynamic values are kept (`image/configs.rs`).

mod alter;
mod catalogue;
mod definition;
mod group;
mod listeners;
mod node;
mod node_settings;
mod ottla;
mod resolve;
mod synonyms;
mod topic;
mod topic_config;
mod typed;
mod value;

pub use alter::{ConfigChange, ConfigOperation, ConfigRefused};
pub use catalogue::Catalogue;
pub use definition::{Check, Definition, Dynamic, Kind, Scope, Start};
pub use listeners::{Advertised, Listener, SecurityProtocol};
pub use node_settings::{
    ConnectionSettings, GroupSettings, LogSettings, MetadataLogSettings, NodeSettings,
    OttlaSettings, ProducerSettings, QuorumForm, Roles, TopicCreationSettings, Voter,
};
pub use resolve::{BrokerConfig, Described, Overrides, Source, Synonym};
pub use topic_config::{CleanupPolicy, TimestampKind, TopicCompression, TopicConfig};
pub use value::BadValue;
