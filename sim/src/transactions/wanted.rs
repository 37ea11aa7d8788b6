//! What must have happened in a long run. Whatever can be answered to a well-behaved client is here,
//! and every step that a record of a transaction can take.

use ottla_coordinators::txn::TransactionState;

const HAPPENED: &[&str] = &[
    "operations",
    "starts",
    "checks",
    "calms",
    "long silences",
    "reads",
    "aborted batches skipped",
    "rolls",
    "plain records",
    "producers forgotten",
    "duplicates found",
    "compactions of transactions",
    "compactions of offsets",
    "compactions of records",
    "records deleted",
    "segments deleted",
    "transaction.version set to 0",
    "transaction.version set to 1",
    "transaction.version set to 2",
    "transactions of the new protocol",
    "transactions of the old protocol",
    "transactions committed",
    "transactions aborted by their producers",
    "transactions timed out",
    "ended by version 0",
    "ended by version 2",
    "producer ids taken",
    "demands for markers",
    "markers that commit",
    "markers that abort",
    "markers that end nothing",
    "markers refused to former coordinators",
    "news of a marker, and no coordinator",
    "coordinator of transactions loaded",
    "coordinator of groups loaded",
    "client: gave a transaction up",
    "client: asked again, unheard",
    "client: goes on to the new protocol",
    // What befell them.
    "fault: request lost",
    "fault: request doubled",
    "fault: request late",
    "fault: answer lost",
    "fault: answer doubled",
    "fault: answer late",
    "fault: question lost",
    "fault: question late",
    "fault: marker lost",
    "fault: marker doubled",
    "fault: marker late",
    "fault: news held up until the next end",
    "fault: dropped with its connection",
    "fault: process has a zombie",
    "fault: process killed",
    "fault: process killed in a transaction",
    "fault: process sleeps",
    "fault: commits stall",
    "fault: commit took too long",
    "fault: no producer id at hand",
    "fault: decision about transactions not written",
    "fault: decision about groups not written",
    "restart: broker, killed",
    "restart: broker, power cut",
    "restart: coordinator of transactions",
    "restart: coordinator of groups",
    "restart: leader",
    "restart: in order",
    "restart: at once",
    // What clients hear.
    "answer InitProducerId ok",
    "answer InitProducerId CONCURRENT_TRANSACTIONS",
    "answer InitProducerId PRODUCER_FENCED",
    "answer InitProducerId INVALID_PRODUCER_EPOCH",
    "answer InitProducerId INVALID_TRANSACTION_TIMEOUT",
    "answer InitProducerId COORDINATOR_LOAD_IN_PROGRESS",
    "answer InitProducerId NOT_COORDINATOR",
    "answer AddPartitionsToTxn ok",
    "answer AddPartitionsToTxn CONCURRENT_TRANSACTIONS",
    "answer AddPartitionsToTxn PRODUCER_FENCED",
    "answer AddPartitionsToTxn INVALID_PRODUCER_EPOCH",
    "answer AddPartitionsToTxn INVALID_PRODUCER_ID_MAPPING",
    "answer AddOffsetsToTxn ok",
    "answer AddOffsetsToTxn PRODUCER_FENCED",
    "answer verification ok",
    "answer verification TRANSACTION_ABORTABLE",
    "answer verification PRODUCER_FENCED",
    "answer verification CONCURRENT_TRANSACTIONS",
    "answer implicit addition ok",
    "answer implicit addition CONCURRENT_TRANSACTIONS",
    "answer implicit addition PRODUCER_FENCED",
    "answer implicit addition INVALID_PRODUCER_ID_MAPPING",
    "answer Produce ok",
    "answer Produce NOT_ENOUGH_REPLICAS",
    "answer Produce NOT_LEADER_OR_FOLLOWER",
    "answer Produce CONCURRENT_TRANSACTIONS",
    "answer Produce INVALID_PRODUCER_EPOCH",
    "answer Produce INVALID_PRODUCER_ID_MAPPING",
    "answer Produce INVALID_TXN_STATE",
    "answer Produce TRANSACTION_ABORTABLE",
    "answer Produce OUT_OF_ORDER_SEQUENCE_NUMBER",
    "answer Produce KAFKA_STORAGE_ERROR",
    "answer TxnOffsetCommit ok",
    "answer TxnOffsetCommit CONCURRENT_TRANSACTIONS",
    "answer TxnOffsetCommit INVALID_PRODUCER_EPOCH",
    "answer TxnOffsetCommit NOT_COORDINATOR",
    "answer OffsetFetch ok",
    "answer OffsetFetch UNSTABLE_OFFSET_COMMIT",
    "answer EndTxn ok",
    "answer EndTxn CONCURRENT_TRANSACTIONS",
    "answer EndTxn PRODUCER_FENCED",
    "answer EndTxn INVALID_PRODUCER_EPOCH",
    "answer EndTxn INVALID_PRODUCER_ID_MAPPING",
    "answer EndTxn INVALID_TXN_STATE",
    "answer EndTxn COORDINATOR_LOAD_IN_PROGRESS",
    "answer WriteTxnMarkers ok",
    "answer WriteTxnMarkers INVALID_PRODUCER_EPOCH",
    "answer WriteTxnMarkers TRANSACTION_COORDINATOR_FENCED",
    "answer WriteTxnMarkers NOT_LEADER_OR_FOLLOWER",
    // What strangers hear.
    "nonsense: InitProducerId INVALID_REQUEST",
    "nonsense: InitProducerId INVALID_TRANSACTION_TIMEOUT",
    "nonsense: AddPartitionsToTxn INVALID_PRODUCER_ID_MAPPING",
    "nonsense: AddOffsetsToTxn INVALID_PRODUCER_ID_MAPPING",
    "nonsense: EndTxn PRODUCER_FENCED",
    "nonsense: EndTxn INVALID_PRODUCER_EPOCH",
    "nonsense: marker INVALID_PRODUCER_EPOCH",
];

pub(super) fn all() -> Vec<String> {
    let happened = HAPPENED.iter().map(|what| (*what).to_owned());
    happened.chain(transitions()).collect()
}

/// Every step that can be stored: from each state to each that may follow it.
fn transitions() -> Vec<String> {
    let stored = TransactionState::ALL
        .into_iter()
        .filter(|state| *state <= TransactionState::CompleteAbort);
    let mut steps = vec!["transition none > Empty".to_owned()];
    for from in stored.clone() {
        let followers = stored.clone().filter(|to| to.may_follow(from));
        steps.extend(followers.map(|to| format!("transition {} > {}", from.name(), to.name())));
        if from.may_expire() {
            steps.push(format!("transition {} > none", from.name()));
        }
    }
    steps
}
