//! Listeners: `NAME://host:port` lists, the map from name to security protocol, and `host:port`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::node_settings::Voter;
use super::value::{BadValue, split_list};

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOL_MAP: &str = "listener.security.protocol.map";
const VOTERS: &str = "controller.quorum.voters";

/// How bytes travel on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in registration records and requests.
    pub const fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
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

impl Listener {
    /// True if this listens on every address, so that no single one can be told to clients.
    pub fn is_wildcard(&self) -> bool {
        match self.host.as_deref() {
            None => true,
            Some(host) => {
                host.parse() == Ok(Ipv4Addr::UNSPECIFIED)
                    || host.parse() == Ok(Ipv6Addr::UNSPECIFIED)
            }
        }
    }
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

impl Advertised {
    pub(super) fn as_bound(listener: &Listener) -> Self {
        Self {
            name: listener.name.clone(),
            host: listener.host.clone().filter(|_| !listener.is_wildcard()),
            port: listener.port,
        }
    }
}

/// The names and protocols of `listener.security.protocol.map`.
pub(super) struct ProtocolMap(BTreeMap<String, SecurityProtocol>);

impl ProtocolMap {
    pub(super) fn parse(text: &str) -> Result<Self, BadValue> {
        let mut map = BTreeMap::new();
        for entry in split_list(text) {
            let pair = entry.split_once(':').map(|(name, protocol)| {
                (
                    name.trim().to_ascii_uppercase(),
                    SecurityProtocol::from_name(protocol.trim()),
                )
            });
            let Some((name, Some(protocol))) = pair else {
                let allowed = format!(
                    "'{entry}' is not NAME:PROTOCOL with one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
                );
                return Err(BadValue::new(PROTOCOL_MAP, Some(text), allowed));
            };
            if map.insert(name.clone(), protocol).is_some() {
                let allowed = format!("{name} is mapped twice");
                return Err(BadValue::new(PROTOCOL_MAP, Some(text), allowed));
            }
        }
        Ok(Self(map))
    }

