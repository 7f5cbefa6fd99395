//! Tokens for the API, and the answers that were given to requests with an idempotency key.

pub mod answers;

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::people::{Change, audit};
use super::text::{counted, plain};
use super::{Store, StoreError};
use crate::domain::ids::{TokenId, UserId};

/// How exactly the last use of a token is kept: not every request writes a row.
const USED: Duration = Duration::minutes(1);

/// A token that counts.
#[derive(Debug, Clone)]
pub struct LiveToken {
    /// The row.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What the person calls it.
    pub name: String,
    /// The names of its scopes.
    pub scopes: Vec<String>,
    /// Since when it counts.
    pub made_at: OffsetDateTime,
    /// Until when.
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute, and from where.
    pub used: Option<(OffsetDateTime, String)>,
}

/// A token that is being made.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// Whose it is.
    pub user: UserId,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// What the person calls it.
    pub name: &'a str,
    /// The names of its scopes.
    pub scopes: &'a [String],
    /// Until when it counts.
    pub expires_at: OffsetDateTime,
}

impl Store {
    /// Keeps a new token, unless the person has so many already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_token(
        &self,
        new: &NewToken<'_>,
        most: u32,
        change: &Change,
    ) -> Result<Option<TokenId>, StoreError> {
        let id = TokenId::generate();
        let mut tx = self.pool.begin().await?;
        // The person's row makes two at once take turns, so that the count holds.
        sqlx::query!("SELECT id FROM users WHERE id = $1 FOR UPDATE", new.user.uuid())
            .fetch_optional(&mut *tx)
            .await?;
        let live = sqlx::query_scalar!(
            r#"SELECT count(*) AS "n!" FROM api_tokens
               WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2"#,
            new.user.uuid(),
            change.at,
        )
        .fetch_one(&mut *tx)
        .await?;
        if counted(live) >= u64::from(most) {
            return Ok(None);
        }
        sqlx::query!(
            "INSERT INTO api_tokens (id, user_id, digest, name, scopes, made_at, made_from, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, ($7::text)::inet, $8)",
            id.uuid(),
            new.user.uuid(),
            &new.digest[..],
            &*plain(new.name),
            new.scopes,
            change.at,
            change.address.to_string(),
            new.expires_at,
        )
        .execute(&mut *tx)
        .await?;
        let detail = json!({
            "token": id.to_string(), "name": new.name, "scopes": new.scopes,
            "until": new.expires_at.unix_timestamp(), "address": change.address,
        });
        audit(&mut tx, change, "token.made", None, detail).await?;
        tx.commit().await?;
        Ok(Some(id))
    }

    /// The tokens of a person that count, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn tokens(&self, user: UserId, now: OffsetDateTime) -> Result<Vec<LiveToken>, StoreError> {
        let rows = sqlx::query_as!(
            TokenRow,
            "SELECT id, user_id, name, scopes, made_at, expires_at, used_at, host(used_from) AS used_from
             FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
             ORDER BY made_at DESC, id DESC",
            user.uuid(),
            now,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(LiveToken::from).collect())
    }

    /// The token with this digest, if it counts; that it was used from there is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn token(
        &self,
        digest: [u8; 32],
        address: std::net::IpAddr,
        now: OffsetDateTime,
    ) -> Result<Option<LiveToken>, StoreError> {
        let row = sqlx::query_as!(
            TokenRow,
            "SELECT id, user_id, name, scopes, made_at, expires_at, used_at, host(used_from) AS used_from
             FROM api_tokens WHERE digest = $1 AND revoked_at IS NULL AND expires_at > $2",
            &digest[..],
            now,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(token) = row.map(LiveToken::from) else { return Ok(None) };
        let address = address.to_string();
        let known = token.used.as_ref().is_some_and(|(at, from)| *at > now - USED && *from == address);
        if !known {
            sqlx::query!(
                "UPDATE api_tokens SET used_at = $2, used_from = ($3::text)::inet WHERE id = $1",
                token.id.uuid(),
                now,
                address,
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(Some(token))
    }

    /// Revokes a token of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn revoke_token(
        &self,
        user: UserId,
        token: TokenId,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let name = sqlx::query_scalar!(
            "UPDATE api_tokens SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
             RETURNING name",
            token.uuid(),
            user.uuid(),
            change.at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(name) = name else { return Ok(false) };
        let detail = json!({ "token": token.to_string(), "name": name, "address": change.address });
        audit(&mut tx, change, "token.revoked", None, detail).await?;
        tx.commit().await?;
        Ok(true)
    }
}

struct TokenRow {
    id: uuid::Uuid,
    user_id: uuid::Uuid,
    name: String,
    scopes: Vec<String>,
    made_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    used_at: Option<OffsetDateTime>,
    used_from: Option<String>,
}

impl From<TokenRow> for LiveToken {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id.into(),
            user: row.user_id.into(),
            name: row.name,
            scopes: row.scopes,
            made_at: row.made_at,
            expires_at: row.expires_at,
            used: row.used_at.zip(row.used_from),
        }
    }
}
