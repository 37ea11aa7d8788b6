//! Client quotas in force: what each client has used, and for how long it must pause (KIP-13, 124,
//! 599, 612). Which limit counts for whom is a rule of `metadata`; who pauses how is `server`'s.

mod rate;
mod sensors;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use ottla_metadata::config::QuotaSettings;
use ottla_metadata::controller::Mutations;
use ottla_metadata::image::Quotas as Stored;
use ottla_metadata::quotas::{Limits, QuotaKind, Together, connection_rates};
use ottla_protocol::{Refusal, Refused};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::metrics::*;
use rate::{Bucket, Inflow, Samples, Window};
use sensors::{SHOWN, Sensor, Sensors};

/// Who clients are that show no identity.
const ANONYMOUS: &str = "ANONYMOUS";
/// The limit of those who have none, as Kafka shows it.
const NO_LIMIT: f64 = i64::MAX as f64;
const NANOS_PER_PERCENT: f64 = 1e9 / 100.0;

/// The quotas of users and client ids in one thing.
#[derive(Debug)]
pub struct Quota {
    kind: QuotaKind,
    window: Window,
    limits: ArcSwap<Limits>,
    is_enabled: AtomicBool,
    sensors: Mutex<Sensors>,
    user: Arc<str>,
    /// Connections that are not read because of it.
    n_pausing: AtomicI64,
}

impl Quota {
    fn new(kind: QuotaKind, settings: &QuotaSettings) -> Self {
        let (n_samples, seconds) = match kind {
            QuotaKind::ControllerMutation => (
                settings.controller_window_num,
                settings.controller_window_seconds,
            ),
            _ => (settings.window_num, settings.window_seconds),
        };
        Self {
            kind,
            window: window(n_samples, seconds),
            limits: ArcSwap::default(),
            is_enabled: AtomicBool::new(false),
            sensors: Mutex::default(),
            user: Arc::from(ANONYMOUS),
            n_pausing: AtomicI64::new(0),
        }
    }