    /// A controller listener without a mapping is plaintext, as long as the map is not set and nothing
    /// else asks for more than plaintext.
    pub(super) fn with_plaintext_controllers(
        mut self,
        controllers: &[String],
        listeners: &str,
    ) -> Self {
        let asks_for_more = split_list(listeners).iter().any(|entry| {
            let name = entry
                .split("://")
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            self.0
                .get(&name)
                .is_some_and(|protocol| *protocol != SecurityProtocol::Plaintext)
        });
        if !asks_for_more {
            for name in controllers {
                self.0
                    .entry(name.clone())
                    .or_insert(SecurityProtocol::Plaintext);
            }
        }
        self
    }
}

/// `listeners`: different names, and different ports unless one is IPv4 and the other IPv6.
pub(super) fn parse_listeners(
    text: &str,
    protocols: &ProtocolMap,
    controllers: &[String],
) -> Result<Vec<Listener>, BadValue> {
    let bad = |allowed: String| BadValue::new(LISTENERS, Some(text), allowed);
    let mut listeners: Vec<Listener> = Vec::new();
    for entry in split_list(text) {
        let (name, host, port) = parse_endpoint(&entry).map_err(bad)?;
        let Some(protocol) = protocols.0.get(&name).copied() else {
            return Err(bad(format!(
                "No security protocol defined for listener {name}"
            )));
        };
        let is_controller = controllers.contains(&name);
        listeners.push(Listener {
            name,
            host,
            port,
            protocol,
            is_controller,
        });
    }
    if listeners.is_empty() {
        return Err(bad("must not be empty".to_owned()));
    }
    if let Some(name) = repeated(listeners.iter().map(|one| &one.name)) {
        return Err(bad(format!(
            "Each listener must have a different name, {name} comes twice"
        )));
    }
    check_ports(&listeners).map_err(bad)?;
    Ok(listeners)
}

fn check_ports(listeners: &[Listener]) -> Result<(), String> {
    let mut by_port: BTreeMap<u16, Vec<&Listener>> = BTreeMap::new();
    for listener in listeners.iter().filter(|listener| listener.port != 0) {
        by_port.entry(listener.port).or_default().push(listener);
    }
    let is_v4 = |one: &Listener| {
        one.host
            .as_ref()
            .is_some_and(|host| host.parse::<Ipv4Addr>().is_ok())
    };
    let is_v6 = |one: &Listener| {
        one.host
            .as_ref()
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
    };
    for (port, sharing) in by_port {
        let is_fine = match sharing[..] {
            [_] => true,
            [a, b] => (is_v4(a) && is_v6(b)) || (is_v6(a) && is_v4(b)),
            _ => false,
        };
        if !is_fine {
            return Err(format!(
                "Each listener must have a different port, unless one has an IPv4 and the other an \
                 IPv6 address; port {port} comes {} times",
                sharing.len()
            ));
        }
    }
    Ok(())
}

/// What others are told: `advertised.listeners`, or what is listened on. Controller listeners are among them.
pub(super) fn parse_advertised(
    text: Option<&str>,
    listeners: &[Listener],
) -> Result<Vec<Advertised>, BadValue> {
    let Some(text) = text else {
        return Ok(listeners.iter().map(Advertised::as_bound).collect());
    };
    let bad = |allowed: String| BadValue::new(ADVERTISED, Some(text), allowed);
    let mut advertised: Vec<Advertised> = Vec::new();
    for entry in split_list(text) {
        let (name, host, port) = parse_endpoint(&entry).map_err(bad)?;
        if !listeners.iter().any(|listener| listener.name == name) {
            let names: Vec<_> = listeners
                .iter()
                .map(|listener| listener.name.as_str())
                .collect();
            let allowed = format!(
                "{name} is not in `listeners`, which has {}",
                names.join(",")
            );
            return Err(bad(allowed));
        }
        if host.as_deref() == Some("0.0.0.0") {
            return Err(bad(
                "cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                    .into(),
            ));
        }
        advertised.push(Advertised { name, host, port });
    }
    if let Some(name) = repeated(advertised.iter().map(|one| &one.name)) {
        return Err(bad(format!(
            "Each listener must have a different name, {name} comes twice"
        )));
    }
    Ok(advertised)
}

/// `NAME://host:port`; the host may be empty or in brackets.
fn parse_endpoint(entry: &str) -> Result<(String, Option<String>, u16), String> {
    let bad =
        || format!("Unable to parse {entry} to a broker endpoint; it must be NAME://host:port");
    let (name, address) = entry.rsplit_once("://").ok_or_else(bad)?;
    let (host, port) = split_address(address).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    Ok((
        name.to_ascii_uppercase(),
        (!host.is_empty()).then(|| host.to_owned()),
        port,
    ))
}

/// `host:port` or `[v6]:port`; the host may be empty.
fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    host.bytes().all(is_host_byte).then_some(())?;
    // `parse` would take a plus sign.
    port.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    Some((host, port.parse().ok()?))
}

/// An entry of `controller.quorum.bootstrap.servers` and its like.
pub(super) fn parse_host_port(name: &str, entry: &str) -> Result<(String, u16), BadValue> {
    match split_address(entry) {
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(BadValue::new(
            name,
            Some(entry),
            "Each entry must be host:port",
        )),
    }
}

/// An entry of `controller.quorum.voters`.
pub(super) fn parse_voter(entry: &str) -> Result<Voter, BadValue> {
    let bad = || BadValue::new(VOTERS, Some(entry), "Each entry must be id@host:port");
    let (id, address) = entry.split_once('@').ok_or_else(bad)?;
    let id = id
        .trim()
        .parse()
        .ok()
        .filter(|id: &i32| *id >= 0)
        .ok_or_else(bad)?;
    let (host, port) = split_address(address).ok_or_else(bad)?;
    if host.is_empty() {
        return Err(bad());
    }
    Ok(Voter {
        id,
        host: host.to_owned(),
        port,
    })
}

