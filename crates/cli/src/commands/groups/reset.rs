//! `ottla groups --reset-offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{bail, ensure};
use ottla_client::{Ask, At, Cluster, Committed, Committer, Isolation};
use ottla_protocol::{Offset, Refusal, TopicPartition};

use super::plan::{self, Plan, Reset};
use super::{Args, Done, complain, meant, scope};
use crate::commands::duration::now_ms;
use crate::commands::table::{Column, Table};
use crate::output::{self, Output, Progress};

pub(super) async fn reset(
    args: &Args,
    reset: Reset,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<Done> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    let mut done = Done::All;
    let groups = meant(args, cluster).await?;
    let (mut progress, n_all) = (Progress::new(), groups.len());
    for (n, group) in groups.into_iter().enumerate() {
        progress.show(format_args!("{n} of {n_all} groups"));
        let plan = match active_state(cluster, &group).await? {
            Some(state) => {
                complain(
                    output,
                    format_args!(
                        "Assignments can only be reset if the group '{group}' is inactive, but \
                         the current state is {state}."
                    ),
                )?;
                done = Done::NotAll;
                Plan::new()
            }
            None => {
                let plan = prepare(args, &reset, cluster, &group, output).await?;
                if args.execute {
                    commit(cluster, &group, &plan).await?;
                }
                plan
            }
        };
        plans.insert(group, plan);
    }
    drop(progress);
    if args.export {
        let lines = plan::lines(&plans, args.group.len() != 1);
        lines.iter().try_for_each(|line| output.line(line))?;
        output.line("")?;
        return Ok(done);
    }
    let columns = vec![
        Column::growing("GROUP", 15),
        Column::growing("TOPIC", 15),
        Column::fixed("PARTITION", 10).number(),
        Column::last("NEW-OFFSET").number(),
    ];
    let mut table = Table::new(columns);
    for (group, plan) in &plans {
        for (partition, offset) in plan {
            let number = partition.partition.to_string();
            table.push(vec![
                group.clone(),
                partition.topic.to_string(),
                number,
                offset.to_string(),
            ]);
        }
    }
    let lines = std::iter::once(String::new()).chain(table.lines());
    output.rows(lines, table.objects())?;
    Ok(done)
}

