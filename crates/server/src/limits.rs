//! Who may connect: `max.connections`, `max.connections.per.ip`, `max.connection.creation.rate`,
//! broker-wide and per listener, and the quota `connection_creation_rate` of addresses. Rules only;
//! the listener waits and closes.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_metadata::config::BrokerConfig;
use ottla_node::{Configured, ConnectionMeter, ConnectionRates};

/// What to do with a connection that has just been accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// Close it after this time: its address opens more a second than it may.
    Throttled(Duration),
    /// Close it: its address holds as many as it may.
    TooManyOfAddress,
    /// Wait until another closes.
    Full,
    /// The same, and nobody has asked for this limit: the process may have no more files open.
    NoDescriptor,
    /// Ask again after this time.
    TooFast(Duration),
}

/// Who waits looks again after this time at the latest: the limit may have been raised.
pub(crate) const RECHECK: Duration = Duration::from_secs(1);

/// Addresses whose rate is remembered: an IPv6 network has more of them than memory.
const ADDRESSES_MAX: usize = 10_000;

/// What the whole node allows, or one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) connections: usize,
    /// New connections a second.
    pub(crate) creation_rate: f64,
}

impl Limit {
    const NONE: Self = Self {
        connections: usize::MAX,
        creation_rate: f64::MAX,
    };
}

/// Kafka's connection limits, already typed.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    pub(crate) node: Limit,
    /// By the listener's name.
    pub(crate) listeners: HashMap<String, Limit>,
    pub(crate) per_address: usize,
    pub(crate) per_address_overrides: HashMap<IpAddr, usize>,
    pub(crate) creation: CreationRates,
}

/// `connection_creation_rate`: connections a second that addresses may open.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreationRates {
    pub(crate) default: Option<f64>,
    pub(crate) by_address: HashMap<IpAddr, f64>,
}

impl CreationRates {
    fn of(&self, ip: IpAddr) -> Option<f64> {
        self.by_address.get(&ip).copied().or(self.default)
    }
}

/// The connections that came through one gate: the node's, or a listener's.
#[derive(Debug, Default)]
struct Gate {
    n_open: usize,
    /// A second's worth of creations; refilled as time passes.
    tokens: f64,
    refilled: Option<Instant>,
}

impl Gate {
    /// How long the next one has to wait at this rate.
    fn pause(&mut self, rate: f64, now: Instant) -> Option<Duration> {
        let refill = |then: Instant| now.saturating_duration_since(then).as_secs_f64() * rate;
        let tokens = self
            .refilled
            .map_or(rate, |then| self.tokens + refill(then));
        self.tokens = tokens.min(rate.max(1.0));
        self.refilled = Some(now);
        // A rate of 0 lets nobody in, for an endless time.
        let wait = || Duration::try_from_secs_f64((1.0 - self.tokens) / rate);
        (self.tokens < 1.0).then(|| wait().map_or(RECHECK, |wait| wait.min(RECHECK)))
    }

    fn enter(&mut self) {
        self.tokens -= 1.0;
        self.n_open += 1;
    }

    fn leave(&mut self) {
        self.n_open = self.n_open.saturating_sub(1);
    }
}

/// The connections that are open, counted.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    allowed: Allowed,
    by_address: HashMap<IpAddr, usize>,
    node: Gate,
    listeners: HashMap<Arc<str>, Gate>,
    /// What addresses with a rate have opened lately.
    opened: HashMap<IpAddr, ConnectionMeter>,
    meter: ConnectionMeter,
    start: Instant,
    /// What there are descriptors for, whatever is allowed.
    n_possible: usize,
}

impl ConnectionLimits {
    pub(crate) fn new(
        allowed: Allowed,
        n_possible: usize,
        meter: ConnectionMeter,
        start: Instant,
    ) -> Self {
        Self {
            start,
            n_possible,
            opened: HashMap::new(),
            meter,
            allowed,
            by_address: HashMap::new(),
            node: Gate::default(),
            listeners: HashMap::new(),
        }
    }

    pub(crate) fn n_open(&self) -> usize {
        self.node.n_open
    }

