//! Logins that are renewed: which is due, what renews it, and the ID token that it gives to domains which take that
//! instead of the gateway's word.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ID_TOKEN, REFRESH_TOKEN, Tokens, sealed_refresh, text, upsert};
use crate::domain::ids::UserId;
use crate::domain::user::Withdrawal;
use crate::domain::vouched::Vouched;
use crate::store::people::{Change, audit, finish, withdraw};
use crate::store::secrets::SealingKey;
use crate::store::{Store, StoreError};

/// A login that is being renewed: its row is locked until this is finished or dropped.
pub struct Renewal {
    tx: Transaction<'static, Postgres>,
    login: Uuid,
    user: Uuid,
    /// The provider's alias.
    pub provider: String,
    /// The person's identifier there.
    pub subject: String,
    /// What to renew it with.
    pub refresh_token: SecretString,
}

impl Store {
    /// The ID token of a person's newest login that has not ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn id_token(
        &self,
        user: UserId,
        sealing: &SealingKey,
    ) -> Result<Option<SecretString>, StoreError> {
        let token = sqlx::query_scalar!(
            "SELECT id_token FROM logins WHERE user_id = $1 AND ended_at IS NULL
             ORDER BY began_at DESC LIMIT 1",
            user.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        token.map(|token| text(sealing, ID_TOKEN, &token)).transpose()
    }

    /// Locks a person's newest login that can be renewed, whether it is due or not, and gives its ID token as it is
    /// under the lock. Waits for whoever renews it at the moment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn renewal_of(
        &self,
        user: UserId,
        sealing: &SealingKey,
    ) -> Result<Option<(Renewal, SecretString)>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            r#"SELECT l.id, l.id_token, l.refresh_token AS "refresh_token!", u.provider, u.subject
               FROM logins l JOIN users u ON u.id = l.user_id
               WHERE l.user_id = $1 AND l.refresh_token IS NOT NULL AND l.ended_at IS NULL
                 AND u.standing_ended_at IS NULL
               ORDER BY l.began_at DESC LIMIT 1
               FOR UPDATE OF l"#,
            user.uuid(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id_token = text(sealing, ID_TOKEN, &row.id_token)?;
        let refresh_token = text(sealing, REFRESH_TOKEN, &row.refresh_token)?;
        let (provider, subject) = (row.provider, row.subject);
        let renewal = Renewal { tx, login: row.id, user: user.uuid(), provider, subject, refresh_token };
        Ok(Some((renewal, id_token)))
    }

    /// Locks one login that is due to be renewed: its person has standing and a live session, and nobody has renewed
    /// it since. Other replicas pass over it meanwhile.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn due_renewal(
        &self,
        refreshed_before: OffsetDateTime,
        sealing: &SealingKey,
    ) -> Result<Option<Renewal>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            r#"SELECT l.id, l.user_id, l.refresh_token AS "refresh_token!", u.provider, u.subject
               FROM logins l JOIN users u ON u.id = l.user_id
               WHERE l.refresh_token IS NOT NULL AND l.refreshed_at < $1
                 AND u.standing_ended_at IS NULL
                 AND l.began_at = (SELECT max(began_at) FROM logins n
                                   WHERE n.user_id = l.user_id AND n.refresh_token IS NOT NULL)
                 AND EXISTS (SELECT FROM sessions s WHERE s.user_id = l.user_id AND s.ended_at IS NULL)
               ORDER BY l.refreshed_at LIMIT 1
               FOR UPDATE OF l SKIP LOCKED"#,
            refreshed_before,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let refresh_token = text(sealing, REFRESH_TOKEN, &row.refresh_token)?;
        Ok(Some(Renewal {
            tx,
            login: row.id,
            user: row.user_id,
            provider: row.provider,
            subject: row.subject,
            refresh_token,
        }))
    }
}

impl Renewal {
    /// The provider vouches for the person again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn renewed(
        mut self,
        vouched: &Vouched,
        standing_until: OffsetDateTime,
        tokens: &Tokens,
        sealing: &SealingKey,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let refresh_token = sealed_refresh(sealing, tokens)?;
        let id_token = tokens.id_token.expose_secret();
        let id_token =
            (!id_token.is_empty()).then(|| sealing.seal(ID_TOKEN, id_token.as_bytes())).transpose()?;
        upsert(&mut self.tx, vouched, standing_until, at).await?;
        sqlx::query!(
            "UPDATE logins SET refreshed_at = $2, refresh_token = coalesce($3, refresh_token),
                               id_token = coalesce($4, id_token)
             WHERE id = $1",
            self.login,
            at,
            refresh_token,
            id_token,
        )
        .execute(&mut *self.tx)
        .await?;
        finish(self.tx).await
    }

    /// The provider could not be asked: asked again after the usual time, and standing is as it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn postponed(mut self, at: OffsetDateTime) -> Result<(), StoreError> {
        sqlx::query!("UPDATE logins SET refreshed_at = $2 WHERE id = $1", self.login, at)
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }

    /// The provider's word is withdrawn: every login of the person ends with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn withdrawn(mut self, why: Withdrawal, change: &Change) -> Result<(), StoreError> {
        withdraw(&mut self.tx, self.user, why, change.at).await?;
        sqlx::query!(
            "UPDATE logins SET ended_at = $2, end_reason = $3, refresh_token = NULL
             WHERE user_id = $1 AND ended_at IS NULL",
            self.user,
            change.at,
            why.code(),
        )
        .execute(&mut *self.tx)
        .await?;
        let change = Change { actor: Some(self.user.into()), ..change.clone() };
        let detail = json!({ "provider": self.provider, "subject": self.subject, "why": why.code() });
        audit(&mut self.tx, &change, "standing.ended", Some(false), detail).await?;
        finish(self.tx).await
    }
}
