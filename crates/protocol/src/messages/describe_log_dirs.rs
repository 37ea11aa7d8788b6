//! DescribeLogDirs (key 35, versions 1-5): which replicas lie in which log directory, and how big
//! they are.
//!
//! - v1: the lowest served.
//! - v2: flexible.
//! - v3: an error for the whole answer.
//! - v4: size and free space of the volume (KIP-827).
//! - v5: whether the directory is cordoned (KIP-1066).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 35, versions = "1-5", flexible = "2+", response = DescribeLogDirsResponse)]
pub struct DescribeLogDirsRequest {
    /// `None` asks for all.
    #[field(nullable = "0+")]
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 35, versions = "1-5", flexible = "2+")]
pub struct DescribeLogDirsResponse {
    pub throttle_time_ms: i32,
    #[field(versions = "3+", ignorable)]
    pub error_code: i16,
    pub results: Vec<DescribeLogDirsResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribableLogDirTopic {
    pub topic: Text,
    pub partitions: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeLogDirsResult {
    pub error_code: i16,
    pub log_dir: Text,
    pub topics: Vec<DescribeLogDirsTopic>,
    /// -1 where it is unknown.
    #[field(versions = "4+", default = -1, ignorable)]
    pub total_bytes: i64,
    #[field(versions = "4+", default = -1, ignorable)]
    pub usable_bytes: i64,
    #[field(versions = "5+", ignorable)]
    pub is_cordoned: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeLogDirsTopic {
    pub name: Text,
    pub partitions: Vec<DescribeLogDirsPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeLogDirsPartition {
    pub partition_index: i32,
    pub partition_size: i64,
    pub offset_lag: i64,
    /// True for the copy that will replace the current one once it has caught up.
    pub is_future_key: bool,
}
