//! A broker's life in the quorum: register, unfence, leave politely.

use ottla_metadata::config::NodeSettings;
use ottla_metadata::controller::{
    BrokerHeartbeat, BrokerRegistration, ControllerRegistration, HeartbeatReply,
};
use ottla_metadata::image::{Endpoint, FeatureRange, SUPPORTED};
use ottla_protocol::{Offset, Refusal, Refused, Uuid};
use ottla_storage::Directories;

use super::{ControllerHandle, controller_endpoints};

/// Levels of kraft.version that this node runs; registered like every other feature.
const KRAFT_VERSION: (&str, i16, i16) = ("kraft.version", 0, 1);

/// This node as it registers itself, once per start.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    broker: BrokerRegistration,
    controller: ControllerRegistration,
}

impl Registration {
    /// `endpoints` are the client listeners as bound and advertised.
    pub(crate) fn new(
        settings: &NodeSettings,
        directories: &Directories,
        endpoints: Vec<Endpoint>,
        incarnation_id: Uuid,
        previous_epoch: Option<i64>,
    ) -> Self {
        let mut ids: Vec<Uuid> = directories
            .all()
            .iter()
            .filter(|directory| directory.is_online())
            .map(|directory| directory.id())
            .collect();
        ids.sort_unstable();
        let controller_endpoints =
            controller_endpoints(settings)
                .into_iter()
                .map(|endpoint| Endpoint {
                    listener: endpoint.listener.into(),
                    host: endpoint.host.into(),
                    port: endpoint.port,
                    security_protocol: 0,
                });
        Self {
            broker: BrokerRegistration {
                cluster_id: directories.cluster_id().to_owned(),
                id: settings.node_id,
                incarnation_id,
                endpoints,
                features: features(),
                rack: settings.rack.clone(),
                directories: ids,
                previous_epoch: previous_epoch.unwrap_or(-1),
            },
            controller: ControllerRegistration {
                id: settings.node_id,
                incarnation_id,
                endpoints: controller_endpoints.collect(),
                features: features(),
            },
        }
    }

    /// The broker epoch that the last orderly end left behind.
    pub(crate) fn remember(&mut self, previous_epoch: Option<i64>) {
        self.broker.previous_epoch = previous_epoch.unwrap_or(-1);
    }

    /// Registers; the broker's epoch.
    pub(crate) async fn register(&self, controller: &ControllerHandle) -> Result<i64, Refused> {
        let registration = self.controller.clone();
        controller
            .decide(move |ledger, _| ledger.register_controller(&registration))
            .await?
            .or_else(ignore_unsupported)?;
        let registration = self.broker.clone();
        controller
            .decide(move |ledger, next| ledger.register_broker(&registration, next, false))
            .await?
    }

    /// Tells the controller that this broker has taken in the metadata up to `offset`, so that it
    /// may lead.
    pub(crate) async fn unfence(
        &self,
        controller: &ControllerHandle,
        epoch: i64,
        offset: Offset,
    ) -> Result<HeartbeatReply, Refused> {
        self.heartbeat(controller, epoch, offset, false).await
    }

    /// Asks to leave: leadership moves away first.
    pub(crate) async fn leave(
        &self,
        controller: &ControllerHandle,
        epoch: i64,
        offset: Offset,
    ) -> Result<HeartbeatReply, Refused> {
        self.heartbeat(controller, epoch, offset, true).await
    }

    async fn heartbeat(
        &self,
        controller: &ControllerHandle,
        epoch: i64,
        metadata_offset: Offset,
        wants_shutdown: bool,
    ) -> Result<HeartbeatReply, Refused> {
        let heartbeat = BrokerHeartbeat {
            id: self.broker.id,
            epoch,
            metadata_offset,
            wants_fence: false,
            wants_shutdown,
            offline_directories: Vec::new(),
            cordoned_directories: None,
        };
        controller
            .decide(move |ledger, _| ledger.broker_heartbeat(&heartbeat))
            .await?
    }
}

fn features() -> Vec<FeatureRange> {
    let supported = SUPPORTED
        .iter()
        .map(|feature| (feature.name, feature.min, feature.max));
    let mut features: Vec<_> = supported
        .chain([KRAFT_VERSION])
        .map(|(name, min, max)| FeatureRange {
            name: name.into(),
            min,
            max,
        })
        .collect();
    features.sort_by(|a, b| a.name.cmp(&b.name));
    features
}

/// Clusters below the level that has controller registrations do without.
fn ignore_unsupported(refused: Refused) -> Result<(), Refused> {
    match refused.refusal {
        Refusal::UnsupportedVersion => Ok(()),
        _ => Err(refused),
    }
}
