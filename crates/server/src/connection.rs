//! One connection, one task: frames are read, decided in order, and answered in order.
//!
//! A request starts when everything unanswered before it allows that (`overlap.rs`); until then
//! later frames stay in the socket. Nothing is read while too many answers are owed, so a client
//! that never reads costs a bounded amount. A connection that waits for memory (`memory.rs`) goes
//! on answering.

mod inbox;
mod line;
mod outgoing;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_node::Services;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::dispatch;
use crate::memory::{Lane, Piece, RequestMemory, SMALL_FRAME};
use crate::session::Session;
use inbox::{BadLength, Inbox};
use line::Line;

/// While others wait for memory, a frame that holds some must bring more within this time: else
/// a few clients that stopped half way would keep all others out.
const STILL_MAX: Duration = Duration::from_secs(10);
/// How much more. Slower links than 6 KiB/s carry no frames of this kind.
const STILL_BYTES: usize = SMALL_FRAME;

/// What the connections of one listener share.
pub(crate) struct Shared {
    pub(crate) services: Arc<Services>,
    pub(crate) frame_max: usize,
    pub(crate) idle_max: Duration,
    pub(crate) memory: Arc<RequestMemory>,
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

/// Memory that was asked for, and how much of it.
struct Awaited {
    n_bytes: usize,
    piece: Pin<Box<dyn Future<Output = Piece> + Send>>,
}

/// What the node counts and keeps for a client that is connected: ended with the connection, also
/// where a handler panics.
struct Presence {
    session: Arc<Session>,
    services: Arc<Services>,
}

impl Presence {
    /// Hears the client again if its pause is over.
    fn end_pause(&self, is_over: impl FnOnce(Instant) -> bool) {
        if let Some(kind) = self.session.pause.end(is_over) {
            self.services.quotas().of(kind).pauses_changed(-1);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.end_pause(|_| true);
        if let Some(instance) = self.session.telemetry.lock().take() {
            self.services.telemetry().forget(instance);
        }
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    session: Arc<Session>,
    shared: Arc<Shared>,
    inbox: Inbox,
    awaited: Option<Awaited>,
    line: Line,
    /// Behind the line: what is owed may begin a pause until it is dropped.
    presence: Presence,
    is_data_plane: bool,
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
        let presence = Presence {
            session: session.clone(),
            services: shared.services.clone(),
        };
        Self {
            stream,
            session,
            inbox: Inbox::new(shared.frame_max),
            awaited: None,
            line: Line::new(shared.services.metrics_handle()),
            shared,
            presence,
            is_data_plane: false,
        }
    }

    pub(crate) fn detach(self) -> io::Result<Detached> {
        let Self {
            stream,
            session,
            shared,
            inbox,
            presence,
            ..
        } = self;
        Ok(Detached {
            stream: stream.into_std()?,
            session,
            shared,
            inbox,
            presence,
        })
    }

    /// Serves until the connection ends. On the control plane it returns as soon as a request wants
    /// a partition's disk.
    pub(crate) async fn run(mut self) -> Outcome {
        match self.serve().await {
            Ok(()) => Outcome::ToDataPlane(Box::new(self)),
            Err(end) => Outcome::End(end),
        }
    }

    async fn serve(&mut self) -> Result<(), End> {
        let mut stopping = self.shared.stopping.clone();
        let mut active = Instant::now();
        let alarm = tokio::time::sleep_until(active + self.shared.idle_max);
        tokio::pin!(alarm);
        loop {
            if self.wants_data_plane() {
                return Ok(());
            }
            let now = Instant::now();
            self.presence.end_pause(|until| until <= now);
            self.start_frames()?;
            if self.write_due().await? {
                active = Instant::now();
            }
            if self.may_start() || self.wants_data_plane() {
                continue;
            }
            let may_read = self.may_read()?;
            let owes = !self.line.is_empty();
            let pause = self.session.pause.until();
            let is_stopping = *stopping.borrow_and_update();
            if is_stopping && !owes {
                return Err(End::Stopped);
            }
            if self.inbox.holds_memory() && alarm.deadline() > Instant::now() + STILL_MAX {
                alarm.as_mut().reset(Instant::now() + STILL_MAX);
            }
            let Self {
                stream,
                session,
                inbox,
                awaited,
                line,
                ..
            } = self;
            tokio::select! {
                biased;
                () = line.head_is_due(session), if owes => {}
                piece = granted(awaited), if awaited.is_some() => {
                    if let Some(asked) = awaited.take() {
                        inbox.grow(asked.n_bytes, Some(piece), Instant::now());
                    }
                }
                come = std::future::poll_fn(|context| inbox.poll_read(stream, context)), if may_read => {
                    if come? == 0 {
                        return Err(End::Left);
                    }
                    active = Instant::now();
                }
                () = reached(pause), if pause.is_some() => {}
                _ = stopping.changed(), if !is_stopping => {}
                () = &mut alarm => {
                    self.check_progress()?;
                    let now = Instant::now();
                    if now >= active + self.shared.idle_max {
                        if !owes {
                            return Err(End::Idle);
                        }
                        active = now;
                    }
                    alarm.as_mut().reset(active + self.shared.idle_max);
                }
            }
        }
    }

    /// Ends a connection that keeps memory from others and does nothing with it.
    fn check_progress(&mut self) -> Result<(), End> {
        let stands = self
            .inbox
            .stands_still(STILL_BYTES, STILL_MAX, Instant::now());
        if stands && self.awaited.is_none() && self.shared.memory.n_waiting() > 0 {
            return Err(End::Refused(format!(
                "less than {STILL_BYTES} bytes of a request came in {} s while others waited for memory (queued.max.request.bytes)",
                STILL_MAX.as_secs()
            )));
        }
        Ok(())
    }

    /// Whether the frame at the front is whole and may be started here and now. A pause keeps none
    /// from it that holds memory: others may wait for that, and as in Kafka what came is served.
    fn may_start(&self) -> bool {
        let key = self.inbox.front_key();
        self.inbox.has_frame()
            && (self.session.pause.until().is_none() || self.inbox.holds_memory())
            && (self.is_data_plane || !dispatch::wants_disk(key))
            && self.line.lets_start(dispatch::overlap(key))
    }

    /// Whether to read on. A large frame is read when it could be started, so that none waits here
    /// with its memory, and when it has been granted the memory.
    fn may_read(&mut self) -> Result<bool, End> {
        if let Err(BadLength(length)) = self.inbox.sort() {
            // What came before is answered first.
            return if self.line.is_empty() {
                Err(self.refused(length))
            } else {
                Ok(false)
            };
        }
        if self.inbox.has_frame() || self.awaited.is_some() {
            return Ok(false);
        }
        // A frame whose memory is held already is read to its end: others may wait for that memory.
        if self.session.pause.until().is_some() && !self.inbox.holds_memory() {
            return Ok(false);
        }
        let memory = &self.shared.memory;
        let Some(n_bytes) = self.inbox.room_wanted(memory.is_at_ease()) else {
            return Ok(self.inbox.holds_memory() || self.line.has_room());
        };
        let key = self.inbox.front_key();
        if !self.inbox.holds_memory() && !self.line.lets_start(dispatch::overlap(key)) {
            return Ok(false);
        }
        if self.inbox.is_granted_whole() {
            self.inbox.grow(n_bytes, None, Instant::now());
            return Ok(true);
        }
        let lane = match self.session.is_controller || dispatch::is_fetch(key) {
            true => Lane::Inner,
            false => Lane::Common,
        };
        let piece = memory.try_take(lane, n_bytes);
        if piece.is_some() {
            self.inbox.grow(n_bytes, piece, Instant::now());
            return Ok(true);
        }
        let piece = Box::pin(memory.clone().take(lane, n_bytes));
        self.awaited = Some(Awaited { n_bytes, piece });
        Ok(false)
    }

    fn refused(&self, length: i32) -> End {
        End::Refused(match length {
            ..0 => format!("frame with negative length {length}"),
            _ => format!(
                "frame of {length} bytes is larger than socket.request.max.bytes={}",
                self.shared.frame_max
            ),
        })
    }

    /// Whether it is the data plane's turn: nothing is owed, and the next request wants a disk.
    fn wants_data_plane(&self) -> bool {
        !self.is_data_plane
            && self.line.is_empty()
            && self.awaited.is_none()
            && dispatch::wants_disk(self.inbox.front_key())
    }

    /// Starts every frame that has come and may start.
    fn start_frames(&mut self) -> Result<(), End> {
        while self.may_start() {
            let Some(frame) = self.inbox.next_frame() else {
                return Ok(());
            };
            let started = dispatch::start(&self.shared.services, &self.session, frame.bytes)
                .map_err(End::Refused)?;
            self.line.push(started, frame.share.as_deref());
        }
        Ok(())
    }

    /// Writes the answers at the head of the line that are ready; whether there was one.
    async fn write_due(&mut self) -> Result<bool, End> {
        if self.line.is_empty() {
            return Ok(false);
        }
        let due = self.line.take_due().await;
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
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Resolves with the memory that is waited for.
async fn granted(awaited: &mut Option<Awaited>) -> Piece {
    match awaited {
        Some(asked) => asked.piece.as_mut().await,
        None => std::future::pending().await,
    }
}

/// A connection between two runtimes.
pub(crate) struct Detached {
    stream: std::net::TcpStream,
    session: Arc<Session>,
    shared: Arc<Shared>,
    inbox: Inbox,
    presence: Presence,
}

impl Detached {
    pub(crate) fn attach(self) -> io::Result<Connection> {
        let Self {
            stream,
            session,
            shared,
            inbox,
            presence,
        } = self;
        Ok(Connection {
            stream: TcpStream::from_std(stream)?,
            session,
            inbox,
            awaited: None,
            line: Line::new(shared.services.metrics_handle()),
            shared,
            presence,
            is_data_plane: true,
        })
    }
}
