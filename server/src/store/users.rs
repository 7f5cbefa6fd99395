//! Users' rows.

use time::OffsetDateTime;

use super::text::plain;
use super::{Store, StoreError};
use crate::domain::ids::{UserId, UserName};

impl Store {
    /// The row of a user, made on first sight; the name follows the identity provider's.
    ///
    /// # Errors
    /// When the row cannot be read or written.
    pub async fn ensure_user(
        &self,
        subject: &str,
        name: &UserName,
        now: OffsetDateTime,
    ) -> Result<UserId, StoreError> {
        let subject = plain(subject);
        // Nearly every call finds the row as it should be: only then nothing is written.
        let known = sqlx::query_scalar!(
            "SELECT id FROM users WHERE provider = 'local' AND subject = $1 AND name = $2",
            &*subject,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(id) = known {
            return Ok(id.into());
        }
        let id = sqlx::query_scalar!(
            "INSERT INTO users (id, subject, name, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (provider, subject) DO UPDATE SET name = excluded.name
             RETURNING id",
            UserId::generate().uuid(),
            &*subject,
            name.as_str(),
            now,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(id.into())
    }
}
