use std::collections::BTreeMap;

use ottla_metadata::config::BrokerConfig;
use ottla_storage::new_id;

use super::*;

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
const NOW_MS: i64 = 1_800_000_000_000;

fn format(root: &Path, directories: &[&str], metadata: &str, voters: InitialVoters) -> Format {
    Format {
        cluster_id: CLUSTER.to_owned(),
        node_id: 1,
        directories: directories.iter().map(|name| root.join(name)).collect(),
        metadata_directory: root.join(metadata),
        controller_listener: "CONTROLLER".to_owned(),
        voters,
        level: MetadataVersion::MAX,
        features: Vec::new(),
        ignore_formatted: false,
    }
}

fn controller(id: NodeId, port: u16, directory: &str) -> InitialController {
    let directory_id = directory.parse().unwrap();
    InitialController {
        id,
        host: "localhost".to_owned(),
        port,
        directory_id,
    }
}

fn prepare(format: &Format) -> Result<Formatted, FormatRefused> {
    format.run(&Disk::new(), NOW_MS, new_id)
}

/// Everything below `root`, by relative path, without what differs from run to run.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let bytes = fs::read(&path).unwrap();
            let bytes = match name.ends_with(".checkpoint") {
                true => without_times(bytes),
                false => without_date_and_id(&bytes),
            };
            found.insert(name, bytes);
        }
    }
    found
}

/// Zeroes the checksum and both timestamps of every batch, and the header's own time.
fn without_times(mut file: Vec<u8>) -> Vec<u8> {
    const HEADER_TIME: std::ops::Range<usize> = 73..81;
    let mut start = 0;
    while start < file.len() {
        let size: [u8; 4] = file[start + 8..start + 12].try_into().unwrap();
        file[start + 17..start + 21].fill(0);
        file[start + 27..start + 43].fill(0);
        start += 12 + usize::try_from(u32::from_be_bytes(size)).unwrap();
    }
    file[HEADER_TIME].fill(0);
    file
}

fn without_date_and_id(file: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut lines: Vec<_> = lines
        .map(|line| {
            line.split_once("directory.id=")
                .map_or(line, |_| "directory.id=(an id)")
        })
        .collect();
    // java.util.Properties keeps no order.
    lines.sort_unstable();
    lines.join("\n").into_bytes()
}

fn check_against_kafka(name: &str, format: impl FnOnce(&Path) -> Format) {
    let root = tempfile::tempdir().unwrap();
    prepare(&format(root.path())).unwrap();
    let kafka = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/format")
        .join(name);
    let (kafka, ours) = (files(&kafka), files(root.path()));
    assert_eq!(
        kafka.keys().collect::<Vec<_>>(),
        ours.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in kafka {
        assert_eq!(ours[&name], bytes, "{name}");
    }
}

#[test]
fn files_are_those_of_kafka() {
    let own = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format/standalone/a/meta.properties"),
    )
    .unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("directory.id="))
        .unwrap()
        .to_owned();
    check_against_kafka("standalone", |root| {
        format(
            root,
            &["a"],
            "a",
            InitialVoters::Known(vec![controller(1, 9093, &own)]),
        )
    });
    check_against_kafka("static", |root| {
        format(root, &["a", "b"], "a", InitialVoters::Static)
    });
    check_against_kafka("elsewhere", |root| {
        format(root, &["a"], "a", InitialVoters::Elsewhere)
    });
    check_against_kafka("multi", |root| {
        let voters = vec![
            controller(1, 9093, "JEXY6aqzQY-32P5TStzaFg"),
            controller(2, 9094, "MvDxzVmcRsaTz33bUuRU6A"),
        ];
        Format {
            level: MetadataVersion::from_name("4.2").unwrap(),
            features: vec![("group.version".to_owned(), 0)],
            ..format(root, &["a", "b"], "m", InitialVoters::Known(voters))
        }
    });
}

#[test]
fn the_own_directory_id_is_the_voters() {
    let root = tempfile::tempdir().unwrap();
    let own = "JEXY6aqzQY-32P5TStzaFg";
    let voters = InitialVoters::Known(vec![controller(1, 9093, own)]);
    let done = prepare(&format(root.path(), &["a", "b"], "a", voters)).unwrap();
    let roles: Vec<_> = done.directories.iter().map(|(_, role)| *role).collect();
    assert_eq!(
        roles,
        [DirectoryRole::DynamicMetadataVoter, DirectoryRole::Data]
    );
    let id = |name| {
        let meta = MetaProperties::read(&Disk::new(), &root.path().join(name))
            .unwrap()
            .unwrap();
        meta.directory_id.unwrap()
    };
    assert_eq!(id("a").to_string(), own);
    assert_ne!(id("b"), id("a"));
}

#[test]
fn formatted_directories_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut format = format(root.path(), &["a", "b"], "a", InitialVoters::Static);
    format.directories.truncate(1);
    prepare(&format).unwrap();
    let before = files(root.path());
    let refused = prepare(&format).unwrap_err().to_string();
    assert!(
        refused.contains("is already formatted. Use --ignore-formatted"),
        "{refused}"
    );
    format.directories.push(root.path().join("b"));
    format.ignore_formatted = true;
    let done = prepare(&format).unwrap();
    assert_eq!(
        done.directories,
        [(root.path().join("b"), DirectoryRole::Data)]
    );
    assert!(
        files(root.path())
            .iter()
            .take(before.len())
            .eq(before.iter())
    );
    assert!(prepare(&format).unwrap().directories.is_empty());

    format.cluster_id = "other".to_owned();
    assert!(matches!(
        prepare(&format),
        Err(FormatRefused::OtherCluster { .. })
    ));
    format.cluster_id = CLUSTER.to_owned();
    format.node_id = 2;
    assert!(matches!(
        prepare(&format),
        Err(FormatRefused::OtherNode { .. })
    ));
}

