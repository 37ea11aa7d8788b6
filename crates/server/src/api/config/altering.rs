//! What AlterConfigs and IncrementalAlterConfigs share: each resource once, one question to the
//! controller, and its verdicts back in the order of the request.

use std::collections::HashSet;

use ottla_metadata::config::BrokerConfig;
use ottla_metadata::controller::{Controller, Decision};
use ottla_metadata::image::{Resource, ResourceKind};
use ottla_node::Services;
use ottla_protocol::{Refusal, Refused};

use super::BROKER_LOGGER;
use crate::api::{code, count_errors};
use crate::session::Call;

/// One resource of a request, by kind and name.
pub(super) type Named<'a> = (i8, &'a str);

/// The resources that are named more than once.
pub(super) fn repeated<'a>(all: impl Iterator<Item = Named<'a>>) -> HashSet<Named<'a>> {
    let mut seen = HashSet::new();
    all.filter(|resource| !seen.insert(*resource)).collect()
}

/// Kafka's checks before anything is asked of the controller. `settings` are the names that the
/// resource wants to change and whether each comes without a value that it needs.
pub(super) fn check<'a>(
    resource: Named<'_>,
    repeated: &HashSet<Named<'_>>,
    settings: impl Iterator<Item = (&'a str, bool)>,
) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::new(Refusal::InvalidRequest, why));
    if repeated.contains(&resource) {
        return refuse("Each resource must appear at most once.".to_owned());
    }
    let mut nulls = Vec::new();
    let mut seen = HashSet::new();
    for (name, lacks_value) in settings {
        if !seen.insert(name) {
            return refuse("Error due to duplicate config keys".to_owned());
        }
        if lacks_value {
            nulls.push(name);
        }
    }
    if !nulls.is_empty() {
        return refuse(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        ));
    }
    Ok(())
}

/// The resource in the metadata; loggers have none.
pub(super) fn resource((kind, name): Named<'_>) -> Result<Resource, Refused> {
    match ResourceKind::from_code(kind) {
        ResourceKind::Other(kind) => {
            let why = format!("Unknown resource type {kind}");
            Err(Refused::new(Refusal::InvalidRequest, why))
        }
        known => Ok(Resource::new(known, name)),
    }
}

pub(super) fn is_logger((kind, _): Named<'_>) -> bool {
    kind == BROKER_LOGGER
}

/// A resource after the first checks: what the controller shall do, or nothing if it is done.
pub(super) type Checked<T> = Result<Option<T>, Refused>;
/// What became of a resource.
type Outcome = Result<(), Refused>;

/// Lets the controller decide about what passed the first checks, if anything did; one outcome for
/// each resource.
pub(super) async fn decide<Change: Clone + Send + 'static>(
    services: &Services,
    call: &Call,
    checked: Vec<Checked<Change>>,
    decide: impl FnOnce(&Controller, &[Change], &BrokerConfig) -> Decision<Vec<Outcome>>
    + Send
    + 'static,
) -> Vec<Outcome> {
    let changes = remaining(&checked);
    let decided = if changes.is_empty() {
        Ok(Vec::new())
    } else {
        let config = services.config();
        let decide = move |ledger: &Controller, _| decide(ledger, &changes, &config);
        services.controller().decide(decide).await
    };
    let outcomes = merge(checked, decided);
    count_errors(services, call, outcomes.iter().map(code));
    outcomes
}

/// What goes to the controller.
fn remaining<T: Clone>(checked: &[Checked<T>]) -> Vec<T> {
    checked
        .iter()
        .filter_map(|checked| checked.clone().ok().flatten())
        .collect()
}

/// Puts the controller's outcomes where its verdict was asked for.
fn merge<T>(checked: Vec<Checked<T>>, outcomes: Result<Vec<Outcome>, Refusal>) -> Vec<Outcome> {
    let (mut decided, missing) = match outcomes {
        Ok(outcomes) => (outcomes.into_iter(), Refusal::UnknownServerError),
        Err(refusal) => (Vec::new().into_iter(), refusal),
    };
    checked
        .into_iter()
        .map(|checked| match checked? {
            Some(_) => decided.next().unwrap_or_else(|| Err(missing.into())),
            None => Ok(()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(all: &[Named<'_>], settings: &[(&str, bool)]) -> String {
        let repeated = repeated(all.iter().copied());
        let checked = check(all[0], &repeated, settings.iter().copied());
        checked.map_or_else(|refused| refused.words().to_owned(), |()| "fine".to_owned())
    }

    #[test]
    fn resources_and_settings_are_named_once_and_with_values() {
        assert_eq!(why(&[(2, "a"), (4, "a")], &[("x", false)]), "fine");
        assert_eq!(
            why(&[(2, "a"), (2, "a")], &[]),
            "Each resource must appear at most once."
        );
        assert_eq!(
            why(&[(2, "a")], &[("x", false), ("x", false)]),
            "Error due to duplicate config keys"
        );
        assert_eq!(
            why(&[(2, "a")], &[("x", true), ("y", false), ("z", true)]),
            "Null value not supported for : x, z"
        );
    }

    #[test]
    fn outcomes_fill_the_gaps_in_order() {
        let refused = || Refused::from(Refusal::InvalidRequest);
        let checked = vec![Ok(Some(())), Err(refused()), Ok(None), Ok(Some(()))];
        let outcomes = Ok(vec![Ok(()), Err(Refusal::InvalidConfig.into())]);
        let merged = merge(checked.clone(), outcomes);
        let codes: Vec<i16> = merged.iter().map(code).collect();
        assert_eq!(codes, [0, 42, 0, 40]);
        let codes: Vec<i16> = merge(checked, Err(Refusal::NotController))
            .iter()
            .map(code)
            .collect();
        assert_eq!(codes, [41, 42, 0, 41]);
    }
}
