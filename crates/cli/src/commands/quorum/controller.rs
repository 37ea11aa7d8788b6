//! A controller that is to vote, as its own configuration file describes it.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use ottla_client::admin::QuorumEndpoint;
use ottla_protocol::{NodeId, Uuid};
use ottla_storage::{Disk, MetaProperties};

use crate::commands::connect::Properties;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewController {
    pub(super) id: NodeId,
    pub(super) directory: Uuid,
    pub(super) endpoints: Vec<QuorumEndpoint>,
}

const NOT_A_CONTROLLER: &str = "Is this a valid controller configuration file?";

impl NewController {
    pub(super) fn of(properties: &Properties) -> anyhow::Result<Self> {
        let id = properties.read("node.id")?.with_context(|| {
            format!("node.id not found in configuration file. {NOT_A_CONTROLLER}")
        })?;
        ensure!(
            id >= 0,
            "node.id was negative in configuration file. {NOT_A_CONTROLLER}"
        );
        let roles = properties.text("process.roles").unwrap_or_default();
        ensure!(
            roles.contains("controller"),
            "process.roles did not contain 'controller' in configuration file. {NOT_A_CONTROLLER}"
        );
        let path = metadata_directory(properties)?;
        let found = MetaProperties::read(&Disk::new(), Path::new(path))?;
        let directory = found.and_then(|found| found.directory_id);
        let directory = directory
            .with_context(|| format!("{path} has no id of its own: it is not formatted"))?;
        Ok(Self {
            id,
            directory,
            endpoints: endpoints(properties)?,
        })
    }

    pub(super) fn told(&self, is_dry: bool) -> String {
        let done = if is_dry { "DRY RUN of adding" } else { "Added" };
        let endpoints: Vec<_> = self.endpoints.iter().map(super::endpoint).collect();
        format!(
            "{done} controller {} with directory id {} and endpoints: {}",
            self.id,
            self.directory,
            endpoints.join(", ")
        )
    }
}

fn metadata_directory(properties: &Properties) -> anyhow::Result<&str> {
    let named = properties.text("metadata.log.dir");
    let first = || {
        let dirs = properties.text("log.dirs").or(properties.text("log.dir"))?;
        dirs.trim().split(',').next()
    };
    let found = named.or_else(first).filter(|path| !path.is_empty());
    found.context("Neither metadata.log.dir nor log.dirs were found. Is this a valid controller configuration file?")
}

/// Where it listens for other controllers: advertised, if it advertises.
fn endpoints(properties: &Properties) -> anyhow::Result<Vec<QuorumEndpoint>> {
    let listeners = ["advertised.listeners", "listeners"].map(|name| {
        let list = properties.text(name).unwrap_or_default().split(',');
        list.filter_map(endpoint).collect::<Vec<_>>()
    });
    let names = properties.text("controller.listener.names");
    let Some(names) = names else {
        bail!("controller.listener.names was not found. {NOT_A_CONTROLLER}");
    };
    let of = |name: &str| {
        let mut all = listeners.iter().flatten();
        let found = all
            .find(|it| it.listener.eq_ignore_ascii_case(name))
            .cloned();
        found.with_context(|| {
            format!("Cannot find information about controller listener name: {name}")
        })
    };
    names.split(',').map(|name| of(name.trim())).collect()
}

/// `NAME://host:port`; without a host it is this one.
fn endpoint(text: &str) -> Option<QuorumEndpoint> {
    let (listener, address) = text.trim().split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "localhost" } else { host };
    Some(QuorumEndpoint {
        listener: listener.to_ascii_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[&str]) -> Properties {
        let pairs: Vec<_> = pairs.iter().map(ToString::to_string).collect();
        Properties::gather(None, &pairs).unwrap()
    }

    #[test]
    fn a_controller_listens_where_it_advertises() {
        let given = properties(&[
            "listeners=CONTROLLER://:9093,OTHER://[::1]:9094",
            "advertised.listeners=CONTROLLER://c1:9093",
            "controller.listener.names=CONTROLLER,other",
        ]);
        let shown: Vec<_> = endpoints(&given)
            .unwrap()
            .iter()
            .map(super::super::endpoint)
            .collect();
        assert_eq!(shown, ["CONTROLLER://c1:9093", "OTHER://[::1]:9094"]);
        let given = properties(&["listeners=A://:1", "controller.listener.names=B"]);
        assert!(endpoints(&given).is_err());
    }

    #[test]
    fn what_is_no_controllers_file_is_refused() {
        for (pairs, why) in [
            (&["a=b"][..], "node.id not found"),
            (&["node.id=-1"], "negative"),
            (&["node.id=1", "process.roles=broker"], "process.roles"),
            (
                &["node.id=1", "process.roles=controller"],
                "Neither metadata.log.dir",
            ),
        ] {
            let told = NewController::of(&properties(pairs))
                .unwrap_err()
                .to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}