#[test]
fn features_must_fit() {
    let root = tempfile::tempdir().unwrap();
    let refused = |voters: InitialVoters, level: i16, feature: &str, at: i16| {
        let mut format = format(root.path(), &["a"], "a", voters);
        format.level = MetadataVersion::from_level(level).unwrap();
        format.features = vec![(feature.to_owned(), at)];
        format
            .bootstrap()
            .map(drop)
            .map_err(|refused| refused.to_string())
    };
    let known = || InitialVoters::Known(vec![controller(1, 9093, "JEXY6aqzQY-32P5TStzaFg")]);
    assert!(
        refused(known(), 30, "nope", 1)
            .unwrap_err()
            .starts_with("Unsupported feature: nope.")
    );
    assert!(
        refused(known(), 30, "group.version", 7)
            .unwrap_err()
            .contains("level 7")
    );
    assert!(refused(known(), 20, "eligible.leader.replicas.version", 1).is_err());
    assert!(refused(known(), 20, "transaction.version", 2).is_ok());
    assert!(refused(known(), 30, "kraft.version", 0).is_err());
    assert!(refused(known(), 30, "kraft.version", 1).is_ok());
    assert!(refused(InitialVoters::Static, 30, "kraft.version", 1).is_err());
    assert!(refused(InitialVoters::Static, 30, "kraft.version", 0).is_ok());
}

fn settings(root: &Path, lines: &[(&str, &str)]) -> NodeSettings {
    let dirs = format!("{0}/a,{0}/b", root.display());
    let least = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", dirs.as_str()),
    ];
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let all = least.iter().chain(lines).map(own).collect();
    BrokerConfig::new(all).node_settings().unwrap()
}

/// What a starting node would prepare: the form of the quorum, or why not.
fn planned(root: &Path, lines: &[(&str, &str)]) -> String {
    let settings = settings(root, lines);
    let own_hosts = ["broker.example".to_owned()];
    match auto_format(&settings, None, &own_hosts, &Disk::new(), new_id) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Format {
            voters: InitialVoters::Known(voters),
            ..
        })) => {
            format!(
                "known {}@{}:{}",
                voters[0].id, voters[0].host, voters[0].port
            )
        }
        Ok(Some(format)) => format!("{:?}", format.voters),
        Err(refused) => refused
            .to_string()
            .replace(&root.display().to_string(), "ROOT"),
    }
}

#[test]
fn a_node_prepares_itself_only_if_it_is_alone() {
    const VOTERS: &str = "controller.quorum.voters";
    const SERVERS: &str = "controller.quorum.bootstrap.servers";
    let root = tempfile::tempdir().unwrap();
    let plan = |lines: &[(&str, &str)]| planned(root.path(), lines);
    assert_eq!(plan(&[]), "known 1@localhost:9093");
    assert_eq!(plan(&[(VOTERS, "1@elsewhere:9093")]), "Static");
    assert!(plan(&[(VOTERS, "1@a:9093,2@b:9093")]).contains("is not this node alone"));
    for own in [
        "localhost:9093",
        "127.0.0.1:9093",
        "[::1]:9093",
        "Broker.example:9093",
    ] {
        assert_eq!(plan(&[(SERVERS, own)]), "known 1@localhost:9093", "{own}");
    }
    let told = (
        "advertised.listeners",
        "PLAINTEXT://public:9092,CONTROLLER://public:19093",
    );
    assert_eq!(
        plan(&[told, (SERVERS, "public:19093")]),
        "known 1@public:19093"
    );
    for other in [
        "localhost:9094",
        "elsewhere:9093",
        "localhost:9093,elsewhere:9093",
    ] {
        assert!(
            plan(&[(SERVERS, other)]).contains("own controller listener alone"),
            "{other}"
        );
    }
    assert!(plan(&[("ottla.auto.format", "false")]).contains("ottla.auto.format is false"));
    assert_eq!(
        plan(&[("process.roles", "broker")]),
        "ROOT/a is not formatted and process.roles is not both roles; prepare the log directories \
         with `ottla format`."
    );
}

#[test]
fn a_directory_with_something_in_it_is_not_prepared() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/lost+found")).unwrap();
    assert_eq!(planned(root.path(), &[]), "known 1@localhost:9093");
    fs::create_dir_all(root.path().join("b/topic-0")).unwrap();
    assert_eq!(
        planned(root.path(), &[]),
        "ROOT/a is not formatted, and ROOT/b is not empty (topic-0); prepare the log directories \
         with `ottla format`."
    );
    fs::remove_dir(root.path().join("b/topic-0")).unwrap();
    let settings = settings(root.path(), &[]);
    let format = auto_format(&settings, Some(CLUSTER.into()), &[], &Disk::new(), new_id).unwrap();
    prepare(&format.unwrap()).unwrap();
    assert_eq!(planned(root.path(), &[]), "nothing");
}
