//! Metrics that clients push (KIP-714), while `ottla.client.telemetry` is on.

pub(crate) mod get_telemetry_subscriptions;
pub(crate) mod push_telemetry;

use ottla_node::TelemetryClient;

use crate::session::{Call, canonical};

/// The client, as subscriptions match it.
fn client(call: &Call) -> TelemetryClient {
    let software = call.session.software.get();
    let word = |at: usize| {
        software
            .and_then(|words| words.get(at))
            .map(ToString::to_string)
    };
    TelemetryClient {
        client_id: call.client().to_owned(),
        software_name: word(0),
        software_version: word(1),
        address: canonical(call.session.peer.ip()).to_string(),
        port: call.session.peer.port(),
    }
}
