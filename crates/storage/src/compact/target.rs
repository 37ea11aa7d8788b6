//! The segments that a round writes: `.cleaned` until they are swapped in.
//!
//! Usually one for each group. Records may grow by being rewritten (a delete horizon makes the
//! timestamps longer, another level of the codec the batch), and a segment of an old broker may reach
//! further than an index can say (see `split`): what does not fit goes on in a second.

use std::sync::Arc;

use ottla_protocol::Offset;

use super::{Early, Host, Round};
use crate::error::Fault;
use crate::heads::Head;
use crate::index::AbortedTransaction;
use crate::log_config::LogConfig;
use crate::segment::{FailedAppend, Lengths, SEGMENT_BYTES_MAX, Segment};
use crate::split::is_in_reach;

/// See the head of this file.
pub(super) struct Targets<'a> {
    round: &'a Round,
    host: &'a dyn Host,
    config: LogConfig,
    segments: Vec<Segment>,
    /// Whole batches that are not written yet, and their headers.
    buffer: Vec<u8>,
    heads: Vec<Head>,
    /// Entries for the transaction index of the last segment.
    aborted: Vec<AbortedTransaction>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(round: &'a Round, host: &'a dyn Host) -> Self {
        let config = LogConfig {
            preallocate: false,
            ..round.picture.config.clone()
        };
        Self {
            round,
            host,
            config,
            segments: Vec::new(),
            buffer: Vec::new(),
            heads: Vec::new(),
            aborted: Vec::new(),
        }
    }

    /// Makes the next segment.
    pub(super) fn begin(&mut self, base: Offset) -> Result<(), Early> {
        let now_ms = self.round.now_ms;
        let mut created = None;
        let done = self.host.with_log(&mut |log| {
            created = Some(log.create_cleaned(base, now_ms)?);
            Ok(())
        });
        match (done, created) {
            (Some(Ok(())), Some(segment)) => {
                self.segments.push(segment);
                Ok(())
            }
            (Some(Err(fault)), _) => Err(fault.into()),
            _ => Err(Early::GivenUp),
        }
    }

    /// Takes a batch; returns its size.
    pub(super) fn write(&mut self, head: Head, bytes: &[u8]) -> Result<usize, Early> {
        self.make_room(head, bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        self.heads.push(head);
        if self.buffer.len() >= self.round.io_bytes {
            self.write_buffer()?;
        }
        Ok(bytes.len())
    }

    /// Takes an entry of the transaction index, which belongs where its marker is.
    pub(super) fn note(&mut self, aborted: Option<AbortedTransaction>) {
        self.aborted.extend(aborted);
    }

    fn make_room(&mut self, head: Head, n_bytes: usize) -> Result<(), Early> {
        let Some(last) = self.segments.last() else {
            return self.begin(head.base_offset);
        };
        let size = last.size() as usize + self.buffer.len() + n_bytes;
        if size <= SEGMENT_BYTES_MAX as usize && is_in_reach(last.base(), &head) {
            return Ok(());
        }
        // The entry of the marker at hand, if it has one, goes with its batch.
        let next = self
            .aborted
            .extract_if(.., |entry| entry.last_offset >= head.base_offset)
            .collect();
        self.end_segment()?;
        self.aborted = next;
        self.begin(head.base_offset)
    }

    fn write_buffer(&mut self) -> Result<(), Fault> {
        if let Some(segment) = self.segments.last() {
            segment
                .append((&self.buffer, &[]), &self.heads, None, &self.config)
                .map_err(|FailedAppend { fault, .. }| fault)?;
        }
        self.buffer.clear();
        self.heads.clear();
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), Early> {
        self.write_buffer()?;
        let aborted = std::mem::take(&mut self.aborted);
        let Some(segment) = self.segments.last() else {
            return Ok(());
        };
        if !aborted.is_empty() {
            // Its directory must still be this log's when the file is made.
            let made = self.host.with_log(&mut |_| segment.txns.create());
            made.ok_or(Early::GivenUp)??;
        }
        for entry in aborted {
            segment.txns.append(entry)?;
        }
        segment.finish(&self.config)?;
        Ok(())
    }

    /// Completes and syncs all; they look as old as the last of their sources.
    pub(super) fn finish(
        &mut self,
        sources: &[Arc<Segment>],
    ) -> Result<Vec<(Offset, Lengths)>, Early> {
        self.end_segment()?;
        for segment in &self.segments {
            if let Some(last) = sources.last() {
                let modified_ms = last.modified_ms()?;
                segment
                    .log_file()
                    .with(|log| log.set_modified_ms(modified_ms))?;
            }
            for file in segment.files()? {
                file.sync_all()?;
            }
        }
        let segments = self.segments.iter();
        Ok(segments
            .map(|segment| (segment.base(), segment.lengths()))
            .collect())
    }

    /// They are not wanted. What cannot be removed now goes at the next start.
    pub(super) fn remove(&mut self) {
        let segments = std::mem::take(&mut self.segments);
        self.host.with_log(&mut |log| {
            for segment in &segments {
                if let Err(fault) = log.remove_cleaned(segment.base()) {
                    tracing::warn!("{fault}");
                }
            }
            Ok(())
        });
    }
}
