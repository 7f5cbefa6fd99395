//! People whom an admin keeps out, whoever vouches for them.

use std::collections::HashMap;

use serde_json::json;
use time::OffsetDateTime;

use super::people::{Change, audit, finish};
use super::text::plain;
use super::{Store, StoreError};
use crate::domain::grant::Reason;
use crate::domain::ids::UserId;

/// Who keeps somebody out, since when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Since when.
    pub at: OffsetDateTime,
    /// Who.
    pub by: String,
    /// Why, for other admins.
    pub reason: String,
}

impl Store {
    /// Everybody who is suspended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn suspensions(&self) -> Result<HashMap<UserId, Suspension>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT id, suspended_at AS "at!", suspended_by AS "by!", suspension_reason AS "reason!"
               FROM users WHERE suspended_at IS NOT NULL"#
        )
        .fetch_all(&self.pool)
        .await?;
        let suspended = rows
            .into_iter()
            .map(|row| (UserId::from(row.id), Suspension { at: row.at, by: row.by, reason: row.reason }));
        Ok(suspended.collect())
    }

    /// Keeps a person out, on every replica within a second. Answers whether they were not kept out before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn suspend(&self, user: UserId, reason: &Reason, change: &Change) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            "UPDATE users SET suspended_at = $2, suspended_by = $3, suspension_reason = $4
             WHERE id = $1 AND suspended_at IS NULL RETURNING provider, name",
            user.uuid(),
            change.at,
            &*plain(&change.called),
            reason.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let detail = json!({
            "user": user.to_string(), "provider": row.provider, "name": row.name, "reason": reason.as_str(),
        });
        audit(&mut tx, change, "user.suspended", None, detail).await?;
        finish(tx).await?;
        Ok(true)
    }

    /// Lets a person in again, but nobody themselves: their page may be open for a moment longer. Answers whether they
    /// were kept out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn resume(&self, user: UserId, change: &Change) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            "UPDATE users SET suspended_at = NULL, suspended_by = NULL, suspension_reason = NULL
             WHERE id = $1 AND suspended_at IS NOT NULL AND id IS DISTINCT FROM $2 RETURNING provider, name",
            user.uuid(),
            change.actor.map(UserId::uuid),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let detail = json!({ "user": user.to_string(), "provider": row.provider, "name": row.name });
        audit(&mut tx, change, "user.resumed", None, detail).await?;
        finish(tx).await?;
        Ok(true)
    }
}
