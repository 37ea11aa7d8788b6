//! IncrementalAlterConfigs (key 44, versions 0-1): change single settings and leave the others
//! (KIP-339).
//! v1 flexible. Loggers are changed here (KIP-412), everything else by the controller.

use std::collections::HashSet;

use ottla_metadata::config::{ConfigChange, ConfigOperation};
use ottla_metadata::controller::ConfigAlteration;
use ottla_node::Services;
use ottla_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource,
    IncrementalAlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
    IncrementalAlterableConfig,
};
use ottla_protocol::{Refusal, Refused};

use super::altering::{self, Checked, Named};
use super::loggers;
use crate::api::{code, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let repeated = altering::repeated(request.resources.iter().map(named));
    let node_id = services.node_id();
    let log = services.log_levels();
    let validate_only = request.validate_only;
    let checked = request.resources.iter().map(|resource| {
        if altering::is_logger(named(resource)) {
            let changes = logger_changes(resource, &repeated, node_id)?;
            if !validate_only {
                loggers::change(log, &changes)?;
            }
            return Ok(None);
        }
        alteration(resource, &repeated)
    });
    let outcomes = altering::decide(services, call, checked.collect(), {
        move |ledger, changes, config| {
            ledger.incremental_alter_configs(changes, validate_only, config)
        }
    });
    let answered = request.resources.iter().zip(outcomes.await);
    let responses = answered.map(
        |(resource, outcome)| IncrementalAlterConfigsResourceResponse {
            error_code: code(&outcome),
            error_message: words(&outcome),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        },
    );
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn named(resource: &IncrementalAlterConfigsResource) -> Named<'_> {
    (resource.resource_type, &resource.resource_name)
}

fn check(
    resource: &IncrementalAlterConfigsResource,
    repeated: &HashSet<Named<'_>>,
) -> Result<(), Refused> {
    let lacks_value = |config: &IncrementalAlterableConfig| {
        config.value.is_none() && operation(config) != Some(ConfigOperation::Delete)
    };
    let settings = resource
        .configs
        .iter()
        .map(|config| (&*config.name, lacks_value(config)));
    altering::check(named(resource), repeated, settings)
}

fn alteration(
    resource: &IncrementalAlterConfigsResource,
    repeated: &HashSet<Named<'_>>,
) -> Checked<ConfigAlteration> {
    check(resource, repeated)?;
    let changes: Result<Vec<ConfigChange>, Refused> = resource.configs.iter().map(change).collect();
    let resource = altering::resource(named(resource))?;
    Ok(Some(ConfigAlteration {
        resource,
        changes: changes?,
    }))
}

/// All of them, or none: one that is wrong leaves the others undone.
fn logger_changes(
    resource: &IncrementalAlterConfigsResource,
    repeated: &HashSet<Named<'_>>,
    node_id: i32,
) -> Result<Vec<loggers::Change>, Refused> {
    check(resource, repeated)?;
    loggers::check_node(&resource.resource_name, node_id)?;
    let judged = resource.configs.iter().map(|config| {
        loggers::check_change(&config.name, operation(config), config.value.as_deref())
    });
    judged.collect()
}

fn operation(config: &IncrementalAlterableConfig) -> Option<ConfigOperation> {
    ConfigOperation::from_code(config.config_operation)
}

fn change(config: &IncrementalAlterableConfig) -> Result<ConfigChange, Refused> {
    let operation = operation(config).ok_or_else(|| {
        let why = format!("Unknown operations type {}", config.config_operation);
        Refused::new(Refusal::InvalidRequest, why)
    })?;
    Ok(ConfigChange {
        name: config.name.to_string(),
        operation,
        value: config.value.as_ref().map(ToString::to_string),
    })
}