    /// Replaces the limits; open connections stay.
    pub(crate) fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// Decides on one accepted connection, and counts it if it is admitted.
    pub(crate) fn admit(&mut self, listener: &Arc<str>, ip: IpAddr, now: Instant) -> Admission {
        let held = self.by_address.get(&ip).copied().unwrap_or(0);
        let allowed = &self.allowed;
        let may_hold = allowed.per_address_overrides.get(&ip).copied();
        if held >= may_hold.unwrap_or(allowed.per_address) {
            return Admission::TooManyOfAddress;
        }
        let limit = allowed.listeners.get(&**listener).copied();
        let limit = limit.unwrap_or(Limit::NONE);
        let gate = self.listeners.entry(listener.clone()).or_default();
        if self.node.n_open >= self.n_possible {
            return Admission::NoDescriptor;
        }
        if gate.n_open >= limit.connections || self.node.n_open >= allowed.node.connections {
            return Admission::Full;
        }
        let own = gate.pause(limit.creation_rate, now);
        let pause = own.max(self.node.pause(allowed.node.creation_rate, now));
        if let Some(pause) = pause {
            return Admission::TooFast(pause);
        }
        if let Some(pause) = self.throttle(ip, now) {
            return Admission::Throttled(pause);
        }
        let gate = self.listeners.entry(listener.clone()).or_default();
        gate.enter();
        self.node.enter();
        *self.by_address.entry(ip).or_default() += 1;
        Admission::Admitted
    }

    /// For how long a connection is kept waiting whose address opens more than its rate.
    fn throttle(&mut self, ip: IpAddr, now: Instant) -> Option<Duration> {
        let rate = self.allowed.creation.of(ip)?;
        let now_ms = self.ms(now);
        if self.opened.len() >= ADDRESSES_MAX && !self.opened.contains_key(&ip) {
            self.opened.retain(|_, meter| meter.rate(now_ms) > 0.0);
            if self.opened.len() >= ADDRESSES_MAX {
                self.opened.clear();
            }
        }
        let meter = self.opened.entry(ip).or_insert_with(|| self.meter.clone());
        let pause_ms = meter.admit(rate, now_ms);
        (pause_ms > 0).then(|| Duration::from_millis(pause_ms))
    }

    fn ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// A connection closed.
    pub(crate) fn left(&mut self, listener: &str, ip: IpAddr) {
        self.node.leave();
        if let Some(gate) = self.listeners.get_mut(listener) {
            gate.leave();
        }
        if let Some(held) = self.by_address.get_mut(&ip) {
            *held -= 1;
            if *held == 0 {
                self.by_address.remove(&ip);
            }
        }
    }
}

/// The addresses of hosts that have been looked up, by name.
pub(crate) type KnownHosts = HashMap<String, Vec<IpAddr>>;

/// The limits that the settings ask for. A host that has not been looked up yet has none of its own.
pub(crate) fn allowed(
    configured: &Configured,
    rates: &ConnectionRates,
    known: &KnownHosts,
) -> Allowed {
    let limits = &configured.settings.connections;
    let mut per_address_overrides = HashMap::new();
    for (host, most) in limits.per_ip_overrides().unwrap_or_default() {
        for ip in addresses(&host, known) {
            per_address_overrides.insert(ip, count(most));
        }
    }
    let listeners = configured.settings.listeners.iter();
    Allowed {
        node: Limit {
            connections: count(limits.max),
            creation_rate: f64::from(limits.max_creation_rate),
        },
        listeners: listeners
            .map(|one| (one.name.clone(), of_listener(&configured.config, &one.name)))
            .collect(),
        per_address: count(limits.max_per_ip),
        per_address_overrides,
        creation: creation(rates, known),
    }
}

fn creation(rates: &ConnectionRates, known: &KnownHosts) -> CreationRates {
    let by_host = rates.by_host.iter();
    let by_address = by_host.flat_map(|(host, rate)| {
        let addresses = addresses(host, known).into_iter();
        addresses.map(|ip| (ip, *rate))
    });
    CreationRates {
        default: rates.default,
        by_address: by_address.collect(),
    }
}

/// What a host means: itself if it is an address, else what was looked up.
fn addresses(host: &str, known: &KnownHosts) -> Vec<IpAddr> {
    match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip.to_canonical()],
        Err(_) => known.get(host).cloned().unwrap_or_default(),
    }
}

