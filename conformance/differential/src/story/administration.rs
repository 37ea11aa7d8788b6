//! What an administrator asks about leaders, replicas, quotas, credentials and feature levels: each API once as
//! it should be, and in many ways as it should not.

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::{Story, TIMEOUT_MS, settle, versions};

/// Nobody has this id, now or later.
const NOBODY: i32 = 7777;

impl Story<'_> {
    pub fn administration(&mut self) {
        let topic = self.name("administration");
        self.make_topic(&topic, 2);
        self.elect_leaders(&topic);
        self.reassign(&topic);
        self.list_reassignments(&topic);
        self.alter_quotas();
        self.describe_quotas();
        self.credentials();
        self.update_features();
        self.unregister();
    }

    /// Only those whom nobody knows: this broker is needed, and there is no other.
    fn unregister(&mut self) {
        for version in versions::<UnregisterBrokerRequest>() {
            for broker_id in [0, NOBODY, -1, i32::MIN, i32::MAX] {
                let request = UnregisterBrokerRequest { broker_id };
                self.ask(&format!("broker {broker_id}"), version, &request);
            }
        }
    }

    fn elect_leaders(&mut self, topic: &Text) {
        let absent = self.name("no-such-topic");
        let of = |topic: &Text, partitions: &[i32]| ElectLeadersTopicPartitions {
            topic: topic.clone(),
            partitions: partitions.to_vec(),
        };
        let cases = [
            ("led already", vec![of(topic, &[0, 1])]),
            ("nothing", Vec::new()),
            ("no partitions", vec![of(topic, &[])]),
            ("unknown topic", vec![of(&absent, &[0])]),
            ("unknown partition", vec![of(topic, &[0, 2])]),
            ("negative partition", vec![of(topic, &[-1, i32::MIN])]),
            ("partition twice", vec![of(topic, &[0, 0])]),
            ("topic twice", vec![of(topic, &[0]), of(topic, &[1])]),
            ("bad name", vec![of(&Text::from("no/name"), &[0])]),
            ("empty name", vec![of(&Text::new(), &[0])]),
        ];
        for version in versions::<ElectLeadersRequest>() {
            for election_type in [0, 1, 2, -1] {
                if version == 0 && election_type != 0 {
                    continue;
                }
                for (label, topics) in &cases {
                    let request = ElectLeadersRequest {
                        election_type,
                        topic_partitions: Some(topics.clone()),
                        timeout_ms: TIMEOUT_MS,
                    };
                    self.ask(&format!("{label}, kind {election_type}"), version, &request);
                }
            }
            // All topics that there are: each broker has others.
            let request = ElectLeadersRequest {
                topic_partitions: None,
                ..Default::default()
            };
            self.prove("all", version, &request);
        }
    }

    fn reassign(&mut self, topic: &Text) {
        let (node, absent) = (self.node, self.name("no-such-topic"));
        let to = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
            partition_index,
            replicas: replicas.map(<[i32]>::to_vec),
        };
        let of = |topic: &Text, partitions: Vec<ReassignablePartition>| ReassignableTopic {
            name: topic.clone(),
            partitions,
        };
        let cases = [
            ("where it is", vec![of(topic, vec![to(0, Some(&[node]))])]),
            (
                "give up what does not move",
                vec![of(topic, vec![to(0, None)])],
            ),
            ("nothing", Vec::new()),
            ("no partitions", vec![of(topic, Vec::new())]),
            ("nowhere", vec![of(topic, vec![to(0, Some(&[]))])]),
            (
                "unknown broker",
                vec![of(topic, vec![to(0, Some(&[NOBODY]))])],
            ),
            ("negative broker", vec![of(topic, vec![to(0, Some(&[-1]))])]),
            (
                "broker twice",
                vec![of(topic, vec![to(0, Some(&[node, node]))])],
            ),
            (
                "one more, unknown",
                vec![of(topic, vec![to(0, Some(&[node, NOBODY]))])],
            ),
            (
                "unknown topic",
                vec![of(&absent, vec![to(0, Some(&[node]))])],
            ),
            (
                "unknown partition",
                vec![of(topic, vec![to(9, Some(&[node])), to(-1, None)])],
            ),
            (
                "partition twice",
                vec![of(topic, vec![to(1, Some(&[node])), to(1, None)])],
            ),
            (
                "empty name",
                vec![of(&Text::new(), vec![to(0, Some(&[node]))])],
            ),
        ];
        for version in versions::<AlterPartitionReassignmentsRequest>() {
            for allow in [true, false] {
                if version == 0 && !allow {
                    continue;
                }
                for (label, topics) in &cases {
                    let request = AlterPartitionReassignmentsRequest {
                        timeout_ms: TIMEOUT_MS,
                        allow_replication_factor_change: allow,
                        topics: topics.clone(),
                    };
                    let label = format!("{label}{}", if allow { "" } else { ", of that size" });
                    self.ask(&label, version, &request);
                }
            }
        }
    }

    fn list_reassignments(&mut self, topic: &Text) {
        let absent = self.name("no-such-topic");
        let of = |name: &Text, indexes: &[i32]| ListPartitionReassignmentsTopics {
            name: name.clone(),
            partition_indexes: indexes.to_vec(),
        };
        let cases = [
            ("all", None),
            ("one", Some(vec![of(topic, &[0])])),
            ("nothing", Some(Vec::new())),
            ("no partitions", Some(vec![of(topic, &[])])),
            ("unknown topic", Some(vec![of(&absent, &[0])])),
            ("unknown partition", Some(vec![of(topic, &[9, -1])])),
            ("topic twice", Some(vec![of(topic, &[0]), of(topic, &[0])])),
            ("empty name", Some(vec![of(&Text::new(), &[0])])),
        ];
        for version in versions::<ListPartitionReassignmentsRequest>() {
            for (label, topics) in &cases {
                let request = ListPartitionReassignmentsRequest {
                    timeout_ms: TIMEOUT_MS,
                    topics: topics.clone(),
                };
                self.ask(label, version, &request);
            }
        }
    }

    fn alter_quotas(&mut self) {
        let mine = self.name("limited");
        let entity = |parts: &[(&'static str, Option<&Text>)]| {
            let part = |(kind, name): &(&'static str, Option<&Text>)| AlterClientQuotasEntityData {
                entity_type: Text::from(*kind),
                entity_name: name.cloned(),
            };
            parts.iter().map(part).collect::<Vec<_>>()
        };
        let (user, client) = (
            entity(&[("user", Some(&mine))]),
            entity(&[("client-id", Some(&mine))]),
        );
        let rate = |value| vec![quota("producer_byte_rate", Some(value))];
        let one = |entity: &Vec<AlterClientQuotasEntityData>, ops: Vec<AlterClientQuotasOpData>| {
            vec![AlterClientQuotasRequestEntryData {
                entity: entity.clone(),
                ops,
            }]
        };
        let both = entity(&[("user", Some(&mine)), ("client-id", None)]);
        let ip = |host: &'static str| entity(&[("ip", Some(&Text::from_static(host)))]);
        let connections = |value| vec![quota("connection_creation_rate", Some(value))];
        let cases = [
            ("user", one(&user, rate(1e9))),
            ("user, again", one(&user, rate(1e9))),
            (
                "user, taken away",
                one(&user, vec![quota("producer_byte_rate", None)]),
            ),
            (
                "taken away, not there",
                one(&client, vec![quota("producer_byte_rate", None)]),
            ),
            (
                "both",
                one(
                    &both,
                    vec![
                        quota("consumer_byte_rate", Some(1e12)),
                        quota("controller_mutation_rate", Some(0.5)),
                    ],
                ),
            ),
            ("ip", one(&ip("10.9.8.7"), connections(1000.0))),
            ("nothing", Vec::new()),
            ("no kind", one(&Vec::new(), rate(1.0))),
            (
                "unknown kind",
                one(&entity(&[("group", Some(&mine))]), rate(1.0)),
            ),
            ("empty kind", one(&entity(&[("", Some(&mine))]), rate(1.0))),
            (
                "empty name",
                one(&entity(&[("user", Some(&Text::new()))]), rate(1.0)),
            ),
            (
                "kind twice",
                one(
                    &entity(&[("user", Some(&mine)), ("user", None)]),
                    vec![quota("no_such_rate", Some(1.0))],
                ),
            ),
            (
                "ip and user",
                one(&entity(&[("ip", None), ("user", None)]), connections(1.0)),
            ),
            ("unknown host", one(&ip("no..host"), connections(1.0))),
            ("rate of another kind", one(&ip("10.9.8.7"), rate(1.0))),
            ("connections of a user", one(&user, connections(1.0))),
            (
                "unknown rate",
                one(&user, vec![quota("no_such_rate", Some(1.0))]),
            ),
            (
                "unknown rate, taken away",
                one(&user, vec![quota("no_such_rate", None)]),
            ),
            ("zero", one(&user, rate(0.0))),
            ("negative", one(&user, rate(-1.0))),
            (
                "not a number",
                one(
                    &entity(&[("user", None), ("client-id", Some(&mine))]),
                    vec![quota("request_percentage", Some(-0.0))],
                ),
            ),
            ("a fraction of a byte", one(&user, rate(0.5))),
            ("nearly whole", one(&user, rate(1e9 + 1e-7))),
            ("above a long", one(&user, rate(1e19))),
            ("endless", one(&user, rate(f64::INFINITY))),
            ("above an int", one(&ip("10.9.8.7"), connections(3e9))),
            (
                "a fraction of a connection",
                one(&ip("10.9.8.7"), connections(1.5)),
            ),
            (
                "rate twice",
                one(
                    &user,
                    vec![
                        quota("producer_byte_rate", Some(2e9)),
                        quota("producer_byte_rate", Some(3e9)),
                    ],
                ),
            ),
            (
                "entity twice",
                [one(&client, rate(4e9)), one(&client, rate(5e9))].concat(),
            ),
            ("no rates", one(&user, Vec::new())),
            (
                "good and bad",
                [one(&client, rate(6e9)), one(&user, rate(-1.0))].concat(),
            ),
        ];
        for version in versions::<AlterClientQuotasRequest>() {
            for validate_only in [true, false] {
                for (label, entries) in &cases {
                    let request = AlterClientQuotasRequest {
                        entries: entries.clone(),
                        validate_only,
                    };
                    let label =
                        format!("{label}{}", if validate_only { ", only asked" } else { "" });
                    self.ask(&label, version, &request);
                }
                settle();
                self.describe_mine(&mine, &format!("after that, {version}, {validate_only}"));
            }
        }
    }

    /// What is set on the name of this chapter, after each round.
    fn describe_mine(&mut self, mine: &Text, label: &str) {
        for kind in ["user", "client-id"] {
            let request = DescribeClientQuotasRequest {
                components: vec![component(kind, 0, Some(mine))],
                strict: false,
            };
            self.ask(&format!("{label}, {kind}"), 1, &request);
        }
    }

    fn describe_quotas(&mut self) {
        let mine = self.name("limited");
        let (user, client) = ("user", "client-id");
        let cases = [
            ("by name", vec![component(user, 0, Some(&mine))]),
            (
                "by name and default",
                vec![component(user, 0, Some(&mine)), component(client, 1, None)],
            ),
            (
                "by name and any",
                vec![component(user, 0, Some(&mine)), component(client, 2, None)],
            ),
            (
                "an address",
                vec![component("ip", 0, Some(&Text::from_static("10.9.8.7")))],
            ),
            (
                "nobody",
                vec![component(user, 0, Some(&Text::from_static("nobody")))],
            ),
            ("empty kind", vec![component("", 0, Some(&mine))]),
            ("unknown kind", vec![component("group", 0, Some(&mine))]),
            (
                "kind twice",
                vec![component(user, 2, None), component(user, 1, None)],
            ),
            ("by name, without", vec![component(user, 0, None)]),
            (
                "the default, with a name",
                vec![component(user, 1, Some(&mine))],
            ),
            ("any, with a name", vec![component(user, 2, Some(&mine))]),
            ("unknown match", vec![component(user, 3, None)]),
            ("negative match", vec![component(user, -1, Some(&mine))]),
            (
                "ip and user",
                vec![component("ip", 2, None), component(user, 2, None)],
            ),
        ];
        for version in versions::<DescribeClientQuotasRequest>() {
            for strict in [true, false] {
                for (label, components) in &cases {
                    let request = DescribeClientQuotasRequest {
                        components: components.clone(),
                        strict,
                    };
                    let label = format!("{label}{}", if strict { ", strictly" } else { "" });
                    self.ask(&label, version, &request);
                }
            }
            let all = DescribeClientQuotasRequest {
                components: Vec::new(),
                strict: false,
            };
            self.prove("all", version, &all);
        }
    }

    /// The sweep asks badly.
    fn credentials(&mut self) {
        let name = self.name("credential");
        for version in versions::<AlterUserScramCredentialsRequest>() {
            let new = ScramCredentialUpsertion {
                name: name.clone(),
                mechanism: 2,
                iterations: 4096,
                salt: Bytes::from_static(b"salt"),
                salted_password: Bytes::from_static(&[b'p'; 64]),
            };
            let keep = AlterUserScramCredentialsRequest {
                deletions: Vec::new(),
                upsertions: vec![new],
            };
            self.ask("new", version, &keep);
            settle();
            let users = Some(vec![DescribeUserScramCredentialsUserName {
                name: name.clone(),
            }]);
            self.ask("one", 0, &DescribeUserScramCredentialsRequest { users });
            let gone = ScramCredentialDeletion {
                name: name.clone(),
                mechanism: 2,
            };
            let take_away = AlterUserScramCredentialsRequest {
                deletions: vec![gone],
                upsertions: Vec::new(),
            };
            self.ask("gone", version, &take_away);
        }
    }

    fn update_features(&mut self) {
        let of = |name: &'static str, level, upgrade_type| FeatureUpdateKey {
            feature: Text::from_static(name),
            max_version_level: level,
            allow_downgrade: false,
            upgrade_type,
        };
        let (up, safe, unsafely) = (1, 2, 3);
        let metadata = "metadata.version";
        let cases = [
            ("as it is", vec![of(metadata, 30, up)]),
            ("as it is, safely", vec![of(metadata, 30, safe)]),
            ("nothing", Vec::new()),
            ("off", vec![of("group.version", 0, safe)]),
            ("off, again", vec![of("group.version", 0, safe)]),
            ("on, as a downgrade", vec![of("group.version", 1, safe)]),
            ("on", vec![of("group.version", 1, up)]),
            ("off, as an upgrade", vec![of("group.version", 0, up)]),
            ("off, unsafely", vec![of("group.version", 0, unsafely)]),
            ("on again", vec![of("group.version", 1, up)]),
            ("down", vec![of(metadata, 29, safe)]),
            ("down, unsafely", vec![of(metadata, 29, unsafely)]),
            ("down, as an upgrade", vec![of(metadata, 29, up)]),
            ("too new", vec![of(metadata, 31, up)]),
            ("too old", vec![of(metadata, 6, unsafely)]),
            ("metadata 0", vec![of(metadata, 0, safe)]),
            ("negative", vec![of("group.version", -1, safe)]),
            ("least", vec![of("group.version", i16::MIN, up)]),
            ("too high", vec![of("transaction.version", 3, up)]),
            ("unknown feature", vec![of("no.such.version", 1, up)]),
            ("unknown feature, off", vec![of("no.such.version", 0, safe)]),
            ("no name", vec![of("", 1, up)]),
            ("unknown kind", vec![of("group.version", 1, 4)]),
            ("kind 0", vec![of("group.version", 1, 0)]),
            ("negative kind", vec![of("group.version", 1, -1)]),
            (
                "good and bad",
                vec![of("group.version", 1, up), of(metadata, 29, safe)],
            ),
            ("quorum, as it is", vec![of("kraft.version", 1, up)]),
            (
                "quorum, as it is, safely",
                vec![of("kraft.version", 1, safe)],
            ),
            ("quorum, down", vec![of("kraft.version", 0, safe)]),
            (
                "quorum, down, as an upgrade",
                vec![of("kraft.version", 0, up)],
            ),
            ("quorum, too new", vec![of("kraft.version", 2, up)]),
        ];
        for version in versions::<UpdateFeaturesRequest>() {
            for validate_only in [true, false] {
                if version == 0 && validate_only {
                    continue;
                }
                for (label, updates) in &cases {
                    let mut updates = updates.clone();
                    if version == 0 {
                        for update in &mut updates {
                            update.allow_downgrade = update.upgrade_type != up;
                            update.upgrade_type = up;
                        }
                    }
                    let request = UpdateFeaturesRequest {
                        timeout_ms: TIMEOUT_MS,
                        feature_updates: updates,
                        validate_only,
                    };
                    let label =
                        format!("{label}{}", if validate_only { ", only asked" } else { "" });
                    self.ask(&label, version, &request);
                }
                settle();
                let who = ApiVersionsRequest {
                    client_software_name: Text::from_static("ottla-differential"),
                    client_software_version: Text::from_static("1"),
                };
                self.ask(
                    &format!("levels after that, {version}, {validate_only}"),
                    4,
                    &who,
                );
            }
        }
    }
}

fn quota(key: &'static str, value: Option<f64>) -> AlterClientQuotasOpData {
    AlterClientQuotasOpData {
        key: Text::from_static(key),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    }
}

fn component(
    kind: &'static str,
    match_type: i8,
    name: Option<&Text>,
) -> DescribeClientQuotasComponentData {
    DescribeClientQuotasComponentData {
        entity_type: Text::from_static(kind),
        match_type,
        r#match: name.cloned(),
    }
}