    /// Whether anybody is limited: else nobody is measured.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Acquire)
    }

    fn allow(&self, limits: Limits) {
        let limits = Arc::new(limits);
        // Under the lock: a sensor that is made meanwhile has the new limit, or is changed here.
        let mut sensors = self.sensors.lock();
        self.limits.store(limits.clone());
        self.is_enabled.store(!limits.is_empty(), Ordering::Release);
        for (together, sensor) in sensors.iter_mut() {
            let limit = limits.limit(together).unwrap_or(NO_LIMIT);
            let (from, to) = (self.inflow(sensor.limit), self.inflow(limit));
            // Without a limit nothing was counted that could be told from it.
            match [sensor.limit, limit].contains(&NO_LIMIT) {
                true => sensor.bucket = Bucket::default(),
                false => sensor.bucket.change(from, to),
            }
            sensor.limit = limit;
        }
    }

    fn with<T>(&self, client_id: &str, now_ms: u64, act: impl FnOnce(&mut Sensor) -> T) -> T {
        let mut sensors = self.sensors.lock();
        let limits = self.limits.load();
        let together = limits.together(&self.user, &Arc::from(client_id));
        let limit = |together: &Together| limits.limit(together).unwrap_or(NO_LIMIT);
        act(sensors.of(together, now_ms, limit))
    }

    /// What fills the bucket of a client: a whole window may go through at once.
    fn inflow(&self, limit: f64) -> Inflow {
        let seconds = match self.kind {
            QuotaKind::ControllerMutation => self.window.seconds(),
            _ => self.window.full_seconds(),
        };
        Inflow { limit, seconds }
    }

    /// Counts what a client used; for how many milliseconds it must pause. By a bucket, and not by
    /// Kafka's samples: a sample that is forgotten gives back at once all that was used in it.
    pub fn record(&self, client_id: &str, amount: f64, now_ms: u64) -> u64 {
        if !self.is_enabled() {
            return 0;
        }
        self.with(client_id, now_ms, |sensor| {
            let inflow = self.inflow(sensor.limit);
            sensor.samples.record(self.window, amount, now_ms);
            sensor.bucket.take(inflow, amount, now_ms);
            let pause_ms = sensor.bucket.owed_ms(inflow, now_ms);
            if self.kind != QuotaKind::Request {
                return pause_ms;
            }
            // As no pause is longer than a sample, what is owed could grow without end.
            sensor.bucket.forgive(inflow);
            pause_ms.min(self.window.sample_ms)
        })
    }

    /// Lets a client have so much, if nothing speaks against it: else for how many milliseconds it
    /// must pause first, and nothing is counted. Who has used nothing for a whole window gets what
    /// it asks for, or it would never get what is larger.
    pub fn admit(&self, client_id: &str, amount: f64, now_ms: u64) -> u64 {
        if !self.is_enabled() {
            return 0;
        }
        self.with(client_id, now_ms, |sensor| {
            let inflow = self.inflow(sensor.limit);
            let pause_ms = sensor.bucket.lacks_ms(inflow, amount, now_ms);
            if pause_ms == 0 {
                sensor.samples.record(self.window, amount, now_ms);
                sensor.bucket.take(inflow, amount, now_ms);
            }
            pause_ms
        })
    }

    /// More than this at once would make a client pause whatever it did before.
    pub fn most_at_once(&self, client_id: &str, now_ms: u64) -> f64 {
        if !self.is_enabled() {
            return f64::MAX;
        }
        let limit = self.with(client_id, now_ms, |sensor| sensor.limit);
        limit * self.window.full_seconds()
    }

    /// A client is told to pause.
    pub fn pausing(&self, client_id: &str, pause_ms: u64, now_ms: u64) {
        self.with(client_id, now_ms, |sensor| {
            sensor.pauses.record(SHOWN, pause_ms as f64, now_ms);
        });
    }

    /// A connection is not read any more because of this quota, or is again.
    pub fn pauses_changed(&self, by: i64) {
        self.n_pausing.fetch_add(by, Ordering::Relaxed);
    }

    /// Takes so many mutations from the bucket, or says for how long to wait. A strict quota
    /// refuses while anything is owed; the other one lets go ahead and asks for a pause.
    fn mutate(&self, client_id: &str, n: f64, is_strict: bool, now_ms: u64) -> u64 {
        self.with(client_id, now_ms, |sensor| {
            let inflow = self.inflow(sensor.limit);
            if is_strict {
                let owed_ms = sensor.bucket.owed_ms(inflow, now_ms);
                if owed_ms > 0 {
                    return owed_ms;
                }
            }
            sensor.samples.record(SHOWN, n, now_ms);
            sensor.bucket.take(inflow, n, now_ms);
            match is_strict {
                true => 0,
                false => sensor.bucket.owed_ms(inflow, now_ms),
            }
        })
    }

    fn write(&self, page: &mut Page, now_ms: u64) {
        let shown = Shown::of(self.kind);
        page.plain(shown.queue, self.n_pausing.load(Ordering::Relaxed) as f64);
        let mut sensors = self.sensors.lock();
        sensors.forget_idle(now_ms);
        for (together, sensor) in sensors.iter_mut() {
            let labels = [
                ("user", &*together.user),
                ("client_id", &*together.client_id),
            ];
            let rate_window = match self.kind {
                QuotaKind::ControllerMutation => SHOWN,
                _ => self.window,
            };
            let rate = sensor.samples.rate(rate_window, now_ms);
            page.labelled(shown.rate, &labels, rate);
            if self.kind == QuotaKind::ControllerMutation {
                let tokens = sensor.bucket.tokens(self.inflow(sensor.limit), now_ms);
                page.labelled(MUTATION_TOKENS, &labels, tokens);
            }
            let pause = sensor.pauses.average(SHOWN, now_ms).unwrap_or(0.0);
            page.labelled(shown.pause, &labels, pause);
        }
    }
}

/// What a quota is shown as.
struct Shown {
    rate: &'static Definition,
    pause: &'static Definition,
    queue: &'static Definition,
}

