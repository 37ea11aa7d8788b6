//! Metrics that clients push (KIP-714): who was asked for what, what came, and what of it is shown.
//!
//! What must stay true: a client that pushes too often, too much or what nobody asked for is
//! refused as by Kafka; what is kept is bounded in clients and in values of each.

mod otlp;
mod subscriptions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_metadata::image::Configs;
use ottla_protocol::compress::{Codec, decompress};
use ottla_protocol::{Refusal, Uuid};
use parking_lot::Mutex;

use crate::metrics::*;
use otlp::Point;
pub use subscriptions::TelemetryClient;
use subscriptions::{Subscriptions, Wish};

/// As many clients as Kafka remembers.
const CLIENTS_MAX: usize = 16_384;
/// Values of one client that are shown; Kafka's clients have a few hundred.
const SERIES_MAX: usize = 1000;
/// Values of all clients: a page of metrics that nobody can read helps nobody.
const ALL_SERIES_MAX: usize = 20_000;
/// A client that pushes nothing for so long, or for three intervals, is forgotten.
const EXPIRY_MS: u64 = 60_000;
/// What a push may open to: packed metrics are mostly names, and pack well.
const OPENED_BYTES_MAX: usize = 16 << 20;

/// What a client is told to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    pub id: i32,
    pub metrics: Vec<String>,
    pub interval_ms: i32,
}

/// A metric's name and attributes.
type Series = (String, Vec<(String, String)>);

#[derive(Debug)]
struct Instance {
    client: TelemetryClient,
    wish: Wish,
    /// Of the subscriptions that the wish was made from.
    version: u64,
    asked_ms: Option<u64>,
    pushed_ms: Option<u64>,
    used_ms: u64,
    is_terminating: bool,
    last_refusal: Option<Refusal>,
    values: HashMap<Series, f64>,
}

impl Instance {
    fn is_due(since: Option<u64>, interval_ms: i32, now_ms: u64) -> bool {
        let interval_ms = u64::try_from(interval_ms).unwrap_or(0);
        since.is_none_or(|since| now_ms.saturating_sub(since) >= interval_ms)
    }

    /// Whether it may ask for its subscription now.
    fn may_ask(&mut self, now_ms: u64) -> bool {
        let last = self.asked_ms.max(self.pushed_ms);
        let is_due = Self::is_due(last, self.wish.interval_ms, now_ms);
        if is_due {
            self.asked_ms = Some(now_ms);
        }
        // Who was told that its subscription is not known, or its codec, must ask.
        let must = [
            Some(Refusal::UnknownSubscriptionId),
            Some(Refusal::UnsupportedCompressionType),
        ];
        is_due || must.contains(&self.last_refusal)
    }

    /// The first push after asking comes when it likes: clients spread theirs.
    fn may_push(&mut self, now_ms: u64) -> bool {
        let may = self.asked_ms > self.pushed_ms
            || Self::is_due(self.pushed_ms, self.wish.interval_ms, now_ms);
        if may {
            self.pushed_ms = Some(now_ms);
        }
        may
    }

    fn expires_ms(&self) -> u64 {
        let three = u64::try_from(self.wish.interval_ms).unwrap_or(0) * 3;
        self.used_ms.saturating_add(EXPIRY_MS.max(three))
    }

    fn take_in(&mut self, points: Vec<Point>) {
        for point in points {
            let series = (point.metric, point.attributes);
            let n_series = self.values.len();
            match self.values.get_mut(&series) {
                Some(value) if point.is_delta => *value += point.value,
                Some(value) => *value = point.value,
                None if n_series < SERIES_MAX => drop(self.values.insert(series, point.value)),
                None => {}
            }
        }
    }
}

/// All clients that push.
#[derive(Debug)]
pub struct Telemetry {
    is_enabled: bool,
    bytes_max: i32,
    subscriptions: Mutex<(u64, Subscriptions)>,
    instances: Mutex<HashMap<Uuid, Instance>>,
    n_unknown: AtomicU64,
    n_throttled: AtomicU64,
    n_taken: AtomicU64,
    n_unreadable: AtomicU64,
}

impl Telemetry {
    pub(crate) fn new(is_enabled: bool, bytes_max: i32) -> Self {
        Self {
            is_enabled,
            bytes_max,
            subscriptions: Mutex::default(),
            instances: Mutex::default(),
            n_unknown: AtomicU64::new(0),
            n_throttled: AtomicU64::new(0),
            n_taken: AtomicU64::new(0),
            n_unreadable: AtomicU64::new(0),
        }
    }

