//! Fetch (key 1, versions 4-18): read records, as a consumer, a follower or a quorum voter. Read
//! and written by hand, since it is on the way of every record.
//!
//! - v4: the lowest served: isolation level, last stable offset, aborted transactions.
//! - v5: log start offset, asked and answered.
//! - v6: KAFKA_STORAGE_ERROR may be answered.
//! - v7: incremental sessions (KIP-227).
//! - v8: throttled answers are sent before muting.
//! - v9: current leader epoch (KIP-320).
//! - v10: zstd may be answered (KIP-110).
//! - v11: rack of the consumer, preferred replica (KIP-392).
//! - v12: flexible; last fetched epoch, divergence, leader and snapshot in the answer (KIP-595).
//! - v13: topic ids instead of names (KIP-516).
//! - v14: OFFSET_MOVED_TO_TIERED_STORAGE may be answered (KIP-405).
//! - v15: the replica's state instead of its id (KIP-903).
//! - v16: addresses of new leaders (KIP-951).
//! - v17: directory id of the follower (KIP-853).
//! - v18: high watermark of the follower (KIP-1166).
//!
//! The response holds its records as `Bytes`, or as anything that has a length: `fetch_reply` lays
//! it around slices of files.

use bytes::Bytes;

use super::produce::{read_topic, smallest_topic, write_topic};
use crate::field::{Field, Lack, Malformed, NullableField, Reader, Unsupported, Version, Writer};
use crate::names::{NodeId, Uuid};
use crate::{Message, Text};

const LOG_START_OFFSET_FROM: i16 = 5;
const SESSIONS_FROM: i16 = 7;
const LEADER_EPOCH_FROM: i16 = 9;
const RACK_FROM: i16 = 11;
const PREFERRED_REPLICA_FROM: i16 = 11;
const LAST_FETCHED_EPOCH_FROM: i16 = 12;
const REPLICA_STATE_FROM: i16 = 15;
const NODE_ENDPOINTS_FROM: i16 = 16;
const DIRECTORY_FROM: i16 = 17;
const HIGH_WATERMARK_FROM: i16 = 18;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, by_hand, key = 1, versions = "4-18", flexible = "12+", response = FetchResponse)]
pub struct FetchRequest {
    #[field(versions = "12+", tag = 0, default = None, ignorable)]
    pub cluster_id: Option<Text>,
    /// -1 for consumers; see [`FetchRequest::replica`].
    #[field(versions = "0-14", default = -1)]
    pub replica_id: NodeId,
    #[field(versions = "15+", tag = 1)]
    pub replica_state: FetchReplicaState,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    #[field(default = i32::MAX)]
    pub max_bytes: i32,
    /// 0 read uncommitted, 1 read committed.
    pub isolation_level: i8,
    #[field(versions = "7+", ignorable)]
    pub session_id: i32,
    #[field(versions = "7+", default = -1, ignorable)]
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    /// What leaves the session.
    #[field(versions = "7+")]
    pub forgotten_topics_data: Vec<FetchForgottenTopic>,
    #[field(versions = "11+", ignorable)]
    pub rack_id: Text,
}

