//! A node within the test's process, over a disk that can be stalled, and raw clients for it.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_metadata::config::{BrokerConfig, Overrides};
use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict, Node, Services, Start};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Request};
use ottla_server::{Bound, Server};
use tokio::runtime::Runtime;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);
pub const PRODUCE: i16 = 9;
pub const FETCH: i16 = 11;

/// Holds every sync of a log's segments while it is on.
#[derive(Default)]
pub struct HeldSyncs {
    holds: AtomicBool,
    panics: AtomicBool,
}

impl HeldSyncs {
    pub fn hold(&self, is_on: bool) {
        self.holds.store(is_on, Ordering::Release);
    }

    /// Lets whoever writes to a log panic.
    pub fn panic_at_writes(&self, is_on: bool) {
        self.panics.store(is_on, Ordering::Release);
    }
}

impl DiskFaults for HeldSyncs {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let is_metadata = path.to_string_lossy().contains("__cluster_metadata");
        let is_meant = is_log && !is_metadata;
        let panics = call == DiskCall::Write && is_meant && self.panics.load(Ordering::Acquire);
        assert!(!panics, "as the test wants it");
        while call == DiskCall::Sync && is_meant && self.holds.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        DiskVerdict::Proceed
    }
}

pub struct Running {
    pub port: u16,
    http: String,
    pub syncs: Arc<HeldSyncs>,
    node: Option<Node>,
    server: Option<Server>,
    control: Option<Runtime>,
    data: Option<Runtime>,
    _directory: tempfile::TempDir,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

impl Running {
    /// A node with one topic `t` of two partitions.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let controller = format!("127.0.0.1:{}", free_port());
        let http = format!("127.0.0.1:{}", free_port());
        let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://{controller}");
        let data = directory.path().join("data").display().to_string();
        let own = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", &listeners),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", &controller),
            ("log.dirs", &data),
            ("ottla.http.listener", &http),
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let all = own.iter().chain(settings);
        let all: Overrides = all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = BrokerConfig::new(all);
        let typed = config.node_settings().unwrap();
        let syncs = Arc::new(HeldSyncs::default());
        let disk = Disk::breakable(syncs.clone());
        let new_id = ottla_node::random_uuid;
        let format = ottla_node::auto_format(&typed, None, &[], &disk, new_id).unwrap();
        format.unwrap().run(&disk, 0, new_id).unwrap();
        let (control, data) = (runtime(), runtime());
        let bound = Bound::bind(&typed, &config).unwrap();
        let start = Start {
            endpoints: bound.endpoints(&typed),
            config,
            disk,
            descriptors: ottla_node::Descriptors::UNLIMITED,
            control: control.handle().clone(),
            data: data.handle().clone(),
        };
        let node = control.block_on(Node::start(start)).unwrap();
        let services = node.services().clone();
        let server = Server::open(bound, services, control.handle(), data.handle()).unwrap();
        node.services().enter_running();
        let running = Self {
            port,
            http,
            syncs,
            node: Some(node),
            server: Some(server),
            control: Some(control),
            data: Some(data),
            _directory: directory,
        };
        running.create("t", 2);
        running
    }

    fn create(&self, topic: &'static str, num_partitions: i32) {
        let create = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.into(),
                num_partitions,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let made = Client::connect(self.port).call(&create, 7);
        assert_eq!(made.topics[0].error_code, NONE);
    }

    pub fn services(&self) -> &Arc<Services> {
        self.node.as_ref().unwrap().services()
    }

    /// The end of a partition of `t`, acknowledged or not.
    pub fn end(&self, partition: i32) -> i64 {
        let partition = self.services().leader_of("t", partition).unwrap();
        partition.view().end()
    }

    /// What `/metrics` shows, of the first line of this name.
    pub fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let get = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(get).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let mut lines = page.lines().map(str::split_whitespace);
        let value = lines.find_map(|mut words| {
            let named = words.next().and_then(|it| it.split('{').next());
            (named == Some(name)).then(|| words.next())
        });
        value
            .flatten()
            .and_then(|value| value.parse().ok())
            .unwrap()
    }

    pub fn n_in_flight(&self) -> i64 {
        self.services().metrics().requests_in_flight.get()
    }

    pub fn n_connections(&self) -> i64 {
        self.services().metrics().connections.get()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed assertion must not leave the runtimes waiting for the disk.
        self.syncs.hold(false);
        let control = self.control.take().unwrap();
        control.block_on(self.server.take().unwrap().close());
        let stopped = control.block_on(self.node.take().unwrap().stop());
        assert!(stopped.is_ok() || std::thread::panicking());
        self.data.take().unwrap().shutdown_background();
        control.shutdown_background();
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Client {
    pub stream: TcpStream,
    n_sent: i32,
    n_received: i32,
}

impl Client {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            n_sent: 0,
            n_received: 0,
        }
    }

    /// The frame of the next request; correlation ids count up.
    pub fn frame<R: Request>(&mut self, request: &R, version: i16) -> Bytes {
        self.n_sent += 1;
        request_frame(request, version, self.n_sent, Some("raw".into())).unwrap()
    }

    pub fn send<R: Request>(&mut self, request: &R, version: i16) {
        let frame = self.frame(request, version);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next answer, which must be to the next request.
    pub fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        let (header, response) =
            decode_response::<R::Response>(Bytes::from(frame), version).unwrap();
        self.n_received += 1;
        assert_eq!(header.correlation_id, self.n_received, "answers in order");
        response
    }

    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version)
    }

    /// Whether the node closes the connection without another word.
    pub fn is_closed(&mut self) -> bool {
        use std::io::ErrorKind::WouldBlock;
        match self.stream.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() != WouldBlock,
        }
    }

    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// One record of `n_bytes`, of nobody in particular or of an idempotent producer.
pub fn batch(n_bytes: usize, producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    builder.push(0, Some(b"k"), Some(&vec![b'v'; n_bytes]));
    builder.finish()
}

pub fn produce(partition: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(records),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Error and base offset of the only partition.
pub fn produced(answer: &ProduceResponse) -> (i16, i64) {
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// Without a session, from the offset on.
pub fn fetch(partition: i32, offset: i64, wait: Duration) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: wait.as_millis() as i32,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: 50 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Error, high watermark and bytes of the only partition.
pub fn fetched<Records: RecordSet>(answer: &FetchResponse<Records>) -> (i16, i64, usize) {
    let partition = &answer.responses[0].partitions[0];
    let n_bytes = partition.records.as_ref().map_or(0, RecordSet::n_bytes);
    (partition.error_code, partition.high_watermark, n_bytes)
}
