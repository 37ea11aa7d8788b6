//! An append that failed, in the words of a coordinator.

use ottla_protocol::Refusal;

/// What a failed append looks like to clients, who only know a coordinator's words.
pub(crate) fn append_refusal(cause: Refusal) -> Refusal {
    use Refusal::*;
    match cause {
        UnknownTopicOrPartition
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend
        | RequestTimedOut => CoordinatorNotAvailable,
        NotLeaderOrFollower | KafkaStorageError | FencedLeaderEpoch => NotCoordinator,
        MessageTooLarge | RecordListTooLarge | InvalidFetchSize => UnknownServerError,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_errors_become_coordinator_errors() {
        assert_eq!(
            append_refusal(Refusal::KafkaStorageError),
            Refusal::NotCoordinator
        );
        assert_eq!(
            append_refusal(Refusal::NotEnoughReplicas),
            Refusal::CoordinatorNotAvailable
        );
        assert_eq!(
            append_refusal(Refusal::MessageTooLarge),
            Refusal::UnknownServerError
        );
        assert_eq!(
            append_refusal(Refusal::InvalidRecord),
            Refusal::InvalidRecord
        );
    }
}
