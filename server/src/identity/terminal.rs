//! What people do about themselves over ssh: their keys and their logins on the web.

use std::net::IpAddr;

use russh::keys::PublicKey;
use time::OffsetDateTime;
use tracing::info;

use super::Identity;
use crate::config::UserKey;
use crate::domain::ids::KeyId;
use crate::domain::user::User;
use crate::store::StoreError;
use crate::store::keys::AddedKeyRow;
use crate::store::people::Change;

/// Somebody's keys.
#[derive(Debug, Clone)]
pub struct MyKeys {
    /// Those that they added.
    pub added: Vec<AddedKeyRow>,
    /// Those that the configuration file gives them.
    pub listed: Vec<UserKey>,
}

impl Identity {
    /// Until when a key counts, if it counts for a time.
    #[must_use]
    pub fn key_until(&self, key: &PublicKey) -> Option<OffsetDateTime> {
        self.inner.people.borrow().key_until(key)
    }

    /// The keys of a person.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn all_keys_of(&self, user: &User) -> Result<MyKeys, StoreError> {
        let added = self.inner.store.added_keys(Some(user.id), self.inner.clock.now()).await?;
        let directory = self.directory();
        let listed = directory.entry(user.id).map(|entry| entry.listed_keys.clone()).unwrap_or_default();
        Ok(MyKeys { added, listed })
    }

    /// Removes a key of a person. Answers whether there was one. Nobody is told before [`Self::take_in`], or a second
    /// later: the connection that asks may be one of the key's own.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn remove_own_key(&self, user: &User, key: KeyId, from: IpAddr) -> Result<bool, StoreError> {
        let removed = self.inner.store.remove_key(user.id, key, &self.change_from(user, from)).await?;
        if removed {
            info!(user.name = %user.name, key.id = %key, "key removed");
        }
        Ok(removed)
    }

    /// Takes in at once what was changed.
    ///
    /// # Errors
    /// When Postgres is away; it is taken in later then.
    pub async fn take_in(&self) -> Result<(), StoreError> {
        self.read().await
    }

    /// Ends every web login of a person. Answers how many there were. Their standing stays until its age: signing out
    /// of a browser does not end what runs over ssh, it only is not renewed any more.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn log_out(&self, user: &User, from: IpAddr) -> Result<u64, StoreError> {
        let ended = self.inner.store.end_logins(user.id, &self.change_from(user, from)).await?;
        info!(user.name = %user.name, ended, "logged out");
        Ok(ended)
    }

    /// A change by a person who is known by more than a web login.
    pub(super) fn change_from(&self, user: &User, address: IpAddr) -> Change {
        Change { actor: Some(user.id), called: user.name.to_string(), ..self.change_at(address) }
    }
}
