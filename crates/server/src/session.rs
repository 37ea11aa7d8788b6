//! Who is on the line: facts of one connection that every request on it shares.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_metadata::quotas::QuotaKind;
use ottla_protocol::{Text, Uuid};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

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
    pub pause: Pause,
    /// The name and version of the client's software, as it introduced itself.
    pub software: OnceLock<[Text; 2]>,
    /// Who pushes metrics on this connection.
    pub telemetry: parking_lot::Mutex<Option<Uuid>>,
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

/// Whether a connection is read: a client above its quota is answered, and then not heard for a
/// while, whether it waits of itself or not.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    until: parking_lot::Mutex<Option<(Instant, QuotaKind)>>,
}

impl Pause {
    /// Begins a pause, or makes one longer; whether there was none, and the kind that was.
    pub(crate) fn extend(&self, until: Instant, kind: QuotaKind) -> Option<QuotaKind> {
        let mut now = self.until.lock();
        let before = now.map(|(_, kind)| kind);
        if now.is_none_or(|(earlier, _)| earlier < until) {
            *now = Some((until, before.unwrap_or(kind)));
        }
        before
    }

    pub(crate) fn until(&self) -> Option<Instant> {
        self.until.lock().map(|(until, _)| until)
    }

    /// Ends a pause whose time has come, or any; of which kind it was.
    pub(crate) fn end(&self, is_over: impl FnOnce(Instant) -> bool) -> Option<QuotaKind> {
        let mut now = self.until.lock();
        let (until, kind) = (*now)?;
        is_over(until).then(|| {
            *now = None;
            kind
        })
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

/// How long a request has been worked on, waiting apart. Only kept while a quota asks for it.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    nanos: AtomicU64,
    since: parking_lot::Mutex<Option<std::time::Instant>>,
}

impl Busy {
    pub(crate) fn begin(&self) {
        *self.since.lock() = Some(std::time::Instant::now());
    }

    pub(crate) fn finish(&self) {
        let nanos = self.nanos();
        *self.since.lock() = None;
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    /// Up to now.
    pub(crate) fn nanos(&self) -> u64 {
        let since = self
            .since
            .lock()
            .map_or(0, |since| since.elapsed().as_nanos());
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.nanos.load(Ordering::Relaxed).saturating_add(since)
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
    /// Of the whole request, its length field apart.
    pub n_bytes: usize,
    pub busy: Busy,
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

    #[tokio::test]
    async fn a_pause_is_as_long_as_the_longest_that_was_asked_for() {
        let pause = Pause::default();
        let now = Instant::now();
        let second = std::time::Duration::from_secs(1);
        assert_eq!(pause.until(), None);
        assert_eq!(pause.extend(now + 2 * second, QuotaKind::Fetch), None);
        let before = pause.extend(now + second, QuotaKind::Request);
        assert_eq!(before, Some(QuotaKind::Fetch));
        assert_eq!(pause.until(), Some(now + 2 * second));
        assert_eq!(pause.end(|until| until <= now), None);
        assert_eq!(
            pause.end(|until| until <= now + 2 * second),
            Some(QuotaKind::Fetch)
        );
        assert_eq!(pause.until(), None);
    }

    #[test]
    fn time_counts_while_a_request_is_worked_on() {
        let busy = Busy::default();
        assert_eq!(busy.nanos(), 0);
        busy.begin();
        let so_far = busy.nanos();
        busy.finish();
        let done = busy.nanos();
        assert!(done >= so_far);
        assert_eq!(busy.nanos(), done, "waiting is not work");
    }

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
