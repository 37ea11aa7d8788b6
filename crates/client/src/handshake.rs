//! Which versions does the broker speak?

use std::collections::HashMap;

use bytes::Bytes;
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::{Refusal, Request, Text, Versioned};

use crate::connection::read_answer;
use crate::fault::Fault;

/// What we call ourselves; brokers count clients by it.
const SOFTWARE: Text = Text::from_static("ottla");

/// Something that a request can be sent over.
pub(crate) trait Line {
    async fn exchange<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Bytes), Fault>;
}

/// What a broker says it serves.
#[derive(Debug, Default)]
pub(crate) struct Versions(HashMap<i16, (i16, i16)>);

impl Versions {
    /// The newest version up to `at_most` that both sides know.
    pub(crate) fn newest<R: Versioned>(&self, at_most: i16) -> Result<i16, Fault> {
        let unsupported = |why: String| Fault::Unsupported { api: R::NAME, why };
        let (oldest, newest) = *self
            .0
            .get(&R::KEY)
            .ok_or_else(|| unsupported("the broker does not serve it".into()))?;
        let version = newest.min(R::VERSIONS.1).min(at_most);
        if version < oldest.max(R::VERSIONS.0) {
            return Err(unsupported(format!(
                "the broker serves versions {oldest} to {newest}, we know {} to {}",
                R::VERSIONS.0,
                R::VERSIONS.1
            )));
        }
        Ok(version)
    }
}

/// Asks in our newest version. A broker that does not know it says so in version 0, with the
/// versions that it does know.
pub(crate) async fn versions(line: &impl Line) -> Result<Versions, Fault> {
    let request = ApiVersionsRequest {
        client_software_name: SOFTWARE,
        client_software_version: Text::from_static(env!("CARGO_PKG_VERSION")),
    };
    let mut version = ApiVersionsRequest::VERSIONS.1;
    loop {
        let (correlation, answer) = line.exchange(&request, version).await?;
        let answer = read_either(answer, version, correlation)?;
        match Refusal::from_code(answer.error_code) {
            Some(Refusal::UnsupportedVersion) if version > 0 => {
                let known = answer.api_keys.iter().find(|api| api.api_key == 18);
                version = known
                    .map_or(0, |api| api.max_version.min(version - 1))
                    .max(0);
            }
            Some(refusal) => return Err(refusal.into()),
            None => {
                let ranges = answer
                    .api_keys
                    .iter()
                    .map(|api| (api.api_key, (api.min_version, api.max_version)));
                return Ok(Versions(ranges.collect()));
            }
        }
    }
}

fn read_either(
    answer: Bytes,
    version: i16,
    correlation: i32,
) -> Result<ApiVersionsResponse, Fault> {
    read_answer::<ApiVersionsRequest>(answer.clone(), version, correlation)
        .or_else(|_| read_answer::<ApiVersionsRequest>(answer, 0, correlation))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::MetadataRequest;

    use super::*;

    #[test]
    fn the_newest_common_version_is_used() {
        let with = |range| Versions(HashMap::from([(3, range)]));
        assert_eq!(with((0, 9)).newest::<MetadataRequest>(99), Ok(9));
        assert_eq!(
            with((0, 99)).newest::<MetadataRequest>(99),
            Ok(MetadataRequest::VERSIONS.1)
        );
        assert_eq!(with((0, 99)).newest::<MetadataRequest>(4), Ok(4));
        assert!(with((50, 99)).newest::<MetadataRequest>(99).is_err());
        assert!(Versions::default().newest::<MetadataRequest>(99).is_err());
    }
}
