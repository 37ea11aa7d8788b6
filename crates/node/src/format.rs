//! Prepare empty log directories, as `kafka-storage.sh format` of Kafka 4.3 does.
//!
//! Each directory gets `bootstrap.checkpoint` and, last, `meta.properties`; the metadata directory of a
//! quorum whose first voters are known gets the snapshot (0, 0) with their names besides. What must stay true:
//! a directory with `meta.properties` is complete, one without is not used.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_metadata::config::{NodeSettings, QuorumForm};
use ottla_metadata::controller::Bootstrap;
use ottla_metadata::records::MetadataVersion;
use ottla_protocol::{NodeId, Uuid};
use ottla_raft::snapshot::SnapshotWriter;
use ottla_raft::{Endpoint, KraftVersions, Voter, VoterSet};
use ottla_storage::{
    Disk, Fault, MetaProperties, MetadataSnapshots, SnapshotId, metadata_log_directory,
};

/// What to prepare.
#[derive(Debug, Clone)]
pub struct Format {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// `log.dirs`, and `metadata.log.dir` if it is not one of them.
    pub directories: Vec<PathBuf>,
    pub metadata_directory: PathBuf,
    /// The first of `controller.listener.names`.
    pub controller_listener: String,
    pub voters: InitialVoters,
    pub level: MetadataVersion,
    /// `--feature NAME=LEVEL`, without metadata.version.
    pub features: Vec<(String, i16)>,
    /// Leave formatted directories as they are instead of refusing.
    pub ignore_formatted: bool,
}

/// Who votes at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialVoters {
    /// `controller.quorum.voters`: kraft.version 0.
    Static,
    /// `--no-initial-controllers`: the bootstrap servers know.
    Elsewhere,
    /// `--standalone` and `--initial-controllers`: written down here.
    Known(Vec<InitialController>),
}

/// An entry of `--initial-controllers`: `id@host:port:directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialController {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    pub directory_id: Uuid,
}

/// What a directory is for; the words are the format tool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryRole {
    Data,
    Metadata,
    DynamicMetadata,
    DynamicMetadataVoter,
}

impl fmt::Display for DirectoryRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data directory",
            Self::Metadata => "metadata directory",
            Self::DynamicMetadata => "dynamic metadata directory",
            Self::DynamicMetadataVoter => "dynamic metadata voter directory",
        })
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Formatted {
    pub bootstrap: Bootstrap,
    /// The directories that were empty, in order; none if all had been formatted before.
    pub directories: Vec<(PathBuf, DirectoryRole)>,
    /// Directories that could not be read, and why.
    pub ignored: Vec<(PathBuf, String)>,
}

