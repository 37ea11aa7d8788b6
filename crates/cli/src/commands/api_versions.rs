//! `ottla api-versions`: which APIs and versions brokers serve; the layout of
//! `kafka-broker-api-versions.sh`. What is usable is what a client of Kafka 4.3 would use.

mod apis;

use std::collections::BTreeMap;
use std::process::ExitCode;

use ottla_client::Node;
use ottla_protocol::messages::ApiVersion;
use serde_json::{Value, json};

use self::apis::{APIS, Api};
use super::admin::Admin;
use crate::output::{self, Output};

/// Show the APIs and versions that brokers serve
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| {
        let cluster = args.admin.cluster("ottla-api-versions").await?;
        let nodes: Vec<Node> = cluster.view().nodes.values().cloned().collect();
        let mut is_whole = true;
        for node in nodes {
            let (sentence, json) = match cluster.api_versions(Some(node.id)).await {
                Ok(answer) => (text(&answer.api_keys), objects(&answer.api_keys)),
                Err(error) => {
                    is_whole = false;
                    (
                        format!("ERROR: {error}"),
                        json!({ "error": error.to_string() }),
                    )
                }
            };
            let json = json!({ "broker": node.id, "apis": json });
            output.say(format_args!("{} -> {sentence}", shown(&node)), &json)?;
        }
        Ok(if is_whole || output::is_kafkas_manner() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    };
    args.admin.run(act).await
}

fn shown(node: &Node) -> String {
    let rack = node.rack.as_deref().unwrap_or("null");
    format!(
        "{} (id: {} rack: {rack} isFenced: false)",
        node.address, node.id
    )
}

/// Each API on a line, by number; those that clients know and the broker does not, too.
fn text(served: &[ApiVersion]) -> String {
    let mut lines: BTreeMap<i16, String> = BTreeMap::new();
    for served in served {
        lines.insert(served.api_key, line(served));
    }
    for api in APIS.iter().filter(|api| api.is_for_clients) {
        lines
            .entry(api.key)
            .or_insert_with(|| format!("{}({}): UNSUPPORTED", api.name, api.key));
    }
    let lines: Vec<_> = lines.into_values().collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

fn known(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

fn line(served: &ApiVersion) -> String {
    let ApiVersion {
        api_key,
        min_version: min,
        max_version: max,
    } = served;
    let versions = if min == max {
        min.to_string()
    } else {
        format!("{min} to {max}")
    };
    match known(*api_key) {
        None => format!("UNKNOWN({api_key}): {versions}"),
        Some(api) => {
            let usable = match usable(api, served) {
                Ok(version) => format!("usable: {version}"),
                Err(why) => format!("unusable: {why}"),
            };
            format!("{}({api_key}): {versions} [{usable}]", api.name)
        }
    }
}

fn usable(api: &Api, served: &ApiVersion) -> Result<i16, &'static str> {
    if api.newest < served.min_version {
        Err("node too new")
    } else if served.max_version < api.oldest {
        Err("node too old")
    } else {
        Ok(api.newest.min(served.max_version))
    }
}

fn objects(served: &[ApiVersion]) -> Value {
    let each = served.iter().map(|served| {
        let api = known(served.api_key);
        json!({
            "key": served.api_key,
            "name": api.map(|api| api.name),
            "minVersion": served.min_version,
            "maxVersion": served.max_version,
            "usableVersion": api.and_then(|api| usable(api, served).ok()),
        })
    });
    Value::Array(each.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(api_key: i16, min_version: i16, max_version: i16) -> ApiVersion {
        ApiVersion {
            api_key,
            min_version,
            max_version,
        }
    }

    #[test]
    fn versions_are_judged_by_what_clients_speak() {
        for (served, shown) in [
            (served(0, 0, 13), "Produce(0): 0 to 13 [usable: 13]"),
            (served(0, 0, 99), "Produce(0): 0 to 99 [usable: 13]"),
            (
                served(0, 50, 99),
                "Produce(0): 50 to 99 [unusable: node too new]",
            ),
            (served(1, 0, 3), "Fetch(1): 0 to 3 [unusable: node too old]"),
            (served(47, 0, 0), "OffsetDelete(47): 0 [usable: 0]"),
            (served(999, 1, 2), "UNKNOWN(999): 1 to 2"),
        ] {
            assert_eq!(line(&served), shown);
        }
        let all = text(&[served(0, 0, 13)]);
        assert!(all.contains("\tFetch(1): UNSUPPORTED,\n"), "{all}");
        assert!(!all.contains("BrokerHeartbeat"), "{all}");
    }
}
