//! Which levels belong to which release of Kafka, and what a level needs of others. Nobody has to be
//! asked for that.

use anyhow::{Context, bail};
use ottla_metadata::records::MetadataVersion;
use serde_json::json;

use crate::output::Output;

/// A level of a feature: the metadata.version that brings it, and the one that it needs.
struct Level {
    level: i16,
    since: i16,
    needs: Option<i16>,
}

const fn since(level: i16, since: i16) -> Level {
    Level {
        level,
        since,
        needs: None,
    }
}

/// The features beside metadata.version, in Kafka's order.
const FEATURES: [(&str, &[Level]); 6] = [
    ("kraft.version", &[since(0, 7), since(1, 21)]),
    (
        "transaction.version",
        &[since(0, 7), since(1, 24), since(2, 24)],
    ),
    ("group.version", &[since(0, 7), since(1, 22)]),
    (
        "eligible.leader.replicas.version",
        &[
            since(0, 7),
            Level {
                level: 1,
                since: 26,
                needs: Some(23),
            },
        ],
    ),
    ("share.version", &[since(0, 7), since(1, 28)]),
    ("streams.version", &[since(0, 7), since(1, 29)]),
];

/// A metadata.version by its name, or that of a release.
pub(in crate::commands) fn release(text: &str) -> anyhow::Result<MetadataVersion> {
    let is_number = text.parse::<i16>().is_ok();
    let version = MetadataVersion::from_name(text).filter(|_| !is_number);
    version.with_context(|| {
        format!(
            "Unknown metadata.version '{text}'. Supported metadata.version are: {} to {}",
            MetadataVersion::MIN,
            MetadataVersion::MAX
        )
    })
}

/// The levels of the other features that a new cluster of this release has.
pub(in crate::commands) fn of_release(
    version: MetadataVersion,
) -> impl Iterator<Item = (&'static str, i16)> {
    FEATURES.into_iter().map(move |(feature, levels)| {
        let known = levels.iter().filter(|level| level.since <= version.level());
        (
            feature,
            known.map(|level| level.level).max().unwrap_or_default(),
        )
    })
}

/// `feature=level`
pub(in crate::commands) fn pair(text: &str) -> anyhow::Result<(String, i16)> {
    let Some((feature, level)) = text.split_once('=') else {
        bail!("Can't parse feature=level string {text}: equals sign not found.");
    };
    let level = level.trim();
    let number = level.parse().ok().with_context(|| {
        format!("Can't parse feature=level string {text}: unable to parse {level} as a short.")
    })?;
    Ok((feature.trim().to_owned(), number))
}

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Mapping {
    /// The release; without it the newest
    #[arg(long, short, value_name = "VERSION")]
    release_version: Option<String>,
}

impl Mapping {
    pub(in crate::commands) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        let newest = MetadataVersion::MAX.name();
        let asked = self.release_version.as_deref().unwrap_or(newest);
        let version = release(asked)?;
        let level = version.level();
        let feature = MetadataVersion::FEATURE;
        let json = json!({ "feature": feature, "level": level, "name": version.name() });
        output.say(format_args!("{feature}={level} ({asked})"), &json)?;
        for (feature, level) in of_release(version) {
            let json = json!({ "feature": feature, "level": level });
            output.say(format_args!("{feature}={level}"), &json)?;
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Dependencies {
    /// A feature and its level, as metadata.version=5; may be given several times
    #[arg(long, short, value_name = "FEATURE=LEVEL", required = true)]
    feature: Vec<String>,
}

impl Dependencies {
    pub(in crate::commands) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        for text in &self.feature {
            let (feature, level) = pair(text)?;
            let (name, needs) = dependency(&feature, level)?;
            let json = json!({
                "feature": feature,
                "level": level,
                "requires": needs.map(|needs| json!({ MetadataVersion::FEATURE: needs.level() })),
            });
            let sentence = match needs {
                None => format!("{feature}={level}{name} has no dependencies."),
                Some(needs) => format!(
                    "{feature}={level} requires:\n    {}={} ({})",
                    MetadataVersion::FEATURE,
                    needs.level(),
                    needs.name()
                ),
            };
            output.say(sentence, &json)?;
        }
        Ok(())
    }
}

/// How a level is called, and the metadata.version that it needs.
fn dependency(feature: &str, level: i16) -> anyhow::Result<(String, Option<MetadataVersion>)> {
    if feature == MetadataVersion::FEATURE {
        let version = MetadataVersion::from_level(level);
        let version = version.with_context(|| format!("Unknown metadata.version {level}"))?;
        return Ok((format!(" ({})", version.name()), None));
    }
    let known = FEATURES.iter().find(|(name, _)| *name == feature);
    let (_, levels) = known.with_context(|| format!("Unknown feature: {feature}"))?;
    let found = levels.iter().find(|known| known.level == level);
    let found = found
        .with_context(|| format!("Feature level {level} is not supported for feature {feature}"))?;
    let needs = found.needs.and_then(MetadataVersion::from_level);
    Ok((String::new(), needs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_levels() {
        let levels = |text| {
            let levels: Vec<_> = of_release(release(text).unwrap())
                .map(|(_, it)| it)
                .collect();
            levels
        };
        assert_eq!(levels("4.3"), [1, 2, 1, 1, 1, 1]);
        assert_eq!(levels("4.0-IV3"), [1, 2, 1, 0, 0, 0]);
        assert_eq!(levels("3.3-IV3"), [0, 0, 0, 0, 0, 0]);
        for bad in ["2.8", "5.0", "30", ""] {
            assert!(release(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_node_and_the_tool_know_the_same_features() {
        for supported in ottla_metadata::image::SUPPORTED {
            if supported.name == MetadataVersion::FEATURE {
                continue;
            }
            let known = FEATURES.iter().find(|(name, _)| *name == supported.name);
            let newest = known.and_then(|(_, levels)| levels.last());
            assert_eq!(newest.map(|level| level.level), Some(supported.max));
        }
    }

    #[test]
    fn one_level_needs_another_feature() {
        let needs = dependency("eligible.leader.replicas.version", 1).unwrap().1;
        assert_eq!(needs.map(MetadataVersion::name), Some("4.0-IV1"));
        assert_eq!(dependency("metadata.version", 30).unwrap().0, " (4.3-IV0)");
        assert!(dependency("group.version", 1).unwrap().1.is_none());
        for (feature, level) in [("x", 1), ("group.version", 7), ("metadata.version", 99)] {
            assert!(dependency(feature, level).is_err(), "{feature}");
        }
        assert_eq!(pair(" a = 1").unwrap(), ("a".to_owned(), 1));
        assert!(pair("a").is_err() && pair("a=b").is_err());
    }
}
