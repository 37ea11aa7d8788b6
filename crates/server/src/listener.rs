//! A listener: bind, accept within the limits, hand each connection to its task.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_node::{Configured, ConnectionRates, Metrics, Services};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::connection::{Connection, End, Outcome, Shared};
use crate::limits::{self, Admission, ConnectionLimits, KnownHosts, RECHECK, allowed, host_names};
use crate::session::{Session, canonical};

/// What a listening socket is made with; connections inherit the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: i32,
    /// Where it is set, and not left to the system.
    pub(crate) receive_buffer: Option<usize>,
}

/// Binds `host:port`; no host is every address, IPv4 and IPv6.
pub(crate) fn bind(
    host: Option<&str>,
    port: u16,
    options: SocketOptions,
) -> io::Result<std::net::TcpListener> {
    let Some(host) = host else {
        return bind_all(port, options);
    };
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match bind_one(address, options, false) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host name has no address")))
}

/// One socket for both families; a machine without IPv6 gets IPv4 alone.
fn bind_all(port: u16, options: SocketOptions) -> io::Result<std::net::TcpListener> {
    match bind_one(SocketAddr::from(([0u16; 8], port)), options, true) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_one(SocketAddr::from(([0u8; 4], port)), options, false)
        }
        result => result,
    }
}

fn bind_one(
    address: SocketAddr,
    options: SocketOptions,
    is_dual_stack: bool,
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if is_dual_stack {
        socket.set_only_v6(false)?;
    }
    if let Some(size) = options.receive_buffer {
        // Before it listens: the window that a connection may grow to is agreed on at its start.
        socket.set_recv_buffer_size(size)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// Connections that are only kept waiting. They take a descriptor each, so there are not many.
const HELD_MAX: i64 = 500;

/// The connections that are open, over all listeners, and who waits for one to close.
pub(crate) struct Connections {
    limits: Mutex<ConnectionLimits>,
    taken: Mutex<Taken>,
    closed: Notify,
    metrics: Arc<Metrics>,
    services: Arc<Services>,
    /// Where hosts are looked up: on a thread that nobody waits for.
    runtime: Handle,
}

/// The settings and quotas that the limits were taken from, and the hosts they name.
struct Taken {
    configured: Arc<Configured>,
    rates: Arc<ConnectionRates>,
    known: KnownHosts,
}

impl Connections {
    pub(crate) fn new(services: Arc<Services>, runtime: Handle) -> Arc<Self> {
        let (known, configured) = (KnownHosts::new(), services.configured());
        let rates = services.quotas().connection_rates();
        let n_possible = services.descriptors().connections;
        let connections = Arc::new(Self {
            limits: Mutex::new(ConnectionLimits::new(
                allowed(&configured, &rates, &known),
                n_possible,
                services.quotas().connection_meter(),
                Instant::now(),
            )),
            taken: Mutex::new(Taken {
                configured,
                rates,
                known,
            }),
            closed: Notify::new(),
            metrics: services.metrics_handle(),
            services,
            runtime,
        });
        connections.look_up();
        connections
    }

    /// Puts limits in force that have changed since the last connection.
    fn refresh(self: &Arc<Self>) {
        let configured = self.services.configured();
        let rates = self.services.quotas().connection_rates();
        {
            let mut taken = self.taken.lock();
            if Arc::ptr_eq(&taken.configured, &configured) && Arc::ptr_eq(&taken.rates, &rates) {
                return;
            }
            taken.configured = configured;
            taken.rates = rates;
            self.limits
                .lock()
                .allow(allowed(&taken.configured, &taken.rates, &taken.known));
        }
        self.look_up();
    }

    /// Looks up the hosts that the settings name; their limits count once that is done.
    fn look_up(self: &Arc<Self>) {
        let names = {
            let taken = self.taken.lock();
            host_names(&taken.configured, &taken.rates)
        };
        if names.is_empty() {
            return;
        }
        let connections = self.clone();
        self.runtime.spawn_blocking(move || {
            let known = limits::look_up(names);
            let mut taken = connections.taken.lock();
            // Others may have been looked up meanwhile, for settings that are newer.
            taken.known.extend(known);
            let named = host_names(&taken.configured, &taken.rates);
            taken.known.retain(|host, _| named.contains(host));
            let allowed = allowed(&taken.configured, &taken.rates, &taken.known);
            connections.limits.lock().allow(allowed);
            connections.closed.notify_waiters();
        });
    }

    pub(crate) fn n_open(&self) -> usize {
        self.limits.lock().n_open()
    }

    /// Waits until no connection is open, or the deadline.
    pub(crate) async fn drained(&self, deadline: Duration) {
        let _ = tokio::time::timeout(deadline, async {
            loop {
                let closed = self.closed.notified();
                if self.n_open() == 0 {
                    return;
                }
                closed.await;
            }
        })
        .await;
    }

    fn admit(&self, listener: &Arc<str>, ip: IpAddr) -> Admission {
        let mut limits = self.limits.lock();
        let admission = limits.admit(listener, ip, Instant::now());
        self.services.connections_are(limits.n_open());
        admission
    }

    fn left(&self, listener: &str, ip: IpAddr) {
        let mut limits = self.limits.lock();
        limits.left(listener, ip);
        self.services.connections_are(limits.n_open());
        drop(limits);
        self.metrics.connections.sub(1);
        self.closed.notify_waiters();
    }
}

/// A connection's place among the open ones, given back when it is dropped.
struct Place {
    connections: Arc<Connections>,
    listener: Arc<str>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.left(&self.listener, self.ip);
    }
}

/// One bound listener and what its connections need.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) is_controller: bool,
    pub(crate) socket: TcpListener,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) data_plane: Handle,
    /// Where it is set, and not left to the system.
    pub(crate) send_buffer: Option<usize>,
}

