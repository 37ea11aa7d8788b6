//! DescribeUserScramCredentials (key 50, version 0): which users have which SCRAM mechanisms, and with how
//! many iterations (KIP-554); salts and keys are told to nobody.
//!
//! Kafka names it on controller listeners, too, where nobody answers it; here it is the brokers' alone.

use std::collections::BTreeMap;

use ottla_metadata::image::Credentials;
use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeUserScramCredentialsCredentialInfo, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
    DescribeUserScramCredentialsUserName,
};
use ottla_protocol::{NONE, Refusal, Refused, ScramMechanism, Text};

use crate::api::{code, count_errors, words};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let results = describe(&services.image().credentials, request.users.as_deref());
    count_errors(services, call, results.iter().map(|one| one.error_code));
    DescribeUserScramCredentialsResponse {
        error_code: NONE,
        error_message: Some(Text::default()),
        results,
        ..Default::default()
    }
}

/// Of these users, each once, or of all who have any, where none is named.
fn describe(
    credentials: &Credentials,
    users: Option<&[DescribeUserScramCredentialsUserName]>,
) -> Vec<DescribeUserScramCredentialsResult> {
    let users = users.unwrap_or_default();
    if users.is_empty() {
        let all = credentials.scram_users().into_iter();
        return all
            .map(|user| described((&*user).into(), Ok(credentials.scram_of(&user).collect())))
            .collect();
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for user in users {
        *times.entry(&user.name).or_default() += 1;
    }
    let mut results = Vec::new();
    for user in users {
        // Gone once it is answered.
        if let Some(times) = times.remove(&*user.name) {
            let outcome = of_one(credentials, &user.name, times);
            results.push(described(user.name.clone(), outcome));
        }
    }
    results
}

type Infos = Vec<(ScramMechanism, i32)>;

fn of_one(credentials: &Credentials, user: &str, times: usize) -> Result<Infos, Refused> {
    if times > 1 {
        return Err(Refused::new(
            Refusal::DuplicateResource,
            format!("user {user} is named {times} times"),
        ));
    }
    let infos: Infos = credentials.scram_of(user).collect();
    if infos.is_empty() {
        return Err(Refused::new(
            Refusal::ResourceNotFound,
            format!("user {user} has no SCRAM credential"),
        ));
    }
    Ok(infos)
}

fn described(user: Text, outcome: Result<Infos, Refused>) -> DescribeUserScramCredentialsResult {
    let error_code = code(&outcome);
    let error_message = Some(words(&outcome).unwrap_or_default());
    let infos = outcome.unwrap_or_default().into_iter();
    DescribeUserScramCredentialsResult {
        user,
        error_code,
        error_message,
        credential_infos: infos
            .map(
                |(mechanism, iterations)| DescribeUserScramCredentialsCredentialInfo {
                    mechanism: mechanism.number(),
                    iterations,
                },
            )
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::image::{Delta, Image, Provenance};
    use ottla_metadata::records::UserScramCredentialRecord;

    use super::*;

    fn image() -> Image {
        let image = Image::default();
        let mut delta = Delta::new(&image);
        for (name, mechanism, iterations) in [("b", 2, 8192), ("a", 2, 4096), ("b", 1, 4096)] {
            let record = UserScramCredentialRecord {
                name: name.into(),
                mechanism,
                iterations,
                ..Default::default()
            };
            delta.replay(&record.into()).unwrap();
        }
        delta.apply(Provenance::default()).0
    }

    /// User, code, and mechanisms with their iterations.
    type Told = (String, i16, Vec<(i8, i32)>);

    fn asked(users: Option<&[&'static str]>) -> Vec<Told> {
        let users: Option<Vec<_>> = users.map(|users| {
            let named = users
                .iter()
                .map(|name| DescribeUserScramCredentialsUserName {
                    name: (*name).into(),
                });
            named.collect()
        });
        let results = describe(&image().credentials, users.as_deref()).into_iter();
        results
            .map(|one| {
                let infos = one.credential_infos.iter();
                let infos = infos.map(|it| (it.mechanism, it.iterations)).collect();
                assert_eq!(
                    one.error_message.as_deref() == Some(""),
                    one.error_code == NONE
                );
                (one.user.to_string(), one.error_code, infos)
            })
            .collect()
    }

    #[test]
    fn who_names_nobody_is_told_of_all() {
        let all = [
            ("a".to_owned(), NONE, vec![(2, 4096)]),
            ("b".to_owned(), NONE, vec![(1, 4096), (2, 8192)]),
        ];
        assert_eq!(asked(None), all);
        assert_eq!(asked(Some(&[])), all);
    }

    #[test]
    fn who_is_unknown_or_named_twice_is_told_so_once() {
        let some = asked(Some(&["none", "b", "a", "b", "b", ""]));
        let expected = [
            ("none".to_owned(), 91, vec![]),
            ("b".to_owned(), 92, vec![]),
            ("a".to_owned(), NONE, vec![(2, 4096)]),
            (String::new(), 91, vec![]),
        ];
        assert_eq!(some, expected);
    }
}
