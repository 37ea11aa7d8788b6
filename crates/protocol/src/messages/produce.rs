//! Produce (key 0, versions 3-13): append record batches to partitions. Read and written by hand,
//! since it is on the way of every record.
//!
//! - v3: the lowest served: batches of magic 2, transactional id.
//! - v4: KAFKA_STORAGE_ERROR may be answered.
//! - v5: log start offset in the answer.
//! - v7: zstd is allowed (KIP-110).
//! - v8: which records were bad, and why (KIP-467).
//! - v9: flexible.
//! - v10: the new leader and its address come with NOT_LEADER_OR_FOLLOWER (KIP-951).
//! - v11: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - v12: joins the transaction by itself (KIP-890).
//! - v13: topic ids instead of names (KIP-516).
//!
//! Records stay a slice of the frame.

use bytes::Bytes;

use crate::field::{Field, Lack, Malformed, NullableField, Reader, Unsupported, Version, Writer};
use crate::names::Uuid;
use crate::{Message, Text};

const LOG_START_OFFSET_FROM: i16 = 5;
const RECORD_ERRORS_FROM: i16 = 8;
const CURRENT_LEADER_FROM: i16 = 10;
const TOPIC_ID_FROM: i16 = 13;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, by_hand, key = 0, versions = "3-13", flexible = "9+", response = ProduceResponse)]
pub struct ProduceRequest {
    #[field(default = None)]
    pub transactional_id: Option<Text>,
    /// 0 wants no answer, 1 the leader's, -1 that of all in-sync replicas.
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic_data: Vec<TopicProduceData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct TopicProduceData {
    #[field(versions = "0-12", ignorable)]
    pub name: Text,
    #[field(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    pub partition_data: Vec<PartitionProduceData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct PartitionProduceData {
    pub index: i32,
    #[field(default = None)]
    pub records: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, by_hand, key = 0, versions = "3-13", flexible = "9+")]
pub struct ProduceResponse {
    pub responses: Vec<TopicProduceResponse>,
    pub throttle_time_ms: i32,
    /// Where the new leaders are, for partitions answered with NOT_LEADER_OR_FOLLOWER.
    #[field(versions = "10+", tag = 0)]
    pub node_endpoints: Vec<ProduceNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct TopicProduceResponse {
    #[field(versions = "0-12", ignorable)]
    pub name: Text,
    #[field(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    pub partition_responses: Vec<PartitionProduceResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part, by_hand)]
pub struct PartitionProduceResponse {
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    /// -1 unless the topic has LogAppendTime.
    #[field(default = -1)]
    pub log_append_time_ms: i64,
    #[field(versions = "5+", default = -1, ignorable)]
    pub log_start_offset: i64,
    #[field(versions = "8+", ignorable)]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    #[field(versions = "8+", default = None, ignorable)]
    pub error_message: Option<Text>,
    #[field(versions = "10+", tag = 0)]
    pub current_leader: ProduceLeaderIdAndEpoch,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BatchIndexAndErrorMessage {
    pub batch_index: i32,
    #[field(default = None)]
    pub batch_index_error_message: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ProduceLeaderIdAndEpoch {
    #[field(default = -1)]
    pub leader_id: i32,
    #[field(default = -1)]
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ProduceNodeEndpoint {
    pub node_id: i32,
    pub host: Text,
    pub port: i32,
    #[field(default = None)]
    pub rack: Option<Text>,
}

impl Message for ProduceRequest {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let request = Self {
            transactional_id: Text::read_nullable(
                reader,
                version,
                "ProduceRequest.transactional_id",
            )?,
            acks: reader.i16("ProduceRequest.acks")?,
            timeout_ms: reader.i32("ProduceRequest.timeout_ms")?,
            topic_data: Vec::read(reader, version, "ProduceRequest.topic_data")?,
        };
        if version.flexible {
            reader.skip_tagged("ProduceRequest")?;
        }
        Ok(request)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        let transactional_id = self.transactional_id.as_ref();
        let label = "ProduceRequest.transactional_id";
        Text::write_nullable(transactional_id, writer, version, label)?;
        writer.i16(self.acks);
        writer.i32(self.timeout_ms);
        self.topic_data
            .write(writer, version, "ProduceRequest.topic_data")?;
        writer.no_tags(version);
        Ok(())
    }
}

/// A topic by name or, later, by id.
pub(super) fn read_topic(
    reader: &mut Reader,
    version: Version,
    field: &'static str,
) -> Result<(Text, Uuid), Malformed> {
    if version.number < TOPIC_ID_FROM {
        Ok((Text::read(reader, version, field)?, Uuid::ZERO))
    } else {
        Ok((Text::new(), Uuid::read(reader, version, field)?))
    }
}

pub(super) fn write_topic(
    name: &Text,
    topic_id: Uuid,
    writer: &mut Writer,
    version: Version,
    field: &'static str,
) -> Result<(), Unsupported> {
    if version.number < TOPIC_ID_FROM {
        name.write(writer, version, field)
    } else {
        topic_id.write(writer, version, field)
    }
}

/// A topic, an array and a tagged section, at least.
pub(super) fn smallest_topic(version: Version) -> usize {
    let topic = if version.number < TOPIC_ID_FROM {
        Text::smallest(version)
    } else {
        Uuid::smallest(version)
    };
    topic + Vec::<i32>::smallest(version) + usize::from(version.flexible)
}

impl Message for TopicProduceData {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let (name, topic_id) = read_topic(reader, version, "TopicProduceData.topic")?;
        let partition_data = Vec::read(reader, version, "TopicProduceData.partition_data")?;
        if version.flexible {
            reader.skip_tagged("TopicProduceData")?;
        }
        Ok(Self {
            name,
            topic_id,
            partition_data,
        })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        write_topic(
            &self.name,
            self.topic_id,
            writer,
            version,
            "TopicProduceData.topic",
        )?;
        self.partition_data
            .write(writer, version, "TopicProduceData.partition_data")?;
        writer.no_tags(version);
        Ok(())
    }

    fn smallest(version: Version) -> usize {
        smallest_topic(version)
    }
}

impl Message for PartitionProduceData {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let index = reader.i32("PartitionProduceData.index")?;
        let records = Bytes::read_nullable(reader, version, "PartitionProduceData.records")?;
        if version.flexible {
            reader.skip_tagged("PartitionProduceData")?;
        }
        Ok(Self { index, records })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        writer.i32(self.index);
        let records = self.records.as_ref();
        Bytes::write_nullable(records, writer, version, "PartitionProduceData.records")?;
        writer.no_tags(version);
        Ok(())
    }

    fn smallest(version: Version) -> usize {
        size_of::<i32>() + Bytes::smallest(version) + usize::from(version.flexible)
    }
}

impl Message for ProduceResponse {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut response = Self {
            responses: Vec::read(reader, version, "ProduceResponse.responses")?,
            throttle_time_ms: reader.i32("ProduceResponse.throttle_time_ms")?,
            node_endpoints: Vec::new(),
        };
        if version.flexible {
            reader.tagged("ProduceResponse", |reader, tag| {
                let known = tag == 0 && version.number >= CURRENT_LEADER_FROM;
                if known {
                    let label = "ProduceResponse.node_endpoints";
                    response.node_endpoints = Vec::read(reader, version, label)?;
                }
                Ok(known)
            })?;
        }
        Ok(response)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        self.responses
            .write(writer, version, "ProduceResponse.responses")?;
        writer.i32(self.throttle_time_ms);
        let endpoints = (!self.node_endpoints.is_empty()).then_some(&self.node_endpoints);
        write_leader_tag(endpoints, writer, version, "ProduceResponse.node_endpoints")
    }
}

/// The only tag of the response and of its partitions; `None` is its default.
fn write_leader_tag<T: Field>(
    value: Option<&T>,
    writer: &mut Writer,
    version: Version,
    field: &'static str,
) -> Result<(), Unsupported> {
    match value {
        None => {
            writer.no_tags(version);
            Ok(())
        }
        Some(_) if version.number < CURRENT_LEADER_FROM => {
            Err(Unsupported::new(field, version, Lack::Field))
        }
        Some(value) => {
            writer.uvarint(1);
            writer.tagged(0, |writer| value.write(writer, version, field))
        }
    }
}

impl Message for TopicProduceResponse {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let (name, topic_id) = read_topic(reader, version, "TopicProduceResponse.topic")?;
        let label = "TopicProduceResponse.partition_responses";
        let partition_responses = Vec::read(reader, version, label)?;
        if version.flexible {
            reader.skip_tagged("TopicProduceResponse")?;
        }
        Ok(Self {
            name,
            topic_id,
            partition_responses,
        })
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        write_topic(
            &self.name,
            self.topic_id,
            writer,
            version,
            "TopicProduceResponse.topic",
        )?;
        let label = "TopicProduceResponse.partition_responses";
        self.partition_responses.write(writer, version, label)?;
        writer.no_tags(version);
        Ok(())
    }

