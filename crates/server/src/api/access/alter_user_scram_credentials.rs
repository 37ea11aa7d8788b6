//! AlterUserScramCredentials (key 51, version 0): keep and take away SCRAM credentials of users (KIP-554). What
//! comes is the salted password, what is kept are the keys made of it.

use std::collections::BTreeSet;

use ottla_metadata::controller::{Outcome, ScramDeletion, ScramUpsertion};
use ottla_node::Services;
use ottla_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult, ScramCredentialDeletion, ScramCredentialUpsertion,
};

use crate::api::{code, count_errors, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let deletions: Vec<ScramDeletion> = request.deletions.iter().map(deletion).collect();
    let upsertions: Vec<ScramUpsertion> = request.upsertions.into_iter().map(upsertion).collect();
    let users = users(&deletions, &upsertions);
    let altered = services
        .controller()
        .decide(move |ledger, _| ledger.alter_scram_credentials(&deletions, &upsertions));
    let altered = altered.await.unwrap_or_else(|refusal| {
        let users = users.into_iter();
        users.map(|user| (user, Err(refusal.into()))).collect()
    });
    let results: Vec<_> = altered.into_iter().map(result).collect();
    count_errors(services, call, results.iter().map(|one| one.error_code));
    AlterUserScramCredentialsResponse {
        results,
        ..Default::default()
    }
}

fn deletion(asked: &ScramCredentialDeletion) -> ScramDeletion {
    ScramDeletion {
        user: asked.name.to_string(),
        mechanism: asked.mechanism,
    }
}

fn upsertion(asked: ScramCredentialUpsertion) -> ScramUpsertion {
    ScramUpsertion {
        user: asked.name.to_string(),
        mechanism: asked.mechanism,
        iterations: asked.iterations,
        salt: asked.salt,
        salted_password: asked.salted_password,
    }
}

/// Each once, for when there is nobody to decide.
fn users(deletions: &[ScramDeletion], upsertions: &[ScramUpsertion]) -> BTreeSet<String> {
    let deleted = deletions.iter().map(|one| one.user.clone());
    let upserted = upsertions.iter().map(|one| one.user.clone());
    deleted.chain(upserted).collect()
}

fn result((user, outcome): (String, Outcome<()>)) -> AlterUserScramCredentialsResult {
    AlterUserScramCredentialsResult {
        user: user.into(),
        error_code: code(&outcome),
        error_message: words(&outcome),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{NONE, Refusal, Refused};

    use super::*;

    #[test]
    fn success_has_no_words() {
        let done = result(("a".to_owned(), Ok(())));
        assert_eq!((done.error_code, done.error_message), (NONE, None));
        let why = Refused::new(Refusal::UnacceptableCredential, "1 iterations");
        let refused = result(("a".to_owned(), Err(why)));
        assert_eq!(refused.error_code, 93);
        assert_eq!(refused.error_message.as_deref(), Some("1 iterations"));
    }

    #[test]
    fn each_user_is_answered_once() {
        let gone = |user: &'static str| {
            deletion(&ScramCredentialDeletion {
                name: user.into(),
                mechanism: 1,
            })
        };
        let new = |user: &'static str| {
            upsertion(ScramCredentialUpsertion {
                name: user.into(),
                ..Default::default()
            })
        };
        let users = users(&[gone("b"), gone("b")], &[new("a"), new("b")]);
        assert_eq!(users.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