/// The state of a group whose offsets are in use.
async fn active_state(cluster: &Cluster, group: &str) -> anyhow::Result<Option<String>> {
    match cluster.describe_group(group).await {
        Ok(described) => {
            let is_idle = matches!(described.state.as_str(), "Empty" | "Dead");
            Ok((!is_idle).then_some(described.state))
        }
        Err(error) if error.refusal() == Some(Refusal::GroupIdNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn prepare(
    args: &Args,
    reset: &Reset,
    cluster: &Cluster,
    group: &str,
    output: &mut Output,
) -> anyhow::Result<Plan> {
    let partitions = chosen(args, cluster, group).await?;
    expect_all(cluster, &partitions).await?;
    match reset {
        Reset::ToEarliest => at(cluster, &partitions, At::Earliest).await,
        Reset::ToLatest => at(cluster, &partitions, At::Latest).await,
        Reset::ToMoment(ms) => since(cluster, &partitions, *ms, output).await,
        Reset::ByDuration(age) => {
            let then = now_ms().saturating_sub(i64::try_from(age.as_millis())?);
            since(cluster, &partitions, then, output).await
        }
        Reset::ToOffset(offset) => {
            let wanted = partitions.into_iter().map(|partition| (partition, *offset));
            within(cluster, wanted.collect()).await
        }
        Reset::ShiftBy(n) => {
            let committed = cluster.committed(group, None).await?;
            let mut wanted = Plan::new();
            for partition in partitions {
                let Some(current) = committed.get(&partition) else {
                    bail!(
                        "Cannot shift offset for partition {partition} since there is no current \
                         committed offset"
                    );
                };
                let offset = current.offset.saturating_add(*n);
                wanted.insert(partition, offset);
            }
            within(cluster, wanted).await
        }
        Reset::ToCurrent => {
            let committed = cluster.committed(group, None).await?;
            let (known, new): (BTreeSet<_>, BTreeSet<_>) = partitions
                .into_iter()
                .partition(|partition| committed.contains_key(partition));
            let mut plan = at(cluster, &new, At::Latest).await?;
            plan.extend(known.into_iter().filter_map(|partition| {
                let offset = committed.get(&partition)?.offset;
                Some((partition, offset))
            }));
            Ok(plan)
        }
        Reset::FromFile(plans) => match plans.get(group) {
            Some(plan) => within(cluster, plan.clone()).await,
            None => bail!("No reset plan for group {group} found"),
        },
    }
}

/// The partitions that were meant.
async fn chosen(
    args: &Args,
    cluster: &Cluster,
    group: &str,
) -> anyhow::Result<BTreeSet<TopicPartition>> {
    if args.all_topics {
        let committed = cluster.committed(group, None).await?;
        return Ok(committed.into_keys().collect());
    }
    let mut partitions = BTreeSet::new();
    for text in &args.topic {
        match scope(text)? {
            (_, Some(named)) => partitions.extend(named),
            (topic, None) => {
                for topic in cluster.describe_topics(&[topic], None).await? {
                    let numbers = topic.partitions.iter().map(|partition| partition.number);
                    partitions
                        .extend(numbers.map(|n| TopicPartition::new(Arc::clone(&topic.name), n)));
                }
            }
        }
    }
    Ok(partitions)
}

/// What is not there, or cannot answer, is said before anything is changed.
async fn expect_all(
    cluster: &Cluster,
    partitions: &BTreeSet<TopicPartition>,
) -> anyhow::Result<()> {
    let topics: BTreeSet<_> = partitions.iter().map(|p| Arc::clone(&p.topic)).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    let view = cluster.refresh(Ask::Named(&topics)).await?;
    let list = |without: &dyn Fn(&TopicPartition) -> bool| {
        let lacking = partitions.iter().filter(|partition| without(partition));
        lacking
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let unknown = list(&|partition| {
        let topic = view.topics.get(&partition.topic);
        !topic.is_some_and(|topic| topic.partitions.contains_key(&partition.partition))
    });
    ensure!(
        unknown.is_empty(),
        "The partitions \"{unknown}\" do not exist"
    );
    let leaderless = list(&|partition| view.leader(partition).is_none());
    ensure!(
        leaderless.is_empty(),
        "The partitions \"{leaderless}\" have no leader"
    );
    Ok(())
}

async fn at(
    cluster: &Cluster,
    partitions: &BTreeSet<TopicPartition>,
    at: At,
) -> anyhow::Result<Plan> {
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), at))
        .collect();
    let answers = cluster
        .list_offsets(&wanted, Isolation::ReadUncommitted)
        .await;
    let found = answers
        .into_iter()
        .map(|(partition, answer)| Ok((partition, answer?.offset)));
    found.collect()
}

/// The first offset at or after a moment; the end where no record is that new.
async fn since(
    cluster: &Cluster,
    partitions: &BTreeSet<TopicPartition>,
    ms: i64,
    output: &mut Output,
) -> anyhow::Result<Plan> {
    // Negative times have meanings of their own.
    let mut plan = at(cluster, partitions, At::Timestamp(ms.max(0))).await?;
    let beyond = plan.iter().filter(|(_, offset)| **offset < 0);
    let beyond: BTreeSet<_> = beyond.map(|(partition, _)| partition.clone()).collect();
    for TopicPartition { topic, partition } in &beyond {
        let warning = format!(
            "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest \
             known offset."
        );
        if output.is_json() {
            output::note(warning);
        } else {
            output.line(warning)?;
        }
    }
    plan.extend(at(cluster, &beyond, At::Latest).await?);
    Ok(plan)
}

/// Offsets outside of the log are moved to its nearer end.
async fn within(cluster: &Cluster, wanted: Plan) -> anyhow::Result<Plan> {
    let partitions: BTreeSet<_> = wanted.keys().cloned().collect();
    expect_all(cluster, &partitions).await?;
    let starts = at(cluster, &partitions, At::Earliest).await?;
    let ends = at(cluster, &partitions, At::Latest).await?;
    let fit = |(partition, offset): (TopicPartition, Offset)| {
        let start = starts.get(&partition).copied().unwrap_or_default();
        let end = ends.get(&partition).copied().unwrap_or(Offset::MAX);
        let moved = |to, how| {
            output::note(format_args!(
                "New offset ({offset}) is {how} offset for topic partition {partition}. Value will \
                 be set to {to}"
            ));
            to
        };
        let fitting = if offset > end {
            moved(end, "higher than latest")
        } else if offset < start {
            moved(start, "lower than earliest")
        } else {
            offset
        };
        (partition, fitting)
    };
    Ok(wanted.into_iter().map(fit).collect())
}

async fn commit(cluster: &Cluster, group: &str, plan: &Plan) -> anyhow::Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    let committed = |offset: &Offset| Committed {
        offset: *offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let offsets = plan
        .iter()
        .map(|(partition, offset)| (partition.clone(), committed(offset)));
    let offsets = offsets.collect();
    let answers = cluster
        .commit(group, &Committer::outsider(), &offsets)
        .await?;
    answers.into_values().collect::<Result<(), _>>()?;
    Ok(())
}
