//! `ottla bench groups`: a group of many members comes together, again and again, each time another
//! one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, ensure};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest,
};
use ottla_protocol::{Text, Uuid};

use super::Run;
use super::assembly::Assembly;
use super::attendee::{Attendee, Gathering};
use super::broker_cpu::BrokerCpu;
use super::classic_member::{
    ClassicMember, HEARTBEAT_VERSION, JOIN_VERSION, LEAVE_VERSION, SYNC_VERSION,
};
use super::consumer_member::{self, ConsumerMember};
use super::histogram::Histogram;
use super::member::{Member, Terms};
use super::report::Report;
use super::schedule::{Nanos, SECOND, Window};
use super::tally::Tally;
use super::target::{self, Target};
use super::turns::{self, Clock, Line, nanos};

/// A group that is not complete after this is given up.
const PATIENCE: Nanos = 120 * SECOND;
/// Kafka's `session.timeout.ms`.
const SESSION_MS: i32 = 45_000;
const MILLISECOND: Nanos = 1_000_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    /// classic, or consumer (KIP-848)
    #[arg(long, value_name = "PROTOCOL", default_value = "classic")]
    protocol: Protocol,
    /// The topic that the group reads; it must exist
    #[arg(long)]
    topic: String,
    /// What the names of the groups begin with
    #[arg(long, value_name = "GROUP", default_value = "ottla-bench")]
    group: String,
    /// Members, which join at once, each on a connection of its own
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    members: u32,
    /// How often a member of the classic protocol sends a heartbeat; those of the other do as the broker says
    #[arg(long, value_name = "MS", default_value = "3000", value_parser = clap::value_parser!(u64).range(1..=40_000))]
    heartbeat_ms: u64,
    /// How long each group stays together when it is complete
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = super::seconds_or_none)]
    hold: Duration,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Process id of a broker on this machine: tells how much CPU it used from the first join to the last assignment
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    Classic,
    Consumer,
}

/// The topic that all groups read.
#[derive(Debug)]
struct Subject {
    id: Uuid,
    n_partitions: usize,
}

/// Of all rounds that count.
#[derive(Debug)]
struct Seen {
    n_rounds: u64,
    tally: Tally,
    since_last: Histogram,
    since_first: Histogram,
    cpu: Nanos,
}

/// One group, complete.
#[derive(Debug)]
struct Round {
    tally: Tally,
    since_last: Nanos,
    since_first: Nanos,
    cpu: Nanos,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let cpu = args.broker_pid.map(BrokerCpu::of).transpose()?;
    target::make_room(args.members as usize)?;
    let subject = subject(args)?;
    let clock = Clock::start();
    let window = args.run.window(&clock);
    let mut seen = Seen::new(window);
    for n in 0.. {
        let begun = clock.now();
        if begun >= window.until && seen.n_rounds > 0 {
            break;
        }
        let round = round(args, &subject, &clock, n, cpu.clone())?;
        if begun >= window.from {
            seen.add(&round);
        }
    }
    Ok(report(args, &subject, &seen, cpu.is_some()))
}

fn subject(args: &Args) -> anyhow::Result<Subject> {
    super::before(async {
        let target = Target::find(&args.run.connect, &args.topic, None).await?;
        match args.protocol {
            Protocol::Classic => {
                target.must_serve::<JoinGroupRequest>(JOIN_VERSION).await?;
                target.must_serve::<SyncGroupRequest>(SYNC_VERSION).await?;
                let version = HEARTBEAT_VERSION;
                target.must_serve::<HeartbeatRequest>(version).await?;
                target
                    .must_serve::<LeaveGroupRequest>(LEAVE_VERSION)
                    .await?;
            }
            Protocol::Consumer => {
                let version = consumer_member::VERSION;
                target
                    .must_serve::<ConsumerGroupHeartbeatRequest>(version)
                    .await?;
            }
        }
        Ok(Subject {
            id: target.topic_id()?,
            n_partitions: target.n_partitions(),
        })
    })
}

