//! Groups are listed whole, or with an error: one that cannot be told of now is never left out.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod stand;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal};

use crate::stand::{Client, PATIENCE, Running, create};

/// Of the only partition that coordinates groups.
#[derive(Default)]
struct Trouble {
    holds_syncs: AtomicBool,
    /// The next write panics.
    panics: AtomicBool,
}

impl DiskFaults for Trouble {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let is_it = path
            .parent()
            .is_some_and(|parent| parent.ends_with("__consumer_offsets-0"));
        if !is_log || !is_it {
            return DiskVerdict::Proceed;
        }
        while call == DiskCall::Sync && self.holds_syncs.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let panics = call == DiskCall::Write && self.panics.swap(false, Ordering::AcqRel);
        assert!(!panics, "on purpose");
        DiskVerdict::Proceed
    }
}

/// Lets the disk go on, however the test ends.
struct Release(Arc<Trouble>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.holds_syncs.store(false, Ordering::Release);
    }
}

/// With the group `g`.
fn start(directory: &Path, trouble: &Arc<Trouble>) -> (Running, Client) {
    let soon = [("offsets.commit.timeout.ms", "200")];
    let running = Running::start(directory, Disk::breakable(trouble.clone()), &soon);
    let mut client = Client::connect(running.port);
    create(&mut client, "t");
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    wait_until("no coordinator", || {
        client.call(&find, 4).coordinators[0].error_code == NONE
    });
    wait_until("nothing is committed", || {
        commit(&mut client, "g").is_none()
    });
    (running, client)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn commit(client: &mut Client, group: &'static str) -> Option<Refusal> {
    let answer = client.call(&stand::commit(group), 8);
    Refusal::from_code(answer.topics[0].partitions[0].error_code)
}

fn list(client: &mut Client) -> Result<Vec<String>, Refusal> {
    let listed = client.call(&ListGroupsRequest::default(), 4);
    match Refusal::from_code(listed.error_code) {
        Some(refusal) => Err(refusal),
        None => {
            let names = listed.groups.iter().map(|group| group.group_id.to_string());
            let mut names: Vec<_> = names.collect();
            names.sort_unstable();
            Ok(names)
        }
    }
}

fn fetch(client: &mut Client, group: &'static str) -> Option<Refusal> {
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Refusal::from_code(client.call(&fetch, 8).groups[0].error_code)
}

#[test]
fn while_the_disk_does_not_sync_there_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let trouble = Arc::new(Trouble::default());
    let (running, mut client) = start(directory.path(), &trouble);
    assert_eq!(list(&mut client), Ok(vec!["g".to_owned()]));

    let _release = Release(trouble.clone());
    trouble.holds_syncs.store(true, Ordering::Release);
    let late = Some(Refusal::CoordinatorNotAvailable);
    assert_eq!(commit(&mut client, "h"), late);
    assert_eq!(list(&mut client).err(), late);
    assert_eq!(fetch(&mut client, "h"), Some(Refusal::NotCoordinator));

    trouble.holds_syncs.store(false, Ordering::Release);
    let both = Ok(vec!["g".to_owned(), "h".to_owned()]);
    wait_until("not all are listed", || list(&mut client) == both);
    running.stop();
}

#[test]
fn while_a_log_is_to_be_read_again_there_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let trouble = Arc::new(Trouble::default());
    let (running, mut client) = start(directory.path(), &trouble);
    trouble.panics.store(true, Ordering::Release);
    assert_eq!(commit(&mut client, "h"), Some(Refusal::NotCoordinator));
    let mut n_refused = 0;
    let all = loop {
        match list(&mut client) {
            Ok(all) => break all,
            Err(Refusal::CoordinatorNotAvailable | Refusal::CoordinatorLoadInProgress) => {
                n_refused += 1;
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(n_refused > 0 && all.contains(&"g".to_owned()), "{all:?}");
    running.stop();
}
