//! SCRAM credentials of users. A password never leaves: what is sent is what the broker keeps.

use bytes::Bytes;
use ottla_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsUserName, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::{Refusal, ScramMechanism, Text};

use crate::cluster::Cluster;
use crate::error::ClientError;

/// A credential of a user, to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCredential {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

/// A user, and which credentials there are with how many iterations, or why they are not told.
pub type UserCredentials = (String, Result<Vec<(ScramMechanism, i32)>, ClientError>);

impl Cluster {
    /// Of these users, or of all; who has none is left out.
    pub async fn describe_credentials(
        &self,
        users: &[String],
    ) -> Result<Vec<UserCredentials>, ClientError> {
        let named = users
            .iter()
            .map(|name| DescribeUserScramCredentialsUserName {
                name: Text::from(name.as_str()),
            });
        let request = DescribeUserScramCredentialsRequest {
            users: Some(named.collect()).filter(|_| !users.is_empty()),
        };
        let answer = self.ask_controller(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::from_code("credentials were not described", answer.error_code, message)?;
        let mut all = Vec::new();
        for result in answer.results {
            let what = format!("the credentials of {} were not described", result.user);
            let message = result.error_message.as_deref();
            let told = ClientError::from_code(&what, result.error_code, message);
            if told
                .as_ref()
                .is_err_and(|e| e.refusal() == Some(Refusal::ResourceNotFound))
            {
                continue;
            }
            let infos = result.credential_infos.iter();
            let infos = infos
                .filter_map(|it| Some((ScramMechanism::from_number(it.mechanism)?, it.iterations)));
            let infos = infos.collect();
            all.push((result.user.to_string(), told.map(|()| infos)));
        }
        Ok(all)
    }

    pub async fn alter_credentials(
        &self,
        user: &str,
        new: &[NewCredential],
        gone: &[ScramMechanism],
    ) -> Result<(), ClientError> {
        let name = || Text::from(user);
        let upsertions = new.iter().map(|credential| ScramCredentialUpsertion {
            name: name(),
            mechanism: credential.mechanism.number(),
            iterations: credential.iterations,
            salt: credential.salt.clone(),
            salted_password: credential.salted_password.clone(),
        });
        let deletions = gone.iter().map(|mechanism| ScramCredentialDeletion {
            name: name(),
            mechanism: mechanism.number(),
        });
        let request = AlterUserScramCredentialsRequest {
            deletions: deletions.collect(),
            upsertions: upsertions.collect(),
        };
        let answer = self.ask_controller(&request).await?;
        for result in answer.results {
            let what = format!("the credentials of {user} were not changed");
            ClientError::from_code(&what, result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }
}
