//! A node with doors on a disk that a test can break, and a client that speaks frames.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::config::{BrokerConfig, Overrides};
use ottla_node::{Disk, Node, Start};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Request};
use ottla_server::{Bound, Server};
use tokio::runtime::Runtime;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Threads that serve partitions.
pub(crate) const N_DATA_THREADS: usize = 2;

pub(crate) struct Running {
    pub(crate) control: Runtime,
    data: Runtime,
    node: Node,
    server: Server,
    pub(crate) port: u16,
    pub(crate) http_port: u16,
}

impl Running {
    pub(crate) fn start(directory: &Path, disk: Disk, more: &[(&str, &str)]) -> Self {
        let (port, controller_port, http_port) = (free_port(), free_port(), free_port());
        let own = [
            ("node.id", "1".to_owned()),
            ("process.roles", "broker,controller".to_owned()),
            (
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"),
            ),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            (
                "controller.quorum.bootstrap.servers",
                format!("127.0.0.1:{controller_port}"),
            ),
            ("log.dirs", directory.join("data").display().to_string()),
            ("ottla.http.listener", format!("127.0.0.1:{http_port}")),
            ("offsets.topic.num.partitions", "1".to_owned()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("transaction.state.log.num.partitions", "1".to_owned()),
            ("transaction.state.log.replication.factor", "1".to_owned()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ];
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let settings: Overrides = own
            .into_iter()
            .chain(more)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let config = BrokerConfig::new(settings);
        let typed = config.node_settings().unwrap();
        let format =
            ottla_node::auto_format(&typed, None, &[], &disk, ottla_node::random_uuid).unwrap();
        if let Some(format) = format {
            format.run(&disk, 0, ottla_node::random_uuid).unwrap();
        }
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(N_DATA_THREADS)
                .enable_all()
                .build()
                .unwrap()
        };
        let (control, data) = (runtime(), runtime());
        let bound = Bound::bind(&typed, &config).unwrap();
        let start = Start {
            config,
            disk,
            descriptors: ottla_node::Descriptors::UNLIMITED,
            endpoints: bound.endpoints(&typed),
            control: control.handle().clone(),
            data: data.handle().clone(),
        };
        let node = control.block_on(Node::start(start)).unwrap();
        let services = node.services().clone();
        let server = Server::open(bound, services, control.handle(), data.handle()).unwrap();
        node.services().enter_running();
        Self {
            control,
            data,
            node,
            server,
            port,
            http_port,
        }
    }

    pub(crate) fn stop(self) {
        self.control.block_on(self.server.close());
        self.control.block_on(self.node.stop()).unwrap();
        self.data.shutdown_background();
        self.control.shutdown_background();
    }
}

pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) {
        let frame = request_frame(request, version, 1, Some("stall".into())).unwrap();
        self.0.write_all(&frame).unwrap();
    }

    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        decode_response::<R::Response>(Bytes::from(frame), version)
            .unwrap()
            .1
    }

    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version)
    }
}

/// Makes a topic of one partition.
pub(crate) fn create(client: &mut Client, topic: &str) {
    let create = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.call(&create, 7).topics[0].error_code, NONE);
}

/// One record, to be written with acks=all.
pub(crate) fn produce(topic: &str, value: &[u8]) -> ProduceRequest {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(0, Some(b"k"), Some(value));
    let partition_data = vec![PartitionProduceData {
        index: 0,
        records: Some(builder.finish()),
    }];
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data,
        ..Default::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 120_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Offset 0 of the first partition of `t`, committed by nobody's member.
pub(crate) fn commit(group: &'static str) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    }
}
