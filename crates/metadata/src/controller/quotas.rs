//! Alter client quotas, in Kafka's steps and words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{Refusal, Refused};

use super::topics::too_many_records;
use super::{Controller, Decision, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::image::Entity;
use crate::quotas::{CLIENT_ID, CONNECTION_RATE, IP, QuotaKind, USER};
use crate::records::{ClientQuotaRecord, QuotaEntity, Record};

/// One entity of an AlterClientQuotas request.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaAlteration {
    /// Each kind once, in their order.
    pub entity: Entity,
    /// Limits by name; `None` takes one away.
    pub limits: Vec<(String, Option<f64>)>,
}

impl Controller {
    /// Per entity, each once, in the order of the request. `is_host` says whether an address can be
    /// found. As in Kafka, what an entity was given before it was named again is in force.
    pub fn alter_client_quotas(
        &self,
        alterations: &[QuotaAlteration],
        validate_only: bool,
        is_host: &dyn Fn(&str) -> bool,
    ) -> Decision<Vec<(Entity, Outcome<()>)>> {
        let mut records = Vec::new();
        let mut outcomes: Vec<(Entity, Outcome<()>)> = Vec::new();
        let mut places: BTreeMap<&Entity, usize> = BTreeMap::new();
        for QuotaAlteration { entity, limits } in alterations {
            let twice = duplicate(limits);
            if let Some(outcome) = places.get(entity).and_then(|at| outcomes.get_mut(*at)) {
                outcome.1 = Err(ignored(entity));
                continue;
            }
            places.insert(entity, outcomes.len());
            let outcome = match twice {
                true => Err(ignored(entity)),
                false => self.plan_quotas(entity, limits, is_host),
            };
            outcomes.push((
                entity.clone(),
                outcome.map(|planned| records.extend(planned)),
            ));
        }
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            for (_, outcome) in &mut outcomes {
                *outcome = Err(too_many_records());
            }
        }
        if validate_only {
            records.clear();
        }
        self.decide(records, outcomes)
    }

    fn plan_quotas(
        &self,
        entity: &Entity,
        limits: &[(String, Option<f64>)],
        is_host: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Record>, Refused> {
        check_entity(entity)?;
        check_combination(entity, is_host)?;
        let now = self.image().quotas.by_entity.get(entity);
        let mut records = Vec::new();
        for (key, value) in limits {
            let current = now.and_then(|limits| limits.get(key.as_str()).copied());
            if let Some(value) = value {
                check_limit(entity, key, *value)?;
            }
            if current != *value {
                records.push(quota_record(entity, key, *value));
            }
        }
        Ok(records)
    }
}

fn duplicate(limits: &[(String, Option<f64>)]) -> bool {
    let mut seen = BTreeSet::new();
    !limits.iter().all(|(key, _)| seen.insert(key))
}

fn ignored(entity: &Entity) -> Refused {
    invalid(format!("Ignoring duplicate entity {}", shown(entity)))
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused::new(Refusal::InvalidRequest, why)
}

/// As Kafka prints an entity.
fn shown(entity: &Entity) -> String {
    let part = |(kind, name): &(Arc<str>, Option<Arc<str>>)| {
        format!("{kind}={}", name.as_deref().unwrap_or("null"))
    };
    let parts: Vec<String> = entity.iter().map(part).collect();
    format!("ClientQuotaEntity(entries={{{}}})", parts.join(", "))
}

fn has(entity: &Entity, kind: &str) -> bool {
    entity.iter().any(|(one, _)| &**one == kind)
}

fn check_entity(entity: &Entity) -> Result<(), Refused> {
    if entity.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&&**kind) {
            return Err(invalid(format!(
                "Unhandled client quota entity type: {kind}"
            )));
        }
        if name.as_deref() == Some("") {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    Ok(())
}

