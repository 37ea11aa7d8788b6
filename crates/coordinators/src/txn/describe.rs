//! DescribeTransactions (key 65) and ListTransactions (key 66): what tools are shown.
//! ListTransactions v1 filters by duration (KIP-994) · v2 by a pattern of ids (KIP-1152).

use std::collections::BTreeSet;

use ottla_protocol::messages::{
    DescribeTransactionsTopicData, DescribeTransactionsTransactionState, ListTransactionsRequest,
    ListTransactionsTransactionState,
};
use ottla_protocol::{NONE, ProducerId, Refusal, Text};
use regex_lite::Regex;

use super::TxnLedger;
use super::states::TransactionState;
use super::transaction::Transaction;
use crate::ledger::{Now, Read};
use crate::pattern::whole_name;

/// What a ListTransactions asks for, ready to be held against every id.
#[derive(Debug, Clone)]
pub struct TransactionFilter {
    unknown_states: Vec<Text>,
    /// `None` lets all states pass.
    states: Option<BTreeSet<TransactionState>>,
    /// Empty lets all producer ids pass.
    producer_ids: BTreeSet<ProducerId>,
    /// Negative lets all durations pass.
    longer_than_ms: i64,
    pattern: Option<Regex>,
}

impl TransactionFilter {
    /// Reads the request.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION` if the pattern is not one, or is too large.
    pub fn new(request: &ListTransactionsRequest) -> Result<Self, Refusal> {
        let (mut states, mut unknown_states) = (BTreeSet::new(), Vec::new());
        for name in &request.state_filters {
            match TransactionState::from_name(name) {
                Some(state) => {
                    states.insert(state);
                }
                None => unknown_states.push(name.clone()),
            }
        }
        let pattern = request.transactional_id_pattern.as_deref();
        let pattern = pattern.filter(|pattern| !pattern.is_empty());
        Ok(Self {
            unknown_states,
            states: (!request.state_filters.is_empty()).then_some(states),
            producer_ids: request.producer_id_filters.iter().copied().collect(),
            longer_than_ms: request.duration_filter,
            pattern: pattern.map(whole_id).transpose()?,
        })
    }

    /// States in the request that Kafka does not know; for the response.
    pub fn unknown_states(&self) -> &[Text] {
        &self.unknown_states
    }

    fn lets_pass(&self, id: &str, transaction: &Transaction, now: Now) -> bool {
        let open_for_ms = now.wall_ms.saturating_sub(transaction.start_ms);
        (self.producer_ids.is_empty() || self.producer_ids.contains(&transaction.producer_id))
            && self
                .states
                .as_ref()
                .is_none_or(|states| states.contains(&transaction.state))
            && (self.longer_than_ms < 0 || open_for_ms > self.longer_than_ms)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(id))
    }
}

/// A pattern that must match an id from its first to its last character.
fn whole_id(pattern: &str) -> Result<Regex, Refusal> {
    whole_name(pattern).map_err(|_| Refusal::InvalidRegularExpression)
}

impl TxnLedger {
    /// DescribeTransactions, one of its ids. A prepared transaction shows the partitions that still
    /// lack their marker. Which topics the client may see is the caller's to filter.
    pub fn describe(&self, transactional_id: &str) -> Read<DescribeTransactionsTransactionState> {
        let described = if transactional_id.is_empty() {
            Err(Refusal::InvalidRequest)
        } else {
            let known = self.saved.get(transactional_id);
            known.ok_or(Refusal::TransactionalIdNotFound)
        };
        let reply = match described {
            Ok(transaction) => self.shown(transactional_id, transaction),
            Err(refusal) => DescribeTransactionsTransactionState {
                error_code: refusal.code(),
                transactional_id: transactional_id.into(),
                ..DescribeTransactionsTransactionState::default()
            },
        };
        Read {
            reply,
            when: self.seen(transactional_id),
        }
    }

    fn shown(&self, id: &str, transaction: &Transaction) -> DescribeTransactionsTransactionState {
        let partitions = match self.owed.get(id) {
            Some(owed) => &owed.left,
            None => &transaction.partitions,
        };
        let topics = partitions.topics();
        let topics = topics.map(|(topic, indexes)| DescribeTransactionsTopicData {
            topic: (&**topic).into(),
            partitions: indexes.iter().copied().collect(),
        });
        DescribeTransactionsTransactionState {
            error_code: NONE,
            transactional_id: id.into(),
            transaction_state: transaction.state.name().into(),
            transaction_timeout_ms: transaction.timeout_ms,
            transaction_start_time_ms: transaction.start_ms,
            producer_id: transaction.producer_id,
            producer_epoch: transaction.epoch,
            topics: topics.collect(),
        }
    }

    /// ListTransactions, this partition's part. Which ids the client may see is the caller's to
    /// filter.
    pub fn list(
        &self,
        filter: &TransactionFilter,
        now: Now,
    ) -> Read<Vec<ListTransactionsTransactionState>> {
        let all = self.saved.iter();
        let listed = all
            .filter(|(id, transaction)| filter.lets_pass(id, transaction, now))
            .map(|(id, transaction)| ListTransactionsTransactionState {
                transactional_id: (&**id).into(),
                producer_id: transaction.producer_id,
                transaction_state: transaction.state.name().into(),
            });
        Read {
            reply: listed.collect(),
            when: self.uncommitted.when_all(),
        }
    }
}
