//! ListConfigResources (key 74, versions 0-1): which resources have settings.
//! v0 metric subscriptions only · v1 all kinds, or those asked for (KIP-1142).

use ottla_metadata::image::{Image, ResourceKind};
use ottla_node::Services;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    ConfigResource, DescribeConfigsRequest, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::BROKER_LOGGER;
use crate::api::count_errors;
use crate::session::Call;

/// All that v0 knows.
const IN_V0: &[i8] = &[DescribeConfigsRequest::CLIENT_METRICS];
/// In the order in which Kafka lists them.
const KINDS: &[i8] = &[
    DescribeConfigsRequest::GROUP,
    DescribeConfigsRequest::CLIENT_METRICS,
    BROKER_LOGGER,
    DescribeConfigsRequest::BROKER,
    DescribeConfigsRequest::TOPIC,
];

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let supported = if call.version == 0 { IN_V0 } else { KINDS };
    let asked = request.resource_types;
    if asked.iter().any(|kind| !supported.contains(kind)) {
        let error_code = Refusal::UnsupportedVersion.code();
        count_errors(services, call, [error_code].into_iter());
        return ListConfigResourcesResponse {
            error_code,
            ..Default::default()
        };
    }
    let image = services.image();
    let listed = supported
        .iter()
        .filter(|kind| asked.is_empty() || asked.contains(kind));
    ListConfigResourcesResponse {
        config_resources: listed
            .flat_map(|kind| resources(&image, &call.session.listener, *kind))
            .collect(),
        ..Default::default()
    }
}

/// Topics and brokers all have settings; groups and subscriptions only where something is set.
fn resources(image: &Image, listener: &str, kind: i8) -> Vec<ConfigResource> {
    let names: Vec<String> = match kind {
        DescribeConfigsRequest::TOPIC => image
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
        DescribeConfigsRequest::BROKER | BROKER_LOGGER => {
            let brokers = image.nodes.brokers.values();
            let here = brokers.filter(|broker| broker.endpoint(listener).is_some());
            here.map(|broker| broker.id.to_string()).collect()
        }
        kind => {
            let wanted = ResourceKind::from_code(kind);
            let set = image
                .configs
                .resources()
                .filter(|resource| resource.kind == wanted);
            set.map(|resource| resource.name.to_string()).collect()
        }
    };
    let resource = |name: String| ConfigResource {
        resource_name: name.into(),
        resource_type: kind,
    };
    names.into_iter().map(resource).collect()
}
