use std::io::Write;

use expect_test::{Expect, expect};

use super::*;

const LEAST: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
    listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n";

struct Scene {
    file: Option<String>,
    overrides: Vec<&'static str>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Scene {
    fn file(text: &str) -> Self {
        Self {
            file: Some(format!("{LEAST}{text}")),
            overrides: vec![],
            environment: vec![],
        }
    }

    fn bare() -> Self {
        Self {
            file: None,
            overrides: vec![],
            environment: vec![],
        }
    }

    fn load(&self) -> Result<Settings, String> {
        let mut file = tempfile::Builder::new()
            .suffix(".properties")
            .tempfile()
            .unwrap();
        file.write_all(self.file.as_deref().unwrap_or_default().as_bytes())
            .unwrap();
        let given = Given {
            file: self.file.as_ref().map(|_| file.path().to_owned()),
            overrides: self
                .overrides
                .iter()
                .map(|text| (*text).to_owned())
                .collect(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let path = file.path().display().to_string();
        load(&given).map_err(|error| error.to_string().replace(&path, "server.properties"))
    }

    fn refused(&self, expect: Expect) {
        let text = self
            .load()
            .map(|_| "(starts)".to_owned())
            .unwrap_or_else(|error| error);
        expect.assert_eq(&text);
    }
}

#[test]
fn a_node_without_a_file_works_at_once() {
    let settings = Scene::bare().load().unwrap();
    let node = &settings.node;
    assert_eq!(node.node_id, 1);
    assert!(node.roles.broker && node.roles.controller);
    assert_eq!(node.log_dirs, ["./ottla-data"]);
    assert_eq!(node.groups.offsets_topic_replication_factor, 1);
    assert_eq!(
        node.listeners
            .iter()
            .map(|one| one.port)
            .collect::<Vec<_>>(),
        [9092, 9093]
    );
    assert_eq!(node.advertised[0].host, None);
    assert!(node.ottla.flush_before_ack && node.ottla.auto_format);
    assert!(settings.notes.is_empty());
}

#[test]
fn the_file_yields_to_the_environment_and_that_to_overrides() {
    let mut scene = Scene::file("num.partitions=2\nnum.partitions=3\n");
    assert_eq!(scene.load().unwrap().node.topics.num_partitions, 3);
    scene.environment.push(("KAFKA_NUM_PARTITIONS", "4"));
    assert_eq!(scene.load().unwrap().node.topics.num_partitions, 4);
    scene.environment.push(("KAFKA_CFG_NUM_PARTITIONS", "5"));
    assert_eq!(scene.load().unwrap().node.topics.num_partitions, 5);
    scene.overrides.push("num.partitions=6");
    assert_eq!(scene.load().unwrap().node.topics.num_partitions, 6);
}

#[test]
fn a_tutorials_compose_file_starts_a_node() {
    let mut scene = Scene::bare();
    scene.environment = vec![
        ("KAFKA_CFG_NODE_ID", "0"),
        ("KAFKA_CFG_PROCESS_ROLES", "controller,broker"),
        ("KAFKA_CFG_CONTROLLER_QUORUM_VOTERS", "0@kafka:9093"),
        (
            "KAFKA_CFG_LISTENERS",
            "PLAINTEXT://:9092,CONTROLLER://:9093",
        ),
        (
            "KAFKA_CFG_ADVERTISED_LISTENERS",
            "PLAINTEXT://localhost:9092",
        ),
        (
            "KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        ),
        ("KAFKA_CFG_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("ALLOW_PLAINTEXT_LISTENER", "yes"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_KRAFT_CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qg"),
    ];
    let settings = scene.load().unwrap();
    assert_eq!(settings.node.node_id, 0);
    assert_eq!(
        settings.node.advertised[0].host.as_deref(),
        Some("localhost")
    );
    assert_eq!(
        settings.cluster_id.as_deref(),
        Some("MkU3OEVBNTcwNTJENDM2Qg")
    );
    assert_eq!(settings.notes, []);
}

#[test]
fn what_has_no_effect_says_so() {
    let mut scene = Scene::file("num.io.threads=9\nnum.partitons=3\nnum.partitions=3\n");
    scene.environment.push(("KAFKA_FOO_BAR", "1"));
    scene.overrides.push("super.users=User:a");
    let notes = scene.load().unwrap().notes;
    let notes: Vec<_> = notes
        .iter()
        .map(|note| {
            let text = note.to_string();
            let (start, end) = (
                text.find("(/").unwrap_or(text.len()),
                text.find(" line").unwrap_or(text.len()),
            );
            text[..start].to_owned() + &text[end.max(start)..]
        })
        .collect();
    expect![[r#"
        [
            "foo.bar is no setting that Kafka or Ottla knows (environment variable KAFKA_FOO_BAR)",
            "num.io.threads is known and not honoured yet  line 5)",
            "num.partitons is no setting that Kafka or Ottla knows  line 6)",
        ]
    "#]]
    .assert_debug_eq(&notes);
}

#[test]
fn a_bad_value_gets_one_sentence() {
    Scene::file("\nnum.partitions = zero\n").refused(expect![
        "server.properties line 6: num.partitions=zero is not allowed: Not a number of type INT"
    ]);
    Scene::file("log.roll.ms=0\n").refused(expect![
        "server.properties line 5: log.roll.ms=0 is not allowed: requirement failed: log.roll.ms must be greater than or equal to 1"
    ]);
    Scene::file("ssl.keystore.location=\\u12\n").refused(expect![
        "server.properties line 5: \\u must be followed by four hexadecimal digits"
    ]);
    let mut scene = Scene::bare();
    scene
        .environment
        .push(("KAFKA_LISTENERS", "PLAINTEXT:9092"));
    scene.refused(expect!["environment variable KAFKA_LISTENERS: listeners=PLAINTEXT:9092 is not allowed: Unable to parse PLAINTEXT:9092 to a broker endpoint; it must be NAME://host:port"]);
    let mut scene = Scene::bare();
    scene.overrides.push("compression.type=brotli");
    scene.refused(expect!["--override: compression.type=brotli is not allowed: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"]);
    let mut scene = Scene::bare();
    scene.overrides.push("compression.type");
    scene.refused(expect!["--override compression.type: must be NAME=VALUE"]);
    let mut scene = Scene::bare();
    scene.file = Some("node.id=1\n".to_owned());
    scene.refused(expect![
        "server.properties: process.roles must be set, it has no default"
    ]);
}

#[test]
fn what_protects_or_joins_is_not_pretended() {
    Scene::file("listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT\nsecurity.inter.broker.protocol=SSL\n")
        .refused(expect!["server.properties line 5: listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT is not allowed: TLS and SASL are not served yet: map every listener to PLAINTEXT"]);
    let authorizer =
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";
    Scene::file(authorizer).refused(expect!["server.properties line 5: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer is not allowed: access control is not served yet: leave it empty, or put User:ANONYMOUS into `super.users` if anybody who can connect may do everything"]);
    Scene::file(&format!(
        "{authorizer}super.users=User:admin;User:ANONYMOUS\n"
    ))
    .refused(expect!["(starts)"]);
    Scene::file("controller.quorum.voters=1@a:9093,2@b:9093\n")
        .refused(expect!["server.properties line 5: controller.quorum.voters=1@a:9093,2@b:9093 is not allowed: a quorum of several voters is not served yet: name this node alone"]);
    Scene::file("process.roles=controller\n").refused(expect!["server.properties line 5: process.roles=controller is not allowed: a role alone is not served yet: set broker,controller"]);
}

#[test]
fn references_to_providers_are_followed() {
    let mut scene = Scene::file("config.providers=env\nnum.partitions=${env:PARTITIONS}\n");
    scene.environment.push(("PARTITIONS", "7"));
    assert_eq!(scene.load().unwrap().node.topics.num_partitions, 7);
    scene.environment.clear();
    scene.refused(expect!["server.properties line 6: num.partitions=${env:PARTITIONS} is not allowed: Not a number of type INT"]);
}

#[test]
fn older_and_shorter_names_do() {
    let mut scene = Scene::bare();
    scene.environment = vec![("KAFKA_BROKER_ID", "7"), ("KAFKA_LOG_DIRS", "/a, /b")];
    let node = scene.load().unwrap().node;
    assert_eq!(node.node_id, 7);
    assert_eq!(node.log_dirs, ["/a", "/b"]);
    assert_eq!(node.metadata_log_dir, "/a");
}
