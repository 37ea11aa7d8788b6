//! AlterClientQuotas (key 49, versions 0-1): set and take away quotas (KIP-546).
//! v1 flexible.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::sync::Arc;

use ottla_metadata::controller::{Outcome, QuotaAlteration};
use ottla_metadata::image::Entity;
use ottla_metadata::quotas::IP;
use ottla_node::Services;
use ottla_protocol::messages::{
    AlterClientQuotasEntityData, AlterClientQuotasRequest, AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse, AlterClientQuotasResponseEntryData,
};

use crate::api::{code, count_errors};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let alterations: Vec<QuotaAlteration> = request.entries.into_iter().map(alteration).collect();
    let hosts = known_hosts(&alterations).await;
    let entities: Vec<Entity> = alterations.iter().map(|one| one.entity.clone()).collect();
    let altered = services.controller().decide(move |ledger, _| {
        let is_host = |host: &str| hosts.contains(host);
        ledger.alter_client_quotas(&alterations, request.validate_only, &is_host)
    });
    let entries: Vec<AlterClientQuotasResponseEntryData> = match altered.await {
        Ok(altered) => altered.into_iter().map(result).collect(),
        Err(refusal) => entities
            .into_iter()
            .map(|entity| result((entity, Err(refusal.into()))))
            .collect(),
    };
    count_errors(services, call, entries.iter().map(|one| one.error_code));
    AlterClientQuotasResponse {
        entries,
        ..Default::default()
    }
}

/// A kind that is named twice counts as it was named last.
fn alteration(entry: AlterClientQuotasRequestEntryData) -> QuotaAlteration {
    let parts = entry.entity.iter();
    let parts: BTreeMap<Arc<str>, Option<Arc<str>>> = parts
        .map(|part| {
            let name = part.entity_name.as_deref().map(Arc::from);
            (Arc::from(&*part.entity_type), name)
        })
        .collect();
    let limits = entry.ops.iter();
    QuotaAlteration {
        entity: parts.into_iter().collect(),
        limits: limits
            .map(|op| (op.key.to_string(), (!op.remove).then_some(op.value)))
            .collect(),
    }
}

/// The hosts that can be found. Asking may take long, so it is not done where others wait.
async fn known_hosts(alterations: &[QuotaAlteration]) -> BTreeSet<String> {
    let parts = alterations.iter().flat_map(|one| &one.entity);
    let hosts: BTreeSet<String> = parts
        .filter(|(kind, _)| &**kind == IP)
        .filter_map(|(_, name)| name.as_deref().map(str::to_owned))
        .collect();
    if hosts.is_empty() {
        return hosts;
    }
    let is_found = |host: &String| (host.as_str(), 0).to_socket_addrs().is_ok();
    let found = move || hosts.into_iter().filter(is_found).collect();
    tokio::task::spawn_blocking(found).await.unwrap_or_default()
}

fn result((entity, outcome): (Entity, Outcome<()>)) -> AlterClientQuotasResponseEntryData {
    let parts = entity.iter();
    AlterClientQuotasResponseEntryData {
        error_code: code(&outcome),
        error_message: outcome.err().map(|refused| refused.words().into()),
        entity: parts
            .map(|(kind, name)| AlterClientQuotasEntityData {
                entity_type: (**kind).into(),
                entity_name: name.as_deref().map(Into::into),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::AlterClientQuotasOpData;

    use super::*;

    #[test]
    fn an_entity_is_a_set_of_kinds() {
        let part = |kind: &'static str, name: &'static str| AlterClientQuotasEntityData {
            entity_type: kind.into(),
            entity_name: Some(name.into()),
        };
        let entry = AlterClientQuotasRequestEntryData {
            entity: vec![part("user", "a"), part("client-id", "c"), part("user", "b")],
            ops: vec![AlterClientQuotasOpData {
                key: "request_percentage".into(),
                value: 3.0,
                remove: true,
            }],
        };
        let QuotaAlteration { entity, limits } = alteration(entry);
        let named: Vec<&str> = entity
            .iter()
            .filter_map(|(_, name)| name.as_deref())
            .collect();
        assert_eq!(named, ["c", "b"]);
        assert_eq!(limits, [("request_percentage".to_owned(), None)]);
    }

    #[tokio::test]
    async fn hosts_are_looked_up() {
        let of = |host: &str| QuotaAlteration {
            entity: vec![(Arc::from(IP), Some(Arc::from(host)))],
            limits: Vec::new(),
        };
        let hosts = known_hosts(&[of("10.0.0.1"), of("::1"), of("no..host")]).await;
        assert_eq!(hosts.len(), 2, "{hosts:?}");
    }
}
