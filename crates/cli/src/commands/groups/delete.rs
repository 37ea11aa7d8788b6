//! `ottla groups --delete` and `--delete-offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_client::{Ask, ClientError, Cluster};
use ottla_protocol::{Refusal, TopicPartition};

use serde_json::json;

use super::{Args, Done, MISSING, complain, meant, scope};
use crate::commands::table::{Column, Table};
use crate::kafkas;
use crate::output::{self, Output, Progress};

pub(super) async fn groups(
    args: &Args,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<Done> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    let groups = meant(args, cluster).await?;
    let (mut progress, n_all) = (Progress::new(), groups.len());
    for (n, group) in groups.into_iter().enumerate() {
        progress.show(format_args!("{n} of {n_all} groups"));
        match cluster.delete_group(&group).await {
            Ok(()) => deleted.push(group),
            Err(error) => failed.push((group, error)),
        }
    }
    drop(progress);
    if output.is_json() {
        for group in deleted {
            output.line(json!({ "group": group, "isDeleted": true }))?;
        }
        for (group, error) in &failed {
            let why = error_words(error);
            output.line(json!({ "group": group, "isDeleted": false, "error": why }))?;
        }
        return Ok(if failed.is_empty() {
            Done::All
        } else {
            Done::NotAll
        });
    }
    if output::is_kafkas_manner() {
        deleted = kafkas::hash_order(deleted);
    }
    let deleted: Vec<_> = deleted.iter().map(|group| format!("'{group}'")).collect();
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        output.line(format_args!(
            "Deletion of requested consumer groups ({deleted}) was successful."
        ))?;
        return Ok(Done::All);
    }
    complain(output, "Deletion of some consumer groups failed:")?;
    for (group, error) in &failed {
        let why = error_words(error);
        output.complain(format_args!(
            "* Group '{group}' could not be deleted due to: {why}"
        ))?;
    }
    if !deleted.is_empty() {
        output.line(format_args!(
            "\nThese consumer groups were deleted successfully: {deleted}"
        ))?;
    }
    if let Some((_, error)) = failed.pop() {
        output::advise(&error.into());
    }
    Ok(Done::NotAll)
}

pub(super) async fn offsets(
    args: &Args,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<Done> {
    let group = args.group.first().map(String::as_str).unwrap_or_default();
    let mut results: BTreeMap<TopicPartition, Result<(), ClientError>> = BTreeMap::new();
    let mut partitions = BTreeSet::new();
    for text in &args.topic {
        match scope(text)? {
            (_, Some(named)) => partitions.extend(named),
            (topic, None) => match all_of(cluster, &topic).await {
                Ok(all) => partitions.extend(all),
                Err(error) => {
                    results.insert(TopicPartition::new(topic, NO_PARTITION), Err(error));
                }
            },
        }
    }
    let mut done = Done::All;
    let answer = if partitions.is_empty() {
        Ok(BTreeMap::new())
    } else {
        cluster.delete_offsets(group, &partitions).await
    };
    match answer {
        Ok(answers) => {
            if answers.values().any(Result::is_err) {
                done = Done::NotAll;
                complain(
                    output,
                    "Encountered some partition-level error, see the follow-up details.",
                )?;
            } else if !output.is_json() {
                output.line(format_args!(
                    "Request succeeded for deleting offsets from group {group}."
                ))?;
            }
            results.extend(answers);
        }
        Err(error) => {
            done = Done::NotAll;
            complain(output, top_words(&error))?;
            results.extend(partitions.into_iter().map(|p| (p, Err(error.clone()))));
        }
    }
    if results.values().any(Result::is_err) {
        done = Done::NotAll;
    }
    let columns = vec![
        Column::growing("TOPIC", 15),
        Column::fixed("PARTITION", 10).number(),
        Column::fixed("STATUS", 15),
    ];
    let mut table = Table::new(columns);
    for (partition, result) in results {
        let number = Some(partition.partition).filter(|number| *number != NO_PARTITION);
        table.push(vec![
            partition.topic.to_string(),
            number.map_or_else(|| MISSING.to_owned(), |number| number.to_string()),
            match result {
                Ok(()) => "Successful".to_owned(),
                Err(error) => format!("Error: {}", error_words(&error)),
            },
        ]);
    }
    let lines = std::iter::once(String::new()).chain(table.lines());
    output.rows(lines, table.objects())?;
    Ok(done)
}

/// In place of a partition of a topic that has none.
const NO_PARTITION: i32 = -1;

async fn all_of(cluster: &Cluster, topic: &Arc<str>) -> Result<Vec<TopicPartition>, ClientError> {
    let view = cluster
        .refresh(Ask::Named(std::slice::from_ref(topic)))
        .await?;
    let known = view.topics.get(topic);
    match known.filter(|known| known.refusal.is_none()) {
        Some(known) => {
            let numbers = known.partitions.keys();
            Ok(numbers
                .map(|&n| TopicPartition::new(Arc::clone(topic), n))
                .collect())
        }
        None => {
            let refusal = known.and_then(|known| known.refusal);
            let refusal = refusal.unwrap_or(Refusal::UnknownTopicOrPartition);
            Err(ClientError::refused(
                format!("topic {topic} is not there"),
                refusal,
            ))
        }
    }
}

/// What was done to what stands beside it already. Kafka's tool shows its exception.
fn error_words(error: &ClientError) -> String {
    match error {
        _ if output::is_kafkas_manner() => kafkas::exception(error),
        ClientError::Refused { refused, .. } => refused.words().to_owned(),
        other => other.to_string(),
    }
}

/// Of all of it at once, it shows the code's words only.
fn top_words(error: &ClientError) -> String {
    match error.refusal() {
        Some(refusal) if output::is_kafkas_manner() => kafkas::default_words(refusal).to_owned(),
        _ => error_words(error),
    }
}
