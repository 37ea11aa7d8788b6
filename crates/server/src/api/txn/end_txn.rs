//! EndTxn (key 26, versions 0-5): commit or abort a transaction.
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE · v5 the answer names the id and the
//! epoch of the next transaction (KIP-890).

use ottla_node::Services;
use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::check_id;
use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let ended = match check_id(&request.transactional_id) {
        Ok(()) => {
            let transactions = services.transactions();
            transactions.end(services, request, call.version).await
        }
        Err(refusal) => Err(refusal),
    };
    let response = ended.unwrap_or_else(|refusal| EndTxnResponse {
        error_code: refusal.code(),
        ..Default::default()
    });
    count_errors(services, call, [response.error_code].into_iter());
    response
}