/// The settings with the listener's prefix; where they are not set, the listener has no limit.
fn of_listener(config: &BrokerConfig, listener: &str) -> Limit {
    let prefix = format!("listener.name.{}", listener.to_lowercase());
    let number = |name: &str| -> Option<i32> {
        let value = config.merged().get(&format!("{prefix}.{name}"))?;
        value.trim().parse().ok()
    };
    let (connections, rate) = ("max.connections", "max.connection.creation.rate");
    Limit {
        connections: number(connections).map_or(Limit::NONE.connections, count),
        creation_rate: number(rate).map_or(Limit::NONE.creation_rate, f64::from),
    }
}

fn count(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// The hosts of `max.connections.per.ip.overrides` and of quotas that are names.
pub(crate) fn host_names(configured: &Configured, rates: &ConnectionRates) -> HashSet<String> {
    let limits = &configured.settings.connections;
    let overrides = limits.per_ip_overrides().unwrap_or_default();
    let hosts = overrides.into_iter().map(|(host, _)| host);
    let limited = rates.by_host.keys().map(|host| host.to_string());
    hosts
        .chain(limited)
        .filter(|host| host.parse::<IpAddr>().is_err())
        .collect()
}

/// Looks hosts up. It asks the network and may take long: not for a thread that others wait for.
pub(crate) fn look_up(hosts: impl IntoIterator<Item = String>) -> KnownHosts {
    let looked_up = hosts.into_iter().filter_map(|host| {
        match (host.as_str(), 0).to_socket_addrs() {
            Ok(found) => Some((host, found.map(|found| found.ip().to_canonical()).collect())),
            Err(error) => {
                tracing::warn!(host, %error, "max.connections.per.ip.overrides or a quota names an unknown host");
                None
            }
        }
    });
    looked_up.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limits(connections: usize, per_address: usize, creation_rate: f64) -> ConnectionLimits {
        let allowed = Allowed {
            node: Limit {
                connections,
                creation_rate,
            },
            listeners: HashMap::new(),
            per_address,
            per_address_overrides: HashMap::new(),
            creation: CreationRates::default(),
        };
        let meter = ConnectionMeter::new(11, 1);
        ConnectionLimits::new(allowed, usize::MAX, meter, Instant::now())
    }

    #[test]
    fn without_a_descriptor_the_next_one_waits_whatever_is_allowed() {
        let (mut limits, a) = (limits(10, 10, 1e9), listener("A"));
        limits.n_possible = 1;
        let now = Instant::now();
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
        assert_eq!(limits.admit(&a, IP, now), Admission::NoDescriptor);
        limits.left("A", IP);
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
    }

    fn listener(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_full_node_makes_the_next_one_wait_until_one_leaves() {
        let (mut limits, a) = (limits(1, 10, 1e9), listener("A"));
        let now = Instant::now();
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
        assert_eq!(limits.admit(&a, IP, now), Admission::Full);
        limits.left("A", IP);
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
    }

    #[test]
    fn an_address_with_too_many_is_refused_unless_overridden() {
        let (mut limits, a) = (limits(10, 1, 1e9), listener("A"));
        let now = Instant::now();
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
        assert_eq!(limits.admit(&a, IP, now), Admission::TooManyOfAddress);
        limits.allowed.per_address_overrides.insert(IP, 2);
        assert_eq!(limits.admit(&a, IP, now), Admission::Admitted);
    }

    #[test]
    fn the_creation_rate_is_a_second_of_burst_and_then_a_pace() {
        let (mut limits, a) = (limits(100, 100, 2.0), listener("A"));
        let start = Instant::now();
        assert_eq!(limits.admit(&a, IP, start), Admission::Admitted);
        assert_eq!(limits.admit(&a, IP, start), Admission::Admitted);
        let Admission::TooFast(pause) = limits.admit(&a, IP, start) else {
            panic!("a pause")
        };
        assert_eq!(pause, Duration::from_millis(500));
        assert_eq!(limits.admit(&a, IP, start + pause), Admission::Admitted);
    }

    #[test]
    fn a_rate_of_0_lets_nobody_in_until_it_is_raised() {
        let (mut limits, a) = (limits(100, 100, 0.0), listener("A"));
        let start = Instant::now();
        let waits = Admission::TooFast(RECHECK);
        assert_eq!(limits.admit(&a, IP, start), waits);
        assert_eq!(limits.admit(&a, IP, start + RECHECK), waits);
        limits.allowed.node.creation_rate = 1.0;
        assert_eq!(
            limits.admit(&a, IP, start + 3 * RECHECK),
            Admission::Admitted
        );
    }

    #[test]
    fn an_address_above_its_rate_is_kept_waiting_and_closed() {
        let (mut limits, a) = (limits(1000, 1000, 1e9), listener("A"));
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        let known = KnownHosts::from([("here".to_owned(), vec![IP])]);
        let rates = ConnectionRates {
            by_host: [
                (Arc::from("here"), 1.0),
                (Arc::from("::ffff:10.0.0.2"), 2.0),
            ]
            .into(),
            default: None,
        };
        limits.allowed.creation = creation(&rates, &known);
        let now = limits.start + Duration::from_secs(100);
        let mut admitted = |ip| {
            let admissions = (0..30).map(|_| limits.admit(&a, ip, now));
            let is_admitted = |admission: &Admission| *admission == Admission::Admitted;
            admissions.filter(is_admitted).count()
        };
        assert_eq!((admitted(IP), admitted(other)), (10, 20));
        assert_eq!(admitted("10.0.0.3".parse().unwrap()), 30);
        let Admission::Throttled(pause) = limits.admit(&a, IP, now) else {
            panic!("a pause");
        };
        assert!(pause <= Duration::from_secs(1) && !pause.is_zero());
        let later = now + Duration::from_secs(11);
        assert_eq!(limits.admit(&a, IP, later), Admission::Admitted);
    }

    #[test]
    fn addresses_without_end_are_forgotten() {
        let (mut limits, a) = (limits(usize::MAX, 2, 1e9), listener("A"));
        limits.allowed.creation.default = Some(1.0);
        for n in 0..2 * ADDRESSES_MAX as u32 {
            let now = limits.start;
            let ip = IpAddr::V4(n.into());
            assert_eq!(limits.admit(&a, ip, now), Admission::Admitted);
            assert!(limits.opened.len() <= ADDRESSES_MAX);
        }
    }

    #[test]
    fn a_listener_has_limits_of_its_own() {
        let (mut limits, a, b) = (limits(100, 100, 1e9), listener("A"), listener("B"));
        let fixed = [
            ("listener.name.a.max.connections", "1"),
            ("listener.name.b.max.connection.creation.rate", "1"),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = BrokerConfig::new(fixed.into());
        for name in ["A", "B"] {
            let limit = of_listener(&config, name);
            limits.allowed.listeners.insert(name.to_owned(), limit);
        }
        let start = Instant::now();
        assert_eq!(limits.admit(&a, IP, start), Admission::Admitted);
        assert_eq!(limits.admit(&a, IP, start), Admission::Full);
        assert_eq!(limits.admit(&b, IP, start), Admission::Admitted);
        let waits = Admission::TooFast(Duration::from_secs(1));
        assert_eq!(limits.admit(&b, IP, start), waits);
        limits.left("A", IP);
        assert_eq!(limits.admit(&a, IP, start), Admission::Admitted);
        assert_eq!(limits.n_open(), 2);
    }

    #[test]
    fn overrides_count_by_address_at_once_and_by_name_when_it_is_known() {
        let values = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("controller.quorum.voters", "1@localhost:9093"),
            (
                "max.connections.per.ip.overrides",
                "10.0.0.1:5,::ffff:10.0.0.2:6,localhost:7,no..host:8",
            ),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = BrokerConfig::new(values.into());
        let settings = config.node_settings().unwrap();
        let configured = Configured { settings, config };
        let of = |known: &KnownHosts| {
            let rates = ConnectionRates::default();
            let allowed = allowed(&configured, &rates, known).per_address_overrides;
            ["10.0.0.1", "10.0.0.2", "127.0.0.1"]
                .map(|ip| allowed.get(&ip.parse::<IpAddr>().unwrap()).copied())
        };
        assert_eq!(of(&KnownHosts::new()), [Some(5), Some(6), None]);
        let names = host_names(&configured, &ConnectionRates::default());
        assert_eq!(names.len(), 2, "{names:?}");
        let known = look_up(names);
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(of(&known), [Some(5), Some(6), Some(7)]);
    }
}
