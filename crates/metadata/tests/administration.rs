//! Elections, reassignments and feature levels, on two brokers of which one may be away.

mod one_node;

use ottla_metadata::controller::{
    Controller, Decision, FeatureUpdate, Outcome, Reassignment, UpgradeType, Wanted, check_number,
};
use ottla_metadata::image::{Image, Partition, Resource, SUPPORTED, directory};
use ottla_metadata::records::{
    BrokerFeature, ConfigRecord, FeatureLevelRecord, PartitionRecord, Record, RegisterBrokerRecord,
    TopicRecord, UnfenceBrokerRecord,
};
use ottla_protocol::{NodeId, Uuid};

const TOPIC: Uuid = Uuid::from_u128(77);

struct Cluster {
    controller: Controller,
    offset: i64,
}

impl Cluster {
    /// At a level, with brokers 1 and 2; the second may be fenced.
    fn new(level: i16, second_is_alive: bool) -> Self {
        let mut cluster = Self {
            controller: Controller::new(one_node::settings(), Image::default()),
            offset: 0,
        };
        cluster.replay(feature("metadata.version", level));
        for broker_id in [1, 2] {
            let features = SUPPORTED.iter().map(|known| BrokerFeature {
                name: known.name.into(),
                min_supported_version: known.min,
                max_supported_version: known.max,
            });
            let kraft = BrokerFeature {
                name: "kraft.version".into(),
                min_supported_version: 0,
                max_supported_version: 1,
            };
            cluster.replay(
                RegisterBrokerRecord {
                    broker_id,
                    broker_epoch: i64::from(broker_id),
                    features: features.chain([kraft]).collect(),
                    fenced: true,
                    log_dirs: vec![Uuid::from_u128(100 + broker_id.unsigned_abs() as u128)],
                    ..RegisterBrokerRecord::default()
                }
                .into(),
            );
            if broker_id == 1 || second_is_alive {
                let unfence = UnfenceBrokerRecord {
                    id: broker_id,
                    epoch: i64::from(broker_id),
                };
                cluster.replay(unfence.into());
            }
        }
        let topic = TopicRecord {
            name: "t".into(),
            topic_id: TOPIC,
        };
        cluster.replay(topic.into());
        cluster
    }

    fn with_partition(mut self, replicas: &[NodeId], isr: &[NodeId], leader: NodeId) -> Self {
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: replicas.to_vec(),
            isr: isr.to_vec(),
            leader,
            directories: replicas
                .iter()
                .map(|node| Uuid::from_u128(100 + node.unsigned_abs() as u128))
                .collect(),
            ..PartitionRecord::default()
        };
        self.replay(partition.into());
        self
    }

    /// Each replica is in sync and in this directory.
    fn with_partition_in(mut self, replicas: &[NodeId], directory: Uuid) -> Self {
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: replicas.to_vec(),
            isr: replicas.to_vec(),
            leader: replicas[0],
            directories: vec![directory; replicas.len()],
            ..PartitionRecord::default()
        };
        self.replay(partition.into());
        self
    }

    fn replay(&mut self, record: Record) {
        self.controller.replay(&record, self.offset).unwrap();
        self.offset += 1;
    }

    /// Takes a decision's records in; its reply.
    fn take<Reply>(&mut self, decision: Decision<Reply>) -> Reply {
        for record in decision.batches.into_iter().flat_map(|batch| batch.records) {
            self.replay(record);
        }
        decision.reply
    }

    fn partition(&self) -> &Partition {
        self.controller.image().topics.partition("t", 0).unwrap()
    }

    fn elect(&mut self, wanted: Wanted, topic: &str, index: i32) -> i16 {
        let named = [(topic.to_owned(), vec![index])];
        let decision = self.controller.elect_leaders(wanted, Some(&named));
        code(&self.take(decision)[0].1[0].1)
    }

    fn reassign(&mut self, replicas: Option<&[NodeId]>, may_resize: bool) -> (i16, String) {
        let one = Reassignment {
            index: 0,
            replicas: replicas.map(<[NodeId]>::to_vec),
        };
        let asked = [("t".to_owned(), vec![one])];
        let decision = self.controller.alter_reassignments(&asked, may_resize);
        let outcome = self.take(decision).remove(0).1.remove(0).1;
        (
            code(&outcome),
            outcome
                .err()
                .map_or(String::new(), |refused| refused.words().to_owned()),
        )
    }

    fn update(&mut self, name: &str, level: i16, upgrade: UpgradeType) -> (i16, String) {
        let update = FeatureUpdate {
            name: name.to_owned(),
            level,
            upgrade,
        };
        let decision = self.controller.update_features(&[update], false, 0);
        let outcome = self.take(decision);
        (
            code(&outcome),
            outcome
                .err()
                .map_or(String::new(), |refused| refused.words().to_owned()),
        )
    }
}

