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
use ottla_protocol::{Refusal, Refused};

use super::altering::{self, Checked, Named};
use crate::api::{code, count_errors, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let repeated = altering::repeated(request.resources.iter().map(named));
    let checked: Vec<Checked<ConfigReplacement>> = request
        .resources
        .iter()
        .map(|resource| replacement(resource, &repeated))
        .collect();
    let outcomes = replace(
        services,
        altering::remaining(&checked),
        request.validate_only,
    )
    .await;
    let responses: Vec<AlterConfigsResourceResponse> = request
        .resources
        .iter()
        .zip(altering::merge(checked, outcomes))
        .map(|(resource, outcome)| AlterConfigsResourceResponse {
            error_code: code(&outcome),
            error_message: words(&outcome),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        })
        .collect();
    count_errors(
        services,
        call,
        responses.iter().map(|resource| resource.error_code),
    );
    AlterConfigsResponse {
        responses,
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

async fn replace(
    services: &Services,
    replacements: Vec<ConfigReplacement>,
    validate_only: bool,
) -> Result<Vec<Result<(), Refused>>, Refusal> {
    if replacements.is_empty() {
        return Ok(Vec::new());
    }
    let config = services.config();
    let replace = services
        .controller()
        .decide(move |ledger, _| ledger.alter_configs(&replacements, validate_only, &config));
    replace.await
}