    /// `ottla.client.telemetry`: else nobody is told that metrics may be pushed.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// `telemetry.max.bytes`
    pub fn bytes_max(&self) -> i32 {
        self.bytes_max
    }

    /// Puts the subscriptions of the metadata in force, if there is anybody to be told of them.
    pub(crate) fn take_in(&self, configs: &Configs) {
        if !self.is_enabled {
            return;
        }
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.0 += 1;
        subscriptions.1 = Subscriptions::of(configs);
    }

    /// What a client shall push.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED`
    pub fn subscribe(
        &self,
        instance: Uuid,
        client: TelemetryClient,
        now_ms: u64,
    ) -> Result<Subscribed, Refusal> {
        self.with(instance, client, now_ms, |instance| {
            if !instance.may_ask(now_ms) {
                self.n_throttled.fetch_add(1, Ordering::Relaxed);
                return Err(Refusal::ThrottlingQuotaExceeded);
            }
            instance.last_refusal = None;
            Ok(Subscribed {
                id: instance.wish.id,
                metrics: instance.wish.metrics.iter().cloned().collect(),
                interval_ms: instance.wish.interval_ms,
            })
        })
    }

    /// Takes what a client pushes.
    ///
    /// # Errors
    /// `INVALID_REQUEST` after its last words, `THROTTLING_QUOTA_EXCEEDED`, `UNKNOWN_SUBSCRIPTION_ID`,
    /// `UNSUPPORTED_COMPRESSION_TYPE`, `TELEMETRY_TOO_LARGE`, `INVALID_RECORD`
    pub fn push(
        &self,
        instance: Uuid,
        client: TelemetryClient,
        push: &Push<'_>,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        if instance.is_reserved() {
            return Err(Refusal::InvalidRequest);
        }
        let codec = self.with(instance, client, now_ms, |instance| {
            let checked = self.check(instance, push, now_ms);
            instance.is_terminating = push.is_terminating;
            instance.last_refusal = checked.err();
            checked
        })?;
        if push.metrics.is_empty() {
            return Ok(());
        }
        // Opened while nobody waits for the lock.
        let mut opened = Vec::new();
        let read = decompress(codec, push.metrics, OPENED_BYTES_MAX, &mut opened);
        let points = read.ok().and_then(|()| otlp::points(&opened).ok());
        let mut instances = self.instances.lock();
        let Some(instance) = instances.get_mut(&instance) else {
            return Ok(());
        };
        match points {
            Some(points) => {
                self.n_taken.fetch_add(1, Ordering::Relaxed);
                instance.take_in(points);
                Ok(())
            }
            None => {
                self.n_unreadable.fetch_add(1, Ordering::Relaxed);
                instance.last_refusal = Some(Refusal::InvalidRecord);
                Err(Refusal::InvalidRecord)
            }
        }
    }

    fn check(
        &self,
        instance: &mut Instance,
        push: &Push<'_>,
        now_ms: u64,
    ) -> Result<Codec, Refusal> {
        if instance.is_terminating {
            return Err(Refusal::InvalidRequest);
        }
        if !instance.may_push(now_ms) && !push.is_terminating {
            self.n_throttled.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::ThrottlingQuotaExceeded);
        }
        if push.subscription_id != instance.wish.id {
            self.n_unknown.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::UnknownSubscriptionId);
        }
        let codec = u8::try_from(push.compression)
            .ok()
            .and_then(Codec::from_bits);
        let codec = codec.ok_or(Refusal::UnsupportedCompressionType)?;
        if push.metrics.len() > usize::try_from(self.bytes_max).unwrap_or(0) {
            return Err(Refusal::TelemetryTooLarge);
        }
        Ok(codec)
    }

    /// A client, made if there is none, with the wish that is in force now.
    fn with<T>(
        &self,
        id: Uuid,
        client: TelemetryClient,
        now_ms: u64,
        act: impl FnOnce(&mut Instance) -> T,
    ) -> T {
        let subscriptions = self.subscriptions.lock();
        let (version, subscriptions) = (subscriptions.0, &subscriptions.1);
        let mut instances = self.instances.lock();
        if !instances.contains_key(&id) {
            make_room(&mut instances, now_ms);
        }
        let new = |client: TelemetryClient| Instance {
            wish: subscriptions.wish(&client, id),
            client,
            version,
            asked_ms: None,
            pushed_ms: None,
            used_ms: now_ms,
            is_terminating: false,
            last_refusal: None,
            values: HashMap::new(),
        };
        let instance = instances.entry(id).or_insert_with(|| new(client));
        if instance.version < version {
            let values = std::mem::take(&mut instance.values);
            *instance = new(instance.client.clone());
            instance.values = values;
        }
        instance.used_ms = now_ms;
        act(instance)
    }

    /// Its connection is gone.
    pub fn forget(&self, instance: Uuid) {
        self.instances.lock().remove(&instance);
    }

    pub(crate) fn write(&self, page: &mut Page, now_ms: u64) {
        if !self.is_enabled {
            return;
        }
        let mut instances = self.instances.lock();
        instances.retain(|_, instance| instance.expires_ms() > now_ms);
        page.plain(TELEMETRY_CLIENTS, instances.len() as f64);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        page.plain(TELEMETRY_UNKNOWN, count(&self.n_unknown));
        page.plain(TELEMETRY_THROTTLED, count(&self.n_throttled));
        page.plain(TELEMETRY_TAKEN, count(&self.n_taken));
        page.plain(TELEMETRY_UNREADABLE, count(&self.n_unreadable));
        let mut n_left = ALL_SERIES_MAX;
        for (id, instance) in instances.iter() {
            let id = id.to_string();
            for ((metric, attributes), value) in instance.values.iter().take(n_left) {
                let mut labels = vec![
                    ("metric", metric.as_str()),
                    ("client_id", instance.client.client_id.as_str()),
                    ("client_instance_id", id.as_str()),
                ];
                let names = label_names(attributes);
                let pairs = names.iter().zip(attributes);
                labels.extend(pairs.map(|(name, (_, value))| (name.as_str(), value.as_str())));
                page.labelled(CLIENT_METRIC, &labels, *value);
            }
            n_left = n_left.saturating_sub(instance.values.len());
        }
    }
}

