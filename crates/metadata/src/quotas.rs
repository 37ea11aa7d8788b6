//! Client quotas as rules: what may be limited, and which limit counts for a client.
//!
//! What must stay true: a client has one limit of each kind at most, the most specific one, and who
//! is measured together is what that limit says: a user, a client id, or one client id of a user.

use std::collections::HashMap;
use std::sync::Arc;

use crate::image::Quotas;

/// The kinds of entities, in Kafka's words.
pub const USER: &str = "user";
pub const CLIENT_ID: &str = "client-id";
pub const IP: &str = "ip";

/// `connection_creation_rate`, the one limit of an address.
pub const CONNECTION_RATE: &str = "connection_creation_rate";

/// What users and client ids are limited in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaKind {
    Produce,
    Fetch,
    Request,
    ControllerMutation,
}

impl QuotaKind {
    pub const ALL: [Self; 4] = [
        Self::Produce,
        Self::Fetch,
        Self::Request,
        Self::ControllerMutation,
    ];

    /// The quota's name in records and requests.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::ControllerMutation => "controller_mutation_rate",
        }
    }

    /// Whether only whole numbers are taken.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Produce | Self::Fetch)
    }
}

/// Whose requests are measured together: a user's, a client id's, or one client id's of a user.
/// What does not matter is empty, as in the tags of Kafka's metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Together {
    pub user: Arc<str>,
    pub client_id: Arc<str>,
}

/// A user or client id that a limit names; `None` is the default of its kind.
type Name = Option<Arc<str>>;

/// The limits of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    users: HashMap<Name, f64>,
    clients: HashMap<Name, f64>,
    both: HashMap<(Name, Name), f64>,
}

impl Limits {
    pub fn of(quotas: &Quotas, kind: QuotaKind) -> Self {
        let mut limits = Self::default();
        for (entity, values) in &quotas.by_entity {
            let Some(limit) = values.get(kind.key()).copied() else {
                continue;
            };
            let named = |wanted: &str| {
                let part = entity.iter().find(|(kind, _)| &**kind == wanted);
                part.map(|(_, name)| name.clone())
            };
            match (named(USER), named(CLIENT_ID)) {
                (Some(user), Some(client)) => drop(limits.both.insert((user, client), limit)),
                (Some(user), None) => drop(limits.users.insert(user, limit)),
                (None, Some(client)) => drop(limits.clients.insert(client, limit)),
                (None, None) => {}
            }
        }
        limits
    }

    /// Without any limit nobody is measured.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.clients.is_empty() && self.both.is_empty()
    }

    /// With whom a client is measured together. If there are limits on one level only, everybody
    /// is measured on it; else a client is measured where its limit is.
    pub fn together(&self, user: &Arc<str>, client_id: &Arc<str>) -> Together {
        let levels = (
            self.both.is_empty(),
            self.users.is_empty(),
            self.clients.is_empty(),
        );
        let (by_user, by_client) = match levels {
            (true, true, _) => (false, true),
            (true, false, true) => (true, false),
            (false, true, true) => (true, true),
            _ => self.level_of(user, client_id),
        };
        let part = |counts, name: &Arc<str>| if counts { name.clone() } else { Arc::from("") };
        Together {
            user: part(by_user, user),
            client_id: part(by_client, client_id),
        }
    }

    /// From the most specific limit to the most general one: by user, by client id?
    fn level_of(&self, user: &Arc<str>, client_id: &Arc<str>) -> (bool, bool) {
        let (user, client) = (Some(user.clone()), Some(client_id.clone()));
        let has_both =
            |user: &Name, client: &Name| self.both.contains_key(&(user.clone(), client.clone()));
        if has_both(&user, &client) || has_both(&user, &None) {
            (true, true)
        } else if self.users.contains_key(&user) {
            (true, false)
        } else if has_both(&None, &client) || has_both(&None, &None) {
            (true, true)
        } else if self.users.contains_key(&None) {
            (true, false)
        } else {
            (false, true)
        }
    }

    /// The limit of those who are measured together.
    pub fn limit(&self, together: &Together) -> Option<f64> {
        let named = |name: &Arc<str>| (!name.is_empty()).then(|| name.clone());
        match (named(&together.user), named(&together.client_id)) {
            (Some(user), Some(client)) => {
                let both = |user: Name, client: Name| self.both.get(&(user, client));
                both(Some(user.clone()), Some(client.clone()))
                    .or_else(|| both(Some(user), None))
                    .or_else(|| both(None, Some(client)))
                    .or_else(|| both(None, None))
            }
            (user @ Some(_), None) => self.users.get(&user).or_else(|| self.users.get(&None)),
            (None, client @ Some(_)) => {
                let own = self.clients.get(&client);
                own.or_else(|| self.clients.get(&None))
            }
            (None, None) => None,
        }
        .copied()
    }
}

