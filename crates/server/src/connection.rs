//! One connection, one task: frames are read, decided in order, and answered in order.
//!
//! A request starts when everything unanswered before it allows company (Produce does, while it
//! waits for the disk or for replicas); until then later frames stay in the socket. Nothing is
//! read while too many answers are owed, so a client that never reads costs a bounded amount.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_node::{FileSlice, Services};
use ottla_protocol::fetch_reply::Piece;
use rustix::fs::sendfile;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::dispatch::{self, Started};
use crate::session::Session;

/// Answers owed to one client before its socket is left unread.
const UNANSWERED_MAX: usize = 64;
/// The first read of a frame: most requests fit.
const READ_FIRST: usize = 16 * 1024;
/// What a claimed frame length may reserve ahead of the bytes that really came.
const READ_AHEAD: usize = 1024 * 1024;
/// Slices up to here are copied into the answer: one system call instead of two.
const COPY_MAX: usize = 16 * 1024;
/// One sendfile call; larger calls gain nothing and hold the runtime thread.
const SEND_MAX: u64 = 1024 * 1024;
/// Frames up to here do not draw on the budget, so that heartbeats pass when it is exhausted.
const SMALL_FRAME: usize = 64 * 1024;
const BUDGET_UNIT: usize = 1024;

/// What the connections of one listener share.
pub(crate) struct Shared {
    pub(crate) services: Arc<Services>,
    pub(crate) frame_max: usize,
    pub(crate) idle_max: Duration,
    /// KiB of large request frames that may be in memory at once, over all connections.
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Why a connection ended, for the log.
#[derive(Debug)]
pub(crate) enum End {
    Left,
    Idle,
    Stopped,
    Refused(String),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Left,
            _ => Self::Io(error),
        }
    }
}

/// An answer owed: its place in line is its place in the queue.
struct Owed {
    key: i16,
    started: std::time::Instant,
    allows_company: bool,
    stage: Stage,
}

enum Stage {
    /// It waits: for a flush, for records, for a coordinator.
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Due(Answer),
}

impl Owed {
    /// Whether the answer may leave.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Stage::Waiting(answer) = &mut self.stage {
            self.stage = Stage::Due(ready!(answer.as_mut().poll(context)));
        }
        Poll::Ready(())
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    session: Arc<Session>,
    shared: Arc<Shared>,
    inbox: BytesMut,
    /// A frame that was read but may not start yet.
    held: Option<Bytes>,
    permit: Option<OwnedSemaphorePermit>,
    owed: VecDeque<Owed>,
}