fn check_combination(entity: &Entity, is_host: &dyn Fn(&str) -> bool) -> Result<(), Refused> {
    let Some((_, address)) = entity.iter().find(|(kind, _)| &**kind == IP) else {
        return Ok(());
    };
    if has(entity, USER) || has(entity, CLIENT_ID) {
        return Err(invalid(
            "Invalid quota entity combination, IP entity should not be combined with User or \
             ClientId",
        ));
    }
    match address {
        Some(host) if !is_host(host) => Err(invalid(format!(
            "{host} is not a valid IP or resolvable host."
        ))),
        _ => Ok(()),
    }
}

fn check_limit(entity: &Entity, key: &str, value: f64) -> Result<(), Refused> {
    let of_client = QuotaKind::ALL.into_iter().find(|kind| kind.key() == key);
    let (is_whole, most, kind) = match (has(entity, IP), of_client) {
        (true, _) if key == CONNECTION_RATE => (true, f64::from(i32::MAX), "an INT"),
        (false, Some(kind)) => (kind.is_whole(), i64::MAX as f64, "a LONG"),
        _ => return Err(invalid(format!("Invalid configuration key {key}"))),
    };
    if value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    if is_whole && value > most {
        return Err(invalid(format!(
            "Proposed value for {key} is too large for {kind}."
        )));
    }
    /// What is left of a whole number that was reckoned with.
    const NEARLY_WHOLE: f64 = 1e-6;
    if is_whole && (value % 1.0).abs() > NEARLY_WHOLE {
        return Err(invalid(format!("{key} cannot be a fractional value.")));
    }
    Ok(())
}