impl Listener {
    /// Accepts until the node stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stopping.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let admitted = tokio::select! {
                        admitted = self.admit(peer) => admitted,
                        _ = stopping.changed() => return,
                    };
                    match admitted {
                        Ok(place) => self.open(stream, peer, place),
                        Err(pause) => self.turn_away(stream, pause),
                    }
                }
                Err(error) => {
                    // Out of descriptors, mostly: the socket stays readable, so pause.
                    tracing::warn!(listener = %self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits for a place, as Kafka does at `max.connections` and above the creation rate; none
    /// if this address has or opens too many connections: for how long to keep it waiting.
    async fn admit(&self, peer: SocketAddr) -> Result<Place, Duration> {
        let ip = canonical(peer.ip());
        let mut was_told = false;
        loop {
            let closed = self.connections.closed.notified();
            self.connections.refresh();
            let admission = self.connections.admit(&self.name, ip);
            match admission {
                Admission::Admitted => {
                    self.connections.metrics.connections.add(1);
                    self.connections.metrics.connections_created.add(1);
                    return Ok(Place {
                        connections: self.connections.clone(),
                        listener: self.name.clone(),
                        ip,
                    });
                }
                Admission::TooManyOfAddress => {
                    tracing::info!(listener = %self.name, %ip, "connection refused: too many connections from this address (max.connections.per.ip)");
                    return Err(Duration::ZERO);
                }
                Admission::Throttled(pause) => {
                    tracing::debug!(listener = %self.name, %ip, "connection kept waiting: its address opens too many a second (connection_creation_rate)");
                    return Err(pause);
                }
                Admission::NoDescriptor => {
                    if !std::mem::replace(&mut was_told, true) {
                        tracing::warn!(
                            listener = %self.name,
                            connections = self.connections.n_open(),
                            "connections wait for others to close: there are no descriptors for more; raise the limit of open files (ulimit -n)"
                        );
                    }
                    drop(tokio::time::timeout(RECHECK, closed).await);
                }
                Admission::Full => drop(tokio::time::timeout(RECHECK, closed).await),
                Admission::TooFast(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Keeps a connection for a while, so that its client does not come again at once, and closes it.
    fn turn_away(&self, stream: TcpStream, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        let metrics = self.connections.metrics.clone();
        metrics.connections_throttled.add(1);
        if metrics.connections_held.get() >= HELD_MAX {
            return;
        }
        metrics.connections_held.add(1);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            drop(stream);
            metrics.connections_held.sub(1);
        });
    }

    fn open(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let _ = stream.set_nodelay(true);
        if let Some(size) = self.send_buffer {
            let _ = socket2::SockRef::from(&stream).set_send_buffer_size(size);
        }
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let session = Arc::new(Session {
            listener: self.name.clone(),
            is_controller: self.is_controller,
            peer,
            local,
            undecided: Default::default(),
            pause: Default::default(),
            software: Default::default(),
            telemetry: Default::default(),
            last_client_id: Default::default(),
        });
        let connection = Connection::new(stream, session, self.shared.clone());
        let data_plane = self.data_plane.clone();
        tokio::spawn(async move {
            match connection.run().await {
                Outcome::End(end) => ended(&end, peer, &place.connections.metrics),
                Outcome::ToDataPlane(connection) => match connection.detach() {
                    Ok(detached) => {
                        data_plane.spawn(async move {
                            match detached.attach() {
                                Ok(connection) => {
                                    if let Outcome::End(end) = connection.run().await {
                                        ended(&end, peer, &place.connections.metrics);
                                    }
                                }
                                Err(error) => {
                                    ended(&End::Io(error), peer, &place.connections.metrics)
                                }
                            }
                        });
                    }
                    Err(error) => tracing::debug!(%peer, %error, "connection lost"),
                },
            }
        });
    }
}

fn ended(end: &End, peer: SocketAddr, metrics: &Metrics) {
    match end {
        End::Left | End::Stopped => {}
        End::Idle => {
            metrics.connections_expired.add(1);
            tracing::debug!(%peer, "connection closed: idle for connections.max.idle.ms");
        }
        End::Refused(why) => tracing::info!(%peer, "connection closed: {why}"),
        End::Io(error) => tracing::debug!(%peer, %error, "connection lost"),
    }
}
