//! `ottla list-groups`: groups of all types; the flags and the layout of `kafka-groups.sh`.

use std::process::ExitCode;

use anyhow::bail;
use ottla_client::admin::GroupListing;

use super::admin::Admin;
use super::table::{Column, Table};
use crate::output::Output;

const KINDS: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];
/// All columns are as wide as the widest cell, and not less than this.
const WIDTH: usize = 20;

/// List groups of all types
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// List the groups; there is nothing else to do
    #[arg(long, required = true)]
    list: bool,
    /// Only groups of this type: classic, consumer, share or streams
    #[arg(long, value_name = "TYPE")]
    group_type: Option<String>,
    /// Only groups with this protocol
    #[arg(long)]
    protocol: Option<String>,
    /// Only groups of consumers, by either protocol, and those that only commit
    #[arg(long, conflicts_with_all = ["group_type", "protocol"])]
    consumer: bool,
    /// Only share groups
    #[arg(long, conflicts_with_all = ["group_type", "protocol", "consumer"])]
    share: bool,
    /// Only streams groups
    #[arg(long, conflicts_with_all = ["group_type", "protocol", "consumer", "share"])]
    streams: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What was typed is judged before anybody is asked.
    let filter = Filter::of(&args)?;
    let act = async |output: &mut Output| {
        let cluster = args.admin.cluster("ottla-groups").await?;
        let groups = cluster.list_groups(&[], &[]).await?;
        let groups = groups.into_iter().filter(|group| filter.passes(group));
        let table = table(groups);
        let lines = table.lines().map(|line| line + " ");
        Ok(output.rows(lines, table.objects())?)
    };
    args.admin.run_as("groups", act).await
}

fn table(groups: impl Iterator<Item = GroupListing>) -> Table {
    let rows: Vec<_> = groups
        .map(|group| vec![group.id, shown(&group.kind), group.protocol_type])
        .collect();
    let cells = rows.iter().flatten().map(|cell| cell.chars().count());
    let width = cells.max().unwrap_or_default().max(WIDTH);
    let titles = ["GROUP", "TYPE", "PROTOCOL"];
    let mut table = Table::new(titles.map(|title| Column::fixed(title, width)).to_vec());
    rows.into_iter().for_each(|row| table.push(row));
    table
}

/// Brokers write types in lower case, Kafka's tools do not.
fn shown(kind: &str) -> String {
    known(kind).unwrap_or_default().to_owned()
}

fn known(kind: &str) -> Option<&'static str> {
    KINDS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(kind.trim()))
}

/// Which groups are listed.
#[derive(Debug)]
enum Filter {
    Words {
        kind: Option<&'static str>,
        protocol: Option<String>,
    },
    Consumers,
}

impl Filter {
    fn of(args: &Args) -> anyhow::Result<Self> {
        let named = args.group_type.as_deref();
        let kind = match named.map(known) {
            Some(None) => bail!("--group-type must be a valid group type."),
            Some(kind) => kind,
            None if args.share => Some("Share"),
            None if args.streams => Some("Streams"),
            None => None,
        };
        if args.consumer {
            return Ok(Self::Consumers);
        }
        let protocol = args.protocol.clone();
        Ok(Self::Words { kind, protocol })
    }

    fn passes(&self, group: &GroupListing) -> bool {
        let kind = known(&group.kind);
        match self {
            Self::Words {
                kind: wanted,
                protocol,
            } => {
                wanted.is_none_or(|wanted| kind == Some(wanted))
                    && protocol
                        .as_ref()
                        .is_none_or(|it| *it == group.protocol_type)
            }
            Self::Consumers => {
                kind == Some("Consumer") || matches!(group.protocol_type.as_str(), "consumer" | "")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, kind: &str, protocol: &str) -> GroupListing {
        GroupListing {
            id: id.to_owned(),
            protocol_type: protocol.to_owned(),
            state: "Empty".to_owned(),
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn groups_of_consumers_are_of_two_types() {
        let all = [
            group("a", "classic", "consumer"),
            group("b", "classic", "connect"),
            group("c", "consumer", "consumer"),
            group("d", "share", "share"),
            group("e", "classic", ""),
        ];
        let ids = |filter: Filter| {
            let passing = all.iter().filter(|group| filter.passes(group));
            passing.map(|group| group.id.as_str()).collect::<String>()
        };
        assert_eq!(ids(Filter::Consumers), "ace");
        let kind = |kind| Filter::Words {
            kind,
            protocol: None,
        };
        assert_eq!(ids(kind(Some("Classic"))), "abe");
        assert_eq!(ids(kind(None)), "abcde");
        let lines: Vec<_> = table(all.into_iter().take(1)).lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("a                    Classic              consumer"));
    }
}
