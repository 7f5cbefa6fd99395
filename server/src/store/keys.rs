//! Keys that people added, as their owners and admins list them, and what an admin takes away.

use serde_json::json;
use time::OffsetDateTime;

use super::people::{Change, audit, finish};
use super::{Store, StoreError};
use crate::domain::ids::{KeyId, UserId};

/// A key that counts.
#[derive(Debug, Clone)]
pub struct AddedKeyRow {
    /// The key.
    pub id: KeyId,
    /// Whose.
    pub user: UserId,
    /// Who vouches for its owner.
    pub provider: String,
    /// What its owner is called.
    pub owner: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What the key is called.
    pub name: String,
    /// Since when it counts.
    pub added_at: OffsetDateTime,
    /// Where it was added from.
    pub added_from: String,
    /// Until when, if not for ever.
    pub expires_at: Option<OffsetDateTime>,
}

impl Store {
    /// The keys that count, of one person or of all, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn added_keys(
        &self,
        user: Option<UserId>,
        now: OffsetDateTime,
    ) -> Result<Vec<AddedKeyRow>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT k.id, k.user_id, u.provider, u.name AS owner, k.fingerprint, k.name, k.added_at,
                      host(k.added_from) AS "added_from!", k.expires_at
               FROM keys k JOIN users u ON u.id = k.user_id
               WHERE k.removed_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
                 AND ($1::uuid IS NULL OR k.user_id = $1)
               ORDER BY k.added_at, k.id"#,
            user.map(UserId::uuid),
            now,
        )
        .fetch_all(&self.pool)
        .await?;
        let keys = rows.into_iter().map(|row| AddedKeyRow {
            id: row.id.into(),
            user: row.user_id.into(),
            provider: row.provider,
            owner: row.owner,
            fingerprint: row.fingerprint,
            name: row.name,
            added_at: row.added_at,
            added_from: row.added_from,
            expires_at: row.expires_at,
        });
        Ok(keys.collect())
    }

    /// Takes a key away from its owner; `which` is its fingerprint or its id. Answers its fingerprint and its owner's
    /// name, if there was such a key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn revoke_key(
        &self,
        which: &str,
        change: &Change,
    ) -> Result<Option<(String, String)>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            "UPDATE keys k SET removed_at = $2 FROM users u
             WHERE u.id = k.user_id AND k.removed_at IS NULL AND (k.fingerprint = $1 OR k.id::text = $1)
             RETURNING k.fingerprint, u.id, u.provider, u.name",
            which,
            change.at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let detail = json!({
            "fingerprint": row.fingerprint, "user": row.id.to_string(), "provider": row.provider,
            "name": row.name,
        });
        audit(&mut tx, change, "key.revoked", None, detail).await?;
        finish(tx).await?;
        Ok(Some((row.fingerprint, row.name)))
    }
}
