//! From a frame to its handler: header, version, the line in the registry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ottla_node::Services;
use ottla_protocol::header::RequestStart;
use ottla_protocol::messages::FetchRequest;
use ottla_protocol::{Reader, Versioned};

use crate::answer::Answer;
use crate::api::cluster::api_versions;
use crate::overlap::Overlap;
use crate::registry::{self, API_VERSIONS, Door};
use crate::session::{Call, Session};
use crate::throttle;

/// A request that has its handler and its place in line.
pub(crate) struct Started {
    pub(crate) key: i16,
    pub(crate) overlap: Overlap,
    pub(crate) answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// Whether requests of this key may touch a partition's disk.
pub(crate) fn wants_disk(key: Option<i16>) -> bool {
    key.and_then(registry::find)
        .is_some_and(|api| api.wants_disk)
}

/// What requests of this key have to do with others on their connection.
pub(crate) fn overlap(key: Option<i16>) -> Overlap {
    key.and_then(registry::find)
        .map_or(Overlap::Alone, |api| api.overlap)
}

pub(crate) fn is_fetch(key: Option<i16>) -> bool {
    key == Some(FetchRequest::KEY)
}

/// Reads the header and starts the handler. An error is the sentence with which the connection
/// ends: Kafka ends it for everything it cannot read, but answers an ApiVersions request of an
/// unknown version, so that the client can choose a lower one (KIP-511).
pub(crate) fn start(
    services: &Arc<Services>,
    session: &Arc<Session>,
    frame: Bytes,
) -> Result<Started, String> {
    let (key, version) = key_and_version(&frame)?;
    let api = registry::find(key).ok_or_else(|| format!("request with unknown key {key}"))?;
    if session.is_controller && api.door == Door::Broker {
        return Err(format!(
            "{} is not served on controller listeners",
            api.name
        ));
    }
    if !api.is_on(services) {
        return Err(format!(
            "{} is not enabled (ottla.client.telemetry)",
            api.name
        ));
    }
    let is_served = api.served.contains(&version);
    if !is_served && key != API_VERSIONS {
        return Err(format!("{} version {version} is not supported", api.name));
    }
    let header_version = if is_served { version } else { 0 };
    let is_flexible = is_served && version >= api.flexible_from;
    let n_bytes = frame.len();
    let mut reader = Reader::new(frame);
    let header = RequestStart::decode(&mut reader)
        .and_then(|start| start.rest(&mut reader, is_flexible))
        .map_err(|why| format!("request header cannot be read: {why}"))?;
    let body = reader.rest();
    let call = Call {
        session: session.clone(),
        client_id: header.client_id.map(|id| session.client_id(&id)),
        key,
        version: header_version,
        correlation_id: header.correlation_id,
        n_bytes,
        busy: Default::default(),
    };
    services.metrics().request_came(key, version);
    let answer: Pin<Box<dyn Future<Output = Answer> + Send>> = if is_served {
        let call = Arc::new(call);
        throttle::timed(
            services,
            &call,
            (api.run)(services.clone(), call.clone(), body),
        )
    } else {
        Box::pin(std::future::ready(api_versions::unsupported_version(&call)))
    };
    Ok(Started {
        key,
        overlap: api.overlap,
        answer,
    })
}

fn key_and_version(frame: &[u8]) -> Result<(i16, i16), String> {
    match frame {
        [a, b, c, d, ..] => Ok((i16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d]))),
        _ => Err(format!(
            "frame of {} bytes is too short for a request header",
            frame.len()
        )),
    }
}
