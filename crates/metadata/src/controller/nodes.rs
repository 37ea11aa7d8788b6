//! Register, heartbeat, fence, controlled shutdown.

use ottla_protocol::{NodeId, Offset, Uuid};

use super::{Controller, Decision, Outcome};
use crate::image::{Endpoint, FeatureRange};

/// What a broker says of itself once per start of its process.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerRegistration {
    pub cluster_id: String,
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub rack: Option<String>,
    /// Sorted.
    pub directories: Vec<Uuid>,
    /// From `.kafka_cleanshutdown`; -1 after an unclean one.
    pub previous_epoch: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ControllerRegistration {
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerHeartbeat {
    pub id: NodeId,
    pub epoch: i64,
    /// The last offset that the broker has applied.
    pub metadata_offset: Offset,
    pub wants_fence: bool,
    pub wants_shutdown: bool,
    pub offline_directories: Vec<Uuid>,
    /// `None`: not known yet.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatReply {
    pub is_caught_up: bool,
    pub is_fenced: bool,
    pub should_shut_down: bool,
}

impl Controller {
    /// A broker has started. The reply is its epoch: `next_offset`, the offset that the first
    /// record of this decision will get, or the old one if it is the same incarnation.
    /// `has_session`: a living process is known under this id.
    pub fn register_broker(
        &self,
        registration: &BrokerRegistration,
        next_offset: Offset,
        has_session: bool,
    ) -> Decision<Outcome<i64>> {
        let _ = (registration, next_offset, has_session);
        todo!()
    }

    pub fn broker_heartbeat(
        &self,
        heartbeat: &BrokerHeartbeat,
    ) -> Decision<Outcome<HeartbeatReply>> {
        let _ = heartbeat;
        todo!()
    }

    /// A broker's session has run out.
    pub fn fence_broker(&self, id: NodeId) -> Decision<()> {
        let _ = id;
        todo!()
    }

    /// A broker is gone for good.
    pub fn unregister_broker(&self, id: NodeId) -> Decision<Outcome<()>> {
        let _ = id;
        todo!()
    }

    pub fn register_controller(
        &self,
        registration: &ControllerRegistration,
    ) -> Decision<Outcome<()>> {
        let _ = registration;
        todo!()
    }

    /// Replicas now lie in these directories of a broker: (topic, partition, directory).
    pub fn assign_directories(
        &self,
        broker: NodeId,
        broker_epoch: i64,
        assignments: &[(Uuid, i32, Uuid)],
    ) -> Decision<Outcome<Vec<Outcome<()>>>> {
        let _ = (broker, broker_epoch, assignments);
        todo!()
    }
}
