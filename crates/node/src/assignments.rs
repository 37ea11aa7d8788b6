//! Tells the controller in which log directory a replica of this node lies (KIP-858): where a log was
//! made, and where one that moves is about to lie.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::{Refusal, Uuid};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::services::Services;

/// Most that are told at once, as in Kafka.
const TOGETHER_MAX: usize = 2250;
/// Between two tries while no controller is active.
const PAUSE: Duration = Duration::from_millis(500);

/// What is done once it is committed.
pub(crate) type Accepted = Box<dyn FnOnce() + Send>;

/// A replica, by topic and index.
type Replica = (Uuid, i32);

struct Word {
    directory: Uuid,
    accepted: Option<Accepted>,
}

/// What is to be told.
#[derive(Default)]
pub(crate) struct Assignments {
    waiting: Mutex<HashMap<Replica, Word>>,
    wake: Notify,
}

impl Assignments {
    /// The last word about a replica counts.
    pub(crate) fn tell(
        &self,
        topic: Uuid,
        index: i32,
        directory: Uuid,
        accepted: Option<Accepted>,
    ) {
        let word = Word {
            directory,
            accepted,
        };
        self.waiting.lock().insert((topic, index), word);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<(Replica, Word)> {
        let mut waiting = self.waiting.lock();
        let some: Vec<Replica> = waiting.keys().take(TOGETHER_MAX).copied().collect();
        let words = some
            .into_iter()
            .filter_map(|replica| Some((replica, waiting.remove(&replica)?)));
        words.collect()
    }

    /// To be told again, unless there is a newer word.
    fn put_back(&self, words: Vec<(Replica, Word)>) {
        let mut waiting = self.waiting.lock();
        for (replica, word) in words {
            waiting.entry(replica).or_insert(word);
        }
    }
}

/// Runs until the node stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: watch::Receiver<bool>) {
    let assignments = services.assignments.clone();
    loop {
        let words = assignments.take();
        if words.is_empty() {
            tokio::select! {
                () = assignments.wake.notified() => continue,
                _ = stopping.changed() => return,
            }
        }
        let told: Vec<(Uuid, i32, Uuid)> = words
            .iter()
            .map(|((topic, index), word)| (*topic, *index, word.directory))
            .collect();
        let (node, epoch) = (services.node_id(), services.broker_epoch());
        let decided = services
            .controller
            .decide(move |ledger, _| ledger.assign_directories(node, epoch, &told))
            .await;
        let outcomes = match decided {
            Ok(Ok(outcomes)) => outcomes,
            // A cluster of before there were directories need not know.
            Ok(Err(refused)) if refused.refusal == Refusal::UnsupportedVersion => {
                words.iter().map(|_| Ok(())).collect()
            }
            Ok(Err(_)) | Err(_) => {
                assignments.put_back(words);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    _ = stopping.changed() => return,
                }
            }
        };
        for (((_, index), word), outcome) in words.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    if let Some(accepted) = word.accepted {
                        accepted();
                    }
                }
                // Its topic is gone, and so is whoever waits.
                Err(refused) => {
                    tracing::debug!(index, ?refused, "a log directory is not taken note of");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_one_that_could_not_be_said_waits() {
        let assignments = Assignments::default();
        let id = Uuid::from_u128;
        assignments.tell(id(1), 0, id(10), None);
        assignments.tell(id(1), 0, id(11), None);
        assignments.tell(id(1), 1, id(10), None);
        let words = assignments.take();
        assert_eq!(words.len(), 2);
        assert!(assignments.take().is_empty());
        assignments.tell(id(1), 1, id(12), None);
        assignments.put_back(words);
        let mut again: Vec<(Replica, Uuid)> = assignments
            .take()
            .into_iter()
            .map(|(replica, word)| (replica, word.directory))
            .collect();
        again.sort();
        assert_eq!(again, [((id(1), 0), id(11)), ((id(1), 1), id(12))]);
    }
}
