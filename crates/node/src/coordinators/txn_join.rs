//! Before a transaction's first write to a partition, its coordinator is asked whether the
//! partition belongs to it (old clients), or told that it does from now on (KIP-890).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::{
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Text};
use ottla_storage::producer::{Guard, Verified};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::appends::{SLOW, Turns};
use crate::partitions::Partition;
use crate::services::Services;

/// In which version brokers ask each other.
const BETWEEN_BROKERS: i16 = 5;

/// What the version of a client's request says about its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinAs {
    /// The client has added the partition itself, and does not know TRANSACTION_ABORTABLE.
    Verify,
    /// The client has added the partition itself.
    VerifyAbortable,
    /// The write adds the partition; the producer's epoch rises with each transaction.
    Add,
}

impl JoinAs {
    /// By Produce.
    pub fn produce(version: i16) -> Self {
        match version {
            ..=10 => Self::Verify,
            11 => Self::VerifyAbortable,
            _ => Self::Add,
        }
    }

    /// By TxnOffsetCommit.
    pub fn txn_offset_commit(version: i16) -> Self {
        match version {
            ..=3 => Self::Verify,
            4 => Self::VerifyAbortable,
            _ => Self::Add,
        }
    }
}

/// One write into a transaction.
#[derive(Clone)]
pub struct Joining {
    pub partition: Arc<Partition>,
    pub base_sequence: i32,
}

/// What a write may show, or why it may not happen.
pub type Joined = Result<Verified, Refusal>;

/// The error code of each partition, or why there is none.
type Codes = Result<Vec<(Text, i32, i16)>, Refusal>;

/// Hears when the producer's last transaction has ended, if that is what a write must wait for.
type LastEnded = Option<oneshot::Receiver<()>>;

/// Whose transaction it is.
#[derive(Debug, Clone)]
pub struct JoiningProducer {
    pub transactional_id: Text,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub joins: JoinAs,
}

/// Writes whose questions are open.
pub struct Questions {
    transaction: JoiningProducer,
    writes: Vec<(Joining, Result<Option<Guard>, Refusal>)>,
}

impl Services {
    /// Begins to ask for each of these writes. IMPORTANT: if it may not wait, the caller has turns at
    /// all of their partitions ([`Partition::enter`]), and this is done in one poll.
    pub async fn begin_joining(
        &self,
        transaction: JoiningProducer,
        writes: Vec<Joining>,
        may_wait: bool,
    ) -> Questions {
        let verifies = self
            .configured
            .load()
            .settings
            .transactions
            .verification_enable;
        let is_asked = transaction.joins == JoinAs::Add || verifies;
        let mut begun = Vec::with_capacity(writes.len());
        for joining in writes {
            let guard = match (is_asked, may_wait) {
                (false, _) => Ok(None),
                (true, false) => begin(&transaction, &joining),
                (true, true) => begin_anywhere(&transaction, &joining).await,
            };
            begun.push((joining, guard));
        }
        Questions {
            transaction,
            writes: begun,
        }
    }

    /// Asks the coordinator what is open. For a write that adds its partition, the end of the last
    /// transaction is waited for, a moment at most: the client's own retry would cost more. That end
    /// is mostly told; the pauses of the settings are for when it is not.
    pub async fn join(&self, questions: Questions) -> Vec<Joined> {
        let settings = self.configured();
        let settings = &settings.settings.transactions;
        let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let pause = ms(settings.join_retry_backoff_ms);
        let until = Instant::now() + ms(settings.join_retry_backoff_ms_max);
        let mut questions = questions;
        loop {
            let (joined, ended) = self.ask(&questions).await;
            let waits_for_last = questions.transaction.joins == JoinAs::Add
                && joined.contains(&Err(Refusal::ConcurrentTransactions));
            if !waits_for_last || Instant::now() >= until {
                return joined;
            }
            let next_look = until.min(Instant::now() + pause);
            let told = match ended {
                Some(ended) => timeout_at(next_look, ended)
                    .await
                    .is_ok_and(|it| it.is_ok()),
                None => false,
            };
            if !told {
                // Perhaps nobody is left who would tell.
                sleep_until(next_look).await;
            }
            for (joining, guard) in &mut questions.writes {
                *guard = begin_anywhere(&questions.transaction, joining).await;
            }
        }
    }

    /// As [`Self::join`], with one attempt.
    pub async fn ask_once(&self, questions: &Questions) -> Vec<Joined> {
        self.ask(questions).await.0
    }

    async fn ask(&self, questions: &Questions) -> (Vec<Joined>, LastEnded) {
        let (codes, ended) = match questions.asked() {
            topics if topics.is_empty() => (Ok(Vec::new()), None),
            topics => self.ask_coordinator(&questions.transaction, topics).await,
        };
        if let Err(refusal) = &codes {
            tracing::debug!(
                transactional_id = &*questions.transaction.transactional_id,
                refusal = refusal.name(),
                "the transaction's coordinator cannot be asked"
            );
        }
        let codes = codes.as_ref().map(|codes| by_partition(codes));
        let answer = |joining: &Joining| -> Result<(), Refusal> {
            let id = joining.partition.id();
            let codes = codes.as_ref().map_err(|refusal| **refusal)?;
            let found = codes.get(&(&*id.topic, id.partition));
            let code = found.map_or(Refusal::UnknownServerError.code(), |code| *code);
            Refusal::from_code(code).map_or(Ok(()), Err)
        };
        let joins = questions.transaction.joins;
        let is_checked = self
            .configured
            .load()
            .settings
            .transactions
            .verification_enable;
        let shown = |guard| match is_checked {
            true => Verified::Under(guard),
            false => Verified::NotAsked,
        };
        let writes = questions.writes.iter();
        let joined: Vec<Joined> = writes
            .map(|(joining, guard)| match guard {
                Err(refusal) => Err(*refusal),
                Ok(None) => Ok(shown(None)),
                Ok(Some(guard)) => answer(joining)
                    .map(|()| shown(Some(*guard)))
                    .map_err(|refusal| told(refusal, joins)),
            })
            .collect();
        let n_failed = joined.iter().filter(|joined| joined.is_err()).count();
        self.metrics.failed_verifications.add(n_failed as u64);
        (joined, ended)
    }

