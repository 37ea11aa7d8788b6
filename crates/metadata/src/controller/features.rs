//! Raise and lower the levels of features, in Kafka's steps and words (KIP-584, 778, 1022).

use std::collections::BTreeMap;

use ottla_protocol::{Refusal, Refused};

use super::{Controller, Decision, Outcome};
use crate::image::{ELR_VERSION, KRAFT_VERSION, Resource, ResourceKind, SUPPORTED};
use crate::records::{ConfigRecord, FeatureLevelRecord, MetadataVersion, NoOpRecord, Record};

const MIN_IN_SYNC: &str = "min.insync.replicas";
/// The first level of metadata.version whose records have room for eligible leaders.
const ELR_NEEDS: i16 = 23;

/// What a change of a level may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    Unknown,
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpgradeType {
    pub const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// One feature of an UpdateFeatures request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub name: String,
    pub level: i16,
    pub upgrade: UpgradeType,
}

impl Controller {
    /// All of it or nothing: the first refusal is the answer. `kraft_version` is what the quorum's
    /// is now.
    pub fn update_features(
        &self,
        updates: &[FeatureUpdate],
        validate_only: bool,
        kraft_version: i16,
    ) -> Decision<Outcome<()>> {
        // What is named twice counts as it was named last.
        let updates: BTreeMap<&str, &FeatureUpdate> = updates
            .iter()
            .map(|update| (update.name.as_str(), update))
            .collect();
        let level_after = |name: &str| {
            let update = updates.get(name);
            update.map_or(self.image().features.level(name), |update| update.level)
        };
        let mut records = Vec::new();
        for update in updates.values() {
            match self.plan_level(update, kraft_version, &level_after) {
                Ok(record) => records.extend(record),
                Err(refused) => return Decision::reply(Err(refused)),
            }
        }
        if validate_only {
            records.clear();
        } else if updates.contains_key(ELR_VERSION) && level_after(ELR_VERSION) > 0 {
            let mut before = self.records_before_elr();
            before.append(&mut records);
            records = before;
        }
        let mut decision = self.decide(records, Ok(()));
        if let (Some(update), Some(batch)) =
            (updates.get(KRAFT_VERSION), decision.batches.first_mut())
        {
            batch.kraft_version = Some(update.level).filter(|level| *level > kraft_version);
        }
        decision
    }

