//! Listeners: `NAME://host:port` lists and the map from name to security protocol.

/// How bytes travel on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// One entry of `listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Upper case, as Kafka keeps it.
    pub name: String,
    /// Where to bind; `None` is every IPv4 and IPv6 address. IPv6 without brackets.
    pub host: Option<String>,
    /// 0 asks the system for a port.
    pub port: u16,
    pub protocol: SecurityProtocol,
    /// Only the controller is spoken to here, clients never.
    pub is_controller: bool,
}

/// Where clients of a listener are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// The listener's name.
    pub name: String,
    /// `None`: the local address of the client's own connection (a wildcard without `advertised.listeners`).
    pub host: Option<String>,
    /// 0: the port that was bound.
    pub port: u16,
}