impl Shown {
    fn of(kind: QuotaKind) -> Self {
        let (rate, pause, queue) = match kind {
            QuotaKind::Produce => (PRODUCE_RATE, PRODUCE_PAUSE, PRODUCE_QUEUE),
            QuotaKind::Fetch => (FETCH_RATE, FETCH_PAUSE, FETCH_QUEUE),
            QuotaKind::Request => (REQUEST_RATE, REQUEST_PAUSE, REQUEST_QUEUE),
            QuotaKind::ControllerMutation => (MUTATION_RATE, MUTATION_PAUSE, MUTATION_QUEUE),
        };
        Self { rate, pause, queue }
    }
}

fn window(n_samples: i32, seconds: i32) -> Window {
    Window {
        n_samples: u32::try_from(n_samples).unwrap_or(1).max(1),
        sample_ms: u64::try_from(seconds).unwrap_or(1).max(1) * 1000,
    }
}

/// All quotas of a node.
#[derive(Debug)]
pub struct Quotas {
    of_clients: [Quota; QuotaKind::ALL.len()],
    connection_rates: ArcSwap<ConnectionRates>,
    window: Window,
    exempt: Mutex<Samples>,
    clock: Clock,
}

/// Connections a second that addresses may open, by the host as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectionRates {
    pub by_host: HashMap<Arc<str>, f64>,
    pub default: Option<f64>,
}

impl Quotas {
    pub(crate) fn new(settings: &QuotaSettings, clock: Clock) -> Self {
        Self {
            of_clients: QuotaKind::ALL.map(|kind| Quota::new(kind, settings)),
            connection_rates: ArcSwap::default(),
            window: window(settings.window_num, settings.window_seconds),
            exempt: Mutex::default(),
            clock,
        }
    }

    pub fn of(&self, kind: QuotaKind) -> &Quota {
        let [produce, fetch, request, mutation] = &self.of_clients;
        match kind {
            QuotaKind::Produce => produce,
            QuotaKind::Fetch => fetch,
            QuotaKind::Request => request,
            QuotaKind::ControllerMutation => mutation,
        }
    }

    /// Milliseconds on the clock that quotas are measured with.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Puts the quotas of the metadata in force.
    pub(crate) fn take_in(&self, stored: &Stored) {
        for quota in &self.of_clients {
            quota.allow(Limits::of(stored, quota.kind));
        }
        let mut by_host = connection_rates(stored);
        let default = by_host.remove(&None);
        let by_host = by_host.into_iter();
        let rates = ConnectionRates {
            by_host: by_host
                .filter_map(|(host, rate)| Some((host?, rate)))
                .collect(),
            default,
        };
        if **self.connection_rates.load() != rates {
            self.connection_rates.store(Arc::new(rates));
        }
    }

    pub fn connection_rates(&self) -> Arc<ConnectionRates> {
        self.connection_rates.load_full()
    }

    /// Counts the time that a request took, in nanoseconds; for how long the client must pause.
    pub fn record_request(&self, client_id: &str, nanos: u64) -> u64 {
        let percent = nanos as f64 / NANOS_PER_PERCENT;
        self.of(QuotaKind::Request)
            .record(client_id, percent, self.now_ms())
    }

    /// The same of a request that nobody pauses for.
    pub fn record_exempt(&self, nanos: u64) {
        if self.of(QuotaKind::Request).is_enabled() {
            let percent = nanos as f64 / NANOS_PER_PERCENT;
            self.exempt.lock().record(SHOWN, percent, self.now_ms());
        }
    }

    /// What the connections of an address are counted with.
    pub fn connection_meter(&self) -> ConnectionMeter {
        ConnectionMeter {
            window: self.window,
            samples: Samples::default(),
        }
    }

    pub(crate) fn write(&self, page: &mut Page) {
        let now_ms = self.now_ms();
        for quota in &self.of_clients {
            quota.write(page, now_ms);
        }
        let exempt = self.exempt.lock().rate(SHOWN, now_ms);
        page.plain(REQUEST_EXEMPT, exempt);
    }
}