/// From the first member that joins to the last that leaves.
fn round(
    args: &Args,
    subject: &Subject,
    clock: &Clock,
    n: u64,
    cpu: Option<BrokerCpu>,
) -> anyhow::Result<Round> {
    // Nobody else's group, and none of an earlier run.
    let run = clock.wall_ms(0) as u64;
    let group = format!("{}-{run}-{}-{n}", args.group, std::process::id());
    let coordinator = super::before(async {
        let cluster = target::cluster(&args.run.connect).await?;
        target::coordinator(&cluster, &group).await
    })?;
    let n_members = args.members as usize;
    let terms = Arc::new(Terms {
        group: Text::from(group.as_str()),
        topic: Text::from(args.topic.as_str()),
        n_partitions: i32::try_from(subject.n_partitions).unwrap_or(i32::MAX),
        session_ms: SESSION_MS,
        heartbeat: args.heartbeat_ms * MILLISECOND,
    });
    let wires = target::open_many(&coordinator, n_members)?;
    let assembly = Assembly::new(n_members, subject.n_partitions);
    let gathering = Arc::new(Mutex::new(Gathering::new(assembly, cpu)?));
    let hold = nanos(args.hold);
    let lines = wires.into_iter().enumerate().map(|(place, wire)| -> Line {
        let member = member(args.protocol, &terms, subject, (run, n, place));
        let attendee = Attendee::new(place, member, Arc::clone(&gathering), hold);
        (wire, Box::new(attendee))
    });
    let threads = turns::over_threads(lines.collect(), args.threads as usize);
    let tally = turns::run(clock, whole_round(clock, hold), threads)?;

    let gathering = gathering.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((since_last, since_first)) = gathering.assembly.took() else {
        let lacks = gathering.assembly.lacks();
        let seconds = PATIENCE / SECOND;
        bail!("group {group} is not complete after {seconds} s: {lacks}");
    };
    ensure!(
        tally.n_unanswered == 0,
        "{} members of group {group} could not leave: the broker does not answer",
        tally.n_unanswered
    );
    Ok(Round {
        tally,
        since_last,
        since_first,
        cpu: gathering.cpu_used(),
    })
}

fn member(
    protocol: Protocol,
    terms: &Arc<Terms>,
    subject: &Subject,
    (run, round, place): (u64, u64, usize),
) -> Box<dyn Member> {
    let terms = Arc::clone(terms);
    match protocol {
        Protocol::Classic => Box::new(ClassicMember::new(terms)),
        Protocol::Consumer => {
            let number = u128::from(run) << 64 | u128::from(round) << 32 | place as u128;
            let id = Text::from(Uuid::from_u128(number).to_string());
            Box::new(ConsumerMember::new(terms, subject.id, id))
        }
    }
}

/// All of a round counts.
fn whole_round(clock: &Clock, hold: Nanos) -> Window {
    let start = clock.now();
    let give_up = start + hold + PATIENCE;
    Window {
        start,
        from: start,
        until: give_up,
        give_up,
    }
}

impl Seen {
    fn new(window: Window) -> Self {
        Self {
            n_rounds: 0,
            tally: Tally::new(window),
            since_last: Histogram::new(),
            since_first: Histogram::new(),
            cpu: 0,
        }
    }

    fn add(&mut self, round: &Round) {
        self.n_rounds += 1;
        self.tally.add(&round.tally);
        self.since_last.record(round.since_last);
        self.since_first.record(round.since_first);
        self.cpu += round.cpu;
    }
}

fn report(args: &Args, subject: &Subject, seen: &Seen, is_cpu_known: bool) -> Report {
    let protocol = match args.protocol {
        Protocol::Classic => "classic",
        Protocol::Consumer => "consumer",
    };
    let report = Report::new("groups", &seen.tally)
        .fact("protocol", protocol)
        .fact("members", args.members)
        .fact("partitions", subject.n_partitions)
        .fact("groups", seen.n_rounds);
    let report = if is_cpu_known {
        let each = seen.cpu as f64 / seen.n_rounds.max(1) as f64;
        report.fact("broker_cpu_ms_per_group", (each / 1e4).round() / 100.0)
    } else {
        report
    };
    report
        .latency("since the last join", "assigned_us", &seen.since_last)
        .latency("since the first join", "gathered_us", &seen.since_first)
        .latency("a heartbeat", "latency_us", &seen.tally.latency)
}
