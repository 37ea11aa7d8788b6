//! Quotas of users, client ids and addresses.

use std::collections::BTreeMap;

use ottla_protocol::Text;
use ottla_protocol::messages::{
    AlterClientQuotasEntityData, AlterClientQuotasOpData, AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData, DescribeClientQuotasComponentData,
    DescribeClientQuotasRequest,
};

use crate::cluster::Cluster;
use crate::error::ClientError;

/// Whom a quota is for: `user`, `client-id`, `ip`, each with a name or, with none, for all that have
/// no quota of their own.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Which quotas to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaMatch {
    Exactly(String),
    Default,
    /// Whoever has one.
    Any,
}

impl Cluster {
    /// The quotas whose entities have these types and no others, in the broker's order.
    pub async fn describe_quotas(
        &self,
        filter: &[(String, QuotaMatch)],
    ) -> Result<Vec<(QuotaEntity, Vec<(String, f64)>)>, ClientError> {
        let components = filter.iter().map(|(kind, wanted)| {
            let (match_type, name) = match wanted {
                QuotaMatch::Exactly(name) => (0, Some(Text::from(name.as_str()))),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            DescribeClientQuotasComponentData {
                entity_type: Text::from(kind.as_str()),
                match_type,
                r#match: name,
            }
        });
        let request = DescribeClientQuotasRequest {
            components: components.collect(),
            strict: true,
        };
        let answer = self.ask_any(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::from_code("quotas were not given", answer.error_code, message)?;
        let entries = answer.entries.unwrap_or_default().into_iter();
        let read = entries.map(|entry| {
            let entity = entry.entity.into_iter().map(|part| {
                let name = part.entity_name.map(|name| name.to_string());
                (part.entity_type.to_string(), name)
            });
            let values = entry.values.into_iter();
            let values = values.map(|value| (value.key.to_string(), value.value));
            (entity.collect(), values.collect())
        });
        Ok(read.collect())
    }

    /// Set quotas of one entity, or take them away.
    pub async fn alter_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, Option<f64>)],
    ) -> Result<(), ClientError> {
        let text = |text: &String| Text::from(text.as_str());
        let request = AlterClientQuotasRequest {
            entries: vec![AlterClientQuotasRequestEntryData {
                entity: entity
                    .iter()
                    .map(|(kind, name)| AlterClientQuotasEntityData {
                        entity_type: text(kind),
                        entity_name: name.as_ref().map(text),
                    })
                    .collect(),
                ops: changes
                    .iter()
                    .map(|(key, value)| AlterClientQuotasOpData {
                        key: text(key),
                        value: value.unwrap_or_default(),
                        remove: value.is_none(),
                    })
                    .collect(),
            }],
            validate_only: false,
        };
        let answer = self.ask_controller(&request).await?;
        for entry in answer.entries {
            let message = entry.error_message.as_deref();
            ClientError::from_code("the quota was not changed", entry.error_code, message)?;
        }
        Ok(())
    }
}
