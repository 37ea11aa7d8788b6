//! The batches of a file, one at a time: a segment may be larger than memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ottla_protocol::batch::Batch;

/// What stands before the part of a batch that its length counts: offset and length.
const OVERHEAD: u64 = 12;
/// The shortest that a batch of any format can be behind that.
const SHORTEST: u64 = 14;

#[derive(Debug)]
pub(super) struct BatchFile {
    file: BufReader<File>,
    position: u64,
    /// Nothing is read from here on.
    end: u64,
}

/// The bytes of a batch, and where they lie.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

impl BatchFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        Ok(Self {
            file: BufReader::new(file),
            position: 0,
            end,
        })
    }

    /// Go on at `position`, and stop after `n_bytes`.
    pub(super) fn window(&mut self, position: u64, n_bytes: u64) -> io::Result<()> {
        let length = self.file.get_ref().metadata()?.len();
        self.position = position.min(length);
        self.end = position.saturating_add(n_bytes).min(length);
        self.file.seek(SeekFrom::Start(self.position)).map(drop)
    }

    /// The next whole batch; `None` where none begins, or one is cut.
    pub(super) fn next(&mut self) -> io::Result<Option<Placed>> {
        let left = self.end - self.position;
        if left < OVERHEAD {
            return Ok(None);
        }
        let mut head = [0; OVERHEAD as usize];
        self.file.read_exact(&mut head)?;
        let [.., a, b, c, d] = head;
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        if length < SHORTEST || length > left - OVERHEAD {
            self.file.seek(SeekFrom::Start(self.position))?;
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity((OVERHEAD + length) as usize);
        bytes.extend_from_slice(&head);
        self.file.by_ref().take(length).read_to_end(&mut bytes)?;
        let placed = Placed {
            position: self.position,
            bytes,
        };
        self.position += OVERHEAD + length;
        Ok(Some(placed))
    }

    /// Bytes behind the last whole batch.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }
}

impl Placed {
    /// `None` if it is of a legacy format or no batch at all.
    pub(super) fn batch(&self) -> Option<Batch<'_>> {
        Batch::parse(&self.bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::batch_builder::BatchBuilder;
    use std::io::Write;

    #[test]
    fn batches_come_one_by_one_until_one_is_cut() {
        let batch = |base| {
            let mut builder = BatchBuilder::internal(base, 0);
            builder.push(1, None, Some(b"v"));
            builder.finish()
        };
        let (first, second) = (batch(0), batch(1));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&first).unwrap();
        file.write_all(&second).unwrap();
        file.write_all(&batch(2)[..20]).unwrap();
        let mut batches = BatchFile::open(file.path()).unwrap();
        let mut seen = Vec::new();
        while let Some(placed) = batches.next().unwrap() {
            seen.push((placed.position, placed.batch().unwrap().base_offset()));
        }
        assert_eq!(seen, [(0, 0), (first.len() as u64, 1)]);
        assert_eq!(batches.left(), 20);
        batches.window(first.len() as u64, 1 << 20).unwrap();
        assert_eq!(
            batches
                .next()
                .unwrap()
                .unwrap()
                .batch()
                .unwrap()
                .base_offset(),
            1
        );
        batches.window(0, 10).unwrap();
        assert!(batches.next().unwrap().is_none());
    }
}
