//! Quotas of users, clients and addresses.

use std::iter::zip;

use anyhow::{bail, ensure};
use ottla_client::Cluster;
use ottla_client::admin::{QuotaEntity, QuotaMatch};
use serde_json::{Map, Value, json};

use super::changes::Changes;
use super::entity::{Entities, Kind};
use crate::kafkas;
use crate::output::Output;

/// As quotas name them, as Kafka's tool shows them, in its order.
const TYPES: [(Kind, &str, &str); 3] = [
    (Kind::Users, "user", "user-principal"),
    (Kind::Clients, "client-id", "client-id"),
    (Kind::Ips, "ip", "ip"),
];

pub(super) async fn alter(
    cluster: &Cluster,
    entities: &Entities,
    changes: &Changes,
) -> anyhow::Result<()> {
    let ops = changes.of_quotas()?;
    let held = cluster.describe_quotas(&filter(entities)?).await?;
    let held = held.into_iter().next().map(|(_, values)| values);
    let held = held.unwrap_or_default();
    let is_held = |name: &&String| held.iter().any(|(key, _)| key == *name);
    let unknown: Vec<_> = changes
        .delete
        .iter()
        .filter(|it| !is_held(it))
        .cloned()
        .collect();
    ensure!(
        unknown.is_empty(),
        "Invalid config(s): {}",
        unknown.join(",")
    );
    let named = zip(&entities.kinds, &entities.names).map(|(kind, name)| {
        let name = Some(name.clone()).filter(|name| !name.is_empty());
        Ok((quota_type(*kind)?.to_owned(), name))
    });
    let entity: QuotaEntity = named.collect::<anyhow::Result<_>>()?;
    Ok(cluster.alter_quotas(&entity, &ops).await?)
}

pub(super) async fn describe(
    cluster: &Cluster,
    entities: &Entities,
    output: &mut Output,
) -> anyhow::Result<()> {
    for (entity, values) in cluster.describe_quotas(&filter(entities)?).await? {
        let quotas = values
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)));
        let json = json!({
            "entity": entity,
            "quotas": Value::Object(quotas.collect::<Map<_, _>>()),
        });
        output.say(line(&entity, &values), &json)?;
    }
    Ok(())
}

fn quota_type(kind: Kind) -> anyhow::Result<&'static str> {
    match TYPES.iter().find(|(known, ..)| *known == kind) {
        Some((_, name, _)) => Ok(name),
        None => bail!("Unexpected entity type {}", kind.name()),
    }
}

/// A type without a name means all of them.
fn filter(entities: &Entities) -> anyhow::Result<Vec<(String, QuotaMatch)>> {
    ensure!(
        entities.names.len() <= entities.kinds.len(),
        "More entity names specified than entity types"
    );
    let names = entities
        .names
        .iter()
        .map(Some)
        .chain(std::iter::repeat(None));
    let components = zip(&entities.kinds, names).map(|(kind, name)| {
        let wanted = match name.map(String::as_str) {
            Some("") => QuotaMatch::Default,
            Some(name) => QuotaMatch::Exactly(name.to_owned()),
            None => QuotaMatch::Any,
        };
        Ok((quota_type(*kind)?.to_owned(), wanted))
    });
    components.collect()
}

fn line(entity: &QuotaEntity, values: &[(String, f64)]) -> String {
    let whom = TYPES.iter().filter_map(|(_, name, shown)| {
        Some(match entity.get(*name)? {
            Some(name) => format!("{shown} '{name}'"),
            None => format!("the default {shown}"),
        })
    });
    let whom = whom.collect::<Vec<_>>().join(", ");
    let values = kafkas::hash_order_of(values.iter().collect(), |(key, _)| key);
    let values = values
        .iter()
        .map(|(key, value)| format!("{key}={}", double(*value)));
    let values = values.collect::<Vec<_>>().join(", ");
    format!("Quota configs for {whom} are {values}")
}

/// As Java writes a double: plainly from a thousandth up to ten million, else with an exponent.
fn double(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}").to_ascii_uppercase();
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_laid_out_as_kafkas() {
        let entity = QuotaEntity::from([
            ("client-id".to_owned(), None),
            ("user".to_owned(), Some("alice".to_owned())),
        ]);
        let values = [
            ("consumer_byte_rate".to_owned(), 2_097_152.0),
            ("request_percentage".to_owned(), 150.0),
            ("producer_byte_rate".to_owned(), 1_048_576.0),
        ];
        assert_eq!(
            line(&entity, &values),
            "Quota configs for user-principal 'alice', the default client-id are \
             consumer_byte_rate=2097152.0, request_percentage=150.0, producer_byte_rate=1048576.0"
        );
    }

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        for (value, text) in [
            (50.0, "50.0"),
            (0.5, "0.5"),
            (10_485_760.0, "1.048576E7"),
            (1e7, "1.0E7"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
        ] {
            assert_eq!(double(value), text);
        }
    }
}
