//! DescribeTransactions and ListTransactions.

use ottla_protocol::messages::{
    DescribeTransactionsTransactionState, ListTransactionsRequest, ListTransactionsTransactionState,
};
use ottla_protocol::{Refusal, Text};

use super::TxnLedger;
use crate::ledger::{Now, Read};

/// What a ListTransactions asks for, ready to be held against every id.
#[derive(Debug, Clone)]
pub struct TransactionFilter {
    unknown_states: Vec<Text>,
}

impl TransactionFilter {
    /// Reads the request.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION` if the pattern is not one, or is too large.
    pub fn new(request: &ListTransactionsRequest) -> Result<Self, Refusal> {
        let _ = request;
        todo!()
    }

    /// States in the request that Kafka does not know; for the response.
    pub fn unknown_states(&self) -> &[Text] {
        &self.unknown_states
    }
}

impl TxnLedger {
    /// DescribeTransactions, one of its ids. A prepared transaction shows the partitions that still
    /// lack their marker. Which topics the client may see is the caller's to filter.
    pub fn describe(&self, transactional_id: &str) -> Read<DescribeTransactionsTransactionState> {
        let _ = transactional_id;
        todo!()
    }

    /// ListTransactions, this partition's part. Which ids the client may see is the caller's to
    /// filter.
    pub fn list(
        &self,
        filter: &TransactionFilter,
        now: Now,
    ) -> Read<Vec<ListTransactionsTransactionState>> {
        let _ = (filter, now);
        todo!()
    }
}
