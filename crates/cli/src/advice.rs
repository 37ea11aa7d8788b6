//! What a person may do about a failure: one sentence behind the one that says what happened.

use std::sync::OnceLock;

use ottla_client::{Address, ClientError};
use ottla_protocol::Refusal;

/// The addresses that were typed; another one came from a broker.
static TYPED: OnceLock<Vec<Address>> = OnceLock::new();

pub(crate) fn remember(bootstrap: &[Address]) {
    let _ = TYPED.set(bootstrap.to_vec());
}

pub(crate) fn on(error: &anyhow::Error) -> Option<String> {
    let failure = error.chain().find_map(|cause| cause.downcast_ref())?;
    about(failure, TYPED.get().map(Vec::as_slice).unwrap_or_default())
}

fn about(failure: &ClientError, typed: &[Address]) -> Option<String> {
    match failure {
        ClientError::Unreachable { address, why } if typed.contains(address) => {
            Some(unreachable(address, why))
        }
        ClientError::Unreachable { address, .. } => Some(format!(
            "{address} is what the cluster advertises, not what was typed; if clients cannot reach \
             it from here, set advertised.listeners of that node to an address that they can"
        )),
        ClientError::NobodyAnswers { last, .. } => about(last, typed),
        ClientError::TimedOut { .. } => Some(
            "the node is reached and does not answer: its log, or /health/ready of its HTTP \
             listener, may say why; more patience is given with default.api.timeout.ms and \
             request.timeout.ms in --command-config"
                .to_owned(),
        ),
        ClientError::Unserved { .. } => Some(
            "`ottla api-versions` lists what the broker serves; an older broker needs a tool of \
             its own age"
                .to_owned(),
        ),
        ClientError::Refused { refused, .. } => refusal(refused.refusal).map(str::to_owned),
        ClientError::BadAnswer { .. } | ClientError::Invalid(_) => None,
    }
}

fn unreachable(address: &Address, why: &str) -> String {
    let port = address.port;
    if why.contains("speak Kafka's protocol") {
        return format!(
            "something else listens there, or the listener is protected (TLS, SASL); --bootstrap-server \
             needs a PLAINTEXT listener of a broker, not port {port}"
        );
    }
    if why.contains("before it named its versions") {
        return format!(
            "whoever listens on port {port} hung up at once: a protected listener (TLS, SASL) does so"
        );
    }
    if why.starts_with("no answer") {
        return format!(
            "{address} is reached and nobody answers: a firewall in between, or a node that is \
             very busy"
        );
    }
    if why.contains("lookup") || why.contains("resolve") {
        return format!(
            "the name {} is not known here: is it spelled right?",
            address.host
        );
    }
    format!(
        "is a node running there? `ottla server` starts one on localhost:9092; --bootstrap-server \
         names another address than {address}"
    )
}

fn refusal(refusal: Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::TopicAlreadyExists => {
            "`ottla topics --describe --topic NAME` shows it; --if-not-exists makes this no error, \
             and --alter gives it more partitions"
        }
        Refusal::UnknownTopicOrPartition | Refusal::UnknownTopicId => {
            "`ottla topics --list` shows the topics that exist"
        }
        Refusal::GroupIdNotFound => "`ottla list-groups --list` shows all groups, of every type",
        Refusal::NonEmptyGroup => {
            "`ottla groups --describe --members --group NAME` shows who is in it; stop those first"
        }
        Refusal::GroupSubscribedToTopic => {
            "members of the group still read the topic: `ottla groups --describe --members` shows \
             who; stop those first"
        }
        Refusal::InvalidReplicationFactor => {
            "`ottla cluster list-endpoints` shows the brokers; there are no more replicas than those"
        }
        Refusal::TransactionalIdNotFound => {
            "`ottla transactions list` shows the transactional ids that are known"
        }
        Refusal::InvalidConfig => {
            "`ottla configs --describe --all` with the same resource shows names and values that hold"
        }
        Refusal::OffsetOutOfRange => {
            "`ottla get-offsets --topic NAME --time earliest` and `--time latest` show the range"
        }
        Refusal::ClusterAuthorizationFailed
        | Refusal::TopicAuthorizationFailed
        | Refusal::GroupAuthorizationFailed
        | Refusal::TransactionalIdAuthorizationFailed => {
            "whoever runs the cluster may allow it; credentials are given in --command-config"
        }
        Refusal::NotController => "the controller is being elected: try again in a moment",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable_at(address: &str, why: &str) -> ClientError {
        ClientError::Unreachable {
            address: address.parse().unwrap(),
            why: why.to_owned(),
        }
    }

    #[test]
    fn an_address_that_nobody_typed_is_an_advertised_one() {
        let typed = ["localhost:9092".parse().unwrap()];
        let told = about(&unreachable_at("kafka-1:29092", "refused"), &typed).unwrap();
        assert!(told.contains("advertised.listeners"), "{told}");
        let told = about(&unreachable_at("localhost:9092", "refused"), &typed).unwrap();
        assert!(told.contains("ottla server"), "{told}");
        let several = ClientError::NobodyAnswers {
            addresses: typed.to_vec(),
            last: Box::new(unreachable_at(
                "localhost:9092",
                "it does not speak Kafka's protocol",
            )),
        };
        let told = about(&several, &typed).unwrap();
        assert!(told.contains("something else"), "{told}");
    }

    #[test]
    fn a_topic_that_exists_is_shown_how() {
        let refused = ClientError::refused("x", Refusal::TopicAlreadyExists);
        let error = anyhow::Error::from(refused).context("while creating");
        assert!(on(&error).unwrap().contains("--if-not-exists"));
    }
}