/// What a connection does next: end, or go on where requests of its kind are served.
pub(crate) enum Outcome {
    End(End),
    /// The first request that may touch a partition's disk has come: the rest of this
    /// connection's life belongs to the data plane.
    ToDataPlane(Box<Connection>),
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, session: Arc<Session>, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            session,
            shared,
            inbox: BytesMut::new(),
            held: None,
            permit: None,
            owed: VecDeque::new(),
        }
    }

    pub(crate) fn detach(self) -> io::Result<Detached> {
        let Self {
            stream,
            session,
            shared,
            inbox,
            held,
            permit,
            ..
        } = self;
        Ok(Detached {
            stream: stream.into_std()?,
            session,
            shared,
            inbox,
            held,
            permit,
        })
    }

    /// Serves until the connection ends. On the control plane (`is_data_plane` false) it returns
    /// as soon as a request wants a partition's disk.
    pub(crate) async fn run(mut self, is_data_plane: bool) -> Outcome {
        match self.serve(is_data_plane).await {
            Ok(()) => Outcome::ToDataPlane(Box::new(self)),
            Err(end) => Outcome::End(end),
        }
    }

    async fn serve(&mut self, is_data_plane: bool) -> Result<(), End> {
        let mut stopping = self.shared.stopping.clone();
        let idle = tokio::time::sleep(self.shared.idle_max);
        tokio::pin!(idle);
        loop {
            if !is_data_plane && self.wants_disk()? {
                return Ok(());
            }
            self.start_frames()?;
            if self.write_due().await? {
                idle.as_mut().reset(Instant::now() + self.shared.idle_max);
            }
            if self.owed.is_empty() && self.has_frame()? {
                continue;
            }
            let may_read = self.owed.len() < UNANSWERED_MAX && self.held.is_none();
            let is_stopping = *stopping.borrow_and_update();
            if is_stopping && self.owed.is_empty() {
                return Err(End::Stopped);
            }
            if may_read && self.inbox.is_empty() {
                self.inbox = BytesMut::new();
            }
            let owes = !self.owed.is_empty();
            tokio::select! {
                biased;
                () = head_is_due(&mut self.owed, &self.session), if owes => {}
                ready = self.stream.readable(), if may_read => {
                    ready?;
                    self.read().await?;
                    idle.as_mut().reset(Instant::now() + self.shared.idle_max);
                }
                _ = stopping.changed(), if !is_stopping => {}
                () = &mut idle => {
                    if !owes { return Err(End::Idle) }
                    idle.as_mut().reset(Instant::now() + self.shared.idle_max);
                }
            }
        }
    }

    /// Reads what the socket has, never reserving more than [`READ_AHEAD`] beyond what came.
    async fn read(&mut self) -> Result<(), End> {
        let wanted = self.frame_size()?.map_or(READ_FIRST, |size| {
            (size - self.inbox.len().min(size)).clamp(READ_FIRST, READ_AHEAD)
        });
        if self.inbox.capacity() - self.inbox.len() < wanted {
            self.inbox.reserve(wanted);
        }
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => return Err(End::Left),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some(size) = self.frame_size()?
            && size > SMALL_FRAME
            && self.permit.is_none()
        {
            let units = u32::try_from(size.div_ceil(BUDGET_UNIT)).unwrap_or(u32::MAX);
            self.permit = self
                .shared
                .budget
                .clone()
                .acquire_many_owned(units)
                .await
                .ok();
        }
        Ok(())
    }

    /// The size of the first frame in the inbox with its length prefix, once that is known.
    fn frame_size(&self) -> Result<Option<usize>, End> {
        let Some(prefix) = self.inbox.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*prefix);
        match usize::try_from(length) {
            Ok(length) if length <= self.shared.frame_max => Ok(Some(4 + length)),
            Ok(_) => Err(End::Refused(format!(
                "frame of {length} bytes is larger than socket.request.max.bytes={}",
                self.shared.frame_max
            ))),
            Err(_) => Err(End::Refused(format!("frame with negative length {length}"))),
        }
    }

    /// Whether a whole request waits here to be started.
    fn has_frame(&self) -> Result<bool, End> {
        let is_whole = self
            .frame_size()?
            .is_some_and(|size| self.inbox.len() >= size);
        Ok(self.held.is_some() || is_whole)
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, End> {
        if let Some(frame) = self.held.take() {
            return Ok(Some(frame));
        }
        match self.frame_size()? {
            Some(size) if self.inbox.len() >= size => {
                let mut frame = self.inbox.split_to(size);
                let _prefix = frame.split_to(4);
                Ok(Some(frame.freeze()))
            }
            _ => Ok(None),
        }
    }

    fn wants_disk(&mut self) -> Result<bool, End> {
        if !self.owed.is_empty() {
            return Ok(false);
        }
        let Some(frame) = self.next_frame()? else {
            return Ok(false);
        };
        let wants = dispatch::wants_disk(&frame);
        self.held = Some(frame);
        Ok(wants)
    }

    /// Starts every frame that has come and may start.
    fn start_frames(&mut self) -> Result<(), End> {
        while self.owed.len() < UNANSWERED_MAX {
            let Some(frame) = self.next_frame()? else {
                return Ok(());
            };
            let company = self.owed.iter().all(|owed| owed.allows_company);
            let may_start = self.owed.is_empty() || (company && dispatch::allows_company(&frame));
            if !may_start {
                self.held = Some(frame);
                return Ok(());
            }
            let started = dispatch::start(&self.shared.services, &self.session, frame)
                .map_err(End::Refused)?;
            let Started {
                key,
                allows_company,
                answer,
            } = started;
            let started = std::time::Instant::now();
            let mut owed = Owed {
                key,
                started,
                allows_company,
                stage: Stage::Waiting(answer),
            };
            // The first poll is the decision: an append is done here, in the order of arrival.
            let _ = owed.poll(&mut Context::from_waker(Waker::noop()));
            self.owed.push_back(owed);
            self.permit = None;
        }
        Ok(())
    }

    /// Writes the answers at the head of the line that are ready; whether there was one.
    async fn write_due(&mut self) -> Result<bool, End> {
        let mut due = Vec::new();
        std::future::poll_fn(|context| {
            while self
                .owed
                .front_mut()
                .is_some_and(|owed| owed.poll(context).is_ready())
            {
                if let Some(Owed {
                    key,
                    started,
                    stage: Stage::Due(answer),
                    ..
                }) = self.owed.pop_front()
                {
                    self.shared
                        .services
                        .metrics()
                        .request_done(key, started.elapsed());
                    due.push(answer);
                }
            }
            Poll::Ready(())
        })
        .await;
        let is_any = !due.is_empty();
        let mut out = Vec::with_capacity(due.len());
        for answer in due {
            match answer {
                Answer::Frame(pieces) => out.extend(pieces),
                Answer::Nothing => {}
                Answer::Close(why) => {
                    self.write(out).await?;
                    return Err(End::Refused(why));
                }
            }
        }
        self.write(out).await?;
        Ok(is_any)
    }

    /// Writes pieces in order; a client that takes nothing for the idle time is let go.
    async fn write(&mut self, pieces: Vec<Piece<FileSlice>>) -> Result<(), End> {
        if pieces.is_empty() {
            return Ok(());
        }
        let mut run: Vec<Bytes> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => run.push(bytes),
                Piece::Slice(slice) if slice.len() <= COPY_MAX => run.push(slice.read()?),
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
        while position < end {
            let step = usize::try_from((end - position).min(SEND_MAX)).unwrap_or(usize::MAX);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                sendfile(&self.stream, file, Some(&mut position), step).map_err(io::Error::from)
            });
            match sent {
                Ok(0) => {
                    return Err(End::Refused(
                        "a segment became shorter while it was sent".into(),
                    ));
                }
                Ok(_) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), End> {
        match tokio::time::timeout(self.shared.idle_max, self.stream.writable()).await {
            Ok(ready) => Ok(ready?),
            Err(_) => Err(End::Idle),
        }
    }
}

/// A connection between two runtimes.
pub(crate) struct Detached {
    stream: std::net::TcpStream,
    session: Arc<Session>,
    shared: Arc<Shared>,
    inbox: BytesMut,
    held: Option<Bytes>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Detached {
    pub(crate) fn attach(self) -> io::Result<Connection> {
        let Self {
            stream,
            session,
            shared,
            inbox,
            held,
            permit,
        } = self;
        let stream = TcpStream::from_std(stream)?;
        Ok(Connection {
            stream,
            session,
            shared,
            inbox,
            held,
            permit,
            owed: VecDeque::new(),
        })
    }
}

/// Resolves when the answer at the head of the line is ready, and leaves it there. Those behind it
/// are looked at only while there are some that are not decided yet.
async fn head_is_due(owed: &mut VecDeque<Owed>, session: &Session) {
    if owed.is_empty() {
        return std::future::pending().await;
    }
    std::future::poll_fn(|context| {
        let mut owed = owed.iter_mut();
        let head = owed.next().map_or(Poll::Pending, |head| head.poll(context));
        for one in owed {
            if session.undecided.is_empty() {
                break;
            }
            let _ = one.poll(context);
        }
        head
    })
    .await;
}
