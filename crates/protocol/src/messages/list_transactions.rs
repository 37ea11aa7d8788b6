//! ListTransactions (key 66, versions 0-2): the transactional ids that this broker coordinates.
//!
//! - v1: filter by how long a transaction has been open (KIP-994).
//! - v2: filter by a pattern of ids; INVALID_REGULAR_EXPRESSION may be answered (KIP-1152).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 66, versions = "0-2", flexible = "0+", response = ListTransactionsResponse)]
pub struct ListTransactionsRequest {
    pub state_filters: Vec<Text>,
    pub producer_id_filters: Vec<i64>,
    #[field(versions = "1+", default = -1)]
    pub duration_filter: i64,
    #[field(versions = "2+", nullable = "2+", default = None)]
    pub transactional_id_pattern: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 66, versions = "0-2", flexible = "0+")]
pub struct ListTransactionsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub unknown_state_filters: Vec<Text>,
    pub transaction_states: Vec<ListTransactionsTransactionState>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListTransactionsTransactionState {
    pub transactional_id: Text,
    pub producer_id: i64,
    pub transaction_state: Text,
}