/// Connections of one address.
#[derive(Debug, Clone)]
pub struct ConnectionMeter {
    window: Window,
    samples: Samples,
}

impl ConnectionMeter {
    /// `quota.window.num` samples of `quota.window.size.seconds`.
    pub fn new(n_samples: i32, seconds: i32) -> Self {
        Self {
            window: window(n_samples, seconds),
            samples: Samples::default(),
        }
    }

    /// One more came. What is above the rate does not count: for how many milliseconds it is kept waiting.
    pub fn admit(&mut self, rate: f64, now_ms: u64) -> u64 {
        self.samples.record(self.window, 1.0, now_ms);
        let pause_ms = self.samples.excess_ms(self.window, rate, now_ms);
        if pause_ms > 0 {
            self.samples.record(self.window, -1.0, now_ms);
        }
        pause_ms.min(self.window.sample_ms)
    }

    /// Connections a second, for people.
    pub fn rate(&mut self, now_ms: u64) -> f64 {
        self.samples.rate(self.window, now_ms)
    }
}

/// What one request takes of a client's `controller_mutation_rate`.
#[derive(Debug)]
pub struct MutationMeter {
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) client_id: Arc<str>,
    pub(crate) is_strict: bool,
    /// For how long to pause, and since when.
    pub(crate) pause: Option<(u64, u64)>,
}

impl MutationMeter {
    /// For how many milliseconds the client must pause from now on.
    pub fn pause_ms(&self) -> i32 {
        let left_ms = self.pause.map_or(0, |(pause_ms, since_ms)| {
            let gone_ms = self.quotas.now_ms().saturating_sub(since_ms);
            pause_ms.saturating_sub(gone_ms)
        });
        i32::try_from(left_ms).unwrap_or(i32::MAX)
    }
}