/// Why nothing, or not everything, was prepared.
#[derive(Debug)]
pub enum FormatRefused {
    AlreadyFormatted {
        path: PathBuf,
    },
    OtherCluster {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    OtherNode {
        path: PathBuf,
        found: NodeId,
        wanted: NodeId,
    },
    UnknownFeature {
        name: String,
    },
    UnsupportedLevel {
        name: String,
        level: i16,
    },
    /// `name` at `level` asks for a metadata.version of at least `least`.
    NeedsMetadataVersion {
        name: String,
        level: i16,
        least: i16,
    },
    /// kraft.version does not fit to how the quorum is named.
    WrongKraftVersion {
        level: i16,
    },
    NothingReadable,
    /// `ottla server` does not do this unasked.
    NotByItself {
        why: String,
    },
    Fault(Fault),
}

impl fmt::Display for FormatRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyFormatted { path } => write!(
                f,
                "Log directory {} is already formatted. Use --ignore-formatted to ignore this \
                 directory and format the others.",
                path.display()
            ),
            Self::OtherCluster {
                path,
                found,
                wanted,
            } => write!(
                f,
                "Log directory {} belongs to cluster {found}, not to {wanted}.",
                path.display()
            ),
            Self::OtherNode {
                path,
                found,
                wanted,
            } => write!(
                f,
                "Log directory {} belongs to node {found}, not to node {wanted}.",
                path.display()
            ),
            Self::UnknownFeature { name } => {
                let known: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
                write!(
                    f,
                    "Unsupported feature: {name}. Supported features are: {}",
                    known.join(", ")
                )
            }
            Self::UnsupportedLevel { name, level } => {
                write!(
                    f,
                    "Feature level {level} is not supported for feature {name}"
                )
            }
            Self::NeedsMetadataVersion { name, level, least } => write!(
                f,
                "{name} could not be set to {level} because it depends on metadata.version level \
                 {least}"
            ),
            Self::WrongKraftVersion { level: 0 } => f.write_str(
                "Cannot set kraft.version to 0 if controller.quorum.voters is empty; leave out \
                 --feature kraft.version=0.",
            ),
            Self::WrongKraftVersion { level } => write!(
                f,
                "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one \
                 of --standalone, --initial-controllers, or --no-initial-controllers is used."
            ),
            Self::NothingReadable => f.write_str("No available log directories to format."),
            Self::NotByItself { why } => {
                write!(f, "{why}; prepare the log directories with `ottla format`.")
            }
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for FormatRefused {}

impl From<Fault> for FormatRefused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A feature that may be given a level, besides metadata.version.
struct Feature {
    name: &'static str,
    most: i16,
    /// The metadata.version that level 1 needs.
    least_metadata_version: i16,
}

const KRAFT_VERSION: &str = "kraft.version";
const FEATURES: &[Feature] = &[
    Feature {
        name: "eligible.leader.replicas.version",
        most: 1,
        least_metadata_version: 23,
    },
    Feature {
        name: "group.version",
        most: 1,
        least_metadata_version: 0,
    },
    Feature {
        name: KRAFT_VERSION,
        most: 1,
        least_metadata_version: 0,
    },
    Feature {
        name: "share.version",
        most: 1,
        least_metadata_version: 0,
    },
    Feature {
        name: "streams.version",
        most: 1,
        least_metadata_version: 0,
    },
    Feature {
        name: "transaction.version",
        most: 2,
        least_metadata_version: 0,
    },
];

impl Format {
    /// Prepares what is empty. `new_id` gives ids to directories; `wall_ms` is the time in the files.
    pub fn run(
        &self,
        disk: &Disk,
        wall_ms: i64,
        mut new_id: impl FnMut() -> Uuid,
    ) -> Result<Formatted, FormatRefused> {
        let bootstrap = self.bootstrap()?;
        let (empty, ignored) = self.empty_directories(disk)?;
        let mut directories = Vec::new();
        for path in empty {
            let role = self.role(&path);
            self.prepare(disk, &path, role, &bootstrap, wall_ms, &mut new_id)?;
            directories.push((path, role));
        }
        Ok(Formatted {
            bootstrap,
            directories,
            ignored,
        })
    }

    /// The first records of the cluster, if what was asked for fits together.
    fn bootstrap(&self) -> Result<Bootstrap, FormatRefused> {
        for (name, level) in &self.features {
            let (name, level) = (name.clone(), *level);
            let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
                return Err(FormatRefused::UnknownFeature { name });
            };
            if !(0..=feature.most).contains(&level) {
                return Err(FormatRefused::UnsupportedLevel { name, level });
            }
            if name == KRAFT_VERSION && (level == 0) != (self.voters == InitialVoters::Static) {
                return Err(FormatRefused::WrongKraftVersion { level });
            }
            let least = feature.least_metadata_version;
            if level > 0 && self.level.level() < least {
                return Err(FormatRefused::NeedsMetadataVersion { name, level, least });
            }
        }
        // kraft.version is a control record of the log, not one of the cluster's records.
        let features: Vec<_> = self
            .features
            .iter()
            .filter(|(name, _)| name != KRAFT_VERSION)
            .cloned()
            .collect();
        Ok(Bootstrap::for_level(self.level).with_features(&features))
    }