fn feature(name: &str, level: i16) -> Record {
    FeatureLevelRecord {
        name: name.into(),
        feature_level: level,
    }
    .into()
}

fn code<T>(outcome: &Outcome<T>) -> i16 {
    outcome.as_ref().err().map_or(0, |refused| refused.code())
}

#[test]
fn the_preferred_leader_is_elected_if_it_can_lead() {
    let mut cluster = Cluster::new(30, true).with_partition(&[2, 1], &[1, 2], 1);
    assert_eq!(cluster.elect(Wanted::Preferred, "t", 0), 0);
    assert_eq!(cluster.partition().leader, Some(2));
    assert_eq!(
        cluster.elect(Wanted::Preferred, "t", 0),
        84,
        "it leads already"
    );
    assert_eq!(cluster.elect(Wanted::Unclean, "t", 0), 84);
    assert_eq!(cluster.elect(Wanted::Preferred, "t", 7), 3);
    assert_eq!(cluster.elect(Wanted::Preferred, "absent", 0), 3);
    let mut away = Cluster::new(30, false).with_partition(&[2, 1], &[1], 1);
    assert_eq!(away.elect(Wanted::Preferred, "t", 0), 80);
}

#[test]
fn an_unclean_election_takes_anybody_alive_and_nobody_else() {
    let mut cluster = Cluster::new(30, false).with_partition(&[2, 1], &[2], -1);
    assert_eq!(cluster.elect(Wanted::Preferred, "t", 0), 80);
    assert_eq!(cluster.elect(Wanted::Unclean, "t", 0), 0);
    let partition = cluster.partition();
    assert_eq!(
        (partition.leader, &partition.in_sync[..]),
        (Some(1), &[1][..])
    );
    let mut nobody = Cluster::new(30, false).with_partition(&[2], &[2], -1);
    assert_eq!(nobody.elect(Wanted::Unclean, "t", 0), 83);
}

#[test]
fn an_election_everywhere_tells_only_what_changed() {
    let mut cluster = Cluster::new(30, true).with_partition(&[1], &[1], 1);
    let decision = cluster.controller.elect_leaders(Wanted::Preferred, None);
    assert!(decision.batches.is_empty());
    assert_eq!(cluster.take(decision), [("t".to_owned(), Vec::new())]);
}

#[test]
fn a_move_waits_for_the_new_replica_and_can_be_given_up() {
    let mut cluster = Cluster::new(30, true).with_partition(&[1], &[1], 1);
    assert_eq!(cluster.reassign(None, true).0, 85);
    assert_eq!(
        cluster.reassign(Some(&[1]), true),
        (0, String::new()),
        "it is there already"
    );
    assert_eq!(cluster.reassign(Some(&[2]), true).0, 0);
    let partition = cluster.partition();
    assert_eq!(partition.replicas, [2, 1]);
    assert_eq!(
        (&partition.adding[..], &partition.removing[..]),
        (&[2][..], &[1][..])
    );
    assert_eq!(
        partition.directories,
        [Uuid::from_u128(102), Uuid::from_u128(101)]
    );
    assert_eq!(cluster.reassign(None, true).0, 0);
    let partition = cluster.partition();
    assert_eq!(partition.replicas, [1]);
    assert!(partition.adding.is_empty() && partition.removing.is_empty());
}

