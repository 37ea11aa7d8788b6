//! UnregisterBroker (key 64, version 0): forget a broker that will not come back. As in Kafka, nobody
//! asks whether it is alive: one that is serves nothing until it is started again.

use ottla_node::Services;
use ottla_protocol::Refused;
use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::api::{code, count_errors, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let id = request.broker_id;
    let unregistered = services
        .controller()
        .decide(move |ledger, _| ledger.unregister_broker(id))
        .await;
    let outcome = unregistered.unwrap_or_else(|refusal| Err(refusal.into()));
    if outcome.is_ok() && id == services.node_id() {
        tracing::warn!("this broker was unregistered: it serves nothing until it is started again");
    }
    count_errors(services, call, [code(&outcome)].into_iter());
    respond(&outcome)
}

fn respond(outcome: &Result<(), Refused>) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse {
        error_code: code(outcome),
        error_message: Some(words(outcome).unwrap_or_default()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Refusal;

    use super::*;

    #[test]
    fn a_broker_that_nobody_knows_is_told_by_its_number() {
        let refused = Refused::new(Refusal::BrokerIdNotRegistered, "Broker ID 7 is not");
        let answer = respond(&Err(refused));
        assert_eq!(answer.error_code, 102);
        assert_eq!(answer.error_message.as_deref(), Some("Broker ID 7 is not"));
        assert_eq!(respond(&Ok(())).error_message.as_deref(), Some(""));
    }
}
