//! The first exchange on a connection: ApiVersions, so that both sides know what the other speaks.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::{Refusal, Request, Text, Versioned, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::ClientError;

/// A broker's answer before we know anything of it must be small.
const MAX_FRAME: usize = 1 << 20;

/// The first and last version of every API that the other side serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    ranges: HashMap<i16, (i16, i16)>,
}

impl Versions {
    fn of(answer: &ApiVersionsResponse) -> Self {
        let range = |api: &ottla_protocol::messages::ApiVersion| {
            (api.api_key, (api.min_version, api.max_version))
        };
        Self {
            ranges: answer.api_keys.iter().map(range).collect(),
        }
    }

    pub fn serves<R: Request>(&self) -> bool {
        self.newest::<R>(R::VERSIONS.1).is_ok()
    }

    /// The highest version that both sides know, up to `limit`.
    pub fn newest<R: Request>(&self, limit: i16) -> Result<i16, ClientError> {
        let unserved = |why| ClientError::Unserved { api: R::NAME, why };
        let (ours, theirs) = (R::VERSIONS, self.ranges.get(&R::KEY));
        let &(low, high) = theirs.ok_or_else(|| unserved("it does not know it".to_owned()))?;
        let version = high.min(ours.1).min(limit);
        if version < low.max(ours.0) {
            let (first, last) = (ours.0, ours.1.min(limit));
            return Err(unserved(format!(
                "versions {first} to {last} are needed, {low} to {high} are served"
            )));
        }
        Ok(version)
    }
}

/// Agree on versions. The error text is the reason alone; the caller knows the address.
pub(crate) async fn agree(stream: &mut TcpStream, client_id: &Text) -> Result<Versions, String> {
    let mut version = ApiVersionsRequest::VERSIONS.1;
    loop {
        let answer = ask(stream, client_id, version).await?;
        match Refusal::from_code(answer.error_code) {
            None => return Ok(Versions::of(&answer)),
            // It answers in version 0 whatever was asked, and names the range that it has.
            Some(Refusal::UnsupportedVersion) if version > 0 => {
                let theirs = Versions::of(&answer);
                let next = theirs.newest::<ApiVersionsRequest>(version - 1);
                version = next.unwrap_or_default();
            }
            Some(refusal) => return Err(format!("it refuses to name its versions: {refusal}")),
        }
    }
}

async fn ask(
    stream: &mut TcpStream,
    client_id: &Text,
    version: i16,
) -> Result<ApiVersionsResponse, String> {
    let request = ApiVersionsRequest {
        client_software_name: Text::from_static("ottla"),
        client_software_version: Text::from_static(env!("CARGO_PKG_VERSION")),
    };
    let frame = request_frame(&request, version, 0, Some(client_id.clone()))
        .map_err(|error| error.to_string())?;
    stream.write_all(&frame).await.map_err(|e| e.to_string())?;
    let answer = read_frame(stream).await?;
    read_answer(answer, version)
}

fn read_answer(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, String> {
    let code = frame
        .get(4..6)
        .map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
    let is_old = code == Some(Refusal::UnsupportedVersion.code());
    let version = if is_old { 0 } else { version };
    let (_, answer) = decode_response::<ApiVersionsResponse>(frame, version)
        .map_err(|malformed| format!("it does not speak Kafka's protocol: {malformed}"))?;
    Ok(answer)
}

async fn read_frame(stream: &mut TcpStream) -> Result<Bytes, String> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(frame) = frame::take(&mut buffer, MAX_FRAME)
            .map_err(|bad| format!("it does not speak Kafka's protocol: {bad}"))?
        {
            return Ok(frame);
        }
        let n = stream
            .read_buf(&mut buffer)
            .await
            .map_err(|e| e.to_string())?;
        if n == 0 {
            return Err("it closed the connection before it named its versions".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::header::response_frame;
    use ottla_protocol::messages::{ApiVersion, MetadataRequest};

    fn served(api_key: i16, min_version: i16, max_version: i16) -> ApiVersionsResponse {
        ApiVersionsResponse {
            api_keys: vec![ApiVersion {
                api_key,
                min_version,
                max_version,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn the_newest_common_version_is_taken() {
        let versions = Versions::of(&served(MetadataRequest::KEY, 2, 30));
        let newest = MetadataRequest::VERSIONS.1;
        assert_eq!(versions.newest::<MetadataRequest>(i16::MAX), Ok(newest));
        assert_eq!(versions.newest::<MetadataRequest>(4), Ok(4));
        assert!(versions.newest::<MetadataRequest>(1).is_err());
        assert!(!versions.serves::<ApiVersionsRequest>());
        let future = Versions::of(&served(MetadataRequest::KEY, 40, 50));
        assert!(!future.serves::<MetadataRequest>());
    }

    #[test]
    fn an_older_broker_answers_in_version_0() {
        let refused = ApiVersionsResponse {
            error_code: Refusal::UnsupportedVersion.code(),
            ..served(18, 0, 2)
        };
        let framed = response_frame(&refused, 0, 0).unwrap();
        let answer = read_answer(framed.slice(frame::LENGTH_BYTES..), 4).unwrap();
        let theirs = Versions::of(&answer);
        assert_eq!(theirs.newest::<ApiVersionsRequest>(3), Ok(2));
    }
}
