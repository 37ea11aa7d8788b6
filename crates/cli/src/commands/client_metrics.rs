//! `ottla client-metrics`: which metrics clients are to send, by subscription; the flags and the
//! layout of `kafka-client-metrics.sh`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use ottla_client::Cluster;
use ottla_client::admin::{ConfigChange, ConfigKind, ConfigResource};
use serde_json::{Map, Value, json};

use super::admin::Admin;
use crate::output::Output;

/// Describe, alter or delete subscriptions of client metrics
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// Make a subscription, or change it
    #[arg(long, group = "action")]
    alter: bool,
    /// Delete a subscription
    #[arg(long, group = "action", requires = "name")]
    delete: bool,
    /// Describe one subscription, or all
    #[arg(long, group = "action")]
    describe: bool,
    /// List the subscriptions
    #[arg(long, group = "action")]
    list: bool,

    /// The subscription's name
    #[arg(long, conflicts_with = "list")]
    name: Option<String>,
    /// Make up a name
    #[arg(long, conflicts_with_all = ["name", "delete", "describe", "list"])]
    generate_name: bool,
    /// How often clients send, in milliseconds; empty for the default
    #[arg(
        long,
        value_name = "MS",
        conflicts_with_all = ["delete", "describe", "list"],
        allow_hyphen_values = true
    )]
    interval: Option<String>,
    /// Which clients, as client_id=app,client_software_name=java; others to choose by are
    /// client_instance_id, client_software_version, client_source_address, client_source_port
    #[arg(long, value_name = "K=V,...", conflicts_with_all = ["delete", "describe", "list"])]
    r#match: Option<String>,
    /// Prefixes of the metrics' names
    #[arg(long, value_name = "M1,M2,...", conflicts_with_all = ["delete", "describe", "list"])]
    metrics: Option<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    check(&args)?;
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run_as("client metrics", act).await
}

/// What is wrong with the words needs no cluster to be said.
fn check(args: &Args) -> anyhow::Result<()> {
    ensure!(
        !args.alter || args.name.is_some() || args.generate_name,
        "One of --name or --generate-name must be specified with --alter."
    );
    let interval = args.interval.as_deref().filter(|text| !text.is_empty());
    if interval.is_some_and(|text| text.parse::<i32>().is_err()) {
        bail!("Invalid interval value. Enter an integer, or leave empty to reset.");
    }
    Ok(())
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let cluster = args.admin.cluster("ottla-client-metrics").await?;
    if args.alter {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => ottla_storage::new_id().to_string(),
        };
        change(&cluster, &name, changes(args)).await?;
        let sentence = format!("Altered client metrics config for {name}.");
        Ok(output.say(sentence, &json!({ "altered": name }))?)
    } else if args.delete {
        let name = args.name.as_deref().unwrap_or_default();
        let held = cluster.describe_configs(&resource(name)).await?;
        let gone = held
            .into_iter()
            .map(|entry| (entry.name, ConfigChange::Delete));
        change(&cluster, name, gone.collect()).await?;
        let sentence = format!("Deleted client metrics config for {name}.");
        Ok(output.say(sentence, &json!({ "deleted": name }))?)
    } else if args.list {
        let names = cluster.config_resources(ConfigKind::ClientMetrics).await?;
        let lines = std::iter::once(names.join("\n"));
        let objects = names.iter().map(|name| json!({ "name": name }));
        Ok(output.rows(lines, objects)?)
    } else {
        describe(args, &cluster, output).await
    }
}

fn resource(name: &str) -> ConfigResource {
    ConfigResource::new(ConfigKind::ClientMetrics, name)
}

async fn change(
    cluster: &Cluster,
    name: &str,
    changes: Vec<(String, ConfigChange)>,
) -> anyhow::Result<()> {
    let changes = BTreeMap::from([(resource(name), changes)]);
    Ok(cluster.alter_configs(&changes).await?)
}

/// An empty value goes back to the default.
fn changes(args: &Args) -> Vec<(String, ConfigChange)> {
    let typed = [
        ("interval.ms", &args.interval),
        ("metrics", &args.metrics),
        ("match", &args.r#match),
    ];
    let typed = typed.into_iter().filter_map(|(name, value)| {
        let change = match value.as_deref()? {
            "" => ConfigChange::Delete,
            value => ConfigChange::Set(value.to_owned()),
        };
        Some((name.to_owned(), change))
    });
    typed.collect()
}

async fn describe(args: &Args, cluster: &Cluster, output: &mut Output) -> anyhow::Result<()> {
    let mut names = cluster.config_resources(ConfigKind::ClientMetrics).await?;
    if let Some(name) = &args.name {
        if !names.contains(name) {
            let sentence = format!(
                "The client metric resource {name} doesn't exist and doesn't have dynamic config."
            );
            let json = json!({ "name": name, "configs": null });
            return Ok(output.say(sentence, &json)?);
        }
        names = vec![name.clone()];
    }
    for name in names {
        let entries = cluster.describe_configs(&resource(&name)).await?;
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let head = format!("Client metrics configs for {name} are:");
        let lines = entries
            .iter()
            .map(|entry| format!("  {}={}", entry.name, shown(&entry.value)));
        let configs: Map<String, Value> = entries
            .iter()
            .map(|entry| (entry.name.clone(), Value::from(entry.value.clone())))
            .collect();
        let object = json!({ "name": name, "configs": configs });
        output.rows(std::iter::once(head).chain(lines), [object])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn typed(flags: &[&str]) -> Result<Args, clap::Error> {
        let flags = ["client-metrics"].iter().chain(flags);
        Alone::try_parse_from(flags).map(|alone| alone.args)
    }

    #[test]
    fn an_empty_value_goes_back_to_the_default() {
        let args = typed(&[
            "--alter",
            "--name",
            "a",
            "--interval",
            "",
            "--match",
            "k=v,l=w",
        ]);
        assert_eq!(
            changes(&args.unwrap()),
            [
                ("interval.ms".to_owned(), ConfigChange::Delete),
                ("match".to_owned(), ConfigChange::Set("k=v,l=w".to_owned())),
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let judged = |flags: &[&str]| typed(flags).map(|args| check(&args).is_ok());
        assert!(judged(&["--alter", "--name", "a"]).unwrap());
        assert!(!judged(&["--alter"]).unwrap());
        assert!(!judged(&["--alter", "--generate-name", "--interval", "soon"]).unwrap());
        for flags in [
            &["--list", "--name", "a"][..],
            &["--delete"],
            &["--describe", "--interval", "5"],
            &["--list", "--describe"],
            &[],
        ] {
            assert!(judged(flags).is_err(), "{flags:?}");
        }
    }
}
