//! Who may watch: so many connections at once, and none that only stands there.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Probes, a few scrapers and people: each comes for a moment. Who comes when all places are taken
/// waits in the socket's backlog.
const CONNECTIONS_MAX: usize = 128;
/// A connection on which nothing has moved for so long gives up its place. Above the pause between
/// two scrapes, which is mostly 15 to 60 s.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A listener with a limit.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle_max: Duration,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with(listener, CONNECTIONS_MAX, IDLE_MAX)
    }

    fn with(listener: TcpListener, connections_max: usize, idle_max: Duration) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(connections_max)),
            idle_max,
        }
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        match self.places.clone().acquire_owned().await {
            Ok(place) => place,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Listener for Door {
    type Io = Watcher;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Watcher, SocketAddr) {
        let place = self.place().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Watcher::new(stream, place, self.idle_max), peer),
                Err(error) => {
                    // Out of descriptors, mostly: the socket stays readable, so pause.
                    tracing::debug!(%error, "cannot accept an HTTP connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its place, until it ends or stands still.
pub(super) struct Watcher {
    stream: TcpStream,
    idle_max: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, idle_max: Duration) -> Self {
        Self {
            stream,
            idle_max,
            deadline: Box::pin(sleep_until(Instant::now() + idle_max)),
            _place: place,
        }
    }

    /// Passes on what the stream said; an error once nothing has moved for too long.
    fn watch<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let deadline = Instant::now() + self.idle_max;
            self.deadline.as_mut().reset(deadline);
            return moved;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watcher {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(moved, context)
    }
}

impl AsyncWrite for Watcher {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(moved, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    async fn door(idle_max: Duration) -> (Door, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Door::with(listener, 2, idle_max), address)
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_for_one() {
        let (mut door, address) = door(LONG).await;
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        let first = door.accept().await;
        let _second = door.accept().await;
        assert!(timeout(SHORT, door.accept()).await.is_err(), "no third");
        drop(first);
        assert!(timeout(LONG, door.accept()).await.is_ok());
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go() {
        let (mut door, address) = door(SHORT).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut watcher, _) = door.accept().await;
        client.write_all(b"GET").await.unwrap();
        let mut bytes = [0; 3];
        watcher.read_exact(&mut bytes).await.unwrap();
        let end = timeout(LONG, watcher.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
