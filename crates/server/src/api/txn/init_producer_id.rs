//! InitProducerId (key 22, versions 0-5): a producer gets its id and epoch.
//! v2 flexible · v3 a producer that has an id hands it in · v4 PRODUCER_FENCED · v5
//! TRANSACTION_ABORTABLE.
//! A producer that is only idempotent gets a fresh id each time, also when it hands one in, as in
//! Kafka.

use ottla_node::Services;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::{NONE, ProducerEpoch, ProducerId, Refusal};

use crate::api::count_errors;
use crate::session::Call;

const NO_ID: ProducerId = -1;
const NO_EPOCH: ProducerEpoch = -1;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let response = match (check(&request), &request.transactional_id) {
        (Ok(()), None) => next(services).await,
        (Ok(()), Some(_)) => {
            let transactions = services.transactions();
            transactions.init(services, request, call.version).await
        }
        (Err(refusal), _) => Err(refusal),
    };
    let response = response.unwrap_or_else(|refusal| InitProducerIdResponse {
        error_code: refusal.code(),
        producer_id: NO_ID,
        producer_epoch: NO_EPOCH,
        ..Default::default()
    });
    count_errors(services, call, [response.error_code].into_iter());
    response
}

fn check(request: &InitProducerIdRequest) -> Result<(), Refusal> {
    let has_id = request.producer_id != NO_ID;
    let has_epoch = request.producer_epoch != NO_EPOCH;
    if has_id != has_epoch {
        return Err(Refusal::InvalidRequest);
    }
    request
        .transactional_id
        .as_ref()
        .map_or(Ok(()), super::check_id)
}

async fn next(services: &Services) -> Result<InitProducerIdResponse, Refusal> {
    let id = services.producer_ids().next(services).await;
    let producer_id = id.map_err(|refused| {
        tracing::warn!(%refused, "no producer id can be given out");
        // The one error here that every client takes for "ask again".
        Refusal::CoordinatorLoadInProgress
    })?;
    Ok(InitProducerIdResponse {
        error_code: NONE,
        producer_id,
        producer_epoch: 0,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;

    use super::*;

    #[test]
    fn id_and_epoch_come_together_and_an_empty_transactional_id_is_none() {
        let check = |transactional_id: Option<&'static str>, producer_id, producer_epoch| {
            check(&InitProducerIdRequest {
                transactional_id: transactional_id.map(Text::from_static),
                producer_id,
                producer_epoch,
                ..Default::default()
            })
        };
        assert_eq!(check(None, -1, -1), Ok(()));
        assert_eq!(check(None, 5, 0), Ok(()));
        assert_eq!(check(None, 5, -1), Err(Refusal::InvalidRequest));
        assert_eq!(check(None, -1, 0), Err(Refusal::InvalidRequest));
        assert_eq!(check(Some(""), -1, -1), Err(Refusal::InvalidRequest));
        assert_eq!(check(Some("t"), -1, -1), Ok(()));
    }
}
