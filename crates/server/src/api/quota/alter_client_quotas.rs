//! AlterClientQuotas (key 49, versions 0-1): set and take away quotas (KIP-546).
//! v1 flexible.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use ottla_metadata::controller::{Outcome, QuotaAlteration};
use ottla_metadata::image::Entity;
use ottla_metadata::quotas::IP;
use ottla_node::Services;
use ottla_protocol::messages::{
    AlterClientQuotasEntityData, AlterClientQuotasRequest, AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse, AlterClientQuotasResponseEntryData,
};
use ottla_protocol::{Refusal, Refused};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::api::{code, count_errors, within};
use crate::session::Call;

/// Hosts that one request may name otherwise than by their addresses.
const HOSTS_MAX: usize = 100;

/// Who may look up a host now.
static LOOKUPS: Semaphore = Semaphore::const_new(2);

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let alterations: Vec<QuotaAlteration> = request.entries.into_iter().map(alteration).collect();
    let entities: Vec<Entity> = alterations.iter().map(|one| one.entity.clone()).collect();
    let altered = match hosts(&alterations) {
        Ok(hosts) => {
            let altered = async {
                let hosts = known(hosts, &LOOKUPS, is_found).await;
                let altered = services.controller().decide(move |ledger, _| {
                    let is_host = |host: &str| is_address(host) || hosts.contains(host);
                    ledger.alter_client_quotas(&alterations, request.validate_only, &is_host)
                });
                altered.await
            };
            let timeout_ms = services.settings().transactions.request_timeout_ms;
            within(timeout_ms, altered).await.map_err(Refused::from)
        }
        Err(refused) => Err(refused),
    };
    let entries: Vec<AlterClientQuotasResponseEntryData> = match altered {
        Ok(altered) => altered.into_iter().map(result).collect(),
        Err(refused) => entities
            .into_iter()
            .map(|entity| result((entity, Err(refused.clone()))))
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

/// The names of hosts that somebody must be asked about.
fn hosts(alterations: &[QuotaAlteration]) -> Result<BTreeSet<String>, Refused> {
    let parts = alterations.iter().flat_map(|one| &one.entity);
    let named = parts.filter(|(kind, _)| &**kind == IP);
    let hosts: BTreeSet<String> = named
        .filter_map(|(_, name)| name.as_deref())
        .filter(|name| !name.is_empty() && !is_address(name))
        .map(str::to_owned)
        .collect();
    if hosts.len() > HOSTS_MAX {
        return Err(Refused::new(
            Refusal::PolicyViolation,
            format!("More than {HOSTS_MAX} hosts by name in one request: name their addresses."),
        ));
    }
    Ok(hosts)
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn is_found(host: &str) -> bool {
    (host, 0).to_socket_addrs().is_ok()
}

/// The hosts that can be found, asked for one after the other. Asking may take long, so it is done
/// where nobody waits, and by few at a time: others need the threads, too.
async fn known(
    hosts: BTreeSet<String>,
    lookups: &'static Semaphore,
    is_found: impl Fn(&str) -> bool + Copy + Send + 'static,
) -> BTreeSet<String> {
    // IMPORTANT: on a task of its own. Who asks may not look for long, since its client does not read,
    // and would keep a turn that it was given from everybody else.
    let mut asked = JoinSet::new();
    asked.spawn(async move {
        let mut known = BTreeSet::new();
        for host in hosts {
            let Ok(turn) = lookups.acquire().await else {
                break;
            };
            let look = move || {
                let _turn = turn;
                is_found(&host).then_some(host)
            };
            known.extend(spawn_blocking(look).await.ok().flatten());
        }
        known
    });
    let known = asked.join_next().await;
    known.and_then(Result::ok).unwrap_or_default()
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

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

    fn of(host: &str) -> QuotaAlteration {
        QuotaAlteration {
            entity: vec![(Arc::from(IP), Some(Arc::from(host)))],
            limits: Vec::new(),
        }
    }

    #[tokio::test]
    async fn hosts_are_looked_up_and_addresses_are_not() {
        let named = ["10.0.0.1", "::1", "localhost", "no..host"].map(of);
        let hosts = hosts(&named).unwrap();
        assert_eq!(hosts.len(), 2, "{hosts:?}");
        let known = known(hosts, &LOOKUPS, is_found).await;
        assert_eq!(known, BTreeSet::from(["localhost".to_owned()]));
    }

    #[test]
    fn very_many_hosts_are_looked_up_by_nobody() {
        let named: Vec<QuotaAlteration> = (0..=HOSTS_MAX).map(|n| of(&format!("h{n}"))).collect();
        assert!(hosts(&named[1..]).is_ok());
        assert_eq!(hosts(&named).unwrap_err().refusal, Refusal::PolicyViolation);
        let addresses: Vec<QuotaAlteration> = (0..=HOSTS_MAX)
            .map(|n| of(&format!("10.0.0.{n}")))
            .collect();
        assert!(hosts(&addresses).unwrap().is_empty());
    }

    #[tokio::test]
    async fn few_lookups_run_at_a_time() {
        static TURNS: Semaphore = Semaphore::const_new(2);
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let slow = |_: &str| {
            let n_running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(n_running, Ordering::SeqCst);
            let (_silent, answers) = channel::<()>();
            let _ = answers.recv_timeout(Duration::from_millis(2));
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            true
        };
        let hosts: BTreeSet<String> = (0..5).map(|n| format!("h{n}")).collect();
        let mut requests = JoinSet::new();
        for _ in 0..8 {
            requests.spawn(known(hosts.clone(), &TURNS, slow));
        }
        for known in requests.join_all().await {
            assert_eq!(known, hosts);
        }
        let most = MOST.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most}");
    }

    #[tokio::test]
    async fn who_does_not_look_keeps_nobody_from_a_turn() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let held = TURNS.acquire().await;
        let hosts = BTreeSet::from(["h".to_owned()]);
        let mut first = Box::pin(known(hosts.clone(), &TURNS, |_| true));
        let looked = tokio::time::timeout(Duration::ZERO, &mut first).await;
        assert!(looked.is_err());
        drop(held);
        assert_eq!(known(hosts.clone(), &TURNS, |_| true).await, hosts);
        assert_eq!(first.await, hosts);
    }
}
