//! `ottla groups --describe`: offsets and lag, members, or state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::bail;
use ottla_client::admin::{GroupDescription, MemberDescription};
use ottla_client::{Ask, At, Cluster, Committed, Isolation};
use ottla_protocol::{Offset, TopicPartition};

use serde_json::{Value, json};

use super::{Args, Done, MISSING, complain, meant};
use crate::commands::table::{Column, Table};
use crate::output::{self, Output};

pub(super) async fn describe(
    args: &Args,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<Done> {
    if args.state.as_deref().is_some_and(|state| !state.is_empty()) {
        bail!("Option --describe does not take a value for --state");
    }
    let mut done = Done::All;
    for group in meant(args, cluster).await? {
        let described = cluster.describe_group(&group).await?;
        if args.members {
            done = done.and(say_state(&described, described.members.len(), output)?.1);
            members(args, &described, output)?;
        } else if args.state.is_some() {
            let (is_shown, all) = say_state(&described, 1, output)?;
            done = done.and(all);
            if is_shown {
                state(args, cluster, &described, output)?;
            }
        } else {
            let rows = offset_rows(cluster, &described).await?;
            let (is_shown, all) = say_state(&described, rows.len(), output)?;
            done = done.and(all);
            if is_shown {
                offsets(args, &described, rows, output)?;
            }
        }
    }
    Ok(done)
}

/// Say what is special about a group; whether there is something to show, and whether all is well.
pub(super) fn say_state(
    group: &GroupDescription,
    n_rows: usize,
    output: &mut Output,
) -> std::io::Result<(bool, Done)> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => {
            complain(
                output,
                format_args!("Consumer group '{id}' does not exist."),
            )?;
            return Ok((false, Done::NotAll));
        }
        "Empty" => output::note(format_args!(
            "\nConsumer group '{id}' has no active members."
        )),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output::note(format_args!(
                "\nWarning: Consumer group '{id}' is rebalancing."
            ));
        }
        _ => {}
    }
    Ok((n_rows > 0, Done::All))
}

/// A partition of a group: what was committed, how long the log is, and who reads it.
pub(super) struct Row {
    partition: TopicPartition,
    committed: Option<Committed>,
    end: Option<Offset>,
    reader: Option<MemberDescription>,
}

impl Row {
    pub(super) fn lag(&self) -> Option<i64> {
        let offset = self.committed.as_ref()?.offset;
        Some(self.end? - offset)
    }
}

pub(super) async fn offset_rows(
    cluster: &Cluster,
    group: &GroupDescription,
) -> anyhow::Result<Vec<Row>> {
    let committed = cluster.committed(&group.id, None).await?;
    let mut readers = Vec::new();
    for member in &group.members {
        let share = member.share.partitions()?;
        if !share.is_empty() {
            readers.push((member, share));
        }
    }
    readers.sort_by_key(|(_, share)| std::cmp::Reverse(share.len()));
    let assigned: BTreeSet<_> = readers
        .iter()
        .flat_map(|(_, share)| share.clone())
        .collect();
    let all: BTreeSet<_> = committed.keys().cloned().chain(assigned.clone()).collect();
    let ends = ends(cluster, &all).await?;
    let row = |partition: &TopicPartition, reader: Option<&MemberDescription>| Row {
        partition: partition.clone(),
        committed: committed.get(partition).cloned(),
        end: ends.get(partition).copied(),
        reader: reader.cloned(),
    };
    let mut rows = Vec::new();
    for (member, share) in &readers {
        rows.extend(share.iter().map(|partition| row(partition, Some(member))));
    }
    let unread = committed
        .keys()
        .filter(|partition| !assigned.contains(*partition));
    rows.extend(unread.map(|partition| row(partition, None)));
    Ok(rows)
}

