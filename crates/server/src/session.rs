//! Who is on the line: facts of one connection that every request on it shares.

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_protocol::Text;

/// One accepted connection. Made once, shared by all its requests.
#[derive(Debug)]
pub(crate) struct Session {
    /// The listener's name, upper case as in `listeners`; advertised addresses are answered for it.
    pub listener: Arc<str>,
    /// A controller listener serves fewer APIs, and answers for the quorum.
    pub is_controller: bool,
    pub peer: SocketAddr,
    /// The address the client reached us by: what a wildcard listener without an advertised
    /// address tells this client.
    pub local: SocketAddr,
}

/// One request being served.
#[derive(Debug)]
pub(crate) struct Call {
    pub session: Arc<Session>,
    pub client_id: Option<Text>,
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
}

impl Call {
    /// The client id, empty if the client gave none.
    pub(crate) fn client(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }

    /// The peer's address as Kafka prints it (`/127.0.0.1`).
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", canonical(self.session.peer.ip()))
    }
}

/// IPv4 peers of a dual-stack socket appear as mapped IPv6; users think in IPv4.
pub(crate) fn canonical(ip: std::net::IpAddr) -> std::net::IpAddr {
    ip.to_canonical()
}
