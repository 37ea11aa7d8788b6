//! Leader and in-sync changes: the one place that writes `PartitionChangeRecord`.
