//! What can go wrong below a log, in three words: a `Fault` is the machine's (disk, corruption), a
//! refusal is the caller's, and `NotDone` is either of them.
//! A fault carries its facts as fields and is logged once, by whoever consumes it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::batch::CorruptBatch;
use ottla_protocol::{Refusal, Refused};

use crate::open_files::are_descriptors_out;
use crate::validate::code_for;

/// The disk, or what is on it, failed us.
#[derive(Debug)]
pub enum Fault {
    /// A call to the operating system failed.
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file system has no room. Nothing was changed; the log goes on when there is room again.
    OutOfSpace { path: PathBuf },
    /// There is no descriptor left to open it with. Nothing was changed.
    NoDescriptor { path: PathBuf },
    /// It was deleted or replaced while somebody was about to read it.
    Gone { path: PathBuf },
    /// It would have to be read from the disk, and may not be (`in_memory`): no trouble at all.
    NotInMemory { path: PathBuf },
    /// Bytes that were read are not what was written. Who asked for them is told `refusal`.
    Corrupt {
        path: PathBuf,
        why: String,
        refusal: Refusal,
    },
    /// Another process has this directory open.
    Locked { path: PathBuf },
    /// The directory was never formatted.
    NotFormatted { path: PathBuf },
    /// The directory belongs to another node or cluster, or to another directory of ours.
    Foreign { path: PathBuf, why: String },
    /// The directory is of a format that we do not know.
    UnknownFormat { path: PathBuf, why: String },
    /// An earlier fault made what is on disk uncertain, so no more is written there.
    Poisoned { path: PathBuf, why: String },
}

impl Fault {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::OutOfSpace {
                path: path.to_owned(),
            },
            _ if are_descriptors_out(&source) => Self::NoDescriptor {
                path: path.to_owned(),
            },
            _ => Self::Io {
                doing,
                path: path.to_owned(),
                source,
            },
        }
    }

    pub fn corrupt(path: &Path, why: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: why.into(),
            refusal: Refusal::CorruptMessage,
        }
    }

    pub(crate) fn corrupt_batch(path: &Path, position: u32, why: &CorruptBatch) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: format!("at position {position}: {why}"),
            refusal: code_for(why),
        }
    }

    /// The file or directory that this is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::OutOfSpace { path }
            | Self::NoDescriptor { path }
            | Self::Gone { path }
            | Self::NotInMemory { path }
            | Self::Corrupt { path, .. }
            | Self::Locked { path }
            | Self::NotFormatted { path }
            | Self::Foreign { path, .. }
            | Self::UnknownFormat { path, .. }
            | Self::Poisoned { path, .. } => path,
        }
    }

    /// Whether the same call may succeed later, without anybody repairing anything.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::OutOfSpace { .. } | Self::NoDescriptor { .. } | Self::Gone { .. }
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                doing,
                path,
                source,
            } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
            Self::OutOfSpace { path } => {
                write!(f, "no space is left for {}", path.display())
            }
            Self::NoDescriptor { path } => write!(
                f,
                "{} cannot be opened: too many files are open (see `ulimit -n`)",
                path.display()
            ),
            Self::Gone { path } => write!(f, "{} was deleted meanwhile", path.display()),
            Self::NotInMemory { path } => write!(f, "{} is not in memory", path.display()),
            Self::Corrupt { path, why, .. } => write!(f, "{} is corrupt: {why}", path.display()),
            Self::Locked { path } => write!(
                f,
                "{} is locked: another process is using this directory",
                path.display()
            ),
            Self::NotFormatted { path } => {
                write!(
                    f,
                    "{} is not formatted: it has no meta.properties",
                    path.display()
                )
            }
            Self::Foreign { path, why } | Self::UnknownFormat { path, why } => {
                write!(f, "{}: {why}", path.display())
            }
            Self::Poisoned { path, why } => {
                write!(f, "{} takes no more writes: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why an operation on a log did not happen.
#[derive(Debug)]
pub enum NotDone {
    /// The caller asked for what may not be; the answer is a Kafka error code.
    Refused(Refused),
    /// The disk failed.
    Fault(Fault),
}

impl NotDone {
    /// The code a client gets: its refusal, or `KAFKA_STORAGE_ERROR` for a fault.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refused) => refused.refusal,
            Self::Fault(_) => Refusal::KafkaStorageError,
        }
    }
}

impl From<Fault> for NotDone {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for NotDone {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Refusal> for NotDone {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => match &refused.message {
                Some(message) => write!(f, "{}: {message}", refused.refusal.name()),
                None => f.write_str(refused.refusal.name()),
            },
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for NotDone {}