    /// Directories to prepare, and those that nobody can read.
    #[expect(
        clippy::type_complexity,
        reason = "two plain lists, named where they are used"
    )]
    fn empty_directories(
        &self,
        disk: &Disk,
    ) -> Result<(Vec<PathBuf>, Vec<(PathBuf, String)>), FormatRefused> {
        let mut paths = self.directories.clone();
        paths.push(self.metadata_directory.clone());
        paths.sort();
        paths.dedup();
        let (mut empty, mut ignored, mut n_formatted) = (Vec::new(), Vec::new(), 0);
        for path in paths {
            match MetaProperties::read(disk, &path) {
                Ok(None) => empty.push(path),
                Ok(Some(found)) => {
                    n_formatted += 1;
                    self.check_formatted(path, found)?;
                }
                Err(fault @ Fault::Io { .. }) => ignored.push((path, fault.to_string())),
                Err(fault) => return Err(fault.into()),
            }
        }
        if empty.is_empty() && n_formatted == 0 {
            return Err(FormatRefused::NothingReadable);
        }
        Ok((empty, ignored))
    }

    fn check_formatted(&self, path: PathBuf, found: MetaProperties) -> Result<(), FormatRefused> {
        if found.cluster_id != self.cluster_id {
            let (found, wanted) = (found.cluster_id, self.cluster_id.clone());
            return Err(FormatRefused::OtherCluster {
                path,
                found,
                wanted,
            });
        }
        if found.node_id != self.node_id {
            let (found, wanted) = (found.node_id, self.node_id);
            return Err(FormatRefused::OtherNode {
                path,
                found,
                wanted,
            });
        }
        if !self.ignore_formatted {
            return Err(FormatRefused::AlreadyFormatted { path });
        }
        Ok(())
    }

    fn role(&self, path: &Path) -> DirectoryRole {
        match &self.voters {
            _ if path != self.metadata_directory => DirectoryRole::Data,
            InitialVoters::Known(voters) if voters.iter().any(|voter| voter.id == self.node_id) => {
                DirectoryRole::DynamicMetadataVoter
            }
            InitialVoters::Known(_) => DirectoryRole::DynamicMetadata,
            InitialVoters::Static | InitialVoters::Elsewhere => DirectoryRole::Metadata,
        }
    }

    fn prepare(
        &self,
        disk: &Disk,
        path: &Path,
        role: DirectoryRole,
        bootstrap: &Bootstrap,
        wall_ms: i64,
        new_id: &mut impl FnMut() -> Uuid,
    ) -> Result<(), FormatRefused> {
        disk.make_directory(path)?;
        let batches = bootstrap_batches(bootstrap, self.level, wall_ms);
        MetadataSnapshots::write_bootstrap(disk, path, &batches.concat())?;
        let mut own_id = None;
        if let InitialVoters::Known(voters) = &self.voters
            && role != DirectoryRole::Data
        {
            let log = path.join(metadata_log_directory());
            disk.make_directory(&log)?;
            let first = SnapshotId {
                end_offset: 0,
                epoch: 0,
            };
            MetadataSnapshots::open(disk.clone(), log)?
                .write(first, &self.voter_batches(voters, wall_ms))?;
            own_id = voters.iter().find(|voter| voter.id == self.node_id);
        }
        let meta = MetaProperties {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            directory_id: Some(own_id.map_or_else(new_id, |voter| voter.directory_id)),
        };
        meta.write(disk, path)?;
        Ok(())
    }

    /// The snapshot (0, 0): who votes, and nothing else.
    fn voter_batches(&self, voters: &[InitialController], wall_ms: i64) -> Vec<Bytes> {
        let voter = |one: &InitialController| Voter {
            id: one.id,
            directory_id: Some(one.directory_id),
            endpoints: vec![Endpoint {
                listener: self.controller_listener.clone(),
                host: one.host.clone(),
                port: one.port,
            }],
            kraft_versions: KraftVersions::OURS,
        };
        let voters = VoterSet::new(voters.iter().map(voter).collect());
        SnapshotWriter::new(0, wall_ms, 1, &voters, wall_ms).finish()
    }
}

/// `bootstrap.checkpoint`: the cluster's first records between a header and a footer.
fn bootstrap_batches(bootstrap: &Bootstrap, level: MetadataVersion, wall_ms: i64) -> Vec<Bytes> {
    let mut writer = SnapshotWriter::new(0, 0, 0, &VoterSet::default(), wall_ms);
    for record in &bootstrap.records {
        writer.push(
            record
                .encode(level)
                .expect("a feature level can be written at any level"),
        );
    }
    writer.finish()
}

