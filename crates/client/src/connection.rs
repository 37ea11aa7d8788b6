//! One socket to one broker: many requests in flight, answers in the order of the requests.
//!
//! Two tasks own the socket. The writer notes who waits before it writes, the reader hands each
//! frame to the one who waited longest. Both queues are bounded by [`MAX_IN_FLIGHT`]. A broker
//! answers in order, so one answer that never comes would stop all behind it: who runs out of
//! patience ends the connection for all, and each of them learns why.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::{Request, Text, Versioned, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::address::Address;
use crate::error::ClientError;
use crate::handshake::{self, Versions};
use crate::settings::{ClientSettings, MAX_IN_FLIGHT};

/// How much is read from the socket at once.
const READ_CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub struct Connection {
    address: Address,
    versions: Versions,
    client_id: Text,
    next_correlation: AtomicI32,
    outgoing: mpsc::Sender<Outgoing>,
    end: Arc<OnceLock<ClientError>>,
    tasks: [AbortHandle; 2],
}

#[derive(Debug)]
struct Outgoing {
    frame: Bytes,
    /// `None` for a request that is never answered.
    waiter: Option<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    correlation_id: i32,
    answer: oneshot::Sender<Bytes>,
}

impl Connection {
    /// Connect and agree on versions.
    pub async fn open(address: &Address, settings: &ClientSettings) -> Result<Self, ClientError> {
        let client_id = Text::from(settings.client_id.as_str());
        let opened = timeout(settings.connect_timeout, greet(address, &client_id)).await;
        let unreachable = |why| ClientError::Unreachable {
            address: address.clone(),
            why,
        };
        let (stream, versions) = match opened {
            Ok(opened) => opened.map_err(unreachable)?,
            Err(_) => {
                let ms = settings.connect_timeout.as_millis();
                return Err(unreachable(format!("no answer within {ms} ms")));
            }
        };
        let (read_half, write_half) = stream.into_split();
        let (outgoing, requests) = mpsc::channel(MAX_IN_FLIGHT);
        let (in_flight, waiters) = mpsc::channel(MAX_IN_FLIGHT);
        let end = Ending {
            address: address.clone(),
            reason: Arc::default(),
        };
        let reason = Arc::clone(&end.reason);
        let writer = tokio::spawn(write(write_half, requests, in_flight, end.clone()));
        let reader = tokio::spawn(read(
            read_half,
            waiters,
            settings.max_frame,
            end,
            writer.abort_handle(),
        ));
        Ok(Self {
            address: address.clone(),
            versions,
            client_id,
            next_correlation: AtomicI32::new(1),
            outgoing,
            end: reason,
            tasks: [writer.abort_handle(), reader.abort_handle()],
        })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    pub fn is_closed(&self) -> bool {
        self.outgoing.is_closed() || self.end.get().is_some()
    }

    /// Ask at the newest version that both sides know, and wait for the answer.
    pub async fn ask<R: Request>(
        self: &Arc<Self>,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response, ClientError> {
        self.ask_up_to(request, i16::MAX, patience).await
    }

    /// The same, at no version above `limit`.
    pub async fn ask_up_to<R: Request>(
        self: &Arc<Self>,
        request: &R,
        limit: i16,
        patience: Duration,
    ) -> Result<R::Response, ClientError> {
        let version = self.versions.newest::<R>(limit)?;
        let answer = self.start(request, version, patience).await?;
        answer.wait(patience).await
    }

    /// Send now, wait later: requests reach the broker in the order of the calls.
    pub async fn start<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<Answer<R>, ClientError> {
        let (answer, received) = oneshot::channel();
        let (correlation_id, frame) = self.frame(request, version)?;
        let waiter = Waiter {
            correlation_id,
            answer,
        };
        self.send::<R>(frame, Some(waiter), patience).await?;
        Ok(Answer {
            connection: Arc::clone(self),
            version,
            received,
            request: PhantomData,
        })
    }

    /// Send what the broker does not answer (Produce with acks=0).
    pub async fn tell<R: Request>(
        &self,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let (_, frame) = self.frame(request, version)?;
        self.send::<R>(frame, None, patience).await
    }

    /// End it for everybody who waits.
    pub fn close(&self, reason: ClientError) {
        let _ = self.end.set(reason);
        self.tasks.iter().for_each(AbortHandle::abort);
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Bytes), ClientError> {
        let correlation_id = self.next_correlation.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let client_id = Some(self.client_id.clone());
        let frame =
            request_frame(request, version, correlation_id, client_id).map_err(|unsupported| {
                ClientError::Unserved {
                    api: R::NAME,
                    why: unsupported.to_string(),
                }
            })?;
        Ok((correlation_id, frame))
    }

    async fn send<R: Request>(
        &self,
        frame: Bytes,
        waiter: Option<Waiter>,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let outgoing = Outgoing { frame, waiter };
        match timeout(patience, self.outgoing.send(outgoing)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.reason()),
            Err(_) => Err(self.give_up::<R>(patience)),
        }
    }

    fn give_up<R: Request>(&self, patience: Duration) -> ClientError {
        let late = ClientError::TimedOut {
            what: format!("{} at {}", R::NAME, self.address),
            after: patience,
        };
        self.close(late.clone());
        late
    }

    fn reason(&self) -> ClientError {
        self.end
            .get()
            .cloned()
            .unwrap_or_else(|| closed(&self.address))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The answer to a request that was sent. It keeps the connection open.
#[derive(Debug)]
pub struct Answer<R> {
    connection: Arc<Connection>,
    version: i16,
    received: oneshot::Receiver<Bytes>,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    pub async fn wait(self, patience: Duration) -> Result<R::Response, ClientError> {
        let frame = match timeout(patience, self.received).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(_)) => return Err(self.connection.reason()),
            Err(_) => return Err(self.connection.give_up::<R>(patience)),
        };
        match decode_response::<R::Response>(frame, self.version) {
            Ok((_, response)) => Ok(response),
            Err(malformed) => Err(ClientError::BadAnswer {
                api: <R::Response as Versioned>::NAME,
                why: malformed.to_string(),
            }),
        }
    }
}

async fn greet(address: &Address, client_id: &Text) -> Result<(TcpStream, Versions), String> {
    let host = (address.host.as_str(), address.port);
    let mut stream = TcpStream::connect(host).await.map_err(|e| e.to_string())?;
    // Requests are whole when they are written; waiting for more only costs time.
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let versions = handshake::agree(&mut stream, client_id).await?;
    Ok((stream, versions))
}

/// Where a task says why it stopped. The first reason is the one that is told.
#[derive(Debug, Clone)]
struct Ending {
    address: Address,
    reason: Arc<OnceLock<ClientError>>,
}

impl Ending {
    fn because(&self, why: impl ToString) {
        let _ = self.reason.set(ClientError::Unreachable {
            address: self.address.clone(),
            why: why.to_string(),
        });
    }
}

fn closed(address: &Address) -> ClientError {
    ClientError::Unreachable {
        address: address.clone(),
        why: "the connection was closed".to_owned(),
    }
}

async fn write(
    mut socket: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Outgoing>,
    in_flight: mpsc::Sender<Waiter>,
    end: Ending,
) {
    while let Some(Outgoing { frame, waiter }) = requests.recv().await {
        if let Some(waiter) = waiter
            && in_flight.send(waiter).await.is_err()
        {
            return;
        }
        if let Err(error) = socket.write_all(&frame).await {
            end.because(error);
            return;
        }
    }
}

async fn read(
    mut socket: OwnedReadHalf,
    mut waiters: mpsc::Receiver<Waiter>,
    max_frame: usize,
    end: Ending,
    writer: AbortHandle,
) {
    let mut buffer = BytesMut::with_capacity(READ_CHUNK);
    let why = loop {
        match frame::take(&mut buffer, max_frame) {
            Ok(Some(frame)) => match waiters.try_recv() {
                Ok(waiter) if is_answer_to(&frame, waiter.correlation_id) => {
                    // Nobody may be waiting any more; the answer is then nobody's.
                    let _ = waiter.answer.send(frame);
                }
                _ => break "it answered what was not asked".to_owned(),
            },
            Ok(None) => {
                buffer.reserve(READ_CHUNK);
                match socket.read_buf(&mut buffer).await {
                    Ok(0) => break "the broker closed the connection".to_owned(),
                    Ok(_) => {}
                    Err(error) => break error.to_string(),
                }
            }
            Err(bad) => break format!("it sent {bad}"),
        }
    };
    // IMPORTANT: the reason before the waiters go, since they look for it when they are dropped.
    end.because(why);
    writer.abort();
}

fn is_answer_to(frame: &[u8], correlation_id: i32) -> bool {
    frame.first_chunk() == Some(&correlation_id.to_be_bytes())
}
