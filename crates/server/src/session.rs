//! Who is on the line: facts of one connection that every request on it shares.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_protocol::Text;
use tokio::sync::{Mutex, MutexGuard};

/// One accepted connection. Made once, shared by all its requests.
#[derive(Debug)]
pub(crate) struct Session {
    /// The listener's name, upper case as in `listeners`; advertised addresses are answered for it.
    pub listener: Arc<str>,
    /// A controller listener serves fewer APIs, and answers for the quorum.
    pub is_controller: bool,
    pub peer: SocketAddr,
    /// The address the client reached us by: what a wildcard listener without an advertised
    /// address tells this client.
    pub local: SocketAddr,
    pub undecided: Undecided,
    /// The last one that was named: almost always the next, too.
    pub last_client_id: parking_lot::Mutex<Text>,
}

impl Session {
    /// A client id that does not keep alive the frame in which it came.
    pub(crate) fn client_id(&self, named: &Text) -> Text {
        let mut last = self.last_client_id.lock();
        if *last != *named {
            *last = Text::from(&**named);
        }
        last.clone()
    }
}

/// The requests of a connection that must be decided in the order in which they came, and cannot
/// be yet: a transaction's coordinator is asked first, and what comes behind must not overtake.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    n: AtomicUsize,
    line: Mutex<()>,
}

/// It is this request's turn until this is dropped.
pub(crate) struct Turn<'a> {
    _turn: MutexGuard<'a, ()>,
    _counted: Counted<'a>,
}

struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Undecided {
    /// Whether a request may be decided at once.
    pub(crate) fn is_empty(&self) -> bool {
        self.n.load(Ordering::Acquire) == 0
    }

    /// Stands in the line from the first poll on.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.n.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(&self.n);
        // IMPORTANT: without a budget, since whoever is polled first must stand first.
        let turn = tokio::task::unconstrained(self.line.lock()).await;
        Turn {
            _turn: turn,
            _counted: counted,
        }
    }
}

/// One request being served.
#[derive(Debug)]
pub(crate) struct Call {
    pub session: Arc<Session>,
    pub client_id: Option<Text>,
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
}

impl Call {
    /// The client id, empty if the client gave none.
    pub(crate) fn client(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }

    /// The peer's address as Kafka prints it (`/127.0.0.1`).
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", canonical(self.session.peer.ip()))
    }
}

/// IPv4 peers of a dual-stack socket appear as mapped IPv6; users think in IPv4.
pub(crate) fn canonical(ip: std::net::IpAddr) -> std::net::IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn nobody_overtakes() {
        let undecided = Undecided::default();
        let context = &mut Context::from_waker(Waker::noop());
        let mut first = pin!(undecided.turn());
        let Poll::Ready(turn) = first.as_mut().poll(context) else {
            panic!("the first waits for nobody");
        };
        let (mut second, mut third) = (pin!(undecided.turn()), pin!(undecided.turn()));
        assert!(second.as_mut().poll(context).is_pending());
        assert!(third.as_mut().poll(context).is_pending());
        assert!(!undecided.is_empty());
        drop(turn);
        assert!(third.as_mut().poll(context).is_pending());
        let Poll::Ready(turn) = second.as_mut().poll(context) else {
            panic!("it is the second's turn");
        };
        drop(turn);
        assert!(third.as_mut().poll(context).is_ready());
        assert!(undecided.is_empty());
    }
}
