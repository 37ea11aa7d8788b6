//! Settings from environment variables, by the rules of the images that people know.
//!
//! * `KAFKA_CFG_<NAME>` (Bitnami): `_` is `.`.
//! * `KAFKA_<NAME>` (Apache): `_` is `.`, `__` is `_`, `___` is `-`.
//! * `OTTLA_<NAME>`: our own `ottla.*`, `_` is `.`.
//!
//! What must stay true: a variable that is no setting (Java's options, what Kubernetes injects for a service
//! called `kafka`) is passed over in silence.

/// A setting that a variable names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FromVariable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) variable: String,
}

/// All settings in `variables`; where two rules name the same setting, Bitnami's comes last and wins.
pub(crate) fn settings(variables: &[(String, String)]) -> Vec<FromVariable> {
    let by = |rule: fn(&str) -> Option<String>| {
        variables.iter().filter_map(move |(variable, value)| {
            if is_no_setting(variable, value) {
                return None;
            }
            let (variable, value) = (variable.clone(), value.clone());
            Some(FromVariable {
                name: rule(&variable)?,
                value,
                variable,
            })
        })
    };
    by(ours).chain(by(apache)).chain(by(bitnami)).collect()
}

/// The cluster id that a container is given for a fresh directory.
pub(crate) fn cluster_id(variables: &[(String, String)]) -> Option<String> {
    let find = |name: &str| {
        let found = variables.iter().find(|(variable, _)| variable == name);
        found
            .map(|(_, value)| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    find("CLUSTER_ID")
        .or_else(|| find("KAFKA_KRAFT_CLUSTER_ID"))
        .or_else(|| find("KAFKA_CLUSTER_ID"))
}

fn ours(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("OTTLA_")?;
    Some(format!("ottla.{}", rest.to_lowercase().replace('_', ".")))
}

fn apache(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_")?;
    if rest.starts_with("CFG_") {
        return None;
    }
    Some(
        rest.to_lowercase()
            .replace('_', ".")
            .replace("...", "-")
            .replace("..", "_"),
    )
}

fn bitnami(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_CFG_")?;
    let name = rest.to_lowercase().replace('_', ".");
    Some(
        name.replace("sasl.ssl", "sasl_ssl")
            .replace("sasl.plaintext", "sasl_plaintext"),
    )
}

/// Variables of both images, and of Java, that never were settings.
const NO_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HOME",
    "KAFKA_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_DEBUG",
    "KAFKA_MODE",
    "KAFKA_CLUSTER_ID",
    "KAFKA_KRAFT_CLUSTER_ID",
    "KAFKA_ENABLE_KRAFT",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_BASE_DIR",
    "KAFKA_VOLUME_DIR",
    "KAFKA_DATA_DIR",
    "KAFKA_CONF_DIR",
    "KAFKA_CONF_FILE",
    "KAFKA_MOUNTED_CONF_DIR",
    "KAFKA_CERTS_DIR",
    "KAFKA_INITSCRIPTS_DIR",
    "KAFKA_LOG_DIR",
    "KAFKA_DAEMON_USER",
    "KAFKA_DAEMON_GROUP",
    "KAFKA_CLASSPATH",
    "OTTLA_LOG",
];
const NO_SETTING_PREFIXES: &[&str] = &["KAFKA_JMX_", "KAFKA_LOG4J_", "KAFKA_KRAFT_BOOTSTRAP_"];

fn is_no_setting(variable: &str, value: &str) -> bool {
    NO_SETTINGS.contains(&variable)
        || NO_SETTING_PREFIXES
            .iter()
            .any(|prefix| variable.starts_with(prefix))
        || is_from_kubernetes(variable, value)
}

/// Kubernetes describes every service to every container: `KAFKA_SERVICE_HOST`, `KAFKA_PORT=tcp://…`,
/// `KAFKA_PORT_9092_TCP_ADDR`, also `KAFKA_UI_…` for a service `kafka-ui`.
fn is_from_kubernetes(variable: &str, value: &str) -> bool {
    if variable.starts_with("KAFKA_CFG_") {
        return false;
    }
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    let is_service = variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_");
    is_service
        || (variable.ends_with("_PORT") && is_address)
        || variable.split_once("_PORT_").is_some_and(|(_, port)| {
            let mut parts = port.split('_');
            let is_number = parts.next().is_some_and(|text| text.parse::<u16>().is_ok());
            is_number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(variables: &[(&str, &str)], expect: Expect) {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let lines = settings(&variables);
        let lines = lines
            .iter()
            .map(|one| format!("{}={}\n", one.name, one.value));
        expect.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn a_tutorials_compose_file() {
        check(
            &[
                ("PATH", "/usr/bin"),
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
            ],
            expect![[r#"
                node.id=0
                process.roles=controller,broker
                controller.quorum.voters=0@kafka:9093
                listeners=PLAINTEXT://:9092,CONTROLLER://:9093
                advertised.listeners=PLAINTEXT://localhost:9092
                listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
                controller.listener.names=CONTROLLER
            "#]],
        );
    }

    #[test]
    fn both_rules_spell_names() {
        check(
            &[
                ("KAFKA_NODE_ID", "1"),
                ("KAFKA_MY__OWN___KEY", "x"),
                ("KAFKA_CFG_NODE_ID", "2"),
                ("KAFKA_CFG_LISTENER_NAME_SASL_SSL_SSL_CLIENT_AUTH", "none"),
                ("OTTLA_FLUSH_BEFORE_ACK", "false"),
                ("KAFKA_OTTLA_AUTO_FORMAT", "false"),
                ("KAFKA_ADVERTISED_PORT", "9092"),
            ],
            expect![[r#"
                ottla.flush.before.ack=false
                node.id=1
                my_own-key=x
                ottla.auto.format=false
                advertised.port=9092
                node.id=2
                listener.name.sasl_ssl.ssl.client.auth=none
            "#]],
        );
    }

    #[test]
    fn what_is_no_setting_is_passed_over() {
        check(
            &[
                ("KAFKA_HEAP_OPTS", "-Xmx1g"),
                ("KAFKA_VERSION", "4.3.1"),
                ("KAFKA_OPTS", "-Da=b"),
                ("KAFKA_HOME", "/opt/kafka"),
                ("KAFKA_JMX_PORT", "9999"),
                ("KAFKA_JMX_OPTS", "x"),
                ("KAFKA_LOG4J_LOGGERS", "x"),
                ("KAFKA_KRAFT_CLUSTER_ID", "x"),
                ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
                ("KAFKA_SERVICE_HOST", "10.0.0.1"),
                ("KAFKA_SERVICE_PORT", "9092"),
                ("KAFKA_SERVICE_PORT_CLIENT", "9092"),
                ("KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
                ("KAFKA_PORT_9092_TCP_PROTO", "tcp"),
                ("KAFKA_PORT_9092_TCP_PORT", "9092"),
                ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
                ("KAFKA_UI_SERVICE_HOST", "10.0.0.2"),
                ("KAFKA_UI_PORT_80_TCP_ADDR", "10.0.0.2"),
                ("OTTLA_SERVICE_HOST", "10.0.0.3"),
                ("OTTLA_PORT", "tcp://10.0.0.3:9092"),
            ],
            expect![[""]],
        );
    }

    #[test]
    fn the_cluster_id_has_names_of_its_own() {
        let of = |name: &str| cluster_id(&[(name.to_owned(), "abc".to_owned())]);
        assert_eq!(of("CLUSTER_ID").as_deref(), Some("abc"));
        assert_eq!(of("KAFKA_KRAFT_CLUSTER_ID").as_deref(), Some("abc"));
        assert_eq!(of("KAFKA_CFG_NODE_ID"), None);
    }
}
