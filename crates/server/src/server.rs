//! The doors of a node: bind them, open them, close them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::config::{Advertised, BrokerConfig, NodeSettings, SecurityProtocol};
use ottla_metadata::image::Endpoint;
use ottla_node::{Services, host_name};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::connection::Shared;
use crate::http::{self, Watched};
use crate::listener::{Connections, Listener, SocketOptions, bind};
use crate::memory::RequestMemory;

/// Request frames above 64 KiB that may be in memory at once, over all connections, where
/// `queued.max.request.bytes` says nothing.
const REQUEST_BYTES: usize = 256 * 1024 * 1024;
/// How long answers that are owed may take to leave at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_BUFFER: &str = "socket.send.buffer.bytes";
const RECEIVE_BUFFER: &str = "socket.receive.buffer.bytes";
const HTTP_SETTING: &str = "ottla.http.listener";

/// Why a port cannot be opened, as a sentence.
#[derive(Debug)]
pub struct CannotBind {
    setting: &'static str,
    address: String,
    source: io::Error,
}

impl fmt::Display for CannotBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            address,
            source,
        } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "{setting}: {address} is in use by another process")
            }
            _ => write!(f, "{setting}: cannot listen on {address}: {source}"),
        }
    }
}

impl std::error::Error for CannotBind {}

struct BoundListener {
    name: Arc<str>,
    is_controller: bool,
    protocol: SecurityProtocol,
    port: u16,
    socket: std::net::TcpListener,
}

/// Ports that are ours, and not yet served.
pub struct Bound {
    listeners: Vec<BoundListener>,
    http: Option<std::net::TcpListener>,
}

impl Bound {
    /// Binds every listener and the HTTP door.
    ///
    /// # Errors
    /// Names the setting and the address. A busy default HTTP port is only a warning.
    pub fn bind(settings: &NodeSettings, config: &BrokerConfig) -> Result<Self, CannotBind> {
        let mut listeners = Vec::new();
        for listener in &settings.listeners {
            let host = if listener.is_wildcard() {
                None
            } else {
                listener.host.as_deref()
            };
            let failed = |source| CannotBind {
                setting: "listeners",
                address: format!(
                    "{}://{}:{}",
                    listener.name,
                    host.unwrap_or(""),
                    listener.port
                ),
                source,
            };
            let socket = bind(host, listener.port, options(settings, config)).map_err(failed)?;
            let port = socket.local_addr().map_err(failed)?.port();
            listeners.push(BoundListener {
                name: Arc::from(&*listener.name),
                is_controller: listener.is_controller,
                protocol: listener.protocol,
                port,
                socket,
            });
        }
        Ok(Self {
            listeners,
            http: bind_http(settings, config)?,
        })
    }

    /// What this broker registers: the client listeners as advertised, with the ports in use.
    pub fn endpoints(&self, settings: &NodeSettings) -> Vec<Endpoint> {
        let clients = self
            .listeners
            .iter()
            .filter(|listener| !listener.is_controller);
        let endpoints = clients.filter_map(|listener| {
            let advertised = settings
                .advertised
                .iter()
                .find(|one| one.name == *listener.name)?;
            let Advertised { host, port, .. } = advertised;
            Some(Endpoint {
                listener: listener.name.clone(),
                host: host.clone().unwrap_or_else(host_name).into(),
                port: if *port == 0 { listener.port } else { *port },
                security_protocol: listener.protocol.code(),
            })
        });
        endpoints.collect()
    }

    /// Where we listen, for the start line.
    pub fn addresses(&self) -> Vec<String> {
        let address = |listener: &BoundListener| {
            let at = listener.socket.local_addr();
            at.map_or_else(
                |_| listener.name.to_string(),
                |at| format!("{}://{at}", listener.name),
            )
        };
        self.listeners.iter().map(address).collect()
    }

    /// Where metrics and health are, if anywhere.
    pub fn http_address(&self) -> Option<String> {
        Some(self.http.as_ref()?.local_addr().ok()?.to_string())
    }
}

fn options(settings: &NodeSettings, config: &BrokerConfig) -> SocketOptions {
    let limits = &settings.connections;
    SocketOptions {
        backlog: limits.listen_backlog,
        receive_buffer: buffer(config, RECEIVE_BUFFER, limits.receive_buffer_bytes),
    }
}

/// The size of a socket's buffer if somebody has set one. The default is Kafka's word, but no more:
/// a size that the system may adapt to each connection is faster.
fn buffer(config: &BrokerConfig, name: &str, bytes: i32) -> Option<usize> {
    let is_set = config.merged().contains_key(name);
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| is_set && *bytes > 0)
}

