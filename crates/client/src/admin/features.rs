//! Feature levels: what a node supports, what the cluster runs at, and raising or lowering it.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FeatureUpdateKey, UpdateFeaturesRequest,
};
use ottla_protocol::{NodeId, Text};

use crate::cluster::Cluster;
use crate::error::ClientError;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// -1 where the node does not know.
    pub epoch: i64,
    pub supported: BTreeMap<String, (i16, i16)>,
    pub finalized: BTreeMap<String, i16>,
}

/// Which way a level may go, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureChange {
    Upgrade = 1,
    SafeDowngrade = 2,
    UnsafeDowngrade = 3,
}

impl Cluster {
    pub async fn features(&self, node: Option<NodeId>) -> Result<Features, ClientError> {
        let answer = self.api_versions(node).await?;
        let supported = answer.supported_features.into_iter();
        let finalized = answer.finalized_features.into_iter();
        Ok(Features {
            epoch: answer.finalized_features_epoch,
            supported: supported
                .map(|it| (it.name.to_string(), (it.min_version, it.max_version)))
                .collect(),
            finalized: finalized
                .map(|it| (it.name.to_string(), it.max_version_level))
                .collect(),
        })
    }

    /// What a node says about itself when it is asked for its versions.
    pub async fn api_versions(
        &self,
        node: Option<NodeId>,
    ) -> Result<ApiVersionsResponse, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: Text::from_static("ottla"),
            client_software_version: Text::from_static(env!("CARGO_PKG_VERSION")),
        };
        let answer = match node {
            Some(id) => self.ask_node(id, &request).await?,
            None => self.ask_any(&request).await?,
        };
        ClientError::from_code("versions were not given", answer.error_code, None)?;
        Ok(answer)
    }

    /// Change levels, all or none; why each failed. Old brokers answer for each feature.
    pub async fn update_features(
        &self,
        levels: &BTreeMap<String, i16>,
        change: FeatureChange,
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<(), ClientError>>, ClientError> {
        let updates = levels.iter().map(|(feature, level)| FeatureUpdateKey {
            feature: Text::from(feature.as_str()),
            max_version_level: *level,
            upgrade_type: change as i8,
            ..FeatureUpdateKey::default()
        });
        let request = UpdateFeaturesRequest {
            timeout_ms: self.request_timeout_ms(),
            feature_updates: updates.collect(),
            validate_only,
        };
        let answer = self.ask_controller(&request).await?;
        let what = "the features were not changed";
        let message = answer.error_message.as_deref();
        let whole = ClientError::from_code(what, answer.error_code, message);
        let mut results: BTreeMap<_, _> = levels
            .keys()
            .map(|feature| (feature.clone(), whole.clone()))
            .collect();
        if whole.is_ok() {
            for result in answer.results {
                let what = format!("{} was not changed", result.feature);
                let message = result.error_message.as_deref();
                let one = ClientError::from_code(&what, result.error_code, message);
                results.insert(result.feature.to_string(), one);
            }
        }
        Ok(results)
    }
}
