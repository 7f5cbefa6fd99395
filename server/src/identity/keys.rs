//! The SSH keys that people add themselves.

use russh::keys::{Algorithm, HashAlg, PublicKey};
use time::OffsetDateTime;
use tracing::info;

use super::{Identity, Visitor};
use crate::config::UserKey;
use crate::domain::ids::{KeyId, UserId};
use crate::domain::user::{Standing, User};
use crate::store::StoreError;
use crate::store::people::AddedKey;

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 60;
/// Keys that one person may have.
pub(super) const MOST_KEYS: usize = 50;

/// Why what somebody pasted is no key of use. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum PastedKeyError {
    /// It is none.
    #[error("That is not a public key that is taken here: {0}.")]
    NoKey(String),
    /// It is a private key.
    #[error("That is a private key. Keep it to yourself, and paste the file that ends in .pub.")]
    Private,
}

/// Why a key was not added. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum AddKeyError {
    /// It cannot be.
    #[error(transparent)]
    Pasted(#[from] PastedKeyError),
    /// It is somebody else's.
    #[error("That key belongs to somebody else. Make a new one: ssh-keygen -t ed25519")]
    SomebodyElses,
    /// The person has it already.
    #[error("You have that key already.")]
    AlreadyYours,
    /// The person has too many.
    #[error("You have {MOST_KEYS} keys. Remove one first.")]
    TooMany,
    /// Postgres is away.
    #[error("The key could not be written down. Try again in a minute.")]
    Store(#[from] StoreError),
}

/// A key as its owner sees it.
#[derive(Debug, Clone)]
pub struct MyKey {
    /// The key.
    pub id: KeyId,
    /// What it is called.
    pub name: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Since when.
    pub added_at: OffsetDateTime,
    /// From where it was added: for an approved key, where its client connected from.
    pub added_from: String,
    /// Until when, if not for ever.
    pub expires_at: Option<OffsetDateTime>,
}

/// A public key that somebody pasted.
pub(super) fn pasted(text: &str) -> Result<UserKey, PastedKeyError> {
    if text.contains("PRIVATE KEY") {
        return Err(PastedKeyError::Private);
    }
    text.parse().map_err(PastedKeyError::NoKey)
}

impl Identity {
    /// The keys that a person has added.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn keys_of(&self, who: &User) -> Result<Vec<MyKey>, StoreError> {
        let keys = self.inner.store.known_keys().await?;
        let now = self.inner.clock.now();
        let mine = keys
            .into_iter()
            .filter(|key| key.user == who.id && key.expires_at.is_none_or(|until| now < until));
        Ok(mine
            .map(|key| MyKey {
                id: key.id,
                name: key.name,
                fingerprint: key.fingerprint,
                added_at: key.added_at,
                added_from: key.added_from,
                expires_at: key.expires_at,
            })
            .collect())
    }

    /// Adds a key as OpenSSH writes it; without a name, its comment is the name.
    ///
    /// # Errors
    /// Why it is not added.
    pub async fn add_key(
        &self,
        who: &User,
        text: &str,
        name: &str,
        visitor: &Visitor,
    ) -> Result<KeyId, AddKeyError> {
        let key = pasted(text)?;
        if self.keys_of(who).await?.len() >= MOST_KEYS {
            return Err(AddKeyError::TooMany);
        }
        match self.user_for_key(&key.key) {
            Some(owner) if owner.id == who.id => return Err(AddKeyError::AlreadyYours),
            Some(owner) if owner.standing == Standing::Configured => return Err(AddKeyError::SomebodyElses),
            Some(_) | None => {}
        }
        let comment = key.key.comment().to_string();
        let name = [name.trim(), comment.trim(), "key"].into_iter().find(|name| !name.is_empty());
        let name = shortened(name.unwrap_or_default());
        let written =
            written(&key.key).ok_or_else(|| PastedKeyError::NoKey("it cannot be written".to_owned()));
        let (line, fingerprint) = written?;
        let change = self.change_by(who, visitor);
        let words = (line.as_str(), fingerprint.as_str(), name.as_str());
        match self.inner.store.add_key(who.id, words, None, &change).await? {
            AddedKey::Added(id) => {
                info!(user.name = %who.name, key.fingerprint = key.fingerprint, "key added");
                self.read().await?;
                Ok(id)
            }
            AddedKey::AlreadyYours => Err(AddKeyError::AlreadyYours),
            AddedKey::SomebodyElses => Err(AddKeyError::SomebodyElses),
        }
    }

    /// Takes a key away from its owner, as an admin may. Answers its fingerprint, if it is a key of theirs.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn revoke_key(
        &self,
        admin: &User,
        (owner, key): (UserId, KeyId),
        visitor: &Visitor,
    ) -> Result<Option<String>, StoreError> {
        let theirs = self.inner.store.added_keys(Some(owner), self.inner.clock.now()).await?;
        if !theirs.iter().any(|known| known.id == key) {
            return Ok(None);
        }
        let revoked = self.inner.store.revoke_key(&key.to_string(), &self.change_by(admin, visitor)).await?;
        let Some((fingerprint, owner)) = revoked else { return Ok(None) };
        info!(user.name = owner, key.id = %key, admin = %admin.name, "key revoked");
        self.read().await?;
        Ok(Some(fingerprint))
    }

    /// Removes a key of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn remove_key(&self, who: &User, key: KeyId, visitor: &Visitor) -> Result<bool, StoreError> {
        let removed = self.inner.store.remove_key(who.id, key, &self.change_by(who, visitor)).await?;
        if removed {
            info!(user.name = %who.name, key.id = %key, "key removed");
            self.read().await?;
        }
        Ok(removed)
    }
}

/// A key as it is kept: one line without a comment, and its fingerprint.
pub(super) fn written(key: &PublicKey) -> Option<(String, String)> {
    let mut bare = key.clone();
    bare.set_comment("");
    let line = bare.to_openssh().ok()?;
    Some((line.trim().to_owned(), key.fingerprint(HashAlg::Sha256).to_string()))
}

/// A key's name as it is kept.
pub(super) fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

/// A key's kind, as people call it.
pub(super) fn kind(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Ed25519 => "Ed25519".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::SkEd25519 => "Ed25519 on a security key".to_owned(),
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA on a security key".to_owned(),
        other => other.to_string(),
    }
}
