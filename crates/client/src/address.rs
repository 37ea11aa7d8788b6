//! Where a broker listens: `host:port`, with brackets around IPv6 hosts.

use std::fmt;
use std::str::FromStr;

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// A list as `bootstrap.servers` has it, separated by commas.
    pub fn list(text: &str) -> Result<Vec<Self>, BadAddress> {
        let addresses: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(BadAddress(text.to_owned()));
        }
        Ok(addresses)
    }

    /// From a broker's own words, whose port is an i32 on the wire.
    pub(crate) fn told(host: &str, port: i32) -> Self {
        Self::new(host, u16::try_from(port).unwrap_or_default())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The text is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(pub String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no address: `host:port` is expected", self.0)
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    /// A listener's name in front (`PLAINTEXT://host:port`) is taken off, as Kafka's clients do.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = bare.rsplit_once(':').ok_or_else(bad)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(bad)?,
            None if host.contains(':') => return Err(bad()),
            None => host,
        };
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() || port == 0 {
            return Err(bad());
        }
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kafka_reads_them() {
        let read = |text: &str| Address::list(text).map(|list| format!("{list:?}"));
        for (text, hosts) in [
            ("localhost:9092", vec![Address::new("localhost", 9092)]),
            (
                " a:1, [::1]:2,,PLAINTEXT://b.c:3",
                vec![
                    Address::new("a", 1),
                    Address::new("::1", 2),
                    Address::new("b.c", 3),
                ],
            ),
        ] {
            assert_eq!(read(text), Ok(format!("{hosts:?}")));
        }
        for bad in [
            "", " , ", "host", "host:", ":9092", "h:0", "h:65536", "::1:9", "[::1:9",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in ["localhost:9092", "[::1]:9092"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
