//! How bytes are the files of a log directory: a byte of flags, then for each file its number, its
//! length in two bytes, and its contents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::batch::legacy::written::repair as repair_legacy_crc;
use ottla_protocol::batch::{crc32c, peek};

/// Where a batch has its checksum, and from where on that counts.
const CRC_AT: usize = 17;
const CHECKED_FROM: usize = 21;
/// The same of a snapshot.
const SNAPSHOT_CRC_AT: usize = 2;
const SNAPSHOT_CHECKED_FROM: usize = 6;

const IS_CLEAN: u8 = 1;
const IS_COMPACTED: u8 = 2;
const IS_REPAIRED: u8 = 4;

pub struct Names {
    pub log: &'static str,
    pub mark: &'static str,
    pub identity: &'static str,
    pub checkpoints: [&'static str; 4],
    /// In the folder of the log.
    pub of_log: [&'static str; 15],
}

pub const NAMES: Names = Names {
    log: "t-0",
    mark: ".kafka_cleanshutdown",
    identity: "meta.properties",
    checkpoints: [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ],
    of_log: [
        "00000000000000000000.log",
        "00000000000000000000.index",
        "00000000000000000000.timeindex",
        "00000000000000000000.txnindex",
        "00000000000000000004.log",
        "00000000000000000004.index",
        "00000000000000000004.timeindex",
        "00000000000000000004.txnindex",
        "00000000000000000004.snapshot",
        "00000000000000000007.snapshot",
        "leader-epoch-checkpoint",
        "partition.metadata",
        "00000000000000000000.log.swap",
        "00000000000000000004.log.swap",
        "00000000000000000004.log.cleaned",
    ],
};

/// One directory.
pub struct Input<'a> {
    pub is_clean: bool,
    pub is_compacted: bool,
    is_repaired: bool,
    files: Vec<(String, &'a [u8])>,
}

impl<'a> Input<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (flags, mut rest) = bytes.split_first()?;
        let mut files = Vec::new();
        while let [number, low, high, behind @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
            let (contents, next) = behind.split_at(length);
            files.push((name(*number)?, contents));
            rest = next;
        }
        Some(Self {
            is_clean: flags & IS_CLEAN != 0,
            is_compacted: flags & IS_COMPACTED != 0,
            is_repaired: flags & IS_REPAIRED != 0,
            files,
        })
    }

    pub fn write(&self, place: &Path) -> io::Result<()> {
        let identity = "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=1\n";
        fs::write(place.join(NAMES.identity), identity)?;
        fs::create_dir(place.join(NAMES.log))?;
        if self.is_clean {
            fs::write(place.join(NAMES.mark), "")?;
        }
        for (name, contents) in &self.files {
            let mut contents = contents.to_vec();
            // Checksums are what random bytes have least.
            if self.is_repaired && name.contains(".log") {
                repair_batches(&mut contents);
            } else if self.is_repaired && name.ends_with(".snapshot") {
                repair(&mut contents, SNAPSHOT_CRC_AT, SNAPSHOT_CHECKED_FROM);
            }
            fs::write(place.join(name), contents)?;
        }
        Ok(())
    }
}

fn name(number: u8) -> Option<String> {
    let at = usize::from(number);
    match NAMES.of_log.get(at) {
        Some(name) => Some(format!("{}/{name}", NAMES.log)),
        None => NAMES
            .checkpoints
            .get(at - NAMES.of_log.len())
            .map(|name| (*name).to_owned()),
    }
}

fn repair_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(Ok(prefix)) = bytes.get(at..).and_then(peek) {
        let Some(batch) = bytes.get_mut(at..at + prefix.size) else {
            return;
        };
        if prefix.magic == 2 {
            repair(batch, CRC_AT, CHECKED_FROM);
        } else if (0..2).contains(&prefix.magic) {
            repair_legacy_crc(batch);
        }
        at += prefix.size;
    }
}

fn repair(bytes: &mut [u8], crc_at: usize, checked_from: usize) {
    let Some(checked) = bytes.get(checked_from..) else {
        return;
    };
    let crc = crc32c(checked);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
}

/// An empty directory in memory, of this process.
pub fn place() -> PathBuf {
    let place = PathBuf::from(format!("/dev/shm/ottla-fuzz-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("a directory in memory");
    place
}

/// The bytes of a directory: what `Input::read` reads.
pub fn seed(flags: u8, files: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![flags];
    for (number, contents) in files {
        bytes.push(*number);
        bytes.extend_from_slice(&(contents.len() as u16).to_le_bytes());
        bytes.extend_from_slice(contents);
    }
    bytes
}
