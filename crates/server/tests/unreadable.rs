//! A partition of `__consumer_offsets` that cannot be read costs its own groups, and no other.

mod stand;

use std::fs;
use std::path::Path;
use std::time::Instant;

use ottla_node::Disk;
use ottla_protocol::batch::batches;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal};

use crate::stand::{Client, PATIENCE, Running, create};

/// Groups of the one partition and of the other.
const LOST: &str = "a";
const LOST_IN: &str = "__consumer_offsets-1";
const KEPT: &str = "b";

fn start(directory: &Path) -> (Running, Client) {
    let two = [("offsets.topic.num.partitions", "2")];
    let running = Running::start(directory, Disk::new(), &two);
    let client = Client::connect(running.port);
    (running, client)
}

/// Asks again while the coordinators come up.
fn when_loaded<T>(mut ask: impl FnMut() -> (i16, T)) -> (i16, T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, answer) = ask();
        let is_early = Refusal::from_code(code) == Some(Refusal::CoordinatorLoadInProgress);
        if !is_early {
            return (code, answer);
        }
        assert!(Instant::now() < deadline, "never loaded");
    }
}

/// Waits until the coordinator of a group is named.
fn find(client: &mut Client, group: &'static str) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec![group.into()],
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    while client.call(&find, 4).coordinators[0].error_code != NONE {
        assert!(Instant::now() < deadline, "no coordinator");
    }
}

fn commit(client: &mut Client, group: &'static str) {
    find(client, group);
    let commit = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 7,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let committed = when_loaded(|| {
        let answer = client.call(&commit, 8);
        (answer.topics[0].partitions[0].error_code, ())
    });
    assert_eq!(committed.0, NONE);
}

fn fetch(client: &mut Client, group: &'static str) -> (i16, Option<i64>) {
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    when_loaded(|| {
        let answer = client.call(&fetch, 8);
        let group = &answer.groups[0];
        let topic = group.topics.first();
        let offset = topic.map(|topic| topic.partitions[0].committed_offset);
        (group.error_code, offset)
    })
}

/// Offset 0 of `t-0` in the group, in a version that is not known.
fn append_unknown(log: &Path) {
    let clean = fs::read(log).unwrap();
    let last = batches(&clean).map(Result::unwrap).last().unwrap();
    let mut builder = BatchBuilder::internal(last.next_offset(), last.leader_epoch());
    builder.push(1, Some(b"\0\x01\0\x01a\0\x01t\0\0\0\0"), Some(b"\0\x63"));
    fs::write(log, [&clean[..], &builder.finish()].concat()).unwrap();
}

#[test]
fn groups_of_other_partitions_are_listed_and_served() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut client) = start(directory.path());
    create(&mut client, "t");
    commit(&mut client, LOST);
    commit(&mut client, KEPT);
    running.stop();
    let partition = directory.path().join("data").join(LOST_IN);
    append_unknown(&partition.join("00000000000000000000.log"));

    let (running, mut client) = start(directory.path());
    find(&mut client, KEPT);
    let (code, names) = when_loaded(|| {
        let listed = client.call(&ListGroupsRequest::default(), 4);
        let names = listed.groups.iter().map(|group| group.group_id.to_string());
        (listed.error_code, names.collect::<Vec<_>>())
    });
    assert_eq!((code, names), (NONE, vec![KEPT.to_owned()]));
    let elsewhere = Refusal::NotCoordinator.code();
    assert_eq!(fetch(&mut client, LOST), (elsewhere, None));
    assert_eq!(fetch(&mut client, KEPT), (NONE, Some(7)));
    running.stop();
}
