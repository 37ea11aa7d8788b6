//! ApiVersions (key 18, versions 0-4): what this node serves, the first question of every client.
//! v1 throttle time · v2 throttled after the answer · v3 flexible, the client's software, features ·
//! v4 features whose lowest level is 0.
//! A version that we do not know is answered in v0 with error 35, and the header stays at v0 in
//! every version (KIP-511). What is listed comes from `registry`.

use ottla_metadata::image::{Image, SUPPORTED};
use ottla_node::Services;
use ottla_protocol::messages::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::{Refusal, Text};

use crate::answer::Answer;
use crate::endpoints::Endpoints;
use crate::registry::{API_VERSIONS, APIS, Api, Door};
use crate::session::Call;

const SOFTWARE_SINCE: i16 = 3;
/// Older clients cannot read a feature whose lowest level is 0 (KAFKA-17492).
const LEVEL_0_SINCE: i16 = 4;
/// Kept by the quorum, not by feature records.
const KRAFT_VERSION: (&str, i16, i16) = ("kraft.version", 0, 1);

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let names = [
        &request.client_software_name,
        &request.client_software_version,
    ];
    if call.version >= SOFTWARE_SINCE && !names.into_iter().all(|name| is_software_word(name)) {
        let error_code = Refusal::InvalidRequest.code();
        services.metrics().request_erred(call.key, error_code);
        return ApiVersionsResponse {
            error_code,
            ..Default::default()
        };
    }
    if call.version >= SOFTWARE_SINCE {
        // Not to keep the frame alive in which they came.
        let words = names.map(|name| Text::from(&**name));
        let _ = call.session.software.set(words);
    }
    let is_controllers = Endpoints::new(services, call).is_controllers();
    let listed = APIS
        .iter()
        .filter(|api| !is_controllers || api.door == Door::Both)
        .filter(|api| api.is_on(services));
    let image = services.image();
    ApiVersionsResponse {
        api_keys: listed.map(range).collect(),
        supported_features: supported(call.version),
        finalized_features_epoch: image.provenance.end_offset - 1,
        finalized_features: finalized(&image, services.controller().kraft_version()),
        ..Default::default()
    }
}

/// The answer to a version that is newer than ours: the client asks again with one of these.
pub(crate) fn unsupported_version(call: &Call) -> Answer {
    let own = APIS.iter().filter(|api| api.key == API_VERSIONS);
    let response = ApiVersionsResponse {
        error_code: Refusal::UnsupportedVersion.code(),
        api_keys: own.map(range).collect(),
        ..Default::default()
    };
    Answer::encode_at(call, &response, 0)
}

fn range(api: &Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key,
        min_version: api.advertised_from,
        max_version: *api.served.end(),
    }
}

fn supported(version: i16) -> Vec<SupportedFeatureKey> {
    let records = SUPPORTED
        .iter()
        .map(|feature| (feature.name, feature.min, feature.max));
    records
        .chain([KRAFT_VERSION])
        .filter(|(_, min, _)| version >= LEVEL_0_SINCE || *min > 0)
        .map(|(name, min_version, max_version)| SupportedFeatureKey {
            name: Text::from_static(name),
            min_version,
            max_version,
        })
        .collect()
}

fn finalized(image: &Image, kraft_version: i16) -> Vec<FinalizedFeatureKey> {
    let records = image.features.finalized();
    records
        .chain([(KRAFT_VERSION.0, kraft_version)])
        .filter(|(_, level)| *level > 0)
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.into(),
            min_version_level: level,
            max_version_level: level,
        })
        .collect()
}

/// Letters and digits, with dots and dashes inside only.
fn is_software_word(word: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let is_inner = |byte: &u8| is_plain(byte) || matches!(byte, b'-' | b'.');
    let bytes = word.as_bytes();
    bytes.first().is_some_and(is_plain)
        && bytes.last().is_some_and(is_plain)
        && bytes.iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_named_by_words_that_log_files_can_take() {
        for word in ["a", "apache-kafka-java", "4.3.1", "librdkafka", "A-.-b"] {
            assert!(is_software_word(word), "{word}");
        }
        for word in ["", "-a", "a-", ".", "a b", "a\n", "a_b", "ä"] {
            assert!(!is_software_word(word), "{word}");
        }
    }

    #[test]
    fn features_that_start_at_0_are_kept_from_older_clients() {
        let names = |version| -> Vec<String> {
            supported(version)
                .iter()
                .map(|feature| feature.name.to_string())
                .collect()
        };
        assert_eq!(names(3), ["metadata.version"]);
        assert_eq!(names(4).len(), 7);
    }

    #[test]
    fn produce_is_advertised_from_0() {
        let ranges: Vec<ApiVersion> = APIS.iter().map(range).collect();
        let produce = ranges
            .iter()
            .find(|range| range.api_key == 0)
            .expect("Produce");
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
}