/// Where these partitions end; those without a leader are left out rather than waited for.
async fn ends(
    cluster: &Cluster,
    partitions: &BTreeSet<TopicPartition>,
) -> anyhow::Result<BTreeMap<TopicPartition, Offset>> {
    let topics: BTreeSet<_> = partitions.iter().map(|p| Arc::clone(&p.topic)).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let view = cluster.refresh(Ask::Named(&topics)).await?;
    let led = partitions
        .iter()
        .filter(|partition| view.leader(partition).is_some());
    let wanted: Vec<_> = led
        .map(|partition| (partition.clone(), At::Latest))
        .collect();
    let answers = cluster
        .list_offsets(&wanted, Isolation::ReadUncommitted)
        .await;
    let found = answers
        .into_iter()
        .map(|(partition, answer)| Ok((partition, answer?.offset)));
    found.collect()
}

pub(super) fn offsets(
    args: &Args,
    group: &GroupDescription,
    rows: Vec<Row>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut columns = vec![
        Column::growing("GROUP", 15),
        Column::growing("TOPIC", 15),
        Column::fixed("PARTITION", 10).number(),
    ];
    columns.extend(
        args.verbose
            .then(|| Column::fixed("LEADER-EPOCH", 15).number()),
    );
    let numbers = ["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"];
    columns.extend(numbers.map(|title| Column::fixed(title, 15).number()));
    columns.extend(["CONSUMER-ID", "HOST"].map(|title| Column::growing(title, 15)));
    columns.push(Column::last("CLIENT-ID"));
    let mut table = Table::new(columns);
    for row in rows {
        let committed = row.committed.as_ref();
        let offset = committed.map(|committed| committed.offset);
        let epoch = committed
            .map(|committed| committed.leader_epoch)
            .filter(|epoch| *epoch >= 0);
        let lag = row.lag();
        let number = |number: Option<i64>| or_missing(number.map(|number| number.to_string()));
        let mut cells = vec![
            group.id.clone(),
            row.partition.topic.to_string(),
            row.partition.partition.to_string(),
        ];
        cells.extend(args.verbose.then(|| number(epoch.map(i64::from))));
        cells.extend([number(offset), number(row.end), number(lag)]);
        let reader = row
            .reader
            .map(|reader| [reader.id, reader.host, reader.client_id]);
        cells.extend(reader.unwrap_or_else(|| [MISSING; 3].map(str::to_owned)));
        table.push(cells);
    }
    print(&table, output)
}

/// Kafka's tools leave a line between what comes before and a table.
fn print(table: &Table, output: &mut Output) -> anyhow::Result<()> {
    let lines = std::iter::once(String::new()).chain(table.lines());
    Ok(output.rows(lines, table.objects())?)
}

/// A member with all that is known of it.
fn member_json(group: &GroupDescription, member: &MemberDescription) -> anyhow::Result<Value> {
    let assignment = |share: &BTreeSet<TopicPartition>| {
        let topics = by_topic(share).into_iter();
        let topics =
            topics.map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }));
        topics.collect::<Vec<_>>()
    };
    let target = member.target.as_ref();
    Ok(json!({
        "group": group.id,
        "consumerId": member.id,
        "groupInstanceId": member.instance,
        "host": member.host,
        "clientId": member.client_id,
        "assignment": assignment(&member.share.partitions()?),
        "epoch": target.map(|(epoch, _)| epoch),
        "targetEpoch": group.epochs.map(|epochs| epochs.target),
        "isUpgraded": member.is_upgraded,
        "targetAssignment": target.map(|(_, target)| assignment(target)),
    }))
}

