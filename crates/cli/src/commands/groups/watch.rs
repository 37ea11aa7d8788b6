//! `ottla groups --describe --watch`: offsets and lag again and again, until somebody interrupts.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use ottla_client::Cluster;
use tokio::time::{Instant, sleep_until};

use super::describe::{offset_rows, offsets, say_state};
use super::{Args, Done, meant};
use crate::commands::stop::Stop;
use crate::output::{self, Output};

pub(super) async fn watch(
    args: &Args,
    seconds: f64,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<Done> {
    let pause = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    ensure!(!pause.is_zero(), "--watch {seconds} is no time to wait");
    let mut stop = Stop::new()?;
    let mut before = BTreeMap::new();
    loop {
        let next = Instant::now() + pause;
        let look = look(args, cluster, output, &mut before);
        tokio::select! {
            done = look => done?,
            _ = stop.wait() => return Ok(Done::All),
        }
        output.flush()?;
        tokio::select! {
            () = sleep_until(next) => {}
            _ = stop.wait() => return Ok(Done::All),
        }
    }
}

/// One picture; what the lag was in the one before is kept.
async fn look(
    args: &Args,
    cluster: &Cluster,
    output: &mut Output,
    before: &mut BTreeMap<String, i64>,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for group in meant(args, cluster).await? {
        let described = cluster.describe_group(&group).await?;
        let rows = offset_rows(cluster, &described).await?;
        all.push((described, rows));
    }
    // Everything is there before the old picture goes.
    if output::is_screen() && !output.is_json() {
        output.clear_screen()?;
    }
    for (described, rows) in all {
        let lag = rows.iter().filter_map(super::describe::Row::lag).sum();
        let (is_shown, _) = say_state(&described, rows.len(), output)?;
        if !is_shown {
            continue;
        }
        offsets(args, &described, rows, output)?;
        let old = before.insert(described.id.clone(), lag);
        if !output.is_json() {
            output.line(format_args!("\n{}", summary(&described.id, lag, old)))?;
        }
    }
    Ok(())
}

fn summary(group: &str, lag: i64, old: Option<i64>) -> String {
    match old {
        None => format!("{group}: lag {lag}"),
        Some(old) if old == lag => format!("{group}: lag {lag}, as before"),
        Some(old) => format!("{group}: lag {lag} ({:+})", lag - old),
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn lag_is_told_with_its_change() {
        assert_eq!(summary("g", 5, None), "g: lag 5");
        assert_eq!(summary("g", 5, Some(7)), "g: lag 5 (-2)");
        assert_eq!(summary("g", 9, Some(7)), "g: lag 9 (+2)");
        assert_eq!(summary("g", 9, Some(9)), "g: lag 9, as before");
    }
}
