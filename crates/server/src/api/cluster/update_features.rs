//! UpdateFeatures (key 57, versions 0-2): raise and lower levels of features (KIP-584).
//! v1 validate only, three kinds of changes (KIP-778) · v2 no results by feature.
//! In v0 nothing can be lowered: Kafka does not look at its flag either.

use ottla_metadata::controller::{FeatureUpdate, UpgradeType};
use ottla_node::Services;
use ottla_protocol::messages::{
    UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use ottla_protocol::{NONE, Refused, Text};

use crate::api::{code, count_errors};
use crate::session::Call;

/// The last version with a result for each feature.
const RESULTS_UNTIL: i16 = 1;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names: Vec<Text> = request
        .feature_updates
        .iter()
        .map(|update| update.feature.clone())
        .collect();
    let updates: Vec<FeatureUpdate> = request
        .feature_updates
        .iter()
        .map(|update| FeatureUpdate {
            name: update.feature.to_string(),
            level: update.max_version_level,
            upgrade: UpgradeType::from_code(update.upgrade_type),
        })
        .collect();
    let kraft_version = services.controller().kraft_version();
    let validate_only = request.validate_only;
    let updated = services
        .controller()
        .decide(move |ledger, _| ledger.update_features(&updates, validate_only, kraft_version))
        .await;
    let outcome = match updated {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(Refused::new(
            refused.refusal,
            format!(
                "The update failed for all features since the following feature had an error: {}",
                refused.words()
            ),
        )),
        Err(refusal) => Err(refusal.into()),
    };
    count_errors(services, call, [code(&outcome)].into_iter());
    respond(call.version, names, outcome)
}

fn respond(version: i16, names: Vec<Text>, outcome: Result<(), Refused>) -> UpdateFeaturesResponse {
    // Kafka's name of no error, where there is no error.
    let result = |feature| UpdatableFeatureResult {
        feature,
        error_code: NONE,
        error_message: Some(Text::from_static("NONE")),
    };
    let results = match outcome.is_ok() && version <= RESULTS_UNTIL {
        true => names.into_iter().map(result).collect(),
        false => Vec::new(),
    };
    UpdateFeaturesResponse {
        error_code: code(&outcome),
        error_message: outcome.err().map(|refused| refused.words().into()),
        results,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Refusal;

    use super::*;

    #[test]
    fn results_by_feature_are_for_older_clients_and_only_good_news() {
        let names = || vec![Text::from_static("group.version")];
        let n_results = |version, outcome| respond(version, names(), outcome).results.len();
        assert_eq!((n_results(1, Ok(())), n_results(2, Ok(()))), (1, 0));
        let refused = || Err(Refused::new(Refusal::InvalidUpdateVersion, "no"));
        assert_eq!(n_results(0, refused()), 0);
        let answer = respond(2, names(), refused());
        assert_eq!(
            (answer.error_code, answer.error_message.as_deref()),
            (95, Some("no"))
        );
    }
}
