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
use tokio::sync::{Semaphore, watch};

use crate::connection::Shared;
use crate::http;
use crate::listener::{Connections, Listener, bind};

/// Request frames above 64 KiB that may be in memory at once, in KiB, over all connections; one
/// frame of the largest size must always fit.
const BUDGET_KIB: usize = 256 * 1024;
/// How long answers that are owed may take to leave at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
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
            let socket =
                bind(host, listener.port, settings.connections.listen_backlog).map_err(failed)?;
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
                settings.connections.listen_backlog,
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
        let connections = Connections::new(configured.clone(), services.metrics_handle());
        let frame_max = usize::try_from(settings.connections.request_max_bytes).unwrap_or(0);
        let shared = Arc::new(Shared {
            services: services.clone(),
            frame_max,
            idle_max: idle_max(settings.connections.max_idle_ms),
            budget: Arc::new(Semaphore::new(BUDGET_KIB.max(frame_max.div_ceil(1024) + 1))),
            stopping: stopping.clone(),
        });
        let _inside = control_plane.enter();
        for listener in bound.listeners {
            let listener = Listener {
                name: listener.name,
                is_controller: listener.is_controller,
                socket: TcpListener::from_std(listener.socket)?,
                shared: shared.clone(),
                connections: connections.clone(),
                data_plane: data_plane.clone(),
            };
            control_plane.spawn(listener.run(stopping.clone()));
        }
        if let Some(socket) = bound.http {
            let (services, stopping) = (services.clone(), stopping.clone());
            control_plane.spawn(async move {
                if let Err(error) = http::serve(socket, services, stopping).await {
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

fn idle_max(ms: i64) -> Duration {
    /// Longer than any process lives; a timer cannot be longer still.
    const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(ms).map_or(NEVER, |ms| Duration::from_millis(ms).min(NEVER))
}