    fn plan_level(
        &self,
        update: &FeatureUpdate,
        kraft_version: i16,
        level_after: &dyn Fn(&str) -> i16,
    ) -> Result<Option<Record>, Refused> {
        let FeatureUpdate {
            name,
            level,
            upgrade,
        } = update;
        let refuse = |why: String| Err(invalid(name, *level, &why));
        if *upgrade == UpgradeType::Unknown {
            return refuse("The controller does not support the given upgrade type.".to_owned());
        }
        let now = match name.as_str() {
            KRAFT_VERSION => kraft_version,
            name => self.image().features.level(name),
        };
        if *level < 0 {
            return refuse("A feature version cannot be less than 0.".to_owned());
        }
        if let Some(why) = self.why_not_supported(name, *level) {
            return refuse(why);
        }
        if *level < now && *upgrade == UpgradeType::Upgrade {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade."
                    .to_owned(),
            );
        }
        if *level > now && *upgrade != UpgradeType::Upgrade {
            return refuse("Can't downgrade to a newer version.".to_owned());
        }
        match name.as_str() {
            MetadataVersion::FEATURE => self.check_metadata_version(*level, *upgrade)?,
            KRAFT_VERSION if *level == now => return Ok(None),
            KRAFT_VERSION if *level < now => {
                return refuse("Can't downgrade the version of this feature.".to_owned());
            }
            // The quorum writes it; the answer waits for a record that says nothing.
            KRAFT_VERSION => return Ok(Some(NoOpRecord {}.into())),
            ELR_VERSION if *level > 0 && level_after(MetadataVersion::FEATURE) < ELR_NEEDS => {
                return refuse(format!(
                    "{name} could not be set to {level} because it depends on {} level {ELR_NEEDS}",
                    MetadataVersion::FEATURE
                ));
            }
            _ if !SUPPORTED.iter().any(|known| known.name == name) => {
                return refuse(format!("Feature {name} not found."));
            }
            _ => {}
        }
        let record = FeatureLevelRecord {
            name: name.as_str().into(),
            feature_level: *level,
        };
        Ok(Some(record.into()))
    }

    /// This controller, every broker, and the other controllers must know a level.
    fn why_not_supported(&self, name: &str, level: i16) -> Option<String> {
        let known = SUPPORTED.iter().find(|known| known.name == name);
        let own = match name {
            KRAFT_VERSION => (0, 1),
            _ => known.map_or((0, 0), |known| (known.min, known.max)),
        };
        let node = self.settings().node_id;
        if let Some(why) = outside(level, own, &format!("Local controller {node}")) {
            return Some(why);
        }
        let nodes = &self.image().nodes;
        let brokers = nodes.brokers.values().find_map(|broker| {
            let range = range_of(&broker.features, name);
            outside(level, range, &format!("Broker {}", broker.id))
        });
        brokers.or_else(|| {
            if !self.level().has_controller_registration() {
                return None;
            }
            let others = nodes.controllers.iter().filter(|(id, _)| **id != node);
            others.into_iter().find_map(|(id, controller)| {
                let range = range_of(&controller.features, name);
                outside(level, range, &format!("Controller {id}"))
            })
        })
    }

    fn check_metadata_version(&self, level: i16, upgrade: UpgradeType) -> Result<(), Refused> {
        let now = self.level();
        let Some(wanted) = MetadataVersion::from_level(level) else {
            let (min, max) = (MetadataVersion::MIN, MetadataVersion::MAX);
            return Err(Refused::new(
                Refusal::InvalidUpdateVersion,
                format!(
                    "Invalid metadata.version {level}. Valid versions are from {} to {}.",
                    min.level(),
                    max.level()
                ),
            ));
        };
        if !wanted.loses_records_of(now) {
            return Ok(());
        }
        let why = match upgrade {
            UpgradeType::UnsafeDowngrade => {
                "Unsafe metadata downgrade is not supported in this version."
            }
            _ => {
                "Refusing to perform the requested downgrade because it might delete metadata \
                 information."
            }
        };
        Err(Refused::new(
            Refusal::InvalidUpdateVersion,
            format!(
                "Unsupported metadata.version downgrade from {} to {level}. {why}",
                now.level()
            ),
        ))
    }

    /// With eligible leaders there is one `min.insync.replicas` for the cluster, and none for
    /// single brokers.
    fn records_before_elr(&self) -> Vec<Record> {
        let configs = &self.image().configs;
        let set = |resource: &Resource, value: Option<String>| -> Record {
            ConfigRecord {
                resource_type: resource.kind.code(),
                resource_name: (*resource.name).into(),
                name: MIN_IN_SYNC.into(),
                value: value.map(Into::into),
            }
            .into()
        };
        let mut records = Vec::new();
        if configs.value(&Resource::cluster(), MIN_IN_SYNC).is_none() {
            let value = self.settings().min_in_sync.to_string();
            records.push(set(&Resource::cluster(), Some(value)));
        }
        let resources = configs.resources();
        let brokers = resources
            .filter(|resource| resource.kind == ResourceKind::Broker && !resource.name.is_empty());
        for broker in brokers {
            if configs.value(broker, MIN_IN_SYNC).is_some() {
                records.push(set(broker, None));
            }
        }
        records
    }
}

fn invalid(name: &str, level: i16, why: &str) -> Refused {
    Refused::new(
        Refusal::InvalidUpdateVersion,
        format!("Invalid update version {level} for feature {name}. {why}"),
    )
}

fn range_of(features: &[crate::image::FeatureRange], name: &str) -> (i16, i16) {
    let range = features.iter().find(|range| &*range.name == name);
    range.map_or((0, 0), |range| (range.min, range.max))
}

fn outside(level: i16, (min, max): (i16, i16), who: &str) -> Option<String> {
    if (min..=max).contains(&level) {
        return None;
    }
    Some(match max {
        0 => format!("{who} does not support this feature."),
        _ if min == max => format!("{who} only supports versions {min}"),
        _ => format!("{who} only supports versions {min}-{max}"),
    })
}
