//! The first groups of a fresh cluster: a coordinator that is named takes the group in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_metadata::config::{BrokerConfig, Overrides};
use ottla_node::{Disk, Node, Start};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal, Request};
use ottla_server::{Bound, Server};
use tokio::runtime::Runtime;

/// Clients that come while `__consumer_offsets` is being made.
const N_CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let frame = request_frame(request, version, 1, Some("first".into())).unwrap();
        self.0.write_all(&frame).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        let (_, response) = decode_response::<R::Response>(Bytes::from(frame), version).unwrap();
        response
    }
}

/// Asks until a coordinator is named, and joins at once: the outcome of that.
fn find_and_join(port: u16, group: &str) -> Option<Refusal> {
    let mut client = Client::connect(port);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec![group.to_owned().into()],
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    while client.call(&find, 4).coordinators[0].error_code != NONE {
        assert!(Instant::now() < deadline, "no coordinator");
    }
    let join = JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 6000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::new(),
        }],
        ..Default::default()
    };
    Refusal::from_code(client.call(&join, 5).error_code)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn config(port: u16, data: &Path) -> BrokerConfig {
    let controller = format!("127.0.0.1:{}", free_port());
    let settings: Overrides = [
        ("node.id", "1".to_owned()),
        ("process.roles", "broker,controller".to_owned()),
        (
            "listeners",
            format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://{controller}"),
        ),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("controller.quorum.bootstrap.servers", controller),
        ("log.dirs", data.display().to_string()),
        ("ottla.http.listener", format!("127.0.0.1:{}", free_port())),
        ("offsets.topic.replication.factor", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    BrokerConfig::new(settings)
}

#[test]
fn a_coordinator_that_is_named_sends_nobody_away() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = config(port, &directory.path().join("data"));
    let typed = config.node_settings().unwrap();
    let disk = Disk::new();
    let new_id = ottla_node::random_uuid;
    let format = ottla_node::auto_format(&typed, None, &[], &disk, new_id).unwrap();
    format.unwrap().run(&disk, 0, new_id).unwrap();
    let (control, data) = (Runtime::new().unwrap(), Runtime::new().unwrap());
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

    let clients: Vec<_> = (0..N_CLIENTS)
        .map(|n| std::thread::spawn(move || find_and_join(port, &format!("g{n}"))))
        .collect();
    for client in clients {
        let outcome = client.join().unwrap();
        assert!(
            matches!(
                outcome,
                Some(Refusal::MemberIdRequired | Refusal::CoordinatorLoadInProgress)
            ),
            "{outcome:?}"
        );
    }
    control.block_on(server.close());
    control.block_on(node.stop()).unwrap();
}