/// What `ottla server` prepares by itself: `None` if the directories are formatted already.
///
/// Only when nothing can be lost or confused: all log directories are empty, both roles are set, and the
/// quorum is this node alone. `own_hosts` are names under which this machine is known to itself.
pub fn auto_format(
    settings: &NodeSettings,
    cluster_id: Option<String>,
    own_hosts: &[String],
    disk: &Disk,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Option<Format>, FormatRefused> {
    let refuse = |why: String| FormatRefused::NotByItself { why };
    let directories: Vec<PathBuf> = settings.log_dirs.iter().map(PathBuf::from).collect();
    let metadata_directory = PathBuf::from(&settings.metadata_log_dir);
    // An unformatted directory beside formatted ones is a matter for whoever opens them.
    if MetaProperties::read(disk, &metadata_directory)?.is_some() {
        return Ok(None);
    }
    let at = metadata_directory.display();
    if !settings.ottla.auto_format {
        return Err(refuse(format!(
            "{at} is not formatted and ottla.auto.format is false"
        )));
    }
    for path in directories.iter().chain([&metadata_directory]) {
        if let Some(entry) = first_entry(path)? {
            let path = path.display();
            return Err(refuse(format!(
                "{at} is not formatted, and {path} is not empty ({entry})"
            )));
        }
    }
    if !(settings.roles.broker && settings.roles.controller) {
        return Err(refuse(format!(
            "{at} is not formatted and process.roles is not both roles"
        )));
    }
    let voters = lone_voter(settings, own_hosts, &mut new_id)
        .map_err(|why| refuse(format!("{at} is not formatted and {why}")))?;
    Ok(Some(Format {
        cluster_id: cluster_id.unwrap_or_else(|| new_id().to_string()),
        node_id: settings.node_id,
        directories,
        metadata_directory,
        controller_listener: settings
            .controller_listener_names
            .first()
            .cloned()
            .unwrap_or_default(),
        voters,
        level: MetadataVersion::MAX,
        features: Vec::new(),
        ignore_formatted: false,
    }))
}

/// This node as the only voter, if that is what the settings say.
fn lone_voter(
    settings: &NodeSettings,
    own_hosts: &[String],
    new_id: &mut impl FnMut() -> Uuid,
) -> Result<InitialVoters, String> {
    match &settings.quorum {
        QuorumForm::Static(voters) => match voters.as_slice() {
            [one] if one.id == settings.node_id => Ok(InitialVoters::Static),
            _ => Err("controller.quorum.voters is not this node alone".to_owned()),
        },
        QuorumForm::Bootstrap(servers) => match servers.as_slice() {
            [(host, port)] if is_own_controller(settings, host, *port, own_hosts) => {
                Ok(InitialVoters::Known(vec![standalone(settings, new_id())]))
            }
            _ => Err(
                "controller.quorum.bootstrap.servers is not this node's own controller \
                      listener alone"
                    .to_owned(),
            ),
        },
        QuorumForm::Unset => Ok(InitialVoters::Known(vec![standalone(settings, new_id())])),
    }
}

fn is_own_controller(settings: &NodeSettings, host: &str, port: u16, own_hosts: &[String]) -> bool {
    const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
    let is_here = |other: Option<&str>| {
        THIS_MACHINE.contains(&host)
            || other.is_some_and(|other| other.eq_ignore_ascii_case(host))
            || own_hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    };
    let bound = settings.listeners.iter().filter(|one| one.is_controller);
    let mut bound = bound.map(|one| (one.host.as_deref(), one.port));
    let mut told = settings
        .advertised_controllers
        .iter()
        .map(|one| (one.host.as_deref(), one.port));
    bound.any(|(other, its)| its == port && is_here(other))
        || told.any(|(other, its)| its == port && is_here(other))
}

/// This node as `--standalone` names it.
pub fn standalone(settings: &NodeSettings, directory_id: Uuid) -> InitialController {
    let told = settings.advertised_controllers.first();
    InitialController {
        id: settings.node_id,
        host: told
            .and_then(|one| one.host.clone())
            .unwrap_or_else(|| "localhost".to_owned()),
        port: told.map_or(0, |one| one.port),
        directory_id,
    }
}

/// The name of something in the directory; what every new file system has does not count.
fn first_entry(path: &Path) -> Result<Option<String>, FormatRefused> {
    let fault = |source| Fault::Io {
        doing: "list",
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error).into()),
    };
    for entry in entries {
        let name = entry
            .map_err(fault)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !["lost+found", ".lock"].contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
