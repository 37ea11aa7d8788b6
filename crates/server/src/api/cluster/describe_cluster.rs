//! DescribeCluster (key 60, versions 0-2): cluster id, nodes, and who controls (KIP-700).
//! v1 brokers or controllers · v2 fenced brokers on request.
//! A listener of brokers knows brokers, one of controllers knows controllers.

use ottla_metadata::image::Image;
use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use ottla_protocol::{NodeId, Refusal, Refused};

use super::picture::{NOBODY, Picture};
use crate::api::count_errors;
use crate::authorized;
use crate::endpoints::Endpoints;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let endpoints = Endpoints::new(services, call);
    let ours = match endpoints.is_controllers() {
        true => DescribeClusterRequest::CONTROLLERS,
        false => DescribeClusterRequest::BROKERS,
    };
    if let Err(refused) = check_endpoint_type(request.endpoint_type, ours, call.version) {
        count_errors(services, call, [refused.code()].into_iter());
        return DescribeClusterResponse {
            error_code: refused.code(),
            error_message: refused.message.map(Into::into),
            ..Default::default()
        };
    }
    let image = services.image();
    let (nodes, controller) = if ours == DescribeClusterRequest::CONTROLLERS {
        let leader = services
            .controller()
            .describe()
            .map_or(NOBODY, |quorum| quorum.leader_id);
        (controllers(&image, &endpoints), leader)
    } else {
        let picture = Picture {
            image: &image,
            listener: endpoints.listener(),
        };
        let nodes = brokers(&image, &endpoints, request.include_fenced_brokers);
        (nodes, picture.controller(services.node_id()))
    };
    DescribeClusterResponse {
        endpoint_type: ours,
        cluster_id: services.cluster_id().into(),
        controller_id: listed(&nodes, controller),
        brokers: nodes,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => authorized::ON_CLUSTER,
            false => authorized::OMITTED,
        },
        ..Default::default()
    }
}

/// v0 has no words for the wrong kind.
fn check_endpoint_type(asked: i8, ours: i8, version: i16) -> Result<(), Refused> {
    let name = |kind| match kind {
        DescribeClusterRequest::BROKERS => "BROKER",
        _ => "CONTROLLER",
    };
    let known = [
        DescribeClusterRequest::BROKERS,
        DescribeClusterRequest::CONTROLLERS,
    ];
    let (refusal, why) = if !known.contains(&asked) {
        (
            Refusal::UnsupportedEndpointType,
            format!("Unsupported endpoint type {asked}"),
        )
    } else if asked != ours {
        let (ours, asked) = (name(ours), name(asked));
        let why = format!(
            "The request was sent to an endpoint of type {ours}, but we wanted an endpoint of type {asked}"
        );
        (Refusal::MismatchedEndpointType, why)
    } else {
        return Ok(());
    };
    Err(Refused::new(
        if version == 0 {
            Refusal::InvalidRequest
        } else {
            refusal
        },
        why,
    ))
}

fn brokers(image: &Image, endpoints: &Endpoints, with_fenced: bool) -> Vec<DescribeClusterBroker> {
    let shown = image
        .nodes
        .brokers
        .values()
        .filter(|broker| with_fenced || !broker.is_fenced);
    let reachable = shown.filter_map(|broker| Some((broker, endpoints.of(broker)?)));
    reachable
        .map(|(broker, place)| DescribeClusterBroker {
            broker_id: broker.id,
            host: place.host.into(),
            port: place.port,
            rack: broker.rack.as_deref().map(Into::into),
            is_fenced: broker.is_fenced,
        })
        .collect()
}

fn controllers(image: &Image, endpoints: &Endpoints) -> Vec<DescribeClusterBroker> {
    let registered = image.nodes.controllers.values().filter_map(|controller| {
        let mut ends = controller.endpoints.iter();
        let end = ends.find(|end| &*end.listener == endpoints.listener())?;
        Some((controller.id, endpoints.place(controller.id, end)?))
    });
    registered
        .map(|(broker_id, place)| DescribeClusterBroker {
            broker_id,
            host: place.host.into(),
            port: place.port,
            ..Default::default()
        })
        .collect()
}

/// A controller that is not in the list would only confuse.
fn listed(nodes: &[DescribeClusterBroker], id: NodeId) -> NodeId {
    let is_listed = nodes.iter().any(|node| node.broker_id == id);
    if is_listed { id } else { NOBODY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_kind_of_endpoint_has_its_own_errors_from_v1_on() {
        let refusal = |asked, version| {
            check_endpoint_type(asked, DescribeClusterRequest::BROKERS, version)
                .err()
                .map(|refused| refused.refusal)
        };
        assert_eq!(refusal(1, 0), None);
        assert_eq!(refusal(2, 0), Some(Refusal::InvalidRequest));
        assert_eq!(refusal(2, 1), Some(Refusal::MismatchedEndpointType));
        assert_eq!(refusal(3, 1), Some(Refusal::UnsupportedEndpointType));
    }
}
