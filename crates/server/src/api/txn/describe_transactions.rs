//! DescribeTransactions (key 65, version 0): what this coordinator knows of transactional ids
//! (KIP-664).

use ottla_node::{Services, Transactions};
use ottla_protocol::Text;
use ottla_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribeTransactionsTransactionState,
};

use super::check_id;
use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for transactional_id in request.transactional_ids {
        response
            .transaction_states
            .push(describe(services, transactional_id).await);
    }
    let states = response.transaction_states.iter();
    count_errors(services, call, states.map(|state| state.error_code));
    response
}

async fn describe(
    services: &Services,
    transactional_id: Text,
) -> DescribeTransactionsTransactionState {
    let found = match check_id(&transactional_id) {
        Ok(()) => {
            let id = transactional_id.clone();
            let look = move |it: &Transactions| it.ledger().describe(&id);
            services.transactions().look(&transactional_id, look).await
        }
        Err(refusal) => Err(refusal),
    };
    found.unwrap_or_else(|refusal| DescribeTransactionsTransactionState {
        error_code: refusal.code(),
        transactional_id,
        ..Default::default()
    })
}