#[test]
fn a_move_to_replicas_that_are_in_sync_is_done_at_once() {
    let mut cluster = Cluster::new(30, true).with_partition(&[1, 2], &[1, 2], 1);
    let epoch = cluster.partition().leader_epoch;
    assert_eq!(cluster.reassign(Some(&[2, 1]), false).0, 0);
    assert_eq!(cluster.partition().replicas, [2, 1]);
    assert_eq!(
        cluster.partition().leader,
        Some(1),
        "the order alone elects nobody"
    );
    assert_eq!(cluster.reassign(Some(&[2]), true).0, 0);
    let partition = cluster.partition();
    assert_eq!(
        (&partition.replicas[..], partition.leader),
        (&[2][..], Some(2))
    );
    assert_eq!(partition.in_sync, [2]);
    assert!(partition.leader_epoch > epoch);
}

#[test]
fn partitions_without_directories_move() {
    let mut cluster = Cluster::new(16, true).with_partition_in(&[1], directory::MIGRATING);
    assert_eq!(cluster.reassign(Some(&[1, 2]), true).0, 0);
    let partition = cluster.partition();
    assert_eq!(
        (&partition.replicas[..], &partition.adding[..]),
        (&[1, 2][..], &[2][..])
    );
    assert_eq!(partition.directories, [directory::MIGRATING; 2]);
    assert_eq!(cluster.reassign(None, true).0, 0);
    assert_eq!(cluster.partition().directories, [directory::MIGRATING]);
}

#[test]
fn a_partition_that_is_named_twice_moves_where_both_say_the_same() {
    let mut cluster = Cluster::new(30, true).with_partition_in(&[1, 2], directory::UNASSIGNED);
    let to = |replicas: &[NodeId]| Reassignment {
        index: 0,
        replicas: Some(replicas.to_vec()),
    };
    let asked = [("t".to_owned(), vec![to(&[2, 1]), to(&[2, 1])])];
    let decision = cluster.controller.alter_reassignments(&asked, true);
    assert_eq!(cluster.controller.check(&decision.batches), Ok(()));
    let told = cluster.take(decision);
    let told: Vec<i16> = told
        .iter()
        .flat_map(|(_, outcomes)| outcomes)
        .map(|(_, outcome)| code(outcome))
        .collect();
    assert_eq!(told, [0, 0]);
    assert_eq!(cluster.partition().replicas, [2, 1]);
}

#[test]
fn records_that_contradict_each_other_do_not_pass() {
    let cluster = Cluster::new(30, true).with_partition_in(&[1, 2], directory::UNASSIGNED);
    let planned = |replicas: &[NodeId]| {
        let one = Reassignment {
            index: 0,
            replicas: Some(replicas.to_vec()),
        };
        let asked = [("t".to_owned(), vec![one])];
        let decision = cluster.controller.alter_reassignments(&asked, true);
        assert_eq!(cluster.controller.check(&decision.batches), Ok(()));
        decision.batches
    };
    let both = [planned(&[1]), planned(&[2, 1])].concat();
    assert!(cluster.controller.check(&both).is_err());
}