/// A push, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    pub subscription_id: i32,
    pub is_terminating: bool,
    pub compression: i8,
    pub metrics: &'a [u8],
}

/// Forgets who has expired, and if nobody has, who was silent for longest.
fn make_room(instances: &mut HashMap<Uuid, Instance>, now_ms: u64) {
    if instances.len() < CLIENTS_MAX {
        return;
    }
    instances.retain(|_, instance| instance.expires_ms() > now_ms);
    if instances.len() < CLIENTS_MAX {
        return;
    }
    let mut used: Vec<u64> = instances.values().map(|one| one.used_ms).collect();
    // A quarter at once: looking at all for each new client would cost more than its request.
    let n_gone = used.len() / 4;
    let oldest_kept = *used.select_nth_unstable(n_gone).1;
    let mut n_left = n_gone + 1;
    instances.retain(|_, instance| {
        let goes = instance.used_ms <= oldest_kept && n_left > 0;
        n_left -= usize::from(goes);
        !goes
    });
}

/// The names of attributes as labels, none twice: a page with such a sample cannot be read.
fn label_names(attributes: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(attributes.len());
    for (name, _) in attributes {
        let mut name = label(name);
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    names
}

/// An attribute's name as a label: what Prometheus does not take is `_`, and none is called as ours.
fn label(name: &str) -> String {
    let legal = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => character,
        _ => '_',
    };
    let name: String = name.chars().map(legal).collect();
    let is_ours = ["metric", "client_id", "client_instance_id"].contains(&name.as_str());
    let is_bad = is_ours || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit());
    if is_bad { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0xabcd_0000);

    fn telemetry() -> Telemetry {
        let telemetry = Telemetry::new(true, 1000);
        let configs =
            subscriptions::tests::configs(&[("s", "metrics", "*"), ("s", "interval.ms", "1000")]);
        telemetry.take_in(&configs);
        telemetry
    }

    fn client() -> TelemetryClient {
        TelemetryClient {
            client_id: "c".to_owned(),
            ..TelemetryClient::default()
        }
    }

    fn push(telemetry: &Telemetry, id: i32, metrics: &[u8], now_ms: u64) -> Result<(), Refusal> {
        let push = Push {
            subscription_id: id,
            is_terminating: false,
            compression: 0,
            metrics,
        };
        telemetry.push(ID, client(), &push, now_ms)
    }

    #[test]
    fn where_nobody_pushes_there_are_no_subscriptions() {
        let telemetry = Telemetry::new(false, 1000);
        telemetry.take_in(&subscriptions::tests::configs(&[("s", "metrics", "*")]));
        let subscribed = telemetry.subscribe(ID, client(), 0).unwrap();
        assert!(subscribed.metrics.is_empty());
    }

    #[test]
    fn metrics_are_pushed_at_their_pace_and_shown() {
        let telemetry = telemetry();
        let subscribed = telemetry.subscribe(ID, client(), 0).unwrap();
        assert_eq!(
            (&*subscribed.metrics, subscribed.interval_ms),
            (&["*".to_owned()][..], 1000)
        );
        let (id, metrics) = (subscribed.id, otlp::tests::sum("requests", 2.0, true));
        assert_eq!(push(&telemetry, id, &metrics, 10), Ok(()));
        assert_eq!(
            push(&telemetry, id, &metrics, 20),
            Err(Refusal::ThrottlingQuotaExceeded)
        );
        assert_eq!(push(&telemetry, id, &metrics, 1010), Ok(()));
        let mut page = Page::default();
        telemetry.write(&mut page, 1020);
        let text = page.text();
        let shown = format!(
            "ottla_client_metric{{metric=\"requests\",client_id=\"c\",client_instance_id=\"{ID}\",node=\"7\"}} 4\n"
        );
        assert!(text.contains(&shown), "{text}");
        telemetry.forget(ID);
        let mut page = Page::default();
        telemetry.write(&mut page, 1020);
        assert!(!page.has(CLIENT_METRIC));
    }

    #[test]
    fn bad_pushes_are_refused_in_kafkas_steps() {
        let telemetry = telemetry();
        let id = telemetry.subscribe(ID, client(), 0).unwrap().id;
        let asks_early = telemetry.subscribe(ID, client(), 10).unwrap_err();
        assert_eq!(asks_early, Refusal::ThrottlingQuotaExceeded);
        assert_eq!(
            push(&telemetry, id + 1, &[], 1),
            Err(Refusal::UnknownSubscriptionId)
        );
        assert!(
            telemetry.subscribe(ID, client(), 20).is_ok(),
            "it was told to ask"
        );
        assert_eq!(
            push(&telemetry, id, &[0; 1001], 2001),
            Err(Refusal::TelemetryTooLarge)
        );
        assert_eq!(
            push(&telemetry, id, &[0xff; 9], 4001),
            Err(Refusal::InvalidRecord)
        );
        let mut other = Push {
            subscription_id: id,
            is_terminating: true,
            compression: 9,
            metrics: &[],
        };
        let codec = telemetry.push(ID, client(), &other, 6001);
        assert_eq!(codec, Err(Refusal::UnsupportedCompressionType));
        other.compression = 0;
        let after_the_last = telemetry.push(ID, client(), &other, 8001);
        assert_eq!(after_the_last, Err(Refusal::InvalidRequest));
        let nobody = telemetry.push(Uuid::ZERO, client(), &other, 0);
        assert_eq!(nobody, Err(Refusal::InvalidRequest));
    }

    #[test]
    fn a_changed_subscription_has_another_id() {
        let telemetry = telemetry();
        let before = telemetry.subscribe(ID, client(), 0).unwrap();
        telemetry.take_in(&subscriptions::tests::configs(&[("s", "metrics", "x.")]));
        assert_eq!(
            push(&telemetry, before.id, &[], 1),
            Err(Refusal::UnknownSubscriptionId)
        );
        let after = telemetry.subscribe(ID, client(), 2).unwrap();
        assert_ne!(after.id, before.id);
        assert_eq!(after.metrics, ["x."]);
    }

    #[test]
    fn clients_and_values_without_end_are_forgotten() {
        let telemetry = telemetry();
        for n in 1..=CLIENTS_MAX as u128 + 10 {
            let _ = telemetry.subscribe(Uuid::from_u128(n << 64), client(), n as u64);
        }
        assert!(telemetry.instances.lock().len() <= CLIENTS_MAX);
        let point = |n: usize| Point {
            metric: format!("m{n}"),
            attributes: Vec::new(),
            value: 1.0,
            is_delta: false,
        };
        telemetry.with(ID, client(), 0, |instance| {
            instance.take_in((0..SERIES_MAX + 5).map(point).collect());
            assert_eq!(instance.values.len(), SERIES_MAX);
        });
        let mut page = Page::default();
        telemetry.write(&mut page, u64::MAX);
        assert!(telemetry.instances.lock().is_empty(), "all have expired");
    }

    #[test]
    fn labels_are_legal_and_none_twice() {
        assert_eq!(label("node-id"), "node_id");
        assert_eq!(label("client_id"), "_client_id");
        assert_eq!(label("9x"), "_9x");
        assert_eq!(label(""), "_");
        let twice = ["a-b", "a_b", "a.b"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(label_names(&twice), ["a_b", "a_b_", "a_b__"]);
    }
}
