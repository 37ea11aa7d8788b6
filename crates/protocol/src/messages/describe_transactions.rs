//! DescribeTransactions (key 65, version 0): what a coordinator knows of transactional ids (KIP-664).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 65, versions = "0", flexible = "0+", response = DescribeTransactionsResponse)]
pub struct DescribeTransactionsRequest {
    pub transactional_ids: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 65, versions = "0", flexible = "0+")]
pub struct DescribeTransactionsResponse {
    pub throttle_time_ms: i32,
    pub transaction_states: Vec<DescribeTransactionsTransactionState>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTransactionsTransactionState {
    pub error_code: i16,
    pub transactional_id: Text,
    pub transaction_state: Text,
    pub transaction_timeout_ms: i32,
    pub transaction_start_time_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub topics: Vec<DescribeTransactionsTopicData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTransactionsTopicData {
    pub topic: Text,
    pub partitions: Vec<i32>,
}
