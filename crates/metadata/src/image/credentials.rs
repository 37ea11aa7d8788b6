//! SCRAM users, and delegation tokens, which are kept as their records until they are served.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::ScramMechanism;

use super::{Corrupt, detached};
use crate::records::{
    DelegationTokenRecord, MetadataVersion, Record, RemoveDelegationTokenRecord,
    RemoveUserScramCredentialRecord, UserScramCredentialRecord,
};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Credentials {
    /// By mechanism and user.
    pub scram: OrdMap<(i8, Arc<str>), Arc<UserScramCredentialRecord>>,
    /// By token id.
    pub tokens: OrdMap<Arc<str>, Arc<DelegationTokenRecord>>,
}

impl Credentials {
    /// Each user once who has a credential, by name.
    pub fn scram_users(&self) -> BTreeSet<Arc<str>> {
        self.scram.keys().map(|(_, user)| user.clone()).collect()
    }

    /// Which credentials a user has, and with how many iterations each.
    pub fn scram_of(&self, user: &str) -> impl Iterator<Item = (ScramMechanism, i32)> {
        let user: Arc<str> = Arc::from(user);
        ScramMechanism::ALL
            .into_iter()
            .filter_map(move |mechanism| {
                let credential = self.scram.get(&(mechanism.number(), user.clone()))?;
                Some((mechanism, credential.iterations))
            })
    }

    pub fn has_scram(&self, user: &str, mechanism: ScramMechanism) -> bool {
        let key = (mechanism.number(), Arc::from(user));
        self.scram.contains_key(&key)
    }

    pub(super) fn replay_scram(
        &mut self,
        record: &UserScramCredentialRecord,
    ) -> Result<(), Corrupt> {
        let key = (record.mechanism, Arc::from(&*record.name));
        self.scram.insert(key, Arc::new(detached(record)?));
        Ok(())
    }

    pub(super) fn replay_scram_removal(
        &mut self,
        record: &RemoveUserScramCredentialRecord,
    ) -> Result<(), Corrupt> {
        let key: (i8, Arc<str>) = (record.mechanism, Arc::from(&*record.name));
        let removed = self.scram.remove(&key);
        removed.map(|_| ()).ok_or_else(|| {
            Corrupt::new(format!(
                "no SCRAM credential {} of {}",
                record.mechanism, record.name
            ))
        })
    }

    pub(super) fn replay_token(&mut self, record: &DelegationTokenRecord) -> Result<(), Corrupt> {
        self.tokens
            .insert(Arc::from(&*record.token_id), Arc::new(detached(record)?));
        Ok(())
    }

    pub(super) fn replay_token_removal(&mut self, record: &RemoveDelegationTokenRecord) {
        self.tokens.remove(&*record.token_id);
    }

    pub(super) fn write(&self, level: MetadataVersion, records: &mut Vec<Record>) {
        if level.has_scram() {
            records.extend(
                self.scram
                    .values()
                    .map(|record| Record::from(record.as_ref().clone())),
            );
        }
        if level.has_delegation_tokens() {
            records.extend(
                self.tokens
                    .values()
                    .map(|record| Record::from(record.as_ref().clone())),
            );
        }
    }
}