fn quota_record(entity: &Entity, key: &str, value: Option<f64>) -> Record {
    let part = |(kind, name): &(Arc<str>, Option<Arc<str>>)| QuotaEntity {
        entity_type: (**kind).into(),
        entity_name: name.as_deref().map(Into::into),
    };
    ClientQuotaRecord {
        entity: entity.iter().map(part).collect(),
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Settings;
    use crate::image::Image;

    fn controller() -> Controller {
        Controller::new(Settings::of_one_node(), Image::default())
    }

    fn entity(parts: &[(&str, Option<&str>)]) -> Entity {
        let part = |(kind, name): &(&str, Option<&str>)| (Arc::from(*kind), name.map(Arc::from));
        let mut entity: Entity = parts.iter().map(part).collect();
        entity.sort();
        entity
    }

    fn alter(
        controller: &Controller,
        parts: &[(&str, Option<&str>)],
        limits: &[(&str, Option<f64>)],
    ) -> (usize, Result<(), String>) {
        let alteration = QuotaAlteration {
            entity: entity(parts),
            limits: limits
                .iter()
                .map(|(key, value)| ((*key).to_owned(), *value))
                .collect(),
        };
        let is_host = |host: &str| host == "localhost";
        let Decision { batches, reply } =
            controller.alter_client_quotas(&[alteration], false, &is_host);
        let outcome = reply[0].1.clone();
        let n_records = batches.iter().map(|batch| batch.records.len()).sum();
        (
            n_records,
            outcome.map_err(|refused| refused.words().to_owned()),
        )
    }

    #[test]
    fn limits_are_set_changed_and_taken_away() {
        let mut controller = controller();
        let user = [(USER, Some("u"))];
        let rate = |value| [("producer_byte_rate", value)];
        assert_eq!(alter(&controller, &user, &rate(None)), (0, Ok(())));
        let one = QuotaAlteration {
            entity: entity(&user),
            limits: vec![("producer_byte_rate".to_owned(), Some(10.0))],
        };
        let decision = controller.alter_client_quotas(&[one], false, &|_| true);
        controller
            .replay(&decision.batches[0].records[0], 0)
            .unwrap();
        assert_eq!(alter(&controller, &user, &rate(Some(10.0))), (0, Ok(())));
        assert_eq!(alter(&controller, &user, &rate(Some(11.0))), (1, Ok(())));
        assert_eq!(alter(&controller, &user, &rate(None)), (1, Ok(())));
    }

    #[test]
    fn bad_entities_and_limits_are_refused_in_kafkas_words() {
        type Parts = &'static [(&'static str, Option<&'static str>)];
        let cases: [(Parts, &str, f64, &str); 12] = [
            (
                &[],
                "producer_byte_rate",
                1.0,
                "Invalid empty client quota entity",
            ),
            (
                &[("group", None)],
                "producer_byte_rate",
                1.0,
                "Unhandled client quota entity type: group",
            ),
            (
                &[(USER, Some(""))],
                "producer_byte_rate",
                1.0,
                "Empty user not supported",
            ),
            (
                &[(IP, None), (USER, None)],
                CONNECTION_RATE,
                1.0,
                "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
            ),
            (
                &[(IP, Some("nowhere"))],
                CONNECTION_RATE,
                1.0,
                "nowhere is not a valid IP or resolvable host.",
            ),
            (
                &[(IP, None)],
                "producer_byte_rate",
                1.0,
                "Invalid configuration key producer_byte_rate",
            ),
            (
                &[(USER, None)],
                CONNECTION_RATE,
                1.0,
                "Invalid configuration key connection_creation_rate",
            ),
            (
                &[(USER, None)],
                "producer_byte_rate",
                0.0,
                "Quota producer_byte_rate must be greater than 0",
            ),
            (
                &[(USER, None)],
                "producer_byte_rate",
                0.5,
                "producer_byte_rate cannot be a fractional value.",
            ),
            (
                &[(USER, None)],
                "consumer_byte_rate",
                1e19,
                "Proposed value for consumer_byte_rate is too large for a LONG.",
            ),
            (
                &[(IP, None)],
                CONNECTION_RATE,
                3e9,
                "Proposed value for connection_creation_rate is too large for an INT.",
            ),
            (
                &[(USER, None)],
                "request_percentage",
                -1.0,
                "Quota request_percentage must be greater than 0",
            ),
        ];
        let controller = controller();
        for (parts, key, value, why) in cases {
            let told = alter(&controller, parts, &[(key, Some(value))]);
            assert_eq!(told, (0, Err(why.to_owned())), "{parts:?} {key} {value}");
        }
        let half = alter(
            &controller,
            &[(USER, None)],
            &[("request_percentage", Some(0.5))],
        );
        assert_eq!(half, (1, Ok(())));
        let host = alter(
            &controller,
            &[(IP, Some("localhost"))],
            &[(CONNECTION_RATE, Some(5.0))],
        );
        assert_eq!(host, (1, Ok(())));
    }

    #[test]
    fn what_is_named_twice_is_refused_and_said_once() {
        let controller = controller();
        let key = || "producer_byte_rate".to_owned();
        let one = |limits| QuotaAlteration {
            entity: entity(&[(CLIENT_ID, Some("c"))]),
            limits,
        };
        let twice = [one(vec![(key(), Some(1.0))]), one(vec![(key(), Some(2.0))])];
        let decision = controller.alter_client_quotas(&twice, false, &|_| true);
        let words = decision.reply[0].1.clone().unwrap_err();
        assert_eq!(
            words.words(),
            "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=c})"
        );
        assert_eq!((decision.reply.len(), decision.batches.len()), (1, 1));
        let keys = [one(vec![(key(), Some(1.0)), (key(), None)])];
        let decision = controller.alter_client_quotas(&keys, false, &|_| true);
        assert!(decision.reply[0].1.is_err() && decision.batches.is_empty());
    }

    #[test]
    fn a_request_that_only_asks_changes_nothing() {
        let one = QuotaAlteration {
            entity: entity(&[(USER, None)]),
            limits: vec![("producer_byte_rate".to_owned(), Some(1.0))],
        };
        let decision = controller().alter_client_quotas(&[one], true, &|_| true);
        assert_eq!(decision.reply[0].1, Ok(()));
        assert!(decision.batches.is_empty());
    }
}
