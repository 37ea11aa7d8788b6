//! Which metrics which clients shall push: the settings of all client metrics subscriptions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::config::Overrides;
use ottla_metadata::image::{Configs, Resource, ResourceKind};
use ottla_protocol::Uuid;
use ottla_protocol::batch::crc32c;
use regex_lite::{Regex, RegexBuilder};

/// How often clients push that no subscription matches, so that they ask again.
const INTERVAL_MS: i32 = 300_000;
/// What stands for all metrics.
const ALL: &str = "*";

/// What one pattern may take once it is compiled: names and versions need a few kilobytes.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// What those of all subscriptions may take together: of very many, each gets less.
const ALL_PATTERNS_BYTES_MAX: usize = 64 << 20;

/// As many attributes as patterns may be about.
const ATTRIBUTES_MAX: usize = 6;

/// A client, as patterns see it.
#[derive(Debug, Clone, Default)]
pub struct TelemetryClient {
    pub client_id: String,
    pub software_name: Option<String>,
    pub software_version: Option<String>,
    pub address: String,
    pub port: u16,
}

impl TelemetryClient {
    fn attribute(&self, name: &str, instance: Uuid) -> Option<String> {
        match name {
            "client_instance_id" => Some(instance.to_string()),
            "client_id" => Some(self.client_id.clone()),
            "client_software_name" => self.software_name.clone(),
            "client_software_version" => self.software_version.clone(),
            "client_source_address" => Some(self.address.clone()),
            "client_source_port" => Some(self.port.to_string()),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    /// All must match; a pattern that we cannot read matches nobody.
    patterns: BTreeMap<String, Option<Regex>>,
}

impl Subscription {
    fn new(values: &Overrides, pattern_bytes_max: usize) -> Self {
        let list = |name: &str| {
            let text = values.get(name).map_or("", String::as_str);
            let entries = text.split(',').map(str::trim);
            let entries = entries.filter(|entry| !entry.is_empty());
            entries.map(str::to_owned).collect::<Vec<_>>()
        };
        let interval = values.get("interval.ms");
        let mut expressions = BTreeMap::new();
        for pattern in list("match") {
            if let Some((attribute, expression)) = pattern.split_once('=') {
                let attribute = attribute.trim().to_owned();
                // Of one that is named again the last counts, as in Kafka.
                expressions.insert(attribute, expression.trim().to_owned());
            }
        }
        let compile = |expression: String| {
            RegexBuilder::new(&format!("^(?:{expression})$"))
                .size_limit(pattern_bytes_max)
                .build()
                .ok()
        };
        let patterns = expressions.into_iter();
        let patterns = patterns.map(|(attribute, one)| (attribute, compile(one)));
        Self {
            metrics: list("metrics"),
            interval_ms: interval
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(INTERVAL_MS),
            patterns: patterns.collect(),
        }
    }

    fn matches(&self, client: &TelemetryClient, instance: Uuid) -> bool {
        self.patterns.iter().all(|(name, pattern)| {
            let attribute = client.attribute(name, instance);
            attribute
                .zip(pattern.as_ref())
                .is_some_and(|(attribute, pattern)| pattern.is_match(&attribute))
        })
    }
}

/// What one client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Another one whenever anything of it changes.
    pub(super) id: i32,
    pub(super) metrics: BTreeSet<String>,
    pub(super) interval_ms: i32,
}

/// All subscriptions.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    pub(super) fn of(configs: &Configs) -> Self {
        let resources = configs.resources();
        let is_subscription = |one: &&Resource| one.kind == ResourceKind::ClientMetrics;
        let subscribed: Vec<&Resource> = resources.filter(is_subscription).collect();
        let n_patterns = subscribed.len() * ATTRIBUTES_MAX;
        let each = PATTERN_BYTES_MAX.min(ALL_PATTERNS_BYTES_MAX / n_patterns.max(1));
        let subscriptions = subscribed
            .into_iter()
            .map(|resource| Subscription::new(&configs.overrides(resource), each));
        Self(subscriptions.collect())
    }

    /// All that match, together; the shortest interval counts.
    pub(super) fn wish(&self, client: &TelemetryClient, instance: Uuid) -> Wish {
        let (mut metrics, mut interval_ms) = (BTreeSet::new(), INTERVAL_MS);
        let matching = self.0.iter().filter(|one| one.matches(client, instance));
        for subscription in matching {
            metrics.extend(subscription.metrics.iter().cloned());
            interval_ms = interval_ms.min(subscription.interval_ms);
        }
        if metrics.contains(ALL) {
            metrics = BTreeSet::from([ALL.to_owned()]);
        }
        let (high, low) = ((instance.as_u128() >> 64) as u64, instance.as_u128() as u64);
        let mixed = high ^ low;
        let of_instance = ((mixed >> 32) ^ mixed) as u32;
        let names: Vec<&str> = metrics.iter().map(String::as_str).collect();
        let of_names = crc32c(format!("[{}]{interval_ms}", names.join(", ")).as_bytes());
        Wish {
            id: (of_names ^ of_instance).cast_signed(),
            metrics,
            interval_ms,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ottla_metadata::image::{Delta, Image};
    use ottla_metadata::records::ConfigRecord;

    use super::*;

    pub(in crate::telemetry) fn configs(all: &[(&str, &str, &str)]) -> Configs {
        let mut delta = Delta::new(&Image::default());
        for (subscription, name, value) in all {
            let record = ConfigRecord {
                resource_type: 16,
                resource_name: (*subscription).into(),
                name: (*name).into(),
                value: Some((*value).into()),
            };
            delta.replay(&record.into()).unwrap();
        }
        delta.image().configs.clone()
    }

    fn client(id: &str) -> TelemetryClient {
        TelemetryClient {
            client_id: id.to_owned(),
            software_name: Some("apache-kafka-java".to_owned()),
            ..TelemetryClient::default()
        }
    }

    #[test]
    fn matching_subscriptions_add_up() {
        let subscriptions = Subscriptions::of(&configs(&[
            (
                "a",
                "metrics",
                "org.apache.kafka.producer., org.apache.kafka.consumer.",
            ),
            ("a", "interval.ms", "1000"),
            (
                "a",
                "match",
                "client_id=app-[0-9]+,client_software_name=apache.*",
            ),
            ("b", "metrics", "org.apache.kafka.admin."),
            ("b", "interval.ms", "500"),
        ]));
        let instance = Uuid::from_u128(7);
        let app = subscriptions.wish(&client("app-1"), instance);
        assert_eq!((app.metrics.len(), app.interval_ms), (3, 500));
        let other = subscriptions.wish(&client("my-app-1"), instance);
        assert_eq!((other.metrics.len(), other.interval_ms), (1, 500));
        assert_ne!(app.id, other.id);
        assert_eq!(app, subscriptions.wish(&client("app-1"), instance));
        let nobody = Subscriptions::default().wish(&client("app-1"), instance);
        assert_eq!((nobody.metrics.len(), nobody.interval_ms), (0, INTERVAL_MS));
    }

    #[test]
    fn all_is_all_and_a_pattern_that_cannot_be_read_matches_nobody() {
        let subscriptions = Subscriptions::of(&configs(&[
            ("a", "metrics", "x.,*"),
            ("b", "metrics", "y."),
            ("b", "match", "client_id=(?=a)b"),
        ]));
        let wish = subscriptions.wish(&client("c"), Uuid::from_u128(7));
        assert_eq!(wish.metrics, BTreeSet::from(["*".to_owned()]));
        let unknown = Subscriptions::of(&configs(&[("a", "match", "client_software_version=1")]));
        assert!(!unknown.0[0].matches(&client("c"), Uuid::from_u128(7)));
    }

    #[test]
    fn of_an_attribute_that_is_named_again_the_last_pattern_counts() {
        let first = "client_id=(.{1,200}){1,20},".repeat(1_700);
        let patterns = format!("{first}client_id=c");
        let subscriptions = Subscriptions::of(&configs(&[("a", "match", &patterns)]));
        let [one] = &subscriptions.0[..] else {
            panic!("{subscriptions:?}")
        };
        assert_eq!(one.patterns.len(), 1);
        assert!(one.matches(&client("c"), Uuid::from_u128(7)));
        assert!(!one.matches(&client("d"), Uuid::from_u128(7)));
    }

    #[test]
    fn a_pattern_that_takes_too_much_matches_nobody() {
        let large = Subscriptions::of(&configs(&[("a", "match", "client_id=c{0,900}")]));
        assert!(!large.0[0].matches(&client("c"), Uuid::from_u128(7)));
        let id = "client_instance_id=[0-9a-zA-Z_-]{22}";
        let usual = Subscriptions::of(&configs(&[("a", "match", id)]));
        assert!(usual.0[0].matches(&client("c"), Uuid::from_u128(7)));
    }
}