fn bind_http(
    settings: &NodeSettings,
    config: &BrokerConfig,
) -> Result<Option<std::net::TcpListener>, CannotBind> {
    let address = &settings.ottla.http_listener;
    if address.is_empty() {
        return Ok(None);
    }
    let bound = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
        .ok_or_else(|| io::Error::other("it must be host:port"))
        .and_then(|(host, port)| {
            bind(
                Some(host).filter(|host| !host.is_empty()),
                port,
                options(settings, config),
            )
        });
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(source) => {
            let failed = CannotBind {
                setting: HTTP_SETTING,
                address: address.clone(),
                source,
            };
            if config.fixed().contains_key(HTTP_SETTING) {
                return Err(failed);
            }
            tracing::warn!("{failed}; health and metrics are not served");
            Ok(None)
        }
    }
}

/// The open doors of a running node.
pub struct Server {
    stop: watch::Sender<bool>,
    connections: Arc<Connections>,
}

impl Server {
    /// Serves the bound ports: connections begin on the control plane and move to `data_plane`
    /// when their first request touches a partition.
    ///
    /// # Errors
    /// A socket that the runtime does not take.
    pub fn open(
        bound: Bound,
        services: Arc<Services>,
        control_plane: &Handle,
        data_plane: &Handle,
    ) -> io::Result<Self> {
        let configured = services.configured();
        let settings = &configured.settings;
        let (stop, stopping) = watch::channel(false);
        let connections = Connections::new(services.clone(), control_plane.clone());
        let frame_max = usize::try_from(settings.connections.request_max_bytes).unwrap_or(0);
        let memory = RequestMemory::new(request_bytes(settings), frame_max);
        let shared = Arc::new(Shared {
            services: services.clone(),
            frame_max,
            idle_max: idle_max(settings.connections.max_idle_ms),
            memory: memory.clone(),
            stopping: stopping.clone(),
        });
        let send_buffer = buffer(
            &configured.config,
            SEND_BUFFER,
            settings.connections.send_buffer_bytes,
        );
        let _inside = control_plane.enter();
        for listener in bound.listeners {
            let listener = Listener {
                name: listener.name,
                is_controller: listener.is_controller,
                socket: TcpListener::from_std(listener.socket)?,
                shared: shared.clone(),
                connections: connections.clone(),
                data_plane: data_plane.clone(),
                send_buffer,
            };
            control_plane.spawn(listener.run(stopping.clone()));
        }
        if let Some(socket) = bound.http {
            let (watched, stopping) = (Watched { services, memory }, stopping.clone());
            control_plane.spawn(async move {
                if let Err(error) = http::serve(socket, watched, stopping).await {
                    tracing::error!(%error, "the HTTP door closed");
                }
            });
        }
        Ok(Self { stop, connections })
    }

    /// Accepts nobody any more, and waits until what is owed has been answered.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.connections.drained(DRAIN_TIMEOUT).await;
    }
}

fn request_bytes(settings: &NodeSettings) -> usize {
    let asked = settings.connections.queued_request_bytes;
    let asked = usize::try_from(asked).ok().filter(|bytes| *bytes > 0);
    asked.unwrap_or(REQUEST_BYTES)
}

fn idle_max(ms: i64) -> Duration {
    /// Longer than any process lives; a timer cannot be longer still.
    const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(ms).map_or(NEVER, |ms| Duration::from_millis(ms).min(NEVER))
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn the_memory_for_requests_is_what_was_set() {
        let bytes = |queued: &str| {
            let values = [
                ("node.id", "1"),
                ("process.roles", "broker,controller"),
                ("controller.listener.names", "CONTROLLER"),
                ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
                ("controller.quorum.voters", "1@localhost:9093"),
                ("queued.max.request.bytes", queued),
            ];
            let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
            request_bytes(&BrokerConfig::new(values.into()).node_settings().unwrap())
        };
        assert_eq!(bytes("-1"), REQUEST_BYTES);
        assert_eq!(bytes("104857601"), 104_857_601);
    }

    #[test]
    fn buffers_have_the_size_that_was_set_and_else_the_systems() {
        let bound = |values: &[(&str, &str)]| {
            let common = [("node.id", "1"), ("process.roles", "broker,controller")];
            let quorum = [
                (
                    "listeners",
                    "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
                ),
                ("controller.listener.names", "CONTROLLER"),
                ("controller.quorum.voters", "1@localhost:9093"),
                ("ottla.http.listener", ""),
            ];
            let all = common.iter().chain(&quorum).chain(values);
            let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let config = BrokerConfig::new(all.collect());
            let settings = config.node_settings().unwrap();
            let send = buffer(&config, SEND_BUFFER, settings.connections.send_buffer_bytes);
            let bound = Bound::bind(&settings, &config).unwrap();
            let socket = &bound.listeners[0].socket;
            (send, SockRef::from(socket).recv_buffer_size().unwrap())
        };
        let (send, system) = bound(&[]);
        assert_eq!(send, None);
        assert_eq!(
            bound(&[(RECEIVE_BUFFER, "-1"), (SEND_BUFFER, "-1")]),
            (None, system)
        );
        let (send, receive) = bound(&[(RECEIVE_BUFFER, "20000"), (SEND_BUFFER, "30000")]);
        // Linux keeps as much again for itself.
        assert_eq!((send, receive), (Some(30_000), 40_000));
    }
}
