//! ListTransactions (key 66, versions 0-2): the transactional ids that this broker coordinates.
//! v1 filter by duration (KIP-994) · v2 filter by a pattern (KIP-1152).

use std::collections::HashSet;

use ottla_node::{Services, TransactionFilter, Transactions};
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_protocol::{Refusal, Text};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let listed = list(services, &request).await;
    let response = listed.unwrap_or_else(|refusal| ListTransactionsResponse {
        error_code: refusal.code(),
        ..Default::default()
    });
    count_errors(services, call, [response.error_code].into_iter());
    response
}

async fn list(
    services: &Services,
    request: &ListTransactionsRequest,
) -> Result<ListTransactionsResponse, Refusal> {
    let filter = TransactionFilter::new(request)?;
    let unknown_state_filters = once_each(filter.unknown_states());
    let look = move |it: &Transactions, now| it.ledger().list(&filter, now);
    let found = services.transactions().look_everywhere(look).await?;
    Ok(ListTransactionsResponse {
        unknown_state_filters,
        transaction_states: found.into_iter().flatten().collect(),
        ..Default::default()
    })
}

fn once_each(states: &[Text]) -> Vec<Text> {
    let mut seen = HashSet::new();
    let new = states.iter().filter(|state| seen.insert(*state));
    new.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_told_once() {
        let states = ["Full", "Odd", "Full"].map(Text::from_static);
        assert_eq!(once_each(&states), ["Full", "Odd"]);
    }
}
