//! What `ottla groups --reset-offsets` is to do, and its CSV: what `--export` writes and
//! `--from-file` reads.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use ottla_protocol::{Offset, TopicPartition};

use super::{Args, datetime};
use crate::commands::duration;
use crate::output;

/// A cell longer than this is quoted, whatever is in it: so does the library that Kafka's tool uses.
const UNQUOTED: usize = 24;

pub(super) type Plan = BTreeMap<TopicPartition, Offset>;

/// Where offsets are set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reset {
    ToOffset(Offset),
    ShiftBy(i64),
    /// Milliseconds since 1970.
    ToMoment(i64),
    /// The same, from now.
    ByDuration(std::time::Duration),
    ToEarliest,
    ToLatest,
    ToCurrent,
    FromFile(BTreeMap<String, Plan>),
}

impl Reset {
    pub(super) fn from_args(args: &Args) -> anyhow::Result<Self> {
        if !args.dry_run && !args.execute {
            output::note(
                "WARN: No action will be performed as the --execute option is missing. In version \
                 5.0, this command will require either --dry-run or --execute to be specified. You \
                 should add the --dry-run option explicitly if you are scripting this command and \
                 want to keep the current default behavior without prompting.",
            );
        }
        ensure!(
            args.all_topics || !args.topic.is_empty() || args.from_file.is_some(),
            "One of the reset scopes should be defined: --all-topics, --topic."
        );
        if let Some(offset) = args.to_offset {
            Ok(Self::ToOffset(offset))
        } else if let Some(n) = args.shift_by {
            Ok(Self::ShiftBy(n))
        } else if let Some(text) = &args.to_datetime {
            let moment = datetime::parse(text)
                .with_context(|| format!("{text} is no moment: YYYY-MM-DDThh:mm:ss.sss is"))?;
            Ok(Self::ToMoment(moment))
        } else if let Some(text) = &args.by_duration {
            let age = duration::parse(text)
                .with_context(|| format!("{text} is no duration: PnDTnHnMnS is"))?;
            Ok(Self::ByDuration(age))
        } else if let Some(path) = &args.from_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            let group = match &args.group[..] {
                [group] => Some(group.as_str()),
                _ => None,
            };
            let plans = read(&text, group).with_context(|| path.display().to_string())?;
            Ok(Self::FromFile(plans))
        } else if args.to_earliest {
            Ok(Self::ToEarliest)
        } else if args.to_latest {
            Ok(Self::ToLatest)
        } else if args.to_current {
            Ok(Self::ToCurrent)
        } else {
            bail!(
                "Option '--reset-offsets' requires one of the following scenarios: --to-offset, \
                 --shift-by, --to-datetime, --by-duration, --to-earliest, --to-latest, \
                 --to-current, --from-file"
            )
        }
    }
}

/// Lines of `topic,partition,offset`, if just one group is meant, else with the group in front.
fn read(text: &str, only_group: Option<&str>) -> anyhow::Result<BTreeMap<String, Plan>> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    for (n, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let cells = cells(line);
        let cells: Vec<_> = cells.iter().map(String::as_str).collect();
        let (group, [topic, partition, offset]) = match (&cells[..], only_group) {
            (&[topic, partition, offset], Some(group)) => (group, [topic, partition, offset]),
            (&[group, topic, partition, offset], _) => (group, [topic, partition, offset]),
            _ => bail!(
                "line {n}: `{line}` is not group,topic,partition,offset; without the group where \
                 --group names just one"
            ),
        };
        let numbers = partition
            .trim()
            .parse()
            .ok()
            .zip(offset.trim().parse().ok());
        let Some((partition, offset)) = numbers else {
            bail!("line {n}: `{line}` has no numbers for partition and offset");
        };
        let plan = plans.entry(group.to_owned()).or_default();
        plan.insert(TopicPartition::new(topic, partition), offset);
    }
    Ok(plans)
}

/// Cells between commas; quotes hold commas, doubled quotes are quotes.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

/// One line a partition, with the group in front unless there is just one.
pub(super) fn lines(plans: &BTreeMap<String, Plan>, has_groups: bool) -> Vec<String> {
    let of_group = |(group, plan): (&String, &Plan)| {
        let line = |(partition, offset): (&TopicPartition, &Offset)| {
            let mut cells = Vec::new();
            cells.extend(has_groups.then(|| quoted(group)));
            cells.extend([quoted(&partition.topic), partition.partition.to_string()]);
            cells.push(offset.to_string());
            cells.join(",")
        };
        plan.iter().map(line).collect::<Vec<_>>()
    };
    plans.iter().flat_map(of_group).collect()
}

fn quoted(cell: &str) -> String {
    // Everything before the dash may mean something: commas, quotes, spaces, ends of lines.
    let is_plain = cell.chars().count() <= UNQUOTED && cell.chars().all(|c| c >= '-' && c != '\\');
    if is_plain {
        return cell.to_owned();
    }
    format!("\"{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(plans: &BTreeMap<String, Plan>) -> Vec<String> {
        lines(plans, true)
    }

    #[test]
    fn one_group_needs_no_name_in_the_file() {
        assert_eq!(
            shown(&read("t,0,5\nt,1,6\n\n", Some("g")).unwrap()),
            ["g,t,0,5", "g,t,1,6"]
        );
        assert_eq!(shown(&read("h,t,0,5", Some("g")).unwrap()), ["h,t,0,5"]);
        assert_eq!(
            shown(&read("\"a,b\",t,0,5", None).unwrap()),
            ["\"a,b\",t,0,5"]
        );
        for bad in ["t,0,5", "t", "g,t,x,5"] {
            let why = read(&format!("g,t,0,1\n\n{bad}\n"), None).unwrap_err();
            let expected = format!("line 3: `{bad}` ");
            assert!(why.to_string().starts_with(&expected), "{why}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "a-topic-with-a-rather-long-name";
        let plans = read(&format!("g \"1\",{long},0,5"), None).unwrap();
        let written = lines(&plans, true).join("\n");
        assert_eq!(read(&written, None).unwrap(), plans);
        assert!(written.contains(&format!("\"{long}\"")));
    }
}
