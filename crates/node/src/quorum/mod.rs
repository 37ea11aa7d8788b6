//! The control plane: runs `raft::Quorum` on the metadata log, and the controller on top of it.

mod log;
mod image_loader;
mod controller;
mod lifecycle;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::config::{NodeSettings, QuorumForm};
use ottla_metadata::controller::{Bootstrap, Controller, Settings as ControllerSettings};
use ottla_metadata::image::{Image, Loader, Provenance};
use ottla_metadata::records::{Record, read_batch};
use ottla_raft::snapshot::{SnapshotContent, SnapshotId};
use ottla_raft::{
    Endpoint, Identity, KraftVersions, Opening, Quorum, SavedElection, Settings, Voter, VoterSet,
};
use ottla_storage::{Directories, Disk, Fault};
use tokio::runtime::Handle;

pub use controller::ControllerHandle;
pub use image_loader::ImageFeed;
pub(crate) use image_loader::Subscriber;
pub(crate) use lifecycle::Registration;

use crate::clock::Clock;
use controller::{Host, Limits, Uncommitted};
use log::MetadataLog;

const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

/// Why the quorum cannot run on what it found.
#[derive(Debug)]
pub enum CannotStart {
    Fault(Fault),
    Other(String),
}

impl From<Fault> for CannotStart {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// A quorum that runs.
pub(crate) struct Started {
    pub(crate) controller: ControllerHandle,
    pub(crate) feed: Arc<ImageFeed>,
    pub(crate) log_thread: JoinHandle<()>,
    pub(crate) task: tokio::task::JoinHandle<Result<(), Fault>>,
}

/// Reads snapshot and log, and starts the controller's task on the control plane.
pub(crate) fn start(
    settings: &NodeSettings,
    config: &ottla_metadata::config::BrokerConfig,
    directories: &Directories,
    disk: &Disk,
    clock: &Clock,
    control: &Handle,
) -> Result<Started, CannotStart> {
    let metadata = directories.metadata();
    let log_config = crate::partitions::metadata_log_config(&settings.metadata);
    let files = MetadataLog::open(directories, disk.clone(), log_config, clock.wall_ms())?;
    let mut opening = Opening::new(static_voters(settings));
    let mut image = Image::default();
    if let Some((id, content)) = files.newest_snapshot()? {
        opening.handle_snapshot(id, &content);
        // The snapshot at (0, 0) names the first voters; its data, if any, is for Kafka 4.4.
        if id != SnapshotId::BOOTSTRAP {
            image = image_of(id, &content)?;
        }
    }
    let mut controller = Controller::new(
        controller_settings(settings, config, directories),
        image.clone(),
    );
    let loader = Loader::new(image);
    let uncommitted = read_log(&files, &mut opening, &mut controller)?;
    let saved = match files.saved_election()? {
        Some(text) => Some(SavedElection::from_text(&text).map_err(|why| {
            CannotStart::Other(format!(
                "{}: quorum-state: {}",
                metadata.path().display(),
                why.why
            ))
        })?),
        None => None,
    };
    let identity = Identity {
        node_id: settings.node_id,
        directory_id: metadata.id(),
        endpoints: controller_endpoints(settings),
    };
    let raft_settings = Settings {
        append_linger: millis(i64::from(settings.metadata.append_linger_ms)).unwrap_or_default(),
    };
    let quorum = Quorum::open(identity, raft_settings, opening, saved, clock.quorum_now())
        .map_err(|why| CannotStart::Other(format!("{}: {why}", metadata.path().display())))?;
    let feed = ImageFeed::new(loader.image().clone());
    let bootstrap = read_bootstrap(disk, metadata.path())?;
    let (log, log_thread) = files
        .spawn()
        .map_err(|why| CannotStart::Other(format!("no thread for the metadata log: {why}")))?;
    let limits = Limits {
        idle_max: millis(i64::from(settings.metadata.max_idle_interval_ms))
            .filter(|ms| !ms.is_zero()),
        snapshot_bytes: u64::try_from(settings.metadata.max_record_bytes_between_snapshots)
            .unwrap_or(u64::MAX),
        snapshot_interval: millis(settings.metadata.max_snapshot_interval_ms)
            .filter(|ms| !ms.is_zero()),
        retention_bytes: settings.metadata.max_retention_bytes,
        retention_ms: settings.metadata.max_retention_ms,
    };
    let host = Host {
        quorum,
        controller,
        loader,
        bootstrap,
        log,
        feed: feed.clone(),
        clock: clock.clone(),
        limits,
    };
    let (handle, running) = controller::prepare(host, uncommitted);
    let task = control.spawn(running.run());
    Ok(Started {
        controller: handle,
        feed,
        log_thread,
        task,
    })
}

fn millis(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

fn static_voters(settings: &NodeSettings) -> VoterSet {
    let QuorumForm::Static(voters) = &settings.quorum else {
        return VoterSet::new(Vec::new());
    };
    let listener = settings
        .controller_listener_names
        .first()
        .cloned()
        .unwrap_or_default();
    let voters = voters.iter().map(|voter| Voter {
        id: voter.id,
        directory_id: None,
        endpoints: vec![Endpoint {
            listener: listener.clone(),
            host: voter.host.clone(),
            port: voter.port,
        }],
        kraft_versions: KraftVersions::OURS,
    });
    VoterSet::new(voters.collect())
}

/// Our controller listeners as the quorum knows them: where the others are sent, not what is bound.
pub(crate) fn controller_endpoints(settings: &NodeSettings) -> Vec<Endpoint> {
    let endpoints = settings.advertised_controllers.iter().map(|told| Endpoint {
        listener: told.name.clone(),
        host: told.host.clone().unwrap_or_else(crate::host_name),
        port: told.port,
    });
    endpoints.collect()
}

fn controller_settings(
    settings: &NodeSettings,
    config: &ottla_metadata::config::BrokerConfig,
    directories: &Directories,
) -> ControllerSettings {
    let number = |name: &str| config.value(name).and_then(|value| value.parse().ok());
    ControllerSettings {
        cluster_id: directories.cluster_id().to_owned(),
        node_id: settings.node_id,
        num_partitions: settings.topics.num_partitions,
        default_replication_factor: i16::try_from(settings.topics.default_replication_factor)
            .unwrap_or(1),
        min_in_sync: number("min.insync.replicas").unwrap_or(1),
        unclean_election: config.value("unclean.leader.election.enable").as_deref() == Some("true"),
    }
}

fn image_of(id: SnapshotId, content: &SnapshotContent) -> Result<Image, CannotStart> {
    let records = decode_all(&content.records)?;
    let provenance = Provenance {
        end_offset: id.end_offset,
        epoch: id.epoch,
        timestamp_ms: content.last_contained_timestamp,
    };
    Image::from_records(&records, provenance).map_err(|why| {
        CannotStart::Other(format!("the metadata snapshot at {}: {why}", id.end_offset))
    })
}

fn decode_all(values: &[Bytes]) -> Result<Vec<Record>, CannotStart> {
    let decode = |value| Record::decode(value).map(|(record, _)| record);
    values
        .iter()
        .map(decode)
        .collect::<Result<_, _>>()
        .map_err(|why| {
            CannotStart::Other(format!("a record of the metadata cannot be read: {why}"))
        })
}

/// Feeds the whole log to the quorum and the ledger. Nothing of it is shown before it is known
/// to be committed: it comes back as the high watermark passes it.
fn read_log(
    files: &MetadataLog,
    opening: &mut Opening,
    controller: &mut Controller,
) -> Result<VecDeque<Uncommitted>, CannotStart> {
    let mut uncommitted = VecDeque::new();
    let from = controller.image().provenance.end_offset;
    files.read_all(|batch| {
        opening
            .handle_batch(batch)
            .map_err(|why| format!("{why:?}"))?;
        let header = batch.header();
        if header.is_control() || header.last_offset() < from {
            return Ok(());
        }
        let mut records = Vec::new();
        for (offset, record) in read_batch(batch).map_err(|why| why.to_string())? {
            controller
                .replay(&record, offset)
                .map_err(|why| format!("record at offset {offset}: {why}"))?;
            records.push(record);
        }
        let n_bytes = batch.size() as u64;
        let through = Provenance {
            end_offset: header.next_offset(),
            epoch: header.leader_epoch(),
            timestamp_ms: header.max_timestamp(),
        };
        uncommitted.push_back(Uncommitted {
            records,
            through,
            n_bytes,
        });
        Ok(())
    })?;
    Ok(uncommitted)
}

/// What the format tool prepared; without the file, Kafka's default: the newest level alone.
fn read_bootstrap(disk: &Disk, directory: &std::path::Path) -> Result<Bootstrap, CannotStart> {
    let path = directory.join(BOOTSTRAP_FILE);
    let bytes = disk.read_if_exists(&path)?;
    let Some(bytes) = bytes else {
        return Ok(Bootstrap::default());
    };
    let content = SnapshotContent::read(&Bytes::from(bytes))
        .map_err(|why| CannotStart::Other(format!("{}: {}", path.display(), why.why)))?;
    Bootstrap::from_records(decode_all(&content.records)?)
        .ok_or_else(|| CannotStart::Other(format!("{} names no metadata.version", path.display())))
}
