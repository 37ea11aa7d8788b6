//! The files: which replicas partitions are to have, in which log directories; and which topics are
//! to be moved.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::{Value, json};

/// A log directory that anybody may choose.
const ANY: &str = "any";

pub(super) type Replicas = BTreeMap<TopicPartition, Vec<NodeId>>;
/// A replica, by its broker first: so they are sorted when they are told of.
pub(super) type Directories = BTreeMap<(NodeId, TopicPartition), String>;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) replicas: Replicas,
    pub(super) directories: Directories,
    /// Named more than once.
    twice: BTreeSet<TopicPartition>,
}

pub(super) fn read(text: &str) -> anyhow::Result<Plan> {
    let json = parse(text)?;
    let mut plan = Plan::default();
    let list = json.get("partitions").and_then(Value::as_array);
    for entry in list.into_iter().flatten() {
        plan.take(entry)?;
    }
    Ok(plan)
}

/// What is to be executed must make sense.
pub(super) fn to_execute(text: &str) -> anyhow::Result<Plan> {
    let plan = read(text)?;
    ensure!(
        !plan.replicas.is_empty(),
        "Partition reassignment list cannot be empty"
    );
    ensure!(
        plan.replicas.values().all(|replicas| !replicas.is_empty()),
        "Partition replica list cannot be empty"
    );
    let twice: Vec<_> = plan.twice.iter().map(ToString::to_string).collect();
    ensure!(
        twice.is_empty(),
        "Partition reassignment contains duplicate topic partitions: {}",
        twice.join(",")
    );
    let doubled = plan.replicas.iter().filter_map(|(partition, replicas)| {
        let twice = duplicates(replicas);
        (!twice.is_empty()).then(|| {
            format!(
                "{partition} contains multiple entries for {}",
                super::comma(&twice)
            )
        })
    });
    let doubled: Vec<_> = doubled.collect();
    ensure!(
        doubled.is_empty(),
        "Partition replica lists may not contain duplicate entries: {}",
        doubled.join(". ")
    );
    Ok(plan)
}

pub(super) fn topics(text: &str) -> anyhow::Result<Vec<String>> {
    let json = parse(text)?;
    let list = json.get("topics").and_then(Value::as_array);
    let names = list.into_iter().flatten().map(|entry| {
        let name = entry.get("topic").and_then(Value::as_str);
        name.map(str::to_owned)
            .with_context(|| format!("{entry} does not name a topic"))
    });
    let names: Vec<_> = names.collect::<anyhow::Result<_>>()?;
    let twice = duplicates(&names);
    ensure!(
        twice.is_empty(),
        "List of topics to reassign contains duplicate entries: {twice:?}"
    );
    Ok(names)
}

pub(super) fn brokers(list: &str) -> anyhow::Result<Vec<NodeId>> {
    let ids = list.split(',').map(|id| {
        let id = id.trim().parse();
        id.with_context(|| format!("--broker-list {list}: ids are numbers"))
    });
    let ids: Vec<_> = ids.collect::<anyhow::Result<_>>()?;
    let twice = duplicates(&ids);
    ensure!(
        twice.is_empty(),
        "Broker list contains duplicate entries: {twice:?}"
    );
    Ok(ids)
}

/// As Kafka's tool writes it, without a space, in this order.
pub(super) fn format(replicas: &Replicas, directories: &Directories) -> String {
    let each = replicas.iter().map(|(partition, replicas)| {
        let dirs = replicas.iter().map(|id| {
            let found = directories.get(&(*id, partition.clone()));
            found.map_or(ANY, String::as_str)
        });
        format!(
            "{{\"topic\":{},\"partition\":{},\"replicas\":{},\"log_dirs\":{}}}",
            json!(&*partition.topic),
            partition.partition,
            json!(replicas),
            json!(dirs.collect::<Vec<_>>())
        )
    });
    let each: Vec<_> = each.collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", each.join(","))
}

fn parse(text: &str) -> anyhow::Result<Value> {
    let json: Value = serde_json::from_str(text).context("The input string is not a valid JSON")?;
    match json.get("version").map(Value::as_i64) {
        None | Some(Some(1)) => Ok(json),
        Some(_) => bail!("Not supported version field value {}", json["version"]),
    }
}

fn duplicates<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&T> = items.iter().filter(|item| !seen.insert(*item)).collect();
    twice.into_iter().cloned().collect()
}

impl Plan {
    fn take(&mut self, entry: &Value) -> anyhow::Result<()> {
        let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok());
        let topic = entry.get("topic").and_then(Value::as_str);
        let partition = entry.get("partition").and_then(number);
        let replicas = entry.get("replicas").and_then(Value::as_array);
        let replicas: Option<Vec<NodeId>> =
            replicas.and_then(|list| list.iter().map(number).collect());
        let (Some(topic), Some(partition), Some(replicas)) = (topic, partition, replicas) else {
            bail!("{entry} does not name topic, partition and replicas");
        };
        let partition = TopicPartition::new(topic, partition);
        if let Some(dirs) = entry.get("log_dirs") {
            let dirs = dirs.as_array().map(Vec::as_slice).unwrap_or_default();
            ensure!(
                dirs.len() == replicas.len(),
                "Size of replicas list {replicas:?} is different from size of log dirs list {} for \
                 partition {partition}",
                Value::from(dirs)
            );
            for (id, dir) in replicas.iter().zip(dirs) {
                let dir = dir
                    .as_str()
                    .with_context(|| format!("{dir} is no directory"))?;
                if dir != ANY {
                    let replica = (*id, partition.clone());
                    self.directories.insert(replica, dir.to_owned());
                }
            }
        }
        if self.replicas.insert(partition.clone(), replicas).is_some() {
            self.twice.insert(partition);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2],\"log_dirs\":[\"any\",\"/d\"]}]}";
        let plan = to_execute(text).unwrap();
        assert_eq!(plan.directories.len(), 1);
        assert_eq!(format(&plan.replicas, &plan.directories), text);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let file = |list: &str| format!("{{\"partitions\":[{list}]}}");
        let one = "{\"topic\":\"t\",\"partition\":0,\"replicas\":[0]}";
        for (text, why) in [
            (file(""), "cannot be empty"),
            (
                file("{\"topic\":\"t\",\"partition\":0,\"replicas\":[]}"),
                "replica list cannot be empty",
            ),
            (
                file(&format!("{one},{one}")),
                "duplicate topic partitions: t-0",
            ),
            (
                file("{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,1]}"),
                "t-0 contains multiple entries for 1",
            ),
            (
                file("{\"topic\":\"t\",\"partition\":0,\"replicas\":[1],\"log_dirs\":[]}"),
                "Size of replicas list [1]",
            ),
            (file("{\"topic\":\"t\"}"), "does not name"),
            ("{\"version\":9}".to_owned(), "version field value 9"),
            ("[".to_owned(), "not a valid JSON"),
        ] {
            let told = format!("{:#}", to_execute(&text).unwrap_err());
            assert!(told.contains(why), "{told}");
        }
        assert!(topics("{\"topics\":[{\"topic\":\"a\"},{\"topic\":\"a\"}]}").is_err());
        assert!(brokers("0,0").is_err() && brokers("a").is_err());
        assert_eq!(brokers("0, 1").unwrap(), [0, 1]);
    }
}
