//! One socket: many requests on the way, answers in the order of the requests.
//!
//! A task writes and a task reads, so that whoever stops waiting for an answer never leaves half a
//! frame behind. The connection lives as long as its last handle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::{Request, Text, Versioned, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fault::Fault;
use crate::handshake::{self, Versions};

/// Requests that may wait for the socket. More would only grow old there.
const QUEUE: usize = 64;
/// The largest answer we take: a fetch of the largest records that Kafka stores, with room.
const ANSWER_MAX: usize = 1 << 30;
/// What one read asks the socket for.
const READ_SIZE: usize = 64 * 1024;

/// A connection to one broker; clones share it.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: String,
    client_id: Text,
    request_timeout: Duration,
    versions: Versions,
    queue: mpsc::Sender<Outgoing>,
    next_correlation: AtomicI32,
    tasks: [JoinHandle<()>; 2],
}

struct Outgoing {
    frame: Bytes,
    /// `None`: no answer comes (acks=0).
    answer: Option<oneshot::Sender<Bytes>>,
}

/// Who waits for an answer, in the order of the requests; `None` once the connection is over.
type Waiting = Arc<Mutex<Option<VecDeque<oneshot::Sender<Bytes>>>>>;

impl Connection {
    /// Connects and asks for the versions.
    pub async fn open(
        address: &str,
        client_id: &str,
        request_timeout: Duration,
    ) -> Result<Self, Fault> {
        let unreachable = |why: String| Fault::Unreachable {
            address: address.into(),
            why,
        };
        let connected = timeout(request_timeout, TcpStream::connect(address)).await;
        let stream = connected
            .map_err(|_| unreachable("no answer in time".into()))?
            .map_err(|why| unreachable(why.to_string()))?;
        // Requests are small and waited for: none may sit in a buffer for company.
        stream
            .set_nodelay(true)
            .map_err(|why| unreachable(why.to_string()))?;
        let (reader, writer) = stream.into_split();
        let waiting: Waiting = Arc::new(Mutex::new(Some(VecDeque::new())));
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let tasks = [
            tokio::spawn(write(writer, outgoing, waiting.clone())),
            tokio::spawn(read(reader, waiting)),
        ];
        let mut inner = Inner {
            address: address.into(),
            client_id: Text::from(client_id),
            request_timeout,
            versions: Versions::default(),
            queue,
            next_correlation: AtomicI32::new(0),
            tasks,
        };
        inner.versions = handshake::versions(&inner).await?;
        Ok(Self(Arc::new(inner)))
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    pub fn is_closed(&self) -> bool {
        self.0.tasks.iter().any(JoinHandle::is_finished)
    }

    /// The newest version of an API that both sides know.
    pub fn version_of<R: Versioned>(&self) -> Result<i16, Fault> {
        self.0.versions.newest::<R>(R::VERSIONS.1)
    }

    /// As `version_of`, but not newer than this: later ones name topics by id only, say.
    pub fn version_up_to<R: Versioned>(&self, at_most: i16) -> Result<i16, Fault> {
        self.0.versions.newest::<R>(at_most)
    }

    /// Asks in the newest version that both sides know.
    pub async fn ask<R: Request>(&self, request: &R) -> Result<R::Response, Fault> {
        let version = self.version_of::<R>()?;
        self.0
            .ask_at(request, version, self.0.request_timeout)
            .await
    }

    /// Asks in this version.
    pub async fn ask_at<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, Fault> {
        self.0
            .ask_at(request, version, self.0.request_timeout)
            .await
    }

    /// Asks something whose answer may take this much longer than usual.
    pub async fn ask_patiently<R: Request>(
        &self,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response, Fault> {
        let version = self.version_of::<R>()?;
        self.0
            .ask_at(request, version, self.0.request_timeout + patience)
            .await
    }

    /// Sends something that is not answered.
    pub async fn tell_at<R: Request>(&self, request: &R, version: i16) -> Result<(), Fault> {
        let frame = self.0.frame(request, version)?.0;
        self.0
            .send(Outgoing {
                frame,
                answer: None,
            })
            .await
    }
}

impl Inner {
    async fn send(&self, outgoing: Outgoing) -> Result<(), Fault> {
        self.queue.send(outgoing).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> Fault {
        Fault::Closed {
            address: self.address.clone(),
        }
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<(Bytes, i32), Fault> {
        let correlation = self.next_correlation.fetch_add(1, Ordering::Relaxed);
        let framed = request_frame(request, version, correlation, Some(self.client_id.clone()));
        let why = |why| Fault::Unsupported {
            api: R::NAME,
            why: format!("{why:?}"),
        };
        Ok((framed.map_err(why)?, correlation))
    }

    async fn ask_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<R::Response, Fault> {
        let (correlation, answer) = self.exchange(request, version, patience).await?;
        read_answer::<R>(answer, version, correlation)
    }
}

impl handshake::Line for Inner {
    async fn exchange<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Bytes), Fault> {
        Self::exchange(self, request, version, self.request_timeout).await
    }
}

impl Inner {
    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<(i32, Bytes), Fault> {
        let (frame, correlation) = self.frame(request, version)?;
        let (sender, answer) = oneshot::channel();
        let both = async {
            self.send(Outgoing {
                frame,
                answer: Some(sender),
            })
            .await?;
            answer.await.map_err(|_| self.closed())
        };
        match timeout(patience, both).await {
            Ok(answer) => Ok((correlation, answer?)),
            Err(_) => Err(Fault::TimedOut {
                address: self.address.clone(),
            }),
        }
    }
}

/// The body of an answer that belongs to this request.
pub(crate) fn read_answer<R: Request>(
    answer: Bytes,
    version: i16,
    correlation: i32,
) -> Result<R::Response, Fault> {
    let bad = |why: String| Fault::BadAnswer { api: R::NAME, why };
    let (header, body) =
        decode_response::<R::Response>(answer, version).map_err(|why| bad(format!("{why:?}")))?;
    if header.correlation_id != correlation {
        return Err(bad(format!(
            "it answers {} and not {correlation}",
            header.correlation_id
        )));
    }
    Ok(body)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Outgoing>, waiting: Waiting) {
    while let Some(outgoing) = queue.recv().await {
        if let Some(answer) = outgoing.answer {
            // IMPORTANT: in line before the bytes leave, or the answer could come first.
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting.as_mut() {
                Some(line) => line.push_back(answer),
                None => return,
            }
        }
        if socket.write_all(&outgoing.frame).await.is_err() {
            break;
        }
    }
    hang_up(&waiting);
}

async fn read(mut socket: OwnedReadHalf, waiting: Waiting) {
    let mut buffer = BytesMut::with_capacity(READ_SIZE);
    loop {
        match frame::take(&mut buffer, ANSWER_MAX) {
            Ok(Some(answer)) => {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                match waiting.as_mut().and_then(VecDeque::pop_front) {
                    // Who no longer waits does not mind.
                    Some(sender) => drop(sender.send(answer)),
                    // An answer to nothing: the two sides have lost each other.
                    None => break,
                }
            }
            Ok(None) => {
                buffer.reserve(READ_SIZE);
                match socket.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            Err(_) => break,
        }
    }
    hang_up(&waiting);
}

/// Nobody is answered any more: dropping the senders tells them.
fn hang_up(waiting: &Waiting) {
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
}
