//! DescribeClientQuotas (key 48, versions 0-1): which quotas are set (KIP-546).
//! v1 flexible.

use std::sync::Arc;

use ottla_metadata::image::{Entity, EntityFilter, NameFilter};
use ottla_metadata::quotas::{CLIENT_ID, IP, QuotaKind, USER};
use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeClientQuotasComponentData, DescribeClientQuotasEntityData,
    DescribeClientQuotasEntryData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    DescribeClientQuotasValueData,
};
use ottla_protocol::{Refusal, Refused};

use crate::api::{code, count_errors, words};
use crate::session::Call;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// The order in which Kafka's table of limits lists them; tools show it as it comes.
const ORDER: [QuotaKind; 4] = [
    QuotaKind::Request,
    QuotaKind::Produce,
    QuotaKind::Fetch,
    QuotaKind::ControllerMutation,
];

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = filter(&request);
    count_errors(services, call, [code(&filter)].into_iter());
    DescribeClientQuotasResponse {
        error_code: code(&filter),
        error_message: Some(words(&filter).unwrap_or_default()),
        entries: filter.ok().map(|filter| {
            let image = services.image();
            let entries = image.quotas.find(&filter).map(entry);
            entries.collect()
        }),
        ..Default::default()
    }
}

fn filter(request: &DescribeClientQuotasRequest) -> Result<EntityFilter, Refused> {
    let mut filter = EntityFilter {
        kinds: Vec::new(),
        strict: request.strict,
    };
    for component in &request.components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if filter.kinds.iter().any(|(one, _)| &**one == kind) {
            return Err(invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            )));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            return Err(Refused::new(
                Refusal::UnsupportedVersion,
                format!("Unsupported entity type {kind}"),
            ));
        }
        filter.kinds.push((Arc::from(kind), names(component)?));
    }
    let has = |wanted: &str| filter.kinds.iter().any(|(kind, _)| &**kind == wanted);
    if has(IP) && (has(USER) || has(CLIENT_ID)) {
        return Err(invalid(
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        ));
    }
    Ok(filter)
}

fn names(component: &DescribeClientQuotasComponentData) -> Result<NameFilter, Refused> {
    match (component.match_type, component.r#match.as_deref()) {
        (EXACT, Some(name)) => Ok(NameFilter::Exactly(Arc::from(name))),
        (EXACT, None) => Err(invalid(
            "Request specified MATCH_TYPE_EXACT, but set match string to null.",
        )),
        (DEFAULT, None) => Ok(NameFilter::Default),
        (SPECIFIED, None) => Ok(NameFilter::Any),
        (DEFAULT, Some(_)) => Err(invalid(
            "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
        )),
        (SPECIFIED, Some(_)) => Err(invalid(
            "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
        )),
        (other, _) => Err(invalid(format!("Unknown match type {other}"))),
    }
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused::new(Refusal::InvalidRequest, why)
}

fn entry<'a>(
    (entity, limits): (&Entity, impl Iterator<Item = (&'a str, f64)>),
) -> DescribeClientQuotasEntryData {
    let entity = entity.iter();
    let mut limits = limits.collect::<Vec<_>>();
    limits.sort_by_key(|(key, _)| ORDER.iter().position(|kind| kind.key() == *key));
    DescribeClientQuotasEntryData {
        entity: entity
            .map(|(kind, name)| DescribeClientQuotasEntityData {
                entity_type: (**kind).into(),
                entity_name: name.as_deref().map(Into::into),
            })
            .collect(),
        values: limits
            .into_iter()
            .map(|(key, value)| DescribeClientQuotasValueData {
                key: key.into(),
                value,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(components: &[(&'static str, i8, Option<&'static str>)]) -> Result<usize, String> {
        let component = |(kind, match_type, name): &(&'static str, i8, Option<&'static str>)| {
            DescribeClientQuotasComponentData {
                entity_type: (*kind).into(),
                match_type: *match_type,
                r#match: name.map(Into::into),
            }
        };
        let request = DescribeClientQuotasRequest {
            components: components.iter().map(component).collect(),
            strict: false,
        };
        let filter = filter(&request).map_err(|refused| refused.words().to_owned());
        filter.map(|filter| filter.kinds.len())
    }

    #[test]
    fn limits_come_in_kafkas_order() {
        let sorted = [
            "consumer_byte_rate",
            "producer_byte_rate",
            "request_percentage",
        ];
        let found = entry((&Entity::default(), sorted.map(|key| (key, 1.0)).into_iter()));
        let keys = found.values.iter().map(|value| &*value.key);
        assert_eq!(
            keys.collect::<Vec<_>>(),
            [
                "request_percentage",
                "producer_byte_rate",
                "consumer_byte_rate"
            ]
        );
    }

    #[test]
    fn a_filter_is_judged_in_kafkas_steps() {
        assert_eq!(asked(&[]), Ok(0));
        assert_eq!(
            asked(&[(USER, EXACT, Some("u")), (CLIENT_ID, DEFAULT, None)]),
            Ok(2)
        );
        for (components, why) in [
            (vec![("", EXACT, None)], "Invalid empty entity type."),
            (
                vec![("group", EXACT, None)],
                "Unsupported entity type group",
            ),
            (
                vec![(USER, EXACT, None)],
                "Request specified MATCH_TYPE_EXACT, but set match string to null.",
            ),
            (
                vec![(USER, DEFAULT, Some("u"))],
                "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
            ),
            (
                vec![(USER, SPECIFIED, Some("u"))],
                "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
            ),
            (vec![(USER, 7, None)], "Unknown match type 7"),
            (
                vec![(USER, SPECIFIED, None), (USER, 7, None)],
                "Entity type user cannot appear more than once in the filter.",
            ),
        ] {
            assert_eq!(asked(&components), Err(why.to_owned()));
        }
        let mixed = asked(&[(USER, SPECIFIED, None), (IP, SPECIFIED, None)]);
        assert!(
            mixed
                .unwrap_err()
                .starts_with("Invalid entity filter component combination.")
        );
    }
}
