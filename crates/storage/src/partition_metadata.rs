//! `partition.metadata`: which topic, by id, a partition directory belongs to.
//! A replica whose id is missing or another one is not this topic's, but a stray.

use std::path::Path;

use ottla_protocol::Uuid;

use crate::disk::{Disk, DiskFile};
use crate::error::Fault;
use crate::file_names::PARTITION_METADATA;

/// As Kafka names it before it has its name.
const PREPARED: &str = "partition.metadata.tmp";

/// `None`: there is no such file.
pub(crate) fn read(disk: &Disk, directory: &Path) -> Result<Option<Uuid>, Fault> {
    let path = directory.join(PARTITION_METADATA);
    let Some(bytes) = disk.read_if_exists(&path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    parse(&text)
        .map(Some)
        .ok_or_else(|| Fault::corrupt(&path, format!("it reads {text:?}")))
}

pub(crate) fn write(disk: &Disk, directory: &Path, topic_id: Uuid) -> Result<(), Fault> {
    disk.replace(
        &directory.join(PARTITION_METADATA),
        format(topic_id).as_bytes(),
    )
}

/// The first half of `write`; the file is to be synced before the second.
pub(crate) fn prepare(disk: &Disk, directory: &Path, topic_id: Uuid) -> Result<DiskFile, Fault> {
    let file = disk.create(&directory.join(PREPARED))?;
    file.write_all_at(format(topic_id).as_bytes(), 0)?;
    Ok(file)
}

/// The second half; the directory is to be synced behind it.
pub(crate) fn name(disk: &Disk, directory: &Path) -> Result<(), Fault> {
    disk.rename(
        &directory.join(PREPARED),
        &directory.join(PARTITION_METADATA),
    )
}

fn format(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

fn parse(text: &str) -> Option<Uuid> {
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim())
    };
    if value("version")? != "0" {
        return None;
    }
    let id: Uuid = value("topic_id")?.parse().ok()?;
    (!id.is_zero()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        assert_eq!(read(&disk, directory.path()).unwrap(), None);
        let id = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        write(&disk, directory.path(), id).unwrap();
        assert_eq!(read(&disk, directory.path()).unwrap(), Some(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "version: 1\ntopic_id: EjRWeJq83vASNFZ4mrze8A\n",
            "version: 0\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(
            parse("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n"),
            None
        );
        assert!(parse("version: 0\ntopic_id: EjRWeJq83vASNFZ4mrze8A").is_some());
    }
}
