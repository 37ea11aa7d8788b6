//! What a broker's settings and the cluster's features say about transactions.

/// Settings of the transaction ledger; the names in the comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnSettings {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_timed_out_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval_ms: i64,
}

impl Default for TxnSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            max_timeout_ms: 15 * 60 * 1000,
            id_expiration_ms: 7 * 24 * 60 * 60 * 1000,
            abort_timed_out_interval_ms: 10_000,
            remove_expired_interval_ms: 60 * 60 * 1000,
        }
    }
}

/// A level of the feature `transaction.version`, or what a client's request says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionVersion {
    /// The original protocol; records in version 0.
    #[default]
    V0,
    /// The original protocol; records in version 1, which has room for what comes next.
    V1,
    /// Each transaction ends with a new epoch (KIP-890).
    V2,
}

impl TransactionVersion {
    /// The finalized level of `transaction.version`; levels that are not known yet count as the
    /// highest that is.
    pub fn from_level(level: i16) -> Self {
        match level {
            ..=0 => Self::V0,
            1 => Self::V1,
            _ => Self::V2,
        }
    }

    /// As features and markers write it.
    pub fn level(self) -> i16 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// As `WriteTxnMarkers` v2 carries it.
    pub(crate) fn marker_version(self) -> i8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version that records of `__transaction_state` are written in.
    pub(crate) fn value_version(self) -> i16 {
        self.level().min(1)
    }

    /// Whether the end of a transaction raises the producer's epoch.
    pub(crate) fn bumps_epochs(self) -> bool {
        self >= Self::V2
    }
}
