//! AlterConfigs (key 33, versions 0-2): replace all settings of resources; what is not named goes
//! back to its default.
//! v2 flexible.

use std::collections::HashSet;

use ottla_metadata::controller::ConfigReplacement;
use ottla_node::Services;
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
    AlterableConfig,
};

use super::altering::{self, Checked, Named};
use crate::api::{code, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let repeated = altering::repeated(request.resources.iter().map(named));
    let resources = request.resources.iter();
    let checked = resources.map(|resource| replacement(resource, &repeated));
    let validate_only = request.validate_only;
    let outcomes = altering::decide(services, call, checked.collect(), {
        move |ledger, changes, config| ledger.alter_configs(changes, validate_only, config)
    });
    let answered = request.resources.iter().zip(outcomes.await);
    let responses = answered.map(|(resource, outcome)| AlterConfigsResourceResponse {
        error_code: code(&outcome),
        error_message: words(&outcome),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    });
    AlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn named(resource: &AlterConfigsResource) -> Named<'_> {
    (resource.resource_type, &resource.resource_name)
}

fn replacement(
    resource: &AlterConfigsResource,
    repeated: &HashSet<Named<'_>>,
) -> Checked<ConfigReplacement> {
    let settings = resource
        .configs
        .iter()
        .map(|config| (&*config.name, config.value.is_none()));
    altering::check(named(resource), repeated, settings)?;
    let value = |config: &AlterableConfig| {
        (
            config.name.to_string(),
            config.value.as_ref().map(ToString::to_string),
        )
    };
    Ok(Some(ConfigReplacement {
        resource: altering::resource(named(resource))?,
        values: resource.configs.iter().map(value).collect(),
    }))
}