fn members(args: &Args, group: &GroupDescription, output: &mut Output) -> anyhow::Result<()> {
    if output.is_json() {
        for member in &group.members {
            output.line(member_json(group, member)?)?;
        }
        return Ok(());
    }
    let has = |is_upgraded| {
        let mut members = group.members.iter();
        members.any(|member| member.is_upgraded == Some(is_upgraded))
    };
    let is_migrating = has(true) && has(false);
    let has_instances = group.members.iter().any(|member| member.instance.is_some());
    let mut columns = vec![
        Column::growing("GROUP", 15),
        Column::growing("CONSUMER-ID", 15),
    ];
    columns.extend(has_instances.then(|| Column::growing("GROUP-INSTANCE-ID", 17)));
    columns.extend(["HOST", "CLIENT-ID"].map(|title| Column::growing(title, 15)));
    columns.push(Column::fixed("#PARTITIONS", 15));
    if args.verbose {
        columns.push(Column::fixed("CURRENT-EPOCH", 15));
        columns.push(Column::growing("CURRENT-ASSIGNMENT", 20));
        columns.push(Column::fixed("TARGET-EPOCH", 15));
        columns.push(Column::growing("TARGET-ASSIGNMENT", 20));
        columns.extend(is_migrating.then(|| Column::last("UPGRADED")));
    } else {
        columns.push(Column::last(""));
    }
    let mut table = Table::new(columns);
    for member in &group.members {
        let share = member.share.partitions()?;
        let mut cells = vec![group.id.clone(), member.id.clone()];
        cells.extend(has_instances.then(|| member.instance.clone().unwrap_or_default()));
        cells.extend([
            member.host.clone(),
            member.client_id.clone(),
            share.len().to_string(),
        ]);
        if args.verbose {
            // Epochs and targets belong to the new protocol.
            let shown = |share: &BTreeSet<TopicPartition>| {
                or_missing(Some(assignment(share)).filter(|text| !text.is_empty()))
            };
            let target = member.target.as_ref();
            cells.extend([
                or_missing(target.map(|(epoch, _)| epoch.to_string())),
                shown(&share),
                or_missing(group.epochs.map(|epochs| epochs.target.to_string())),
                or_missing(target.map(|(_, target)| shown(target))),
            ]);
            let upgraded = or_missing(member.is_upgraded.map(|it| it.to_string()));
            cells.extend(is_migrating.then_some(upgraded));
        } else {
            cells.push(String::new());
        }
        table.push(cells);
    }
    print(&table, output)
}

/// `topic:0,1;other:2`
fn assignment(share: &BTreeSet<TopicPartition>) -> String {
    let topics = by_topic(share).into_iter().map(|(topic, numbers)| {
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        format!("{topic}:{}", numbers.join(","))
    });
    topics.collect::<Vec<_>>().join(";")
}

fn by_topic(share: &BTreeSet<TopicPartition>) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in share {
        let numbers = topics.entry(&partition.topic).or_default();
        numbers.push(partition.partition);
    }
    topics
}

fn state(
    args: &Args,
    cluster: &Cluster,
    group: &GroupDescription,
    output: &mut Output,
) -> anyhow::Result<()> {
    let view = cluster.view();
    let id = group.coordinator;
    let coordinator = match view.nodes.get(&id) {
        Some(node) => format!("{}:{}  ({id})", node.address.host, node.address.port),
        None => format!("({id})"),
    };
    let mut columns = vec![
        Column::growing("GROUP", 15),
        Column::growing("COORDINATOR (ID)", 25),
        Column::fixed("ASSIGNMENT-STRATEGY", 20),
        Column::fixed("STATE", 20),
    ];
    if args.verbose {
        columns.push(Column::fixed("GROUP-EPOCH", 15).number());
        columns.push(Column::fixed("TARGET-ASSIGNMENT-EPOCH", 25).number());
    }
    columns.push(Column::last("#MEMBERS").number());
    let mut table = Table::new(columns);
    let strategy = Some(group.protocol.clone()).filter(|protocol| !protocol.is_empty());
    let mut cells = vec![
        group.id.clone(),
        coordinator,
        or_missing(strategy),
        group.state.clone(),
    ];
    if args.verbose {
        let epochs = group.epochs;
        cells.extend([
            or_missing(epochs.map(|epochs| epochs.group.to_string())),
            or_missing(epochs.map(|epochs| epochs.target.to_string())),
        ]);
    }
    cells.push(group.members.len().to_string());
    table.push(cells);
    print(&table, output)
}

fn or_missing(text: Option<String>) -> String {
    text.unwrap_or_else(|| MISSING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_written_by_topic() {
        let share = [("b", 10), ("b", 2), ("a", 0)].map(|(t, p)| TopicPartition::new(t, p));
        assert_eq!(assignment(&share.into()), "a:0;b:2,10");
    }
}
