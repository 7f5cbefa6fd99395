//! Secrets that all replicas share, encrypted with a key that the database does not have.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::{ExposeSecret as _, ExposeSecretMut as _, SecretBox};

use super::{Store, StoreError};

/// The first byte of what is sealed as below; another way to seal gets another.
const FORMAT: u8 = 1;

/// The key that seals secrets: AES-256-GCM.
pub struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    /// From the bytes that operators configure.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when the cipher takes no key, which no 32 bytes have ever made it do.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, StoreError> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).map(Self).map_err(|_| StoreError::Sealed)
    }

    /// The name goes in as associated data, so that one secret cannot be passed off as another.
    pub(super) fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut text = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut text)
            .map_err(|_| StoreError::Sealed)?;
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        Ok(sealed)
    }

    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretBox<Vec<u8>>, StoreError> {
        let Some((&FORMAT, rest)) = sealed.split_first() else { return Err(StoreError::Sealed) };
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(StoreError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| StoreError::Sealed)?;
        let mut secret = SecretBox::new(Box::new(text.to_vec()));
        let length = self
            .0
            .open_in_place(nonce, Aad::from(name.as_bytes()), secret.expose_secret_mut())
            .map_err(|_| StoreError::Sealed)?
            .len();
        secret.expose_secret_mut().truncate(length);
        Ok(secret)
    }
}

impl Store {
    /// The secret of a name, made and kept on first use. Of replicas that make one at the same time, the first to
    /// write it wins, and all answer the same.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it was sealed with another key.
    pub async fn sealed(
        &self,
        name: &str,
        make: impl FnOnce() -> Vec<u8>,
        key: &SealingKey,
    ) -> Result<SecretBox<Vec<u8>>, StoreError> {
        if let Some(sealed) = self.read_sealed(name).await? {
            return key.open(name, &sealed);
        }
        let made = SecretBox::new(Box::new(make()));
        let sealed = key.seal(name, made.expose_secret())?;
        let written = sqlx::query!(
            "INSERT INTO secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            name,
            sealed,
        )
        .execute(&self.pool)
        .await?;
        if written.rows_affected() > 0 {
            return Ok(made);
        }
        let theirs = self.read_sealed(name).await?.ok_or(StoreError::Sealed)?;
        key.open(name, &theirs)
    }

    /// The secret of a name, if it has been made.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it was sealed with another key.
    pub async fn sealed_if_made(
        &self,
        name: &str,
        key: &SealingKey,
    ) -> Result<Option<SecretBox<Vec<u8>>>, StoreError> {
        let sealed = self.read_sealed(name).await?;
        sealed.map(|sealed| key.open(name, &sealed)).transpose()
    }

    async fn read_sealed(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = sqlx::query_scalar!("SELECT sealed FROM secrets WHERE name = $1", name);
        Ok(sealed.fetch_optional(&self.pool).await?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_its_key_and_name_only() {
        let mine = SealingKey::new(&[0x0f; 32]).unwrap();
        let sealed = mine.seal("host_key", b"secret").unwrap();
        assert_ne!(sealed, mine.seal("host_key", b"secret").unwrap(), "a nonce was used twice");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(mine.open("host_key", &sealed).unwrap().expose_secret(), b"secret");
        assert!(matches!(mine.open("ca_key", &sealed), Err(StoreError::Sealed)));
        let theirs = SealingKey::new(&[0xf0; 32]).unwrap();
        assert!(matches!(theirs.open("host_key", &sealed), Err(StoreError::Sealed)));
        for cut in 0..sealed.len() {
            assert!(mine.open("host_key", sealed.get(..cut).unwrap()).is_err());
        }
    }
}