    fn smallest(version: Version) -> usize {
        smallest_topic(version)
    }
}

impl Message for PartitionProduceResponse {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        let mut response = Self {
            index: reader.i32("PartitionProduceResponse.index")?,
            error_code: reader.i16("PartitionProduceResponse.error_code")?,
            base_offset: reader.i64("PartitionProduceResponse.base_offset")?,
            log_append_time_ms: reader.i64("PartitionProduceResponse.log_append_time_ms")?,
            ..Self::default()
        };
        if version.number >= LOG_START_OFFSET_FROM {
            response.log_start_offset = reader.i64("PartitionProduceResponse.log_start_offset")?;
        }
        if version.number >= RECORD_ERRORS_FROM {
            let label = "PartitionProduceResponse.record_errors";
            response.record_errors = Vec::read(reader, version, label)?;
            let label = "PartitionProduceResponse.error_message";
            response.error_message = Text::read_nullable(reader, version, label)?;
        }
        if version.flexible {
            reader.tagged("PartitionProduceResponse", |reader, tag| {
                let known = tag == 0 && version.number >= CURRENT_LEADER_FROM;
                if known {
                    response.current_leader = ProduceLeaderIdAndEpoch::decode(reader, version)?;
                }
                Ok(known)
            })?;
        }
        Ok(response)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        writer.i32(self.index);
        writer.i16(self.error_code);
        writer.i64(self.base_offset);
        writer.i64(self.log_append_time_ms);
        if version.number >= LOG_START_OFFSET_FROM {
            writer.i64(self.log_start_offset);
        }
        if version.number >= RECORD_ERRORS_FROM {
            let label = "PartitionProduceResponse.record_errors";
            self.record_errors.write(writer, version, label)?;
            let label = "PartitionProduceResponse.error_message";
            Text::write_nullable(self.error_message.as_ref(), writer, version, label)?;
        }
        let known = self.current_leader != ProduceLeaderIdAndEpoch::default();
        let leader = known.then_some(&self.current_leader);
        write_leader_tag(
            leader,
            writer,
            version,
            "PartitionProduceResponse.current_leader",
        )
    }

    fn smallest(_: Version) -> usize {
        // Index, error, base offset, append time.
        4 + 2 + 8 + 8
    }
}