impl Mutations for MutationMeter {
    fn take(&mut self, n_partitions: usize) -> Result<(), Refused> {
        let quota = self.quotas.of(QuotaKind::ControllerMutation);
        if !quota.is_enabled() {
            return Ok(());
        }
        let now_ms = self.quotas.now_ms();
        let n = n_partitions as f64;
        let pause_ms = quota.mutate(&self.client_id, n, self.is_strict, now_ms);
        if pause_ms == 0 {
            return Ok(());
        }
        self.pause = Some((pause_ms, now_ms));
        match self.is_strict {
            true => Err(Refusal::ThrottlingQuotaExceeded.into()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(kind: &str, name: Option<&str>, key: &str, value: f64) -> Stored {
        let entity: ottla_metadata::image::Entity = vec![(Arc::from(kind), name.map(Arc::from))];
        let limits = [(Arc::from(key), value)].into_iter().collect();
        let mut stored = Stored::default();
        stored.by_entity.insert(entity, limits);
        stored
    }

    fn quotas() -> Arc<Quotas> {
        let settings = QuotaSettings {
            window_num: 11,
            window_seconds: 1,
            controller_window_num: 11,
            controller_window_seconds: 1,
            telemetry_bytes_max: 1000,
        };
        Arc::new(Quotas::new(&settings, Clock::default()))
    }

    #[tokio::test]
    async fn a_client_is_measured_against_its_limit() {
        let quotas = quotas();
        let produce = quotas.of(QuotaKind::Produce);
        assert_eq!(produce.record("c", 1e9, 0), 0, "nobody is limited");
        quotas.take_in(&stored(
            "client-id",
            Some("c"),
            "producer_byte_rate",
            1000.0,
        ));
        assert_eq!(produce.record("c", 10_000.0, 0), 0);
        assert_eq!(produce.record("c", 1000.0, 0), 1000);
        assert_eq!(produce.record("d", 1e9, 0), 0);
        assert!((produce.most_at_once("c", 0) - 10_000.0).abs() < 1e-9);
        quotas.take_in(&stored("client-id", Some("c"), "producer_byte_rate", 500.0));
        assert_eq!(
            produce.record("c", 0.0, 0),
            12_000,
            "a new limit counts at once"
        );
        quotas.take_in(&Stored::default());
        assert_eq!(produce.record("c", 1e9, 0), 0);
    }

    #[tokio::test]
    async fn who_must_pause_has_had_nothing_and_gets_it_afterwards() {
        let quotas = quotas();
        quotas.take_in(&stored("user", None, "consumer_byte_rate", 1000.0));
        let fetch = quotas.of(QuotaKind::Fetch);
        assert_eq!(fetch.admit("c", 9000.0, 0), 0);
        for _ in 0..3 {
            assert_eq!(fetch.admit("c", 3000.0, 0), 2000);
        }
        assert_eq!(fetch.admit("c", 3000.0, 2000), 0);
        // More than a window ever lets through.
        assert_eq!(fetch.admit("c", 50_000.0, 2000), 10_000);
        assert_eq!(fetch.admit("c", 50_000.0, 12_000), 0);
        assert_eq!(fetch.admit("c", 1.0, 12_000), 40_001);
    }

    #[tokio::test]
    async fn time_is_paused_for_no_longer_than_a_sample() {
        let quotas = quotas();
        quotas.take_in(&stored("user", None, "request_percentage", 1.0));
        assert_eq!(quotas.record_request("c", 10_000_000_000), 1000);
        assert_eq!(quotas.of(QuotaKind::Fetch).record("c", 1e9, 0), 0);
        let request = quotas.of(QuotaKind::Request);
        let now_ms = quotas.now_ms();
        assert_eq!(
            request.record("c", 0.0, now_ms + 11_000),
            0,
            "who owes more is forgiven"
        );
    }

    #[tokio::test]
    async fn a_strict_quota_refuses_what_the_other_lets_through() {
        let quotas = quotas();
        quotas.take_in(&stored(
            "user",
            Some("ANONYMOUS"),
            "controller_mutation_rate",
            1.0,
        ));
        let meter = |is_strict| MutationMeter {
            quotas: quotas.clone(),
            client_id: Arc::from("c"),
            is_strict,
            pause: None,
        };
        let mut strict = meter(true);
        assert!(strict.take(100).is_ok(), "the bucket was full");
        assert_eq!(strict.take(1).unwrap_err().code(), 89);
        assert!(
            (80_000..=89_000).contains(&strict.pause_ms()),
            "{}",
            strict.pause_ms()
        );
        let mut permissive = meter(false);
        assert!(permissive.take(11).is_ok());
        assert!(permissive.pause_ms() > 90_000);
    }

    #[tokio::test]
    async fn addresses_have_rates_of_their_own() {
        let quotas = quotas();
        quotas.take_in(&stored(
            "ip",
            Some("127.0.0.1"),
            "connection_creation_rate",
            2.0,
        ));
        let rates = quotas.connection_rates();
        assert_eq!(rates.by_host.get("127.0.0.1"), Some(&2.0));
        assert_eq!(rates.default, None);
        let mut meter = quotas.connection_meter();
        let paused: Vec<u64> = (0..25).map(|_| meter.admit(2.0, 0)).collect();
        assert_eq!(paused.iter().filter(|pause| **pause == 0).count(), 20);
        assert!(paused[20..].iter().all(|pause| (1..=1000).contains(pause)));
    }

    #[tokio::test]
    async fn quotas_are_shown() {
        let quotas = quotas();
        quotas.take_in(&stored("client-id", None, "consumer_byte_rate", 100.0));
        let fetch = quotas.of(QuotaKind::Fetch);
        let pause_ms = fetch.record("c", 2000.0, quotas.now_ms());
        fetch.pausing("c", pause_ms, quotas.now_ms());
        let mut page = Page::default();
        quotas.write(&mut page);
        let text = page.text();
        let rate = "kafka_server_fetch_byte_rate{user=\"\",client_id=\"c\"} ";
        let pause = "kafka_server_fetch_throttle_time{user=\"\",client_id=\"c\"} ";
        assert!(text.contains(rate) && text.contains(pause), "{text}");
    }
}