#[test]
fn bad_moves_are_refused() {
    let mut cluster = Cluster::new(30, true).with_partition(&[1], &[1], 1);
    let code =
        |cluster: &mut Cluster, replicas: &[NodeId]| cluster.reassign(Some(replicas), true).0;
    assert_eq!(code(&mut cluster, &[]), 39);
    assert_eq!(code(&mut cluster, &[3]), 39);
    assert_eq!(code(&mut cluster, &[-1]), 39);
    assert_eq!(code(&mut cluster, &[1, 1]), 39);
    let (refusal, words) = cluster.reassign(Some(&[1, 2]), false);
    assert_eq!(
        (refusal, &*words),
        (38, "The replication factor is changed from 1 to 2")
    );
    let one = Reassignment {
        index: 9,
        replicas: Some(vec![1]),
    };
    for topic in ["t", "absent"] {
        let asked = [(topic.to_owned(), vec![one.clone()])];
        let decision = cluster.controller.alter_reassignments(&asked, true);
        assert_eq!(self::code(&cluster.take(decision)[0].1[0].1), 3, "{topic}");
    }
}

#[test]
fn a_long_name_that_no_topic_has_is_not_said_of_every_partition() {
    let cluster = Cluster::new(30, true);
    let name = "a".repeat(32_000);
    let indexes: Vec<i32> = (0..1_000).collect();
    let one = |index: &i32| Reassignment {
        index: *index,
        replicas: None,
    };
    let moves = [(name.clone(), indexes.iter().map(one).collect())];
    let moves = cluster.controller.alter_reassignments(&moves, true).reply;
    let elections = [(name, indexes)];
    let elections = cluster
        .controller
        .elect_leaders(Wanted::Preferred, Some(&elections));
    for (outcomes, begins) in [
        (moves, "Unable to find a topic named aaa"),
        (elections.reply, "No such topic as aaa"),
    ] {
        let outcomes = &outcomes[0].1;
        let words = outcomes.iter().map(|(_, outcome)| outcome.as_ref());
        let words: Vec<&str> = words.map(|it| it.unwrap_err().words()).collect();
        assert!(words.iter().all(|words| words.starts_with(begins)));
        let n_bytes: usize = words.iter().map(|words| words.len()).sum();
        assert!(words.len() == 1_000 && n_bytes < 1_000_000, "{n_bytes}");
    }
}

#[test]
fn one_request_names_no_more_partitions_than_are_looked_at_in_one_go() {
    let named = |n_partitions: i32| [("t".to_owned(), (0..n_partitions).collect::<Vec<_>>())];
    assert_eq!(check_number(&named(100_000)), Ok(()));
    assert_eq!(check_number(&named(100_001)).unwrap_err().code(), 44);
}

#[test]
fn levels_rise_and_fall_in_kafkas_steps() {
    use UpgradeType::{SafeDowngrade, Unknown, UnsafeDowngrade, Upgrade};
    let mut cluster = Cluster::new(17, true);
    assert_eq!(cluster.update("metadata.version", 29, Upgrade).0, 0);
    assert_eq!(cluster.update("metadata.version", 25, SafeDowngrade).0, 0);
    let level = cluster
        .controller
        .image()
        .features
        .level("metadata.version");
    assert_eq!(level, 25);
    assert_eq!(cluster.update("group.version", 1, Upgrade).0, 0);
    assert_eq!(cluster.update("group.version", 0, SafeDowngrade).0, 0);
    for (name, level, upgrade, words) in [
        (
            "metadata.version",
            31,
            Upgrade,
            "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            6,
            UnsafeDowngrade,
            "Invalid update version 6 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            24,
            Upgrade,
            "Invalid update version 24 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "metadata.version",
            26,
            SafeDowngrade,
            "Invalid update version 26 for feature metadata.version. Can't downgrade to a newer version.",
        ),
        (
            "metadata.version",
            20,
            SafeDowngrade,
            "Unsupported metadata.version downgrade from 25 to 20. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            "metadata.version",
            20,
            UnsafeDowngrade,
            "Unsupported metadata.version downgrade from 25 to 20. Unsafe metadata downgrade is not supported in this version.",
        ),
        (
            "group.version",
            -1,
            Upgrade,
            "Invalid update version -1 for feature group.version. A feature version cannot be less than 0.",
        ),
        (
            "group.version",
            2,
            Upgrade,
            "Invalid update version 2 for feature group.version. Local controller 1 only supports versions 0-1",
        ),
        (
            "group.version",
            1,
            Unknown,
            "Invalid update version 1 for feature group.version. The controller does not support the given upgrade type.",
        ),
        (
            "no.version",
            1,
            Upgrade,
            "Invalid update version 1 for feature no.version. Local controller 1 does not support this feature.",
        ),
        (
            "no.version",
            0,
            SafeDowngrade,
            "Invalid update version 0 for feature no.version. Feature no.version not found.",
        ),
    ] {
        let told = cluster.update(name, level, upgrade);
        assert_eq!(told, (95, words.to_owned()), "{name} {level} {upgrade:?}");
    }
    assert_eq!(
        cluster.update("kraft.version", 0, Upgrade),
        (0, String::new())
    );
}