impl FetchRequest {
    /// Node and its epoch, wherever the version has them; (-1, -1) for consumers.
    pub fn replica(&self) -> (NodeId, i64) {
        let FetchReplicaState {
            replica_id,
            replica_epoch,
        } = self.replica_state;
        if self.replica_id == -1 {
            (replica_id, replica_epoch)
        } else {
            (self.replica_id, -1)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(part)]
pub struct FetchReplicaState {
    #[field(default = -1)]
    pub replica_id: NodeId,
    #[field(default = -1)]
    pub replica_epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct FetchTopic {
    #[field(versions = "0-12", ignorable)]
    pub topic: Text,
    #[field(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct FetchPartition {
    pub partition: i32,
    #[field(versions = "9+", default = -1, ignorable)]
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    #[field(versions = "12+", default = -1)]
    pub last_fetched_epoch: i32,
    /// Of a follower; -1 from consumers.
    #[field(versions = "5+", default = -1, ignorable)]
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
    #[field(versions = "17+", tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
    /// `i64::MAX` from replicas that do not tell theirs.
    #[field(versions = "18+", tag = 1, default = i64::MAX, ignorable)]
    pub high_watermark: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct FetchForgottenTopic {
    #[field(versions = "0-12", ignorable)]
    pub topic: Text,
    #[field(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

/// `R` is a set of records: bytes, or a slice of a file.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, by_hand, key = 1, versions = "4-18", flexible = "12+")]
pub struct FetchResponse<R = Bytes> {
    pub throttle_time_ms: i32,
    #[field(versions = "7+", ignorable)]
    pub error_code: i16,
    #[field(versions = "7+")]
    pub session_id: i32,
    pub responses: Vec<FetchableTopicResponse<R>>,
    /// Where the new leaders are, for partitions whose leader has moved.
    #[field(versions = "16+", tag = 0)]
    pub node_endpoints: Vec<FetchNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct FetchableTopicResponse<R = Bytes> {
    #[field(versions = "0-12", ignorable)]
    pub topic: Text,
    #[field(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartitionData<R>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct FetchPartitionData<R = Bytes> {
    pub partition_index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    #[field(default = -1)]
    pub last_stable_offset: i64,
    #[field(versions = "5+", default = -1, ignorable)]
    pub log_start_offset: i64,
    #[field(versions = "12+", tag = 0)]
    pub diverging_epoch: FetchEpochEndOffset,
    #[field(versions = "12+", tag = 1)]
    pub current_leader: FetchLeaderIdAndEpoch,
    #[field(versions = "12+", tag = 2)]
    pub snapshot_id: FetchSnapshotId,
    /// Null when reading uncommitted.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    #[field(versions = "11+", default = -1)]
    pub preferred_read_replica: NodeId,
    #[field(default = None)]
    pub records: Option<R>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(part)]
pub struct FetchEpochEndOffset {
    #[field(default = -1)]
    pub epoch: i32,
    #[field(default = -1)]
    pub end_offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(part)]
pub struct FetchLeaderIdAndEpoch {
    #[field(default = -1)]
    pub leader_id: NodeId,
    #[field(default = -1)]
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(part)]
pub struct FetchSnapshotId {
    #[field(default = -1)]
    pub end_offset: i64,
    #[field(default = -1)]
    pub epoch: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(part)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchNodeEndpoint {
    pub node_id: NodeId,
    pub host: Text,
    pub port: i32,
    #[field(default = None)]
    pub rack: Option<Text>,
}

/// A value that the version has no field for may not be dropped in silence.
fn refuse(changed: bool, field: &'static str, version: Version) -> Result<(), Unsupported> {
    if changed {
        Err(Unsupported::new(field, version, Lack::Field))
    } else {
        Ok(())
    }
}

/// Tagged values in ascending order; those that equal their default are left out.
struct Tags<'a> {
    values: [Option<TagWriter<'a>>; 3],
}

type TagWriter<'a> = &'a dyn Fn(&mut Writer) -> Result<(), Unsupported>;

impl Tags<'_> {
    fn write(&self, writer: &mut Writer) -> Result<(), Unsupported> {
        let present = self.values.iter().flatten().count();
        writer.uvarint(present as u32);
        for (tag, value) in (0..).zip(&self.values) {
            if let Some(value) = value {
                writer.tagged(tag, value)?;
            }
        }
        Ok(())
    }
}

impl Message for FetchRequest {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut request = Self::default();
        if version.number < REPLICA_STATE_FROM {
            request.replica_id = reader.i32("FetchRequest.replica_id")?;
        }
        request.max_wait_ms = reader.i32("FetchRequest.max_wait_ms")?;
        request.min_bytes = reader.i32("FetchRequest.min_bytes")?;
        request.max_bytes = reader.i32("FetchRequest.max_bytes")?;
        request.isolation_level = reader.i8("FetchRequest.isolation_level")?;
        if version.number >= SESSIONS_FROM {
            request.session_id = reader.i32("FetchRequest.session_id")?;
            request.session_epoch = reader.i32("FetchRequest.session_epoch")?;
        }
        request.topics = Vec::read(reader, version, "FetchRequest.topics")?;
        if version.number >= SESSIONS_FROM {
            let label = "FetchRequest.forgotten_topics_data";
            request.forgotten_topics_data = Vec::read(reader, version, label)?;
        }
        if version.number >= RACK_FROM {
            request.rack_id = Text::read(reader, version, "FetchRequest.rack_id")?;
        }
        if version.flexible {
            reader.tagged("FetchRequest", |reader, tag| {
                match tag {
                    0 => {
                        let label = "FetchRequest.cluster_id";
                        request.cluster_id = Text::read_nullable(reader, version, label)?;
                    }
                    1 if version.number >= REPLICA_STATE_FROM => {
                        request.replica_state = FetchReplicaState::decode(reader, version)?;
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(request)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        let has_state = version.number >= REPLICA_STATE_FROM;
        let state = &self.replica_state;
        let state_is_set = *state != FetchReplicaState::default();
        if has_state {
            refuse(self.replica_id != -1, "FetchRequest.replica_id", version)?;
        } else {
            refuse(state_is_set, "FetchRequest.replica_state", version)?;
            writer.i32(self.replica_id);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation_level);
        if version.number >= SESSIONS_FROM {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        self.topics.write(writer, version, "FetchRequest.topics")?;
        let label = "FetchRequest.forgotten_topics_data";
        if version.number >= SESSIONS_FROM {
            self.forgotten_topics_data.write(writer, version, label)?;
        } else {
            refuse(!self.forgotten_topics_data.is_empty(), label, version)?;
        }
        if version.number >= RACK_FROM {
            self.rack_id
                .write(writer, version, "FetchRequest.rack_id")?;
        }
        if version.flexible {
            let cluster_id: TagWriter<'_> = &|writer| {
                let label = "FetchRequest.cluster_id";
                Text::write_nullable(self.cluster_id.as_ref(), writer, version, label)
            };
            let state: TagWriter<'_> = &|writer| state.encode(writer, version);
            let cluster_id = self.cluster_id.is_some().then_some(cluster_id);
            Tags {
                values: [cluster_id, state_is_set.then_some(state), None],
            }
            .write(writer)?;
        }
        Ok(())
    }
}

impl Message for FetchTopic {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let (topic, topic_id) = read_topic(reader, version, "FetchTopic.topic")?;
        let partitions = Vec::read(reader, version, "FetchTopic.partitions")?;
        if version.flexible {
            reader.skip_tagged("FetchTopic")?;
        }
        Ok(Self {
            topic,
            topic_id,
            partitions,
        })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        write_topic(
            &self.topic,
            self.topic_id,
            writer,
            version,
            "FetchTopic.topic",
        )?;
        self.partitions
            .write(writer, version, "FetchTopic.partitions")?;
        writer.no_tags(version);
        Ok(())
    }

    fn smallest(version: Version) -> usize {
        smallest_topic(version)
    }
}

impl Message for FetchPartition {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut partition = Self {
            partition: reader.i32("FetchPartition.partition")?,
            ..Self::default()
        };
        if version.number >= LEADER_EPOCH_FROM {
            partition.current_leader_epoch = reader.i32("FetchPartition.current_leader_epoch")?;
        }
        partition.fetch_offset = reader.i64("FetchPartition.fetch_offset")?;
        if version.number >= LAST_FETCHED_EPOCH_FROM {
            partition.last_fetched_epoch = reader.i32("FetchPartition.last_fetched_epoch")?;
        }
        if version.number >= LOG_START_OFFSET_FROM {
            partition.log_start_offset = reader.i64("FetchPartition.log_start_offset")?;
        }
        partition.partition_max_bytes = reader.i32("FetchPartition.partition_max_bytes")?;
        if version.flexible {
            reader.tagged("FetchPartition", |reader, tag| {
                match tag {
                    0 if version.number >= DIRECTORY_FROM => {
                        let label = "FetchPartition.replica_directory_id";
                        partition.replica_directory_id = Uuid::read(reader, version, label)?;
                    }
                    1 if version.number >= HIGH_WATERMARK_FROM => {
                        partition.high_watermark = reader.i64("FetchPartition.high_watermark")?;
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(partition)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        writer.i32(self.partition);
        if version.number >= LEADER_EPOCH_FROM {
            writer.i32(self.current_leader_epoch);
        }
        writer.i64(self.fetch_offset);
        if version.number >= LAST_FETCHED_EPOCH_FROM {
            writer.i32(self.last_fetched_epoch);
        } else {
            let label = "FetchPartition.last_fetched_epoch";
            refuse(self.last_fetched_epoch != -1, label, version)?;
        }
        if version.number >= LOG_START_OFFSET_FROM {
            writer.i64(self.log_start_offset);
        }
        writer.i32(self.partition_max_bytes);
        if version.flexible {
            let id: TagWriter<'_> = &|writer| {
                writer.put(self.replica_directory_id.as_bytes());
                Ok(())
            };
            let high_watermark: TagWriter<'_> = &|writer| {
                writer.i64(self.high_watermark);
                Ok(())
            };
            let has_id =
                version.number >= DIRECTORY_FROM && self.replica_directory_id != Uuid::ZERO;
            let has_high_watermark =
                version.number >= HIGH_WATERMARK_FROM && self.high_watermark != i64::MAX;
            let high_watermark = has_high_watermark.then_some(high_watermark);
            Tags {
                values: [has_id.then_some(id), high_watermark, None],
            }
            .write(writer)?;
        }
        Ok(())
    }

    fn smallest(_: Version) -> usize {
        // Partition, offset, bytes.
        4 + 8 + 4
    }
}

impl Message for FetchForgottenTopic {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let (topic, topic_id) = read_topic(reader, version, "ForgottenTopic.topic")?;
        let partitions = Vec::read(reader, version, "ForgottenTopic.partitions")?;
        if version.flexible {
            reader.skip_tagged("ForgottenTopic")?;
        }
        Ok(Self {
            topic,
            topic_id,
            partitions,
        })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        write_topic(
            &self.topic,
            self.topic_id,
            writer,
            version,
            "ForgottenTopic.topic",
        )?;
        self.partitions
            .write(writer, version, "ForgottenTopic.partitions")?;
        writer.no_tags(version);
        Ok(())
    }

    fn smallest(version: Version) -> usize {
        smallest_topic(version)
    }
}

impl Message for FetchResponse {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut response = Self {
            throttle_time_ms: reader.i32("FetchResponse.throttle_time_ms")?,
            ..Self::default()
        };
        if version.number >= SESSIONS_FROM {
            response.error_code = reader.i16("FetchResponse.error_code")?;
            response.session_id = reader.i32("FetchResponse.session_id")?;
        }
        response.responses = Vec::read(reader, version, "FetchResponse.responses")?;
        if version.flexible {
            reader.tagged("FetchResponse", |reader, tag| {
                let known = tag == 0 && version.number >= NODE_ENDPOINTS_FROM;
                if known {
                    let label = "FetchResponse.node_endpoints";
                    response.node_endpoints = Vec::read(reader, version, label)?;
                }
                Ok(known)
            })?;
        }
        Ok(response)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        self.lay(writer, version, &mut |writer, records| writer.put(records))
    }
}

impl Message for FetchableTopicResponse {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let (topic, topic_id) = read_topic(reader, version, "FetchableTopicResponse.topic")?;
        let partitions = Vec::read(reader, version, "FetchableTopicResponse.partitions")?;
        if version.flexible {
            reader.skip_tagged("FetchableTopicResponse")?;
        }
        Ok(Self {
            topic,
            topic_id,
            partitions,
        })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        self.lay(writer, version, &mut |writer, records| writer.put(records))
    }

    fn smallest(version: Version) -> usize {
        smallest_topic(version)
    }
}

impl Message for FetchPartitionData {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut partition = Self {
            partition_index: reader.i32("FetchPartitionData.partition_index")?,
            error_code: reader.i16("FetchPartitionData.error_code")?,
            high_watermark: reader.i64("FetchPartitionData.high_watermark")?,
            last_stable_offset: reader.i64("FetchPartitionData.last_stable_offset")?,
            ..Self::default()
        };
        if version.number >= LOG_START_OFFSET_FROM {
            partition.log_start_offset = reader.i64("FetchPartitionData.log_start_offset")?;
        }
        let label = "FetchPartitionData.aborted_transactions";
        partition.aborted_transactions = Vec::read_nullable(reader, version, label)?;
        if version.number >= PREFERRED_REPLICA_FROM {
            let label = "FetchPartitionData.preferred_read_replica";
            partition.preferred_read_replica = reader.i32(label)?;
        }
        let label = "FetchPartitionData.records";
        partition.records = Bytes::read_nullable(reader, version, label)?;
        if version.flexible {
            reader.tagged("FetchPartitionData", |reader, tag| {
                match tag {
                    0 => partition.diverging_epoch = Message::decode(reader, version)?,
                    1 => partition.current_leader = Message::decode(reader, version)?,
                    2 => partition.snapshot_id = Message::decode(reader, version)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(partition)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        self.lay(writer, version, &mut |writer, records| writer.put(records))
    }

    fn smallest(version: Version) -> usize {
        // Index, error, high watermark, stable offset; two lengths.
        4 + 2 + 8 + 8 + 2 * Bytes::smallest(version)
    }
}

/// A set of records that knows how long it is.
pub trait RecordSet {
    fn n_bytes(&self) -> usize;
}

impl RecordSet for Bytes {
    fn n_bytes(&self) -> usize {
        self.len()
    }
}

impl<R: RecordSet> FetchResponse<R> {
    /// Write everything but the records, which `put` is shown at their place, after their length.
    pub(crate) fn lay<'a>(
        &'a self,
        writer: &mut Writer,
        version: Version,
        put: &mut impl FnMut(&mut Writer, &'a R),
    ) -> Result<(), Unsupported> {
        writer.i32(self.throttle_time_ms);
        if version.number >= SESSIONS_FROM {
            writer.i16(self.error_code);
            writer.i32(self.session_id);
        } else {
            refuse(self.session_id != 0, "FetchResponse.session_id", version)?;
        }
        writer.length(
            Some(self.responses.len()),
            version,
            "FetchResponse.responses",
        )?;
        for topic in &self.responses {
            topic.lay(writer, version, put)?;
        }
        let endpoints = &self.node_endpoints;
        let label = "FetchResponse.node_endpoints";
        if version.number < NODE_ENDPOINTS_FROM {
            refuse(!endpoints.is_empty(), label, version)?;
        }
        if version.flexible {
            let value: TagWriter<'_> = &|writer| endpoints.write(writer, version, label);
            let value = (!endpoints.is_empty()).then_some(value);
            Tags {
                values: [value, None, None],
            }
            .write(writer)?;
        }
        Ok(())
    }
}

impl<R: RecordSet> FetchableTopicResponse<R> {
    fn lay<'a>(
        &'a self,
        writer: &mut Writer,
        version: Version,
        put: &mut impl FnMut(&mut Writer, &'a R),
    ) -> Result<(), Unsupported> {
        write_topic(
            &self.topic,
            self.topic_id,
            writer,
            version,
            "FetchableTopicResponse.topic",
        )?;
        let label = "FetchableTopicResponse.partitions";
        writer.length(Some(self.partitions.len()), version, label)?;
        for partition in &self.partitions {
            partition.lay(writer, version, put)?;
        }
        writer.no_tags(version);
        Ok(())
    }
}

impl<R: RecordSet> FetchPartitionData<R> {
    fn lay<'a>(
        &'a self,
        writer: &mut Writer,
        version: Version,
        put: &mut impl FnMut(&mut Writer, &'a R),
    ) -> Result<(), Unsupported> {
        writer.i32(self.partition_index);
        writer.i16(self.error_code);
        writer.i64(self.high_watermark);
        writer.i64(self.last_stable_offset);
        if version.number >= LOG_START_OFFSET_FROM {
            writer.i64(self.log_start_offset);
        }
        let label = "FetchPartitionData.aborted_transactions";
        Vec::write_nullable(self.aborted_transactions.as_ref(), writer, version, label)?;
        if version.number >= PREFERRED_REPLICA_FROM {
            writer.i32(self.preferred_read_replica);
        } else {
            let label = "FetchPartitionData.preferred_read_replica";
            refuse(self.preferred_read_replica != -1, label, version)?;
        }
        let n_bytes = self.records.as_ref().map(R::n_bytes);
        writer.length(n_bytes, version, "FetchPartitionData.records")?;
        if let Some(records) = &self.records {
            put(writer, records);
        }
        self.lay_tags(writer, version)
    }

    fn lay_tags(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        let Self {
            diverging_epoch,
            current_leader,
            snapshot_id,
            ..
        } = self;
        let diverges = *diverging_epoch != FetchEpochEndOffset::default();
        let names_leader = *current_leader != FetchLeaderIdAndEpoch::default();
        let names_snapshot = *snapshot_id != FetchSnapshotId::default();
        if !version.flexible {
            refuse(diverges, "FetchPartitionData.diverging_epoch", version)?;
            refuse(names_leader, "FetchPartitionData.current_leader", version)?;
            return refuse(names_snapshot, "FetchPartitionData.snapshot_id", version);
        }
        let epoch: TagWriter<'_> = &|writer| diverging_epoch.encode(writer, version);
        let leader: TagWriter<'_> = &|writer| current_leader.encode(writer, version);
        let snapshot: TagWriter<'_> = &|writer| snapshot_id.encode(writer, version);
        let values = [
            diverges.then_some(epoch),
            names_leader.then_some(leader),
            names_snapshot.then_some(snapshot),
        ];
        Tags { values }.write(writer)
    }
}
