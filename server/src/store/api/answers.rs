//! What was answered to requests with an idempotency key: the same request gets the same answer, and is not carried out
//! a second time.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::ids::UserId;
use crate::store::{Store, StoreError};

/// How long an answer is kept.
const KEPT: Duration = Duration::hours(24);
/// Whoever carries a request out for so long is dead, as a replica is that was killed: another attempt takes over.
const LONGEST: Duration = Duration::minutes(2);

/// A request that has a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Who sends it.
    pub user: UserId,
    /// The key.
    pub key: String,
    /// SHA-256 of what it asks for.
    pub request: [u8; 32],
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The status.
    pub status: u16,
    /// `Content-Type`, if it has a body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Whether a request with a key is to be carried out.
#[derive(Debug)]
pub enum Turn {
    /// Yes, by this attempt.
    First(Uuid),
    /// It was: this is the answer.
    Again(Given),
    /// Somebody is about it.
    Busy,
    /// The key belongs to another request.
    Other,
}

impl Store {
    /// Takes a key for a request, and forgets what is too old.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn take_key(&self, keyed: &Keyed, now: OffsetDateTime) -> Result<Turn, StoreError> {
        let attempt = Uuid::now_v7();
        sqlx::query!("DELETE FROM api_answers WHERE began_at < $1", now - KEPT).execute(&self.pool).await?;
        let taken = sqlx::query_scalar!(
            "INSERT INTO api_answers (user_id, key, request, began_at, attempt) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_id, key) DO UPDATE SET began_at = $4, attempt = $5
             WHERE api_answers.status IS NULL AND api_answers.request = $3 AND api_answers.began_at < $6
             RETURNING attempt",
            keyed.user.uuid(),
            keyed.key,
            &keyed.request[..],
            now,
            attempt,
            now - LONGEST,
        )
        .fetch_optional(&self.pool)
        .await?;
        if taken.is_some() {
            return Ok(Turn::First(attempt));
        }
        let row = sqlx::query!(
            "SELECT request, status, content_type, body FROM api_answers WHERE user_id = $1 AND key = $2",
            keyed.user.uuid(),
            keyed.key,
        )
        .fetch_optional(&self.pool)
        .await?;
        // Given back meanwhile: whoever asks again finds it free.
        let Some(row) = row else { return Ok(Turn::Busy) };
        if row.request != keyed.request {
            return Ok(Turn::Other);
        }
        Ok(match row.status.and_then(|status| u16::try_from(status).ok()).zip(row.body) {
            Some((status, body)) => Turn::Again(Given { status, content_type: row.content_type, body }),
            None => Turn::Busy,
        })
    }

    /// Keeps the answer of an attempt.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep_answer(&self, keyed: &Keyed, attempt: Uuid, given: &Given) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE api_answers SET status = $4, content_type = $5, body = $6
             WHERE user_id = $1 AND key = $2 AND attempt = $3",
            keyed.user.uuid(),
            keyed.key,
            attempt,
            i16::try_from(given.status).unwrap_or(i16::MAX),
            given.content_type,
            given.body,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Gives the key of an attempt back: nothing came of it that would count for the next.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn give_key_back(&self, keyed: &Keyed, attempt: Uuid) -> Result<(), StoreError> {
        sqlx::query!(
            "DELETE FROM api_answers WHERE user_id = $1 AND key = $2 AND attempt = $3",
            keyed.user.uuid(),
            keyed.key,
            attempt,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
