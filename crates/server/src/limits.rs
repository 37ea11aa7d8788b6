//! Who may connect: `max.connections`, `max.connections.per.ip`, `max.connection.creation.rate`,
//! broker-wide and per listener. Rules only; the listener waits and closes.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ottla_metadata::config::NodeSettings;

/// What to do with a connection that has just been accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// Close it: its address holds as many as it may.
    TooManyOfAddress,
    /// Wait until another closes.
    Full,
    /// Ask again after this time.
    TooFast(Duration),
}

/// Kafka's connection limits, already typed.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    pub(crate) connections: usize,
    pub(crate) per_address: usize,
    pub(crate) per_address_overrides: HashMap<IpAddr, usize>,
    /// New connections a second.
    pub(crate) creation_rate: f64,
}

/// The connections that are open, counted.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    allowed: Allowed,
    by_address: HashMap<IpAddr, usize>,
    n_open: usize,
    /// A second's worth of creations; refilled as time passes.
    tokens: f64,
    refilled: Option<Instant>,
}

impl ConnectionLimits {
    pub(crate) fn new(allowed: Allowed) -> Self {
        let tokens = allowed.creation_rate;
        Self {
            allowed,
            by_address: HashMap::new(),
            n_open: 0,
            tokens,
            refilled: None,
        }
    }

    pub(crate) fn n_open(&self) -> usize {
        self.n_open
    }

    /// Replaces the limits; open connections stay.
    pub(crate) fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// Decides on one accepted connection, and counts it if it is admitted.
    pub(crate) fn admit(&mut self, _listener: &str, ip: IpAddr, now: Instant) -> Admission {
        let held = self.by_address.get(&ip).copied().unwrap_or(0);
        let may_hold = self
            .allowed
            .per_address_overrides
            .get(&ip)
            .copied()
            .unwrap_or(self.allowed.per_address);
        if held >= may_hold {
            return Admission::TooManyOfAddress;
        }
        if self.n_open >= self.allowed.connections {
            return Admission::Full;
        }
        if let Some(pause) = self.pause(now) {
            return Admission::TooFast(pause);
        }
        self.tokens -= 1.0;
        self.n_open += 1;
        *self.by_address.entry(ip).or_default() += 1;
        Admission::Admitted
    }

    /// A connection closed.
    pub(crate) fn left(&mut self, ip: IpAddr) {
        self.n_open = self.n_open.saturating_sub(1);
        if let Some(held) = self.by_address.get_mut(&ip) {
            *held -= 1;
            if *held == 0 {
                self.by_address.remove(&ip);
            }
        }
    }

    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let rate = self.allowed.creation_rate;
        let passed = self
            .refilled
            .map_or(Duration::ZERO, |then| now.duration_since(then));
        self.refilled = Some(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * rate).min(rate.max(1.0));
        (self.tokens < 1.0).then(|| Duration::from_secs_f64((1.0 - self.tokens) / rate))
    }
}

/// The limits that the settings ask for.
pub(crate) fn allowed(settings: &NodeSettings) -> Allowed {
    let count = |n: i32| usize::try_from(n).unwrap_or(0);
    let limits = &settings.connections;
    let mut per_address_overrides = HashMap::new();
    for (host, most) in limits.per_ip_overrides().unwrap_or_default() {
        for ip in addresses_of(&host) {
            per_address_overrides.insert(ip, count(most));
        }
    }
    Allowed {
        connections: count(limits.max),
        per_address: count(limits.max_per_ip),
        per_address_overrides,
        creation_rate: f64::from(limits.max_creation_rate),
    }
}

fn addresses_of(host: &str) -> Vec<IpAddr> {
    match (host, 0).to_socket_addrs() {
        Ok(addresses) => addresses
            .map(|address| address.ip().to_canonical())
            .collect(),
        Err(error) => {
            tracing::warn!(host, %error, "max.connections.per.ip.overrides names an unknown host");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limits(connections: usize, per_address: usize, creation_rate: f64) -> ConnectionLimits {
        ConnectionLimits::new(Allowed {
            connections,
            per_address,
            per_address_overrides: HashMap::new(),
            creation_rate,
        })
    }

    #[test]
    fn a_full_node_makes_the_next_one_wait_until_one_leaves() {
        let mut limits = limits(1, 10, 1e9);
        let now = Instant::now();
        assert_eq!(limits.admit("A", IP, now), Admission::Admitted);
        assert_eq!(limits.admit("A", IP, now), Admission::Full);
        limits.left(IP);
        assert_eq!(limits.admit("A", IP, now), Admission::Admitted);
    }

    #[test]
    fn an_address_with_too_many_is_refused_unless_overridden() {
        let mut limits = limits(10, 1, 1e9);
        let now = Instant::now();
        assert_eq!(limits.admit("A", IP, now), Admission::Admitted);
        assert_eq!(limits.admit("A", IP, now), Admission::TooManyOfAddress);
        limits.allowed.per_address_overrides.insert(IP, 2);
        assert_eq!(limits.admit("A", IP, now), Admission::Admitted);
    }

    #[test]
    fn the_creation_rate_is_a_second_of_burst_and_then_a_pace() {
        let mut limits = limits(100, 100, 2.0);
        let start = Instant::now();
        assert_eq!(limits.admit("A", IP, start), Admission::Admitted);
        assert_eq!(limits.admit("A", IP, start), Admission::Admitted);
        let Admission::TooFast(pause) = limits.admit("A", IP, start) else {
            panic!("a pause")
        };
        assert_eq!(pause, Duration::from_millis(500));
        assert_eq!(limits.admit("A", IP, start + pause), Admission::Admitted);
    }
}
