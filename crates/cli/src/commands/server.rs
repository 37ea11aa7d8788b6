//! `ottla server`: run a node until a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use ottla_metadata::config::NodeSettings;
use ottla_node::{Descriptors, Disk, Node, Start};
use ottla_server::{Bound, Server};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::format;
use crate::log::{self, Levels};
use crate::settings::{Given, Settings, load, process_environment};

/// Quorum, coordinators and timers: little work, but it must never wait for a disk.
const CONTROL_THREADS: usize = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kafka's server.properties; without it a node with defaults starts on ./ottla-data.
    file: Option<PathBuf>,
    /// Sets a value over file and environment.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let levels = log::start()?;
    let descriptors = raise_file_limit();
    let given = Given {
        file: args.file,
        overrides: args.overrides,
        environment: process_environment(),
    };
    let settings = load(&given)?;
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    let control = runtime("control", CONTROL_THREADS)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let data = runtime("data", cores)?;
    let code = control.block_on(serve(&settings, levels, descriptors, &control, &data))?;
    // A connection that hangs must not hold up the end: its answers were waited for already.
    data.shutdown_background();
    control.shutdown_background();
    Ok(code)
}

/// A partition has three files and more; the soft limit of most shells is for programs with few.
fn raise_file_limit() -> Descriptors {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files is not raised");
    }
    let in_force = getrlimit(Resource::Nofile).current;
    let shares = Descriptors::share_out(in_force);
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
    let share = |n: usize| shown(in_force.map(|_| n as u64));
    tracing::info!(
        soft_limit = %shown(limit.current),
        raised_to = %shown(in_force),
        log_files = %share(shares.files),
        connections = %share(shares.connections),
        "open files"
    );
    shares
}

fn runtime(name: &str, threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(format!("ottla-{name}"))
        .enable_all()
        .build()
}

async fn serve(
    settings: &Settings,
    levels: Levels,
    descriptors: Descriptors,
    control: &Runtime,
    data: &Runtime,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    format::prepare_if_empty(settings)?;
    let bound = Bound::bind(&settings.node, &settings.broker)?;
    let addresses = bound.addresses().join(", ");
    let http = bound.http_address();
    let start = Start {
        config: settings.broker.clone(),
        disk: Disk::with_files_at_most(descriptors.files),
        descriptors,
        endpoints: bound.endpoints(&settings.node),
        control: control.handle().clone(),
        data: data.handle().clone(),
    };
    let mut node = Node::start(start).await?;
    node.services().take_log_levels(Box::new(levels));
    let server = Server::open(
        bound,
        node.services().clone(),
        control.handle(),
        data.handle(),
    )
    .context("cannot open the listeners")?;
    node.services().enter_running();
    tracing::info!(
        node_id = settings.node.node_id,
        cluster_id = node.services().cluster_id(),
        data = settings.node.log_dirs.join(","),
        listeners = addresses,
        http = http.as_deref().unwrap_or("off"),
        "Kafka Server started"
    );
    tell_wildcards(&settings.node);
    let why = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        why = node.failed() => anyhow::bail!("{why}"),
    };
    tracing::info!(signal = why, "stopping");
    server.close().await;
    node.stop().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn tell_wildcards(settings: &NodeSettings) {
    for advertised in settings
        .advertised
        .iter()
        .filter(|advertised| advertised.host.is_none())
    {
        tracing::info!(
            listener = advertised.name,
            "no advertised.listeners: each client is told the address by which it connected; behind a bridge or a proxy, set advertised.listeners"
        );
    }
}