fn repeated<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Some(name);
        }
        seen.push(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DEFAULT_MAP: &str =
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT";

    fn check(listeners: &str, advertised: Option<&str>, expect: Expect) {
        let controllers = ["CONTROLLER".to_owned()];
        let map = ProtocolMap::parse(DEFAULT_MAP).unwrap();
        let map = map.with_plaintext_controllers(&controllers, listeners);
        let text = parse_listeners(listeners, &map, &controllers)
            .and_then(|listeners| {
                let advertised = parse_advertised(advertised, &listeners)?;
                Ok((listeners, advertised))
            })
            .map_or_else(
                |bad| bad.to_string(),
                |(listeners, advertised)| {
                    let mut text = String::new();
                    for one in listeners {
                        let kind = if one.is_controller { " controller" } else { "" };
                        let host = one.host.unwrap_or_default();
                        text += &format!(
                            "{} {host:?} {} {}{kind}\n",
                            one.name,
                            one.port,
                            one.protocol.name()
                        );
                    }
                    for one in advertised {
                        text += &format!("{} -> {:?} {}\n", one.name, one.host, one.port);
                    }
                    text
                },
            );
        expect.assert_eq(&text);
    }

    #[test]
    fn listeners_are_read() {
        check(
            "plaintext://:9092, CONTROLLER://[::1]:9093",
            None,
            expect![[r#"
                PLAINTEXT "" 9092 PLAINTEXT
                CONTROLLER "::1" 9093 PLAINTEXT controller
                PLAINTEXT -> None 9092
                CONTROLLER -> Some("::1") 9093
            "#]],
        );
        check(
            "PLAINTEXT://0.0.0.0:9092,SSL://broker.example:9094,CONTROLLER://:0",
            Some("PLAINTEXT://public.example:19092,CONTROLLER://c:9093"),
            expect![
                "Invalid value PLAINTEXT://0.0.0.0:9092,SSL://broker.example:9094,CONTROLLER://:0 for configuration listeners: No security protocol defined for listener CONTROLLER"
            ],
        );
        check(
            "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:0",
            Some("PLAINTEXT://public.example:19092,CONTROLLER://c:9093"),
            expect![[r#"
                PLAINTEXT "0.0.0.0" 9092 PLAINTEXT
                CONTROLLER "" 0 PLAINTEXT controller
                PLAINTEXT -> Some("public.example") 19092
                CONTROLLER -> Some("c") 9093
            "#]],
        );
        check(
            "PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092",
            None,
            expect![[r#"
                PLAINTEXT "127.0.0.1" 9092 PLAINTEXT
                CONTROLLER "::1" 9092 PLAINTEXT controller
                PLAINTEXT -> Some("127.0.0.1") 9092
                CONTROLLER -> Some("::1") 9092
            "#]],
        );
    }

    #[test]
    fn what_is_not_a_listener_is_refused() {
        check(
            "PLAINTEXT://:9092,CONTROLLER://:9092",
            None,
            expect![
                "Invalid value PLAINTEXT://:9092,CONTROLLER://:9092 for configuration listeners: Each listener must have a different port, unless one has an IPv4 and the other an IPv6 address; port 9092 comes 2 times"
            ],
        );
        check(
            "PLAINTEXT://:9092,plaintext://:9093",
            None,
            expect![
                "Invalid value PLAINTEXT://:9092,plaintext://:9093 for configuration listeners: Each listener must have a different name, PLAINTEXT comes twice"
            ],
        );
        check(
            "PLAINTEXT://:90920",
            None,
            expect![
                "Invalid value PLAINTEXT://:90920 for configuration listeners: Unable to parse PLAINTEXT://:90920 to a broker endpoint; it must be NAME://host:port"
            ],
        );
        check(
            "PLAINTEXT://:9092",
            Some("PLAINTEXT://0.0.0.0:9092"),
            expect![
                "Invalid value PLAINTEXT://0.0.0.0:9092 for configuration advertised.listeners: cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
            ],
        );
        check(
            "PLAINTEXT://:9092",
            Some("OTHER://x:9092"),
            expect![
                "Invalid value OTHER://x:9092 for configuration advertised.listeners: OTHER is not in `listeners`, which has PLAINTEXT"
            ],
        );
    }

    #[test]
    fn voters_are_read() {
        assert_eq!(
            parse_voter("1@broker:9093").unwrap(),
            Voter {
                id: 1,
                host: "broker".into(),
                port: 9093
            }
        );
        for bad in [
            "broker:9093",
            "x@broker:9093",
            "1@broker",
            "-1@broker:9093",
            "1@:9093",
            "1@a:+9",
        ] {
            assert!(parse_voter(bad).is_err(), "{bad}");
        }
    }
}
