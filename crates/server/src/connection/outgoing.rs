//! Answers out: bytes and stretches of files, in order.

use std::io::{self, IoSlice};

use bytes::Bytes;
use ottla_node::FileSlice;
use ottla_protocol::fetch_reply::Piece;
use rustix::fs::sendfile;
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};

use super::{Connection, End, STILL_MAX};

/// Slices up to here are copied into the answer: one system call instead of two.
const COPY_MAX: usize = 16 * 1024;
/// So much is looked for in memory at a time, brought in from the disk, and sent by one call. Larger
/// ones hold the runtime's thread; smaller ones cost a third more, since the client takes what it gets
/// and is waited for.
const SEND_MAX: u64 = 1024 * 1024;

impl Connection {
    /// Writes pieces in order; a client that takes nothing for the idle time is let go.
    pub(super) async fn write(&mut self, pieces: Vec<Piece<FileSlice>>) -> Result<(), End> {
        if pieces.is_empty() {
            return Ok(());
        }
        let mut run: Vec<Bytes> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => run.push(bytes),
                Piece::Slice(slice) if slice.len() <= COPY_MAX => run.push(slice.read().await?),
                Piece::Slice(slice) => {
                    self.write_run(&mut run).await?;
                    self.send_slice(&slice).await?;
                }
            }
        }
        self.write_run(&mut run).await
    }

    async fn write_run(&mut self, run: &mut Vec<Bytes>) -> Result<(), End> {
        const SLICES_MAX: usize = 64;
        let mut first = 0;
        while first < run.len() {
            if run[first].is_empty() {
                first += 1;
                continue;
            }
            let slices: Vec<IoSlice<'_>> = run[first..]
                .iter()
                .take(SLICES_MAX)
                .map(|bytes| IoSlice::new(bytes))
                .collect();
            let mut n = match self.stream.try_write_vectored(&slices) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            while n > 0 {
                let step = n.min(run[first].len());
                let _ = run[first].split_to(step);
                n -= step;
                if run[first].is_empty() {
                    first += 1;
                }
            }
        }
        run.clear();
        Ok(())
    }

    async fn send_slice(&mut self, slice: &FileSlice) -> Result<(), End> {
        let Some((file, mut position)) = slice.place() else {
            return Ok(());
        };
        let end = position + slice.len() as u64;
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
        // IMPORTANT: nothing is sent that was not looked at: the runtime's thread would wait for it.
        let mut brought_to = position;
        while position < end {
            if position >= brought_to {
                brought_to = end.min(position + SEND_MAX);
                slice.bring_in(position, length(position, brought_to)).await;
            }
            let step = length(position, brought_to);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                sendfile(&self.stream, file, Some(&mut position), step).map_err(io::Error::from)
            });
            match sent {
                Ok(0) => {
                    return Err(End::Refused(
                        "a segment became shorter while it was sent".into(),
                    ));
                }
                // That took the kernel a while, and others have waited meanwhile.
                Ok(_) if position < end && position >= brought_to => tokio::task::yield_now().await,
                Ok(_) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until the client takes more; not for ever, and not with memory that others need.
    async fn writable(&mut self) -> Result<(), End> {
        // IMPORTANT: what the next request waits for would be granted here, and looked at by nobody. It
        // is asked for anew.
        self.awaited = None;
        let patience = Instant::now() + self.shared.idle_max;
        loop {
            let look = patience.min(Instant::now() + STILL_MAX);
            match timeout_at(look, self.stream.writable()).await {
                Ok(ready) => return Ok(ready?),
                Err(_) if Instant::now() >= patience => return Err(End::Idle),
                Err(_) => self.check_progress()?,
            }
        }
    }
}