    async fn ask_coordinator(
        &self,
        transaction: &JoiningProducer,
        topics: Vec<AddPartitionsToTxnTopic>,
    ) -> (Codes, LastEnded) {
        let key = &transaction.transactional_id;
        if self.transactions.partition_of(key).is_none() {
            return (Err(Refusal::CoordinatorNotAvailable), None);
        }
        let asked = AddPartitionsToTxnTransaction {
            transactional_id: key.clone(),
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
            verify_only: transaction.joins != JoinAs::Add,
            topics,
        };
        let started = std::time::Instant::now();
        let (result, ended) = self.transactions.join(asked, BETWEEN_BROKERS).await;
        self.metrics.verifications.observe(started.elapsed());
        (result.map(codes), Some(ended))
    }
}

fn codes(result: AddPartitionsToTxnResult) -> Vec<(Text, i32, i16)> {
    let topics = result.topic_results.into_iter();
    let codes = topics.flat_map(|topic| {
        let name = topic.name;
        let partitions = topic.results_by_partition.into_iter();
        partitions.map(move |partition| {
            let code = partition.partition_error_code;
            (name.clone(), partition.partition_index, code)
        })
    });
    codes.collect()
}

/// To be looked up for each write: a request may have very many.
fn by_partition(codes: &[(Text, i32, i16)]) -> HashMap<(&str, i32), i16> {
    let codes = codes.iter();
    codes
        .map(|(topic, partition, code)| ((&**topic, *partition), *code))
        .collect()
}

impl Questions {
    /// Whether the coordinator must be asked at all.
    pub fn are_open(&self) -> bool {
        self.writes
            .iter()
            .any(|(_, guard)| matches!(guard, Ok(Some(_))))
    }

    /// The partitions to ask about, by topic.
    fn asked(&self) -> Vec<AddPartitionsToTxnTopic> {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (joining, guard) in &self.writes {
            if let Ok(Some(_)) = guard {
                let id = joining.partition.id();
                by_topic.entry(&id.topic).or_default().push(id.partition);
            }
        }
        let topics = by_topic.into_iter();
        topics
            .map(|(name, partitions)| AddPartitionsToTxnTopic {
                name: Text::from(name),
                partitions,
            })
            .collect()
    }
}

fn begin(transaction: &JoiningProducer, joining: &Joining) -> Result<Option<Guard>, Refusal> {
    let begun = joining.partition.begin_verification(
        transaction.producer_id,
        transaction.producer_epoch,
        joining.base_sequence,
        transaction.joins == JoinAs::Add,
    );
    begun.map_err(|refused| refused.refusal)
}

/// As [`begin`], on the thread of the log directory if its disk is slow. That can be seen in the log first:
/// an append of a coordinator's is done where it may wait, and hangs unnoticed.
async fn begin_anywhere(
    transaction: &JoiningProducer,
    joining: &Joining,
) -> Result<Option<Guard>, Refusal> {
    let is_free = joining.partition.is_free_within(SLOW);
    if is_free && joining.partition.enter(&mut Turns::default()) {
        return begin(transaction, joining);
    }
    let appends = joining.partition.appends();
    let (transaction, joining) = (transaction.clone(), joining.clone());
    let begun = appends.run(move || begin(&transaction, &joining)).await;
    begun.unwrap_or(Err(Refusal::UnknownServerError))
}

/// A coordinator's refusal in words that a producer of this version expects.
fn told(refusal: Refusal, joins: JoinAs) -> Refusal {
    match refusal {
        Refusal::ProducerFenced => Refusal::InvalidProducerEpoch,
        Refusal::TransactionAbortable if joins == JoinAs::Verify => Refusal::InvalidTxnState,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_what_a_client_knows() {
        let produce = [3, 10, 11, 12, 13].map(JoinAs::produce);
        use JoinAs::*;
        assert_eq!(produce, [Verify, Verify, VerifyAbortable, Add, Add]);
        let commit = [0, 3, 4, 5].map(JoinAs::txn_offset_commit);
        assert_eq!(commit, [Verify, Verify, VerifyAbortable, Add]);
    }

    #[test]
    fn the_code_of_a_partition_is_its_own() {
        let of = |topic: &'static str, partition, code| (Text::from(topic), partition, code);
        let codes = [of("a", 0, 1), of("a", 1, 2), of("b", 0, 3)];
        let found = by_partition(&codes);
        assert_eq!(found.len(), 3);
        for (topic, partition, code) in &codes {
            assert_eq!(found.get(&(&**topic, *partition)), Some(code));
        }
    }

    #[test]
    fn old_clients_are_told_what_they_know() {
        let abortable = Refusal::TransactionAbortable;
        assert_eq!(told(abortable, JoinAs::Verify), Refusal::InvalidTxnState);
        assert_eq!(told(abortable, JoinAs::VerifyAbortable), abortable);
        assert_eq!(told(abortable, JoinAs::Add), abortable);
        assert_eq!(
            told(Refusal::ProducerFenced, JoinAs::Add),
            Refusal::InvalidProducerEpoch
        );
    }
}