/// How many connections a second an address may open, by the host as it was written; `None` is
/// the default. Kafka cuts fractions off.
pub fn connection_rates(quotas: &Quotas) -> HashMap<Name, f64> {
    let rate = |(entity, values): (&crate::image::Entity, &imbl::OrdMap<Arc<str>, f64>)| {
        let [(kind, name)] = entity.as_slice() else {
            return None;
        };
        let rate = values.get(CONNECTION_RATE).copied()?;
        (&**kind == IP).then(|| (name.clone(), rate.trunc()))
    };
    quotas.by_entity.iter().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Entity;

    fn quotas(all: &[(&[(&str, &str)], f64)]) -> Quotas {
        let mut quotas = Quotas::default();
        for (entity, limit) in all {
            let name = |name: &str| (name != "*").then(|| Arc::from(name));
            let entity: Entity = entity
                .iter()
                .map(|(kind, of)| (Arc::from(*kind), name(of)))
                .collect();
            let key = Arc::from(QuotaKind::Produce.key());
            quotas
                .by_entity
                .insert(entity, [(key, *limit)].into_iter().collect());
        }
        quotas
    }

    fn found(limits: &Limits, user: &str, client: &str) -> (String, Option<f64>) {
        let together = limits.together(&Arc::from(user), &Arc::from(client));
        let shown = format!("{}/{}", together.user, together.client_id);
        (shown, limits.limit(&together))
    }

    #[test]
    fn the_most_specific_limit_counts() {
        // From the most general to the most specific: each one more takes the place of the last.
        let all: [(&[(&str, &str)], f64); 8] = [
            (&[(CLIENT_ID, "*")], 8.0),
            (&[(CLIENT_ID, "c")], 7.0),
            (&[(USER, "*")], 6.0),
            (&[(CLIENT_ID, "*"), (USER, "*")], 5.0),
            (&[(CLIENT_ID, "c"), (USER, "*")], 4.0),
            (&[(USER, "u")], 3.0),
            (&[(CLIENT_ID, "*"), (USER, "u")], 2.0),
            (&[(CLIENT_ID, "c"), (USER, "u")], 1.0),
        ];
        let measured = ["/c", "/c", "u/", "u/c", "u/c", "u/", "u/c", "u/c"];
        for (n, together) in (1..).zip(measured) {
            let limits = Limits::of(&quotas(&all[..n]), QuotaKind::Produce);
            let expected = (together.to_owned(), Some(all[n - 1].1));
            assert_eq!(found(&limits, "u", "c"), expected, "{n} limits");
        }
        let limits = Limits::of(&quotas(&all), QuotaKind::Produce);
        assert_eq!(found(&limits, "u", "d"), ("u/d".to_owned(), Some(2.0)));
        assert_eq!(found(&limits, "v", "c"), ("v/c".to_owned(), Some(4.0)));
        assert_eq!(found(&limits, "v", "d"), ("v/d".to_owned(), Some(5.0)));
    }

    #[test]
    fn limits_on_one_level_measure_everybody_on_it() {
        let only = |entity: &[(&str, &str)]| {
            let limits = Limits::of(&quotas(&[(entity, 1.0)]), QuotaKind::Produce);
            found(&limits, "u", "c")
        };
        assert_eq!(only(&[(USER, "other")]), ("u/".to_owned(), None));
        assert_eq!(only(&[(CLIENT_ID, "other")]), ("/c".to_owned(), None));
        let both = [(CLIENT_ID, "other"), (USER, "other")];
        assert_eq!(only(&both), ("u/c".to_owned(), None));
    }

    #[test]
    fn a_client_without_an_id_has_no_limit_of_client_ids() {
        let limits = Limits::of(&quotas(&[(&[(CLIENT_ID, "*")], 1.0)]), QuotaKind::Produce);
        assert_eq!(found(&limits, "u", ""), ("/".to_owned(), None));
        assert!(!limits.is_empty());
        assert!(Limits::of(&quotas(&[]), QuotaKind::Produce).is_empty());
        let other = Limits::of(&quotas(&[(&[(USER, "u")], 1.0)]), QuotaKind::Fetch);
        assert!(other.is_empty());
    }

    #[test]
    fn addresses_have_whole_rates() {
        let mut quotas = quotas(&[]);
        for (name, rate) in [(Some("10.0.0.1"), 3.9), (None, 5.0)] {
            let entity = vec![(Arc::from(IP), name.map(Arc::from))];
            let limits = [(Arc::from(CONNECTION_RATE), rate)];
            quotas
                .by_entity
                .insert(entity, limits.into_iter().collect());
        }
        let rates = connection_rates(&quotas);
        assert_eq!(rates.get(&Some(Arc::from("10.0.0.1"))), Some(&3.0));
        assert_eq!(rates.get(&None), Some(&5.0));
    }
}
