//! Partitions that move from one log directory to the other while more is asked of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ottla_metadata::controller::{DeleteTarget, Unmetered};
use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict, Node};
use ottla_protocol::{Refusal, TopicPartition};
use tokio::task::JoinHandle;

use super::{append, becomes, config, create, names, runtime, start_on};

const MOVES: &str = "ottla_replica_moves";

/// Holds up some calls, and counts them.
struct Hold {
    is_at: fn(DiskCall, &Path) -> bool,
    /// How many came, and whether they are held.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Hold {
    fn new(is_at: fn(DiskCall, &Path) -> bool) -> Arc<Self> {
        Arc::new(Self {
            is_at,
            state: Mutex::new((0, true)),
            changed: Condvar::new(),
        })
    }

    fn n_came(&self) -> usize {
        self.state.lock().unwrap().0
    }

    fn release(&self) {
        self.state.lock().unwrap().1 = false;
        self.changed.notify_all();
    }
}

impl DiskFaults for Hold {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        if (self.is_at)(call, path) {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            while state.1 {
                state = self.changed.wait(state).unwrap();
            }
        }
        DiskVerdict::Proceed
    }
}

/// Whether it comes to be so before long.
async fn comes(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..2000 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// A node with two log directories and a topic `t`; where `t` lies, and the other one.
async fn with_two_directories(place: &Path, hold: &Arc<Hold>) -> (Node, PathBuf, PathBuf) {
    let [a, b] = ["a", "b"].map(|name| place.join(name));
    let both = format!("{},{}", a.display(), b.display());
    let config = config(place, &[("log.dirs", &both)]);
    let node = start_on(&config, Disk::breakable(hold.clone()))
        .await
        .unwrap();
    node.services().logs_opened().await;
    create(&node, "t").await;
    append(&node, "t", 3).await;
    let t = node.services().leader_of("t", 0).unwrap();
    match t.directory().path() == a {
        true => (node, a, b),
        false => (node, b, a),
    }
}

/// AlterReplicaLogDirs of `t`.
fn move_to(node: &Node, target: &Path) -> JoinHandle<Result<(), Refusal>> {
    let services = node.services().clone();
    let path = Arc::from(target.to_str().unwrap());
    tokio::spawn(async move {
        let wanted = [(TopicPartition::new("t", 0), path)].into();
        services.alter_log_dirs(wanted).await.remove(0).1
    })
}

fn delete(node: &Node) -> JoinHandle<()> {
    let services = node.services().clone();
    tokio::spawn(async move {
        let deleted = services.controller().decide(|ledger, _| {
            ledger.delete_topics(&[DeleteTarget::Name("t".to_owned())], &mut Unmetered)
        });
        assert!(deleted.await.unwrap()[0].outcome.is_ok());
    })
}

fn is_copy(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-future")
}

#[test]
fn a_topic_is_deleted_where_a_move_has_just_put_its_log() {
    let place = tempfile::tempdir().unwrap();
    let hold = Hold::new(|call, path| call == DiskCall::Rename && is_copy(path));
    runtime().block_on(async {
        let (node, source, target) = with_two_directories(place.path(), &hold).await;
        move_to(&node, &target).await.unwrap().unwrap();
        assert!(comes(|| hold.n_came() == 1).await, "it takes its place");
        let deleted = delete(&node);
        let partitions = node.services().partitions();
        assert!(comes(|| partitions.find("t", 0).is_err()).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        hold.release();
        deleted.await.unwrap();
        let n_deleted = [&source, &target].map(|directory| names(directory, "-delete"));
        assert_eq!(n_deleted, [1, 1], "the log that was copied, and the copy");
        node.stop().await.unwrap();
    });
}

/// Before the files of a copy are made.
fn begins_copy(call: DiskCall, path: &Path) -> bool {
    call == DiskCall::MakeDirectory && is_copy(path)
}

/// No move is left, and nothing of one.
async fn ends_without_copies(node: Node, directories: [&Path; 2]) {
    assert!(becomes(&node, MOVES, |n| n == 0.0).await);
    let n_copies = directories.map(|directory| names(directory, "-future"));
    assert_eq!(n_copies, [0, 0]);
    node.stop().await.unwrap();
}

#[test]
fn who_asks_twice_for_a_move_gets_one() {
    let place = tempfile::tempdir().unwrap();
    let hold = Hold::new(begins_copy);
    runtime().block_on(async {
        let (node, source, target) = with_two_directories(place.path(), &hold).await;
        let first = move_to(&node, &target);
        assert!(comes(|| hold.n_came() == 1).await);
        let second = move_to(&node, &target);
        // It would be there by now.
        tokio::time::sleep(Duration::from_millis(100)).await;
        hold.release();
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(second.await.unwrap(), Ok(()));
        let t = node.services().leader_of("t", 0).unwrap();
        assert!(comes(|| t.directory().path() == target).await);
        ends_without_copies(node, [&source, &target]).await;
        assert_eq!(hold.n_came(), 1);
    });
}

#[test]
fn a_move_that_is_begun_while_its_topic_is_deleted_ends() {
    let place = tempfile::tempdir().unwrap();
    let hold = Hold::new(begins_copy);
    runtime().block_on(async {
        let (node, source, target) = with_two_directories(place.path(), &hold).await;
        let asked = move_to(&node, &target);
        assert!(comes(|| hold.n_came() == 1).await);
        delete(&node).await.unwrap();
        hold.release();
        assert_eq!(asked.await.unwrap(), Err(Refusal::ReplicaNotAvailable));
        ends_without_copies(node, [&source, &target]).await;
    });
}
