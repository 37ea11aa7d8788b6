//! One partition's log on one disk, in Kafka's format, file by file and byte by byte.
//!
//! A log promises: `start ≤ last stable ≤ high watermark ≤ end`; what `flushed` names survives a
//! power cut; an append that fails has not happened; readers never wait for the writer.
//!
//! No async, sockets or clocks here, and nothing above a partition: no groups, users, topics as
//! metadata. Tiering comes to stand beside `retain`.
//!
//! | to know | read |
//! |---|---|
//! | how a batch gets in | `log`, `segment`, `index` |
//! | how it gets out | `log_view`, `read`; without waiting for the disk: `in_memory` |
//! | what a crash leaves, or an old broker, and how it is put in order | `recover`, `leftovers`, `split` |
//! | when it is on the disk | `flush` |
//! | what goes because it is old, or because something newer replaces it | `retain`, `compact` |
//! | when it leaves the memory | `written` |
//! | what is reserved for what comes next | `ahead` |
//! | how a log moves to another directory | `log/copy`, `directories/relocate` |
//! | what lies around the logs | `directory`, `directories`, `checkpoint` |

// A batch on its way in.
pub mod validate;
pub mod producer;

// A log.
mod log;
mod log_config;
mod segment;
mod heads;
mod index;
mod log_view;
mod read;
mod fetch_slice;
mod flush;
mod written;
mod ahead;
mod retain;
mod compact;
mod recover;
mod split;
mod leftovers;
mod producer_files;
mod epoch_file;
mod partition_metadata;

// Around the logs.
mod directory;
mod meta_properties;
mod directories;
mod together;
mod checkpoint;
mod metadata_snapshot;

// Ground.
mod disk;
mod open_files;
mod in_memory;
mod file_names;
mod file_system;
mod events;
mod error;

pub use ahead::{NoRoom, StepBytes, Stretch, room_allowed, room_granted};
pub use checkpoint::Offsets;
pub use compact::{Cleaned, Dirt, Figures, Host, Newest, Outcome, Picture, Round, compact};
pub use directories::{
    Directories, Found, LoadedLog, LoadedLogs, NewLog, NotSwapped, OpenDirectories, Progress, Swap,
    new_id,
};
pub use directory::{Collected, Directory};
pub use disk::{Disk, DiskCall, DiskChange, DiskFaults, DiskFile, DiskVerdict};
pub use error::{Fault, NotDone};
pub use events::{DeletedFor, LogEvents, NoEvents};
pub use fetch_slice::FetchSlice;
pub use file_names::{SnapshotId, can_be_moved, metadata_log_directory};
pub use flush::FlushTarget;
pub use index::AbortedTransaction;
pub use log::{AppendOutcome, Closed, LeaderAppend, Log, NotCopied, OpenLog};
pub use log_config::LogConfig;
pub use log_view::{Isolation, LogReader, LogView};
pub use meta_properties::MetaProperties;
pub use metadata_snapshot::MetadataSnapshots;
pub use open_files::OpenFiles;
pub use read::{Fetched, FoundOffset, OffsetQuery, ReadFrom};
pub use written::{HotTail, Window};
