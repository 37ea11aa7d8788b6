//! Where the clients of a listener find the nodes.
//!
//! Everybody is told the address that the node registered for the listener that was asked. Only
//! for ourselves, on a wildcard listener without an entry in `advertised.listeners`, it is the
//! address at which the client has just reached us: whatever leads here is right for that client.

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_metadata::config::{Advertised, NodeSettings};
use ottla_metadata::image::{Broker, Endpoint};
use ottla_node::{Configured, Services};
use ottla_protocol::NodeId;

use crate::session::{Call, Session, canonical};

/// The nodes as one connection sees them.
pub(crate) struct Endpoints {
    configured: Arc<Configured>,
    session: Arc<Session>,
}

/// Host and port as they go into an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: i32,
}

impl Endpoints {
    pub(crate) fn new(services: &Services, call: &Call) -> Self {
        Self {
            configured: services.configured(),
            session: call.session.clone(),
        }
    }

    /// The listener that was asked.
    pub(crate) fn listener(&self) -> &str {
        &self.session.listener
    }

    /// Whether the listener is one of the controller's.
    pub(crate) fn is_controllers(&self) -> bool {
        self.session.is_controller
    }

    /// Where a broker is reached; none if it does not have the listener.
    pub(crate) fn of(&self, broker: &Broker) -> Option<Place> {
        self.place(broker.id, broker.endpoint(self.listener())?)
    }

    /// Where a node with this endpoint is reached.
    pub(crate) fn place(&self, node: NodeId, registered: &Endpoint) -> Option<Place> {
        Some(place(
            &self.configured.settings,
            &self.session,
            node,
            registered,
        ))
    }
}

fn place(settings: &NodeSettings, session: &Session, node: NodeId, registered: &Endpoint) -> Place {
    let is_unnamed = |advertised: &Advertised| {
        *advertised.name == *registered.listener && advertised.host.is_none()
    };
    if node == settings.node_id && settings.advertised.iter().any(is_unnamed) {
        return reached(session.local);
    }
    Place {
        host: registered.host.to_string(),
        port: i32::from(registered.port),
    }
}

fn reached(local: SocketAddr) -> Place {
    Place {
        host: canonical(local.ip()).to_string(),
        port: i32::from(local.port()),
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::config::{BrokerConfig, Overrides};

    use super::*;

    fn settings(lines: &[(&str, &str)]) -> NodeSettings {
        let common = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", "1@localhost:9093"),
        ];
        let all = common.iter().chain(lines);
        let fixed: Overrides = all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        BrokerConfig::new(fixed).node_settings().expect("settings")
    }

    fn asked(settings: &NodeSettings, node: NodeId) -> String {
        let session = Session {
            listener: Arc::from("PLAINTEXT"),
            is_controller: false,
            peer: "[::ffff:10.0.0.9]:50000".parse().expect("address"),
            local: "[::ffff:10.0.0.1]:9092".parse().expect("address"),
            undecided: Default::default(),
            pause: Default::default(),
            software: Default::default(),
            telemetry: Default::default(),
            last_client_id: Default::default(),
        };
        let registered = Endpoint {
            listener: Arc::from("PLAINTEXT"),
            host: Arc::from("registered"),
            port: 19092,
            security_protocol: 0,
        };
        let Place { host, port } = place(settings, &session, node, &registered);
        format!("{host}:{port}")
    }

    #[test]
    fn a_wildcard_without_an_advertised_address_names_the_clients_own() {
        let unnamed = settings(&[("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093")]);
        assert_eq!(asked(&unnamed, 1), "10.0.0.1:9092");
        assert_eq!(asked(&unnamed, 2), "registered:19092");
    }

    #[test]
    fn an_advertised_address_is_the_registered_one() {
        let named = settings(&[
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("advertised.listeners", "PLAINTEXT://registered:19092"),
        ]);
        assert_eq!(asked(&named, 1), "registered:19092");
    }
}