#[test]
fn the_quorums_own_level_rises_by_its_own_hand() {
    let cluster = Cluster::new(25, true);
    let to = |level, upgrade| FeatureUpdate {
        name: "kraft.version".to_owned(),
        level,
        upgrade,
    };
    let decide = |level, upgrade, validate_only, now| {
        let updates = [to(level, upgrade)];
        cluster
            .controller
            .update_features(&updates, validate_only, now)
    };
    let up = UpgradeType::Upgrade;
    let raised = decide(1, up, false, 0);
    assert_eq!(raised.reply, Ok(()));
    let batch = &raised.batches[0];
    assert_eq!((batch.kraft_version, batch.records.len()), (Some(1), 1));
    assert!(matches!(batch.records[0], Record::NoOp(_)), "to wait for");
    for nothing in [decide(1, up, true, 0), decide(1, up, false, 1)] {
        assert!(nothing.reply.is_ok() && nothing.batches.is_empty());
    }
    let lowered = decide(0, UpgradeType::SafeDowngrade, false, 1);
    assert_eq!(
        lowered.reply.unwrap_err().words(),
        "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."
    );
    // No other decision touches it.
    let other = FeatureUpdate {
        name: "transaction.version".to_owned(),
        level: 1,
        upgrade: up,
    };
    let other = cluster.controller.update_features(&[other], false, 0);
    assert_eq!(other.batches[0].kraft_version, None);
}

#[test]
fn eligible_leaders_need_their_level_and_one_minimum_for_all() {
    let mut cluster = Cluster::new(22, true);
    let (refusal, words) =
        cluster.update("eligible.leader.replicas.version", 1, UpgradeType::Upgrade);
    assert_eq!(refusal, 95);
    assert!(
        words.ends_with("because it depends on metadata.version level 23"),
        "{words}"
    );
    cluster.replay(
        ConfigRecord {
            resource_type: 4,
            resource_name: "2".into(),
            name: "min.insync.replicas".into(),
            value: Some("2".into()),
        }
        .into(),
    );
    let both = |level| FeatureUpdate {
        name: "metadata.version".to_owned(),
        level,
        upgrade: UpgradeType::Upgrade,
    };
    let elr = FeatureUpdate {
        name: "eligible.leader.replicas.version".to_owned(),
        level: 1,
        upgrade: UpgradeType::Upgrade,
    };
    let dry = cluster
        .controller
        .update_features(&[both(26), elr.clone()], true, 0);
    assert!(dry.reply.is_ok() && dry.batches.is_empty());
    let decision = cluster
        .controller
        .update_features(&[both(26), elr], false, 0);
    assert_eq!(cluster.take(decision), Ok(()));
    let image = cluster.controller.image();
    assert!(image.features.has_elr());
    let value = |resource: &Resource| image.configs.value(resource, "min.insync.replicas");
    assert_eq!(value(&Resource::cluster()).map(|value| &**value), Some("1"));
    assert_eq!(value(&Resource::broker(2)), None);
}
