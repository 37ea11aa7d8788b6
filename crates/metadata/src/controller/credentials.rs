//! Alter SCRAM credentials, in Kafka's steps.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::{Refusal, Refused, ScramMechanism};

use super::topics::too_many_records;
use super::{Controller, Decision, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::records::{Record, RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use crate::scram;

/// A credential that shall be no more.
#[derive(Debug, Clone, PartialEq)]
pub struct ScramDeletion {
    pub user: String,
    pub mechanism: i8,
}

/// A credential that shall be kept, in the place of the one that may be there. It has no `Debug`: nothing of
/// it belongs into a log.
#[derive(Clone, PartialEq)]
pub struct ScramUpsertion {
    pub user: String,
    pub mechanism: i8,
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

/// What a user's credentials were found to come to.
struct Planned<'a> {
    user: &'a str,
    outcome: Outcome<Record>,
}

impl Controller {
    /// Per user, each once, in the order in which they are named. As in Kafka, one request changes one
    /// credential of a user at most: who is named twice keeps what he has, also where the mechanisms differ.
    pub fn alter_scram_credentials(
        &self,
        deletions: &[ScramDeletion],
        upsertions: &[ScramUpsertion],
    ) -> Decision<Vec<(String, Outcome<()>)>> {
        let mut planned: Vec<Planned<'_>> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let deletions = deletions.iter().map(|it| (&*it.user, Asked::Deletion(it)));
        let upsertions = upsertions
            .iter()
            .map(|it| (&*it.user, Asked::Upsertion(it)));
        for (user, asked) in deletions.chain(upsertions) {
            if let Some(before) = places.get(user).and_then(|at| planned.get_mut(*at)) {
                // What was wrong at first is what is told.
                if before.outcome.is_ok() {
                    before.outcome = Err(named_twice(user));
                }
                continue;
            }
            places.insert(user, planned.len());
            let outcome = self.plan_credential(asked);
            planned.push(Planned { user, outcome });
        }
        let mut records = Vec::new();
        let mut outcomes: Vec<(String, Outcome<()>)> = planned
            .into_iter()
            .map(|Planned { user, outcome }| {
                let outcome = outcome.map(|record| records.push(record));
                (user.to_owned(), outcome)
            })
            .collect();
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            for (_, outcome) in &mut outcomes {
                *outcome = Err(too_many_records());
            }
        }
        self.decide(records, outcomes)
    }

    fn plan_credential(&self, asked: Asked<'_>) -> Outcome<Record> {
        if !self.level().has_scram() {
            return Err(Refused::new(
                Refusal::UnsupportedVersion,
                format!("metadata.version {} has no SCRAM credentials", self.level()),
            ));
        }
        match asked {
            Asked::Deletion(deletion) => self.plan_deletion(deletion),
            Asked::Upsertion(upsertion) => plan_upsertion(upsertion),
        }
    }

    fn plan_deletion(&self, deletion: &ScramDeletion) -> Outcome<Record> {
        let ScramDeletion { user, mechanism } = deletion;
        let mechanism = check(user, *mechanism)?;
        if !self.image().credentials.has_scram(user, mechanism) {
            return Err(Refused::new(
                Refusal::ResourceNotFound,
                format!("user {user} has no credential of {}", mechanism.name()),
            ));
        }
        Ok(RemoveUserScramCredentialRecord {
            name: user.as_str().into(),
            mechanism: mechanism.number(),
        }
        .into())
    }
}

#[derive(Clone, Copy)]
enum Asked<'a> {
    Deletion(&'a ScramDeletion),
    Upsertion(&'a ScramUpsertion),
}

fn plan_upsertion(upsertion: &ScramUpsertion) -> Outcome<Record> {
    let ScramUpsertion {
        user, iterations, ..
    } = upsertion;
    let mechanism = check(user, upsertion.mechanism)?;
    let (least, most) = (
        ScramMechanism::ITERATIONS_MIN,
        ScramMechanism::ITERATIONS_MAX,
    );
    if !(least..=most).contains(iterations) {
        return Err(unacceptable(format!(
            "{iterations} iterations for user {user}: {} takes {least} to {most}",
            mechanism.name()
        )));
    }
    // Kafka trips over it and says UNKNOWN_SERVER_ERROR; it is the request that is wrong.
    let keys = scram::keys(mechanism, &upsertion.salted_password)
        .ok_or_else(|| unacceptable(format!("the salted password for user {user} is empty")))?;
    Ok(UserScramCredentialRecord {
        name: user.as_str().into(),
        mechanism: mechanism.number(),
        salt: upsertion.salt.clone(),
        stored_key: keys.stored.into(),
        server_key: keys.server.into(),
        iterations: *iterations,
    }
    .into())
}

fn check(user: &str, mechanism: i8) -> Result<ScramMechanism, Refused> {
    if user.is_empty() {
        return Err(unacceptable("the name of the user is empty"));
    }
    ScramMechanism::from_number(mechanism).ok_or_else(|| {
        Refused::new(
            Refusal::UnsupportedSaslMechanism,
            format!("SCRAM mechanism {mechanism} for user {user} is unknown"),
        )
    })
}

fn unacceptable(why: impl Into<String>) -> Refused {
    Refused::new(Refusal::UnacceptableCredential, why)
}

fn named_twice(user: &str) -> Refused {
    Refused::new(
        Refusal::DuplicateResource,
        format!("user {user} is named twice: a request changes one credential of a user"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Settings;
    use crate::image::Image;
    use crate::records::{FeatureLevelRecord, MetadataVersion};

    fn controller_at(level: i16) -> Controller {
        let mut controller = Controller::new(Settings::of_one_node(), Image::default());
        let feature = FeatureLevelRecord {
            name: "metadata.version".into(),
            feature_level: level,
        };
        controller.replay(&feature.into(), 0).unwrap();
        controller
    }

    fn controller() -> Controller {
        controller_at(MetadataVersion::MAX.level())
    }

    fn gone(user: &str, mechanism: i8) -> ScramDeletion {
        let user = user.to_owned();
        ScramDeletion { user, mechanism }
    }

    fn new(user: &str, mechanism: i8, iterations: i32) -> ScramUpsertion {
        ScramUpsertion {
            user: user.to_owned(),
            mechanism,
            iterations,
            salt: Bytes::from_static(b"salt"),
            salted_password: Bytes::from_static(&[b'p'; 32]),
        }
    }

    /// Users with the codes that they are told, and the number of records; all is replayed.
    fn alter(
        controller: &mut Controller,
        deletions: &[ScramDeletion],
        upsertions: &[ScramUpsertion],
    ) -> (Vec<(String, i16)>, usize) {
        let Decision { batches, reply } = controller.alter_scram_credentials(deletions, upsertions);
        let records: Vec<Record> = batches.into_iter().flat_map(|it| it.records).collect();
        for record in &records {
            controller.replay(record, 1).unwrap();
        }
        let told = reply.into_iter().map(|(user, outcome)| {
            let code = outcome.err().map_or(0, |refused| refused.code());
            (user, code)
        });
        (told.collect(), records.len())
    }

    fn told(codes: &[(&str, i16)]) -> Vec<(String, i16)> {
        let told = codes.iter().map(|(user, code)| ((*user).to_owned(), *code));
        told.collect()
    }

    #[test]
    fn credentials_are_kept_replaced_and_taken_away() {
        let mut controller = controller();
        let both = [new("a", 1, 4096), new("b", 2, 16_384)];
        let kept = alter(&mut controller, &[], &both);
        assert_eq!(kept, (told(&[("a", 0), ("b", 0)]), 2));
        let again = alter(&mut controller, &[gone("b", 2)], &[new("a", 1, 8192)]);
        assert_eq!(again, (told(&[("b", 0), ("a", 0)]), 2));
        let credentials = &controller.image().credentials;
        let left = credentials.scram_of("a").collect::<Vec<_>>();
        assert_eq!(left, [(ScramMechanism::Sha256, 8192)]);
        assert_eq!(credentials.scram_of("b").count(), 0);
    }

    #[test]
    fn what_is_kept_of_a_password_is_its_keys() {
        let controller = controller();
        let Decision { batches, .. } =
            controller.alter_scram_credentials(&[], &[new("a", 2, 4096)]);
        let Record::UserScramCredential(kept) = &batches[0].records[0] else {
            panic!("{batches:?}")
        };
        let keys = scram::keys(ScramMechanism::Sha512, &[b'p'; 32]).unwrap();
        assert_eq!(kept.stored_key, keys.stored);
        assert_eq!(kept.server_key, keys.server);
        assert_eq!(
            (&*kept.name, kept.mechanism, &*kept.salt),
            ("a", 2, &b"salt"[..])
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_kafkas_codes_and_keeps_nobody_else() {
        let mut controller = controller();
        let deletions = [gone("", 1), gone("none", 1), gone("zero", 0)];
        let upsertions = [
            new("three", 3, 4096),
            new("below", -1, 4096),
            new("few", 1, 4095),
            new("many", 2, 16_385),
            new("negative", 2, i32::MIN),
            ScramUpsertion {
                salted_password: Bytes::new(),
                ..new("unsalted", 1, 4096)
            },
            ScramUpsertion {
                salt: Bytes::new(),
                ..new("saltless", 1, 4096)
            },
            new("good", 2, 4096),
        ];
        let (codes, n_records) = alter(&mut controller, &deletions, &upsertions);
        let expected = [
            ("", 93),
            ("none", 91),
            ("zero", 33),
            ("three", 33),
            ("below", 33),
            ("few", 93),
            ("many", 93),
            ("negative", 93),
            ("unsalted", 93),
            ("saltless", 0),
            ("good", 0),
        ];
        assert_eq!((codes, n_records), (told(&expected), 2));
        let refused = alter(&mut controller, &[], &[new("", 9, 1)]);
        assert_eq!(
            refused,
            (told(&[("", 93)]), 0),
            "the name is looked at first"
        );
    }

    #[test]
    fn a_request_changes_one_credential_of_a_user() {
        let mut controller = controller();
        alter(&mut controller, &[], &[new("a", 1, 4096)]);
        alter(&mut controller, &[], &[new("a", 2, 4096)]);
        let twice = [
            (vec![gone("a", 1), gone("a", 2)], vec![], 92),
            (vec![gone("a", 1), gone("a", 1), gone("a", 1)], vec![], 92),
            (vec![gone("a", 1)], vec![new("a", 2, 4096)], 92),
            (vec![], vec![new("a", 1, 4096), new("a", 2, 4096)], 92),
            // The second one is bad, too, and not looked at.
            (vec![], vec![new("a", 1, 4096), new("a", 9, 1)], 92),
            // The first one was refused: that is told.
            (vec![gone("a", 7)], vec![new("a", 1, 4096)], 33),
            (vec![], vec![new("a", 1, 1), new("a", 1, 4096)], 93),
        ];
        for (deletions, upsertions, code) in twice {
            let refused = alter(&mut controller, &deletions, &upsertions);
            assert_eq!(refused, (told(&[("a", code)]), 0), "{deletions:?}");
        }
        assert_eq!(controller.image().credentials.scram_of("a").count(), 2);
    }

    #[test]
    fn an_old_cluster_keeps_none() {
        let mut old = controller_at(10);
        let refused = alter(&mut old, &[gone("a", 9)], &[new("b", 1, 4096)]);
        assert_eq!(refused, (told(&[("a", 35), ("b", 35)]), 0));
        let twice = alter(&mut old, &[], &[new("a", 1, 4096), new("a", 1, 4096)]);
        assert_eq!(twice, (told(&[("a", 35)]), 0));
        let new_enough = alter(&mut controller_at(11), &[], &[new("a", 1, 4096)]);
        assert_eq!(new_enough, (told(&[("a", 0)]), 1));
    }

    #[test]
    fn too_much_at_once_is_nothing() {
        let mut controller = controller();
        let many = |n: usize| -> Vec<ScramUpsertion> {
            (0..n).map(|at| new(&format!("u{at}"), 1, 4096)).collect()
        };
        let most = many(RECORDS_PER_REQUEST_MAX);
        assert_eq!(alter(&mut controller, &[], &most).1, most.len());
        let (codes, n_records) = alter(&mut controller, &[], &many(most.len() + 1));
        assert_eq!(n_records, 0);
        let policy = Refusal::PolicyViolation.code();
        assert!(codes.iter().all(|(_, code)| *code == policy));
    }
}
