//! `ottla bench commits`: many groups, each with one member, commit offsets.

use std::sync::{Arc, PoisonError};

use anyhow::ensure;
use ottla_client::Address;
use ottla_protocol::Text;
use ottla_protocol::messages::{
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};

use super::Run;
use super::broker_cpu::{BrokerCpu, CpuWatch};
use super::classic_member::{ClassicMember, JOIN_VERSION, LEAVE_VERSION, SYNC_VERSION};
use super::committer::{COMMIT_VERSION, Committer};
use super::joiner::{Joined, Joiner};
use super::member::Terms;
use super::report::Report;
use super::schedule::{Nanos, Pace, SECOND, Schedule, Window};
use super::target::{self, Target};
use super::turns::{self, Clock, Line};

/// Commits keep a member alive, and no heartbeats are sent: the longest that a broker allows by
/// default (`group.max.session.timeout.ms`).
const SESSION_MS: i32 = 1_800_000;
/// Where members send no heartbeats, one comes never.
const NEVER: Nanos = 1_000_000 * SECOND;
/// Until all groups are joined.
const JOIN_PATIENCE: Nanos = 120 * SECOND;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    /// The topic whose offsets are committed; it must exist
    #[arg(long)]
    topic: String,
    /// What the names of the groups begin with
    #[arg(long, value_name = "GROUP", default_value = "ottla-bench")]
    group: String,
    /// Groups, each with a member and a connection of its own
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    groups: u32,
    /// Partitions of one commit, the first ones of the topic
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
    /// Commits a second, over all groups [default: as fast as it goes]
    #[arg(long, value_name = "COMMITS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Process id of a broker on this machine: tells how much CPU it used for a commit
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let cpu = args.broker_pid.map(BrokerCpu::of).transpose()?;
    let n_groups = args.groups as usize;
    target::make_room(n_groups)?;
    let groups = names(args, &Clock::start());
    let coordinators = coordinators(args, &groups)?;
    let members = joined(args, &groups, &coordinators)?;
    let opened = coordinators.iter().map(target::open_served);
    let wires: Vec<_> = opened.collect::<anyhow::Result<_>>()?;

    let clock = Clock::start();
    let window = args.run.window(&clock);
    let cpu = CpuWatch::new(cpu, window);
    let both = members.into_iter().zip(wires).enumerate();
    let lines = both.map(|(n, (member, wire))| -> Line {
        let pace = match args.rate {
            Some(rate) => Pace::Fixed(Schedule::new(rate, 1, &window, (n, n_groups))),
            None => Pace::AsFastAsItGoes {
                until: window.until,
            },
        };
        let n_partitions = member.terms().n_partitions;
        let committer = Committer::new(member, n_partitions, pace, cpu.clone());
        (wire, Box::new(committer))
    });
    let threads = turns::over_threads(lines.collect(), args.threads as usize);
    let tally = turns::run(&clock, window, threads)?;
    delete(args, &groups)?;

    let n_commits = tally.counted.requests;
    let report = Report::new("commits", &tally)
        .fact("groups", args.groups)
        .fact("partitions", args.partitions);
    let report = match cpu.micros_for_each(n_commits) {
        Some(micros) => report.fact("broker_cpu_us_per_commit", micros),
        None => report,
    };
    Ok(report
        .rate("commits/s", "commits_per_s", n_commits as f64)
        .latency("committed", "latency_us", &tally.latency)
        .latency("sent late", "late_us", &tally.late))
}

/// Nobody else's groups.
fn names(args: &Args, clock: &Clock) -> Vec<String> {
    let run = format!("{}-{}", clock.wall_ms(0), std::process::id());
    let name = |n| format!("{}-{run}-{n}", args.group);
    (0..args.groups).map(name).collect()
}

fn coordinators(args: &Args, groups: &[String]) -> anyhow::Result<Vec<Address>> {
    super::before(async {
        let n_partitions = Some(args.partitions as usize);
        let target = Target::find(&args.run.connect, &args.topic, n_partitions).await?;
        target.must_serve::<JoinGroupRequest>(JOIN_VERSION).await?;
        target.must_serve::<SyncGroupRequest>(SYNC_VERSION).await?;
        target
            .must_serve::<LeaveGroupRequest>(LEAVE_VERSION)
            .await?;
        let version = COMMIT_VERSION;
        target.must_serve::<OffsetCommitRequest>(version).await?;
        target.coordinators(groups).await
    })
}

/// The members of the groups, in their order.
fn joined(
    args: &Args,
    groups: &[String],
    coordinators: &[Address],
) -> anyhow::Result<Vec<ClassicMember>> {
    let joined = Joined::default();
    let both = groups.iter().zip(coordinators).enumerate();
    let lines = both.map(|(n, (group, coordinator))| -> anyhow::Result<Line> {
        let terms = Arc::new(Terms {
            group: Text::from(group.as_str()),
            topic: Text::from(args.topic.as_str()),
            n_partitions: i32::try_from(args.partitions).unwrap_or(i32::MAX),
            session_ms: SESSION_MS,
            heartbeat: NEVER,
        });
        let joiner = Joiner::new(n, ClassicMember::new(terms), Arc::clone(&joined));
        Ok((target::open_served(coordinator)?, Box::new(joiner)))
    });
    let lines = lines.collect::<anyhow::Result<_>>()?;
    let clock = Clock::start();
    let window = Window {
        start: 0,
        from: 0,
        until: JOIN_PATIENCE,
        give_up: JOIN_PATIENCE,
    };
    turns::run(
        &clock,
        window,
        turns::over_threads(lines, args.threads as usize),
    )?;
    let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        joined.len() == groups.len(),
        "{} of {} groups were joined within {} s",
        joined.len(),
        groups.len(),
        JOIN_PATIENCE / SECOND
    );
    joined.sort_by_key(|(place, _)| *place);
    Ok(joined.drain(..).map(|(_, member)| member).collect())
}

/// What they committed means nothing to anybody.
fn delete(args: &Args, groups: &[String]) -> anyhow::Result<()> {
    super::before(async {
        let cluster = target::cluster(&args.run.connect).await?;
        for group in groups {
            cluster.delete_group(group).await?;
        }
        Ok(())
    })
}
