//! `ottla features`: what features the cluster runs at which level, and changing that; the flags
//! and the layout of `kafka-features.sh`.

pub(super) mod levels;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use ottla_client::ClientError;
use ottla_client::admin::{FeatureChange, Features};
use ottla_metadata::records::MetadataVersion;
use ottla_protocol::NodeId;
use serde_json::json;

use super::admin::Admin;
use super::connect::ConnectAny;
use crate::kafkas;
use crate::output::Output;

const CLIENT_ID: &str = "ottla-features";

/// Describe or change the cluster's feature levels
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    admin: Admin<ConnectAny>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The levels that are supported, and those that hold
    Describe {
        /// Ask this node
        #[arg(long, value_name = "ID", allow_negative_numbers = true)]
        node_id: Option<NodeId>,
    },
    /// Raise levels
    Upgrade(Target),
    /// Lower levels
    Downgrade {
        #[command(flatten)]
        target: Target,
        /// Even if metadata is lost that cannot be had again
        #[arg(long)]
        r#unsafe: bool,
    },
    /// Switch features off: level 0
    Disable {
        /// The feature; may be given several times
        #[arg(long)]
        feature: Vec<String>,
        /// Even if metadata is lost that cannot be had again
        #[arg(long)]
        r#unsafe: bool,
        /// Only say whether it can be done
        #[arg(long)]
        dry_run: bool,
    },
    /// The levels that belong to a release
    VersionMapping(levels::Mapping),
    /// What a level needs of other features
    FeatureDependencies(levels::Dependencies),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The old way to name a level of metadata.version, as 3.3-IV3
    #[arg(long, value_name = "VERSION", hide = true)]
    metadata: Option<String>,
    /// A release: all features go to its levels
    #[arg(long, value_name = "VERSION")]
    release_version: Option<String>,
    /// A feature and its level, as metadata.version=5; may be given several times
    #[arg(long, value_name = "FEATURE=LEVEL")]
    feature: Vec<String>,
    /// Only say whether it can be done
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    match &args.action {
        Action::Describe { node_id } => {
            ensure!(
                node_id.is_none_or(|id| id >= 0),
                "Invalid node id {}: must be non-negative.",
                node_id.unwrap_or_default()
            );
            let cluster = args.admin.cluster(CLIENT_ID).await?;
            let features = cluster.features(*node_id).await?;
            describe(&features, output)
        }
        Action::Upgrade(target) => {
            let asked = target.levels(FeatureChange::Upgrade, output)?;
            let change = Change {
                verb: "upgrade",
                way: FeatureChange::Upgrade,
                is_dry: target.dry_run,
            };
            change.run(args, asked, output).await
        }
        Action::Downgrade { target, r#unsafe } => {
            let way = downward(*r#unsafe);
            let asked = target.levels(way, output)?;
            let change = Change {
                verb: "downgrade",
                way,
                is_dry: target.dry_run,
            };
            change.run(args, asked, output).await
        }
        Action::Disable {
            feature,
            r#unsafe,
            dry_run,
        } => {
            let mut asked = BTreeMap::new();
            for feature in feature {
                ask(&mut asked, feature, 0)?;
            }
            let change = Change {
                verb: "disable",
                way: downward(*r#unsafe),
                is_dry: *dry_run,
            };
            change.run(args, asked, output).await
        }
        Action::VersionMapping(mapping) => mapping.print(output),
        Action::FeatureDependencies(dependencies) => dependencies.print(output),
    }
}

fn downward(is_unsafe: bool) -> FeatureChange {
    if is_unsafe {
        FeatureChange::UnsafeDowngrade
    } else {
        FeatureChange::SafeDowngrade
    }
}

fn describe(features: &Features, output: &mut Output) -> anyhow::Result<()> {
    for (feature, (min, max)) in &features.supported {
        let finalized = features.finalized.get(feature).copied().unwrap_or_default();
        let epoch = Some(features.epoch).filter(|epoch| *epoch >= 0);
        let json = json!({
            "feature": feature,
            "supportedMinVersion": min,
            "supportedMaxVersion": max,
            "finalizedVersionLevel": finalized,
            "epoch": epoch,
        });
        let epoch = epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let [min, max, finalized] = [*min, *max, finalized].map(|level| shown(feature, level));
        let line = format!(
            "Feature: {feature:<40}  SupportedMinVersion: {min:<15}  SupportedMaxVersion: \
             {max:<15}  FinalizedVersionLevel: {finalized:<15}  Epoch: {epoch}"
        );
        output.say(line, &json)?;
    }
    Ok(())
}

/// Levels of metadata.version have names.
fn shown(feature: &str, level: i16) -> String {
    match MetadataVersion::from_level(level) {
        _ if feature != MetadataVersion::FEATURE => level.to_string(),
        Some(version) => version.name().to_owned(),
        None => format!("UNKNOWN {level}"),
    }
}

impl Target {
    fn levels(
        &self,
        way: FeatureChange,
        output: &mut Output,
    ) -> anyhow::Result<BTreeMap<String, i16>> {
        let mut asked = BTreeMap::new();
        if let Some(release) = &self.release_version {
            ensure!(
                self.metadata.is_none() && self.feature.is_empty(),
                "Can not specify `release-version` with other feature flags."
            );
            let version = levels::release(release)?;
            asked.insert(MetadataVersion::FEATURE.to_owned(), version.level());
            for (feature, level) in levels::of_release(version) {
                // Nobody upgrades to nothing.
                if way != FeatureChange::Upgrade || level > 0 {
                    asked.insert(feature.to_owned(), level);
                }
            }
            return Ok(asked);
        }
        if let Some(name) = &self.metadata {
            output.complain(
                " `metadata` flag is deprecated and may be removed in a future release.",
            )?;
            let level = levels::release(name)?.level();
            asked.insert(MetadataVersion::FEATURE.to_owned(), level);
        }
        for text in &self.feature {
            let (feature, level) = levels::pair(text)?;
            ask(&mut asked, &feature, level)?;
        }
        Ok(asked)
    }
}

fn ask(asked: &mut BTreeMap<String, i16>, feature: &str, level: i16) -> anyhow::Result<()> {
    if asked.insert(feature.to_owned(), level).is_some() {
        bail!("Feature {feature} was specified more than once.");
    }
    Ok(())
}

/// What is to be done, and how it is told.
#[derive(Debug, Clone, Copy)]
struct Change {
    verb: &'static str,
    way: FeatureChange,
    is_dry: bool,
}

impl Change {
    async fn run(
        self,
        args: &Args,
        asked: BTreeMap<String, i16>,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        ensure!(
            !asked.is_empty(),
            "You must specify at least one feature to {}",
            self.verb
        );
        let cluster = args.admin.cluster(CLIENT_ID).await?;
        let results = cluster
            .update_features(&asked, self.way, self.is_dry)
            .await?;
        let mut n_failed = 0;
        for (feature, result) in &results {
            let level = asked
                .get(feature)
                .copied()
                .context("an answer for another feature")?;
            let why = result.as_ref().err().map(words);
            n_failed += usize::from(why.is_some());
            let json = json!({
                "feature": feature,
                "level": level,
                "isDone": why.is_none() && !self.is_dry,
                "error": why,
            });
            output.say(self.told(feature, level, why.as_deref()), &json)?;
        }
        ensure!(
            n_failed == 0,
            "{n_failed} out of {} operation(s) failed.",
            asked.len()
        );
        Ok(())
    }

    fn told(self, feature: &str, level: i16, why: Option<&str>) -> String {
        let verb = self.verb;
        let is_off = verb == "disable";
        let Some(why) = why else {
            let now = if self.is_dry { "can be" } else { "was" };
            return if is_off {
                format!("{feature} {now} disabled.")
            } else {
                format!("{feature} {now} {verb}d to {level}.")
            };
        };
        let not = if self.is_dry { "Can not" } else { "Could not" };
        if is_off {
            format!("{not} disable {feature}. {why}")
        } else {
            format!("{not} {verb} {feature} to {level}. {why}")
        }
    }
}

fn words(error: &ClientError) -> String {
    match error {
        ClientError::Refused { refused, .. } => kafkas::words(refused).to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_as_kafka_tells_them() {
        let change = |verb, is_dry| Change {
            verb,
            way: FeatureChange::Upgrade,
            is_dry,
        };
        let told = |verb, is_dry, why| change(verb, is_dry).told("group.version", 1, why);
        assert_eq!(
            told("upgrade", true, None),
            "group.version can be upgraded to 1."
        );
        assert_eq!(
            told("downgrade", false, None),
            "group.version was downgraded to 1."
        );
        assert_eq!(told("disable", false, None), "group.version was disabled.");
        assert_eq!(
            told("upgrade", false, Some("No.")),
            "Could not upgrade group.version to 1. No."
        );
        assert_eq!(
            told("disable", true, Some("No.")),
            "Can not disable group.version. No."
        );
    }

    #[test]
    fn levels_of_metadata_have_names() {
        assert_eq!(shown("metadata.version", 7), "3.3-IV3");
        assert_eq!(shown("metadata.version", 99), "UNKNOWN 99");
        assert_eq!(shown("group.version", 1), "1");
    }
}
