//! Looks after the log directories while the node runs: one that was taken away is noticed even if
//! nobody writes there, the controller is told of those that have failed, so that others may lead,
//! and the node ends when there is nothing left to serve from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::controller::BrokerHeartbeat;
use ottla_protocol::Uuid;
use ottla_storage::{Directories, Directory, Fault};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::services::Services;

/// What is acknowledged in a directory that was taken away is lost, for so long at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Why the node cannot go on; none while it can.
fn end_of(directories: &Directories) -> Option<Fault> {
    let metadata = directories.metadata();
    let gone = |directory: &Directory, why: String| Fault::Poisoned {
        path: directory.path().to_owned(),
        why,
    };
    if let Some(why) = metadata.offline_because() {
        return Some(gone(
            metadata,
            format!("the directory of the metadata log has failed: {why}"),
        ));
    }
    let mut offline = Vec::<PathBuf>::new();
    for directory in directories.all() {
        if directory.is_online() {
            return None;
        }
        offline.push(directory.path().to_owned());
    }
    let names: Vec<String> = offline
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Some(gone(
        metadata,
        format!("all log directories have failed: {}", names.join(", ")),
    ))
}

/// Runs until the node stops. `end` is told when it cannot go on.
pub(crate) async fn run(
    services: Arc<Services>,
    mut stopping: watch::Receiver<bool>,
    end: watch::Sender<Option<String>>,
) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Vec<Uuid> = Vec::new();
    let mut looking = Looking::default();
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stopping.changed() => return,
        }
        let directories = services.partitions.directories();
        looking.look(&services).await;
        if let Some(fault) = end_of(directories) {
            tracing::error!("{fault}");
            end.send_replace(Some(fault.to_string()));
            return;
        }
        let offline: Vec<Uuid> = directories
            .all()
            .iter()
            .filter(|directory| !directory.is_online() && directory.id() != Uuid::ZERO)
            .map(|directory| directory.id())
            .collect();
        if offline != told && tell(&services, offline.clone()).await {
            told = offline;
        }
    }
}

/// Whether the controller knows of them now.
async fn tell(services: &Services, offline_directories: Vec<Uuid>) -> bool {
    let heartbeat = BrokerHeartbeat {
        id: services.node_id(),
        epoch: services.broker_epoch(),
        metadata_offset: services.image().provenance.end_offset - 1,
        wants_fence: false,
        wants_shutdown: false,
        offline_directories,
        cordoned_directories: None,
    };
    let decided = services
        .controller
        .decide(move |ledger, _| ledger.broker_heartbeat(&heartbeat))
        .await;
    matches!(decided, Ok(Ok(_)))
}

/// The look at the directories that is under way. A disk that stalls holds up nothing but the next one.
#[derive(Default)]
struct Looking(Option<tokio::task::JoinHandle<()>>);

impl Looking {
    async fn look(&mut self, services: &Arc<Services>) {
        if let Some(under_way) = &mut self.0 {
            if !under_way.is_finished() {
                return;
            }
            let _ = under_way.await;
        }
        let partitions = services.partitions.clone();
        self.0 = Some(tokio::task::spawn_blocking(move || {
            let directories = partitions.directories();
            for directory in directories.all() {
                if directory.is_online()
                    && let Err(fault) = directory.probe()
                {
                    directories.fail(directory, &fault);
                }
            }
        }));
    }
}
