//! Sign-ins on their way, and logins: who is signed in on the web, and what renews their standing.

mod renewals;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::renewals::Renewal;

use super::people::{Change, audit, finish};
use super::secrets::SealingKey;
use super::text::plain;
use super::{Store, StoreError};
use crate::domain::ids::{LoginId, UserId};
use crate::domain::vouched::Vouched;

/// What the associated data of sealed tokens begins with.
const ID_TOKEN: &str = "id_token";
const REFRESH_TOKEN: &str = "refresh_token";

/// A sign-in that was begun: everything that its way back is checked against.
pub struct SignIn {
    /// The provider's alias.
    pub provider: String,
    /// What the ID token must repeat.
    pub nonce: SecretString,
    /// What proves to the provider that the code is ours (RFC 7636).
    pub verifier: SecretString,
    /// The page that the person wanted.
    pub return_to: String,
}

/// A login as its cookie finds it.
#[derive(Debug, Clone)]
pub struct Login {
    /// The row.
    pub id: LoginId,
    /// Whose it is.
    pub user: UserId,
}

/// A login that still lets its browser in.
#[derive(Debug, Clone)]
pub struct LiveLogin {
    /// The row.
    pub id: LoginId,
    /// Since when.
    pub began_at: OffsetDateTime,
    /// When it was used last.
    pub seen_at: OffsetDateTime,
    /// Where it began.
    pub address: String,
    /// The browser, in its own words.
    pub user_agent: String,
}

/// What a new login keeps.
pub struct NewLogin<'a> {
    /// SHA-256 of the cookie.
    pub cookie: [u8; 32],
    /// When it ends at the latest.
    pub ends_at: OffsetDateTime,
    /// The browser, in its own words.
    pub user_agent: &'a str,
    /// The provider's tokens.
    pub tokens: Tokens,
}

/// What a provider hands out for a login.
pub struct Tokens {
    /// The ID token: a hint at sign-out, and what some domains take instead of the gateway's word. Empty if a renewal
    /// brought none.
    pub id_token: SecretString,
    /// What renews the login, if the provider gives one.
    pub refresh_token: Option<SecretString>,
}

impl Store {
    /// Keeps a sign-in until its way back, and forgets those that never came back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin_sign_in(
        &self,
        (state, browser): ([u8; 32], [u8; 32]),
        sign_in: &SignIn,
        sealing: &SealingKey,
        (now, forget_before): (OffsetDateTime, OffsetDateTime),
    ) -> Result<(), StoreError> {
        let nonce = sealing.seal("nonce", sign_in.nonce.expose_secret().as_bytes())?;
        let verifier = sealing.seal("verifier", sign_in.verifier.expose_secret().as_bytes())?;
        sqlx::query!("DELETE FROM sign_ins WHERE began_at < $1", forget_before).execute(&self.pool).await?;
        sqlx::query!(
            "INSERT INTO sign_ins (state, browser, provider, nonce, verifier, return_to, began_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &state[..],
            &browser[..],
            sign_in.provider,
            nonce,
            verifier,
            sign_in.return_to,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes a sign-in by its state, for the browser that began it: once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn take_sign_in(
        &self,
        (state, browser): ([u8; 32], [u8; 32]),
        sealing: &SealingKey,
        not_before: OffsetDateTime,
    ) -> Result<Option<SignIn>, StoreError> {
        let row = sqlx::query!(
            "DELETE FROM sign_ins WHERE state = $1 AND browser = $2 AND began_at >= $3
             RETURNING provider, nonce, verifier, return_to",
            &state[..],
            &browser[..],
            not_before,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(SignIn {
            provider: row.provider,
            nonce: text(sealing, "nonce", &row.nonce)?,
            verifier: text(sealing, "verifier", &row.verifier)?,
            return_to: row.return_to,
        }))
    }

    /// Signs a person in: their row as the provider tells it, with standing until then, and a login.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn sign_in(
        &self,
        vouched: &Vouched,
        standing_until: OffsetDateTime,
        login: &NewLogin<'_>,
        sealing: &SealingKey,
        change: &Change,
    ) -> Result<UserId, StoreError> {
        let id_token = sealing.seal(ID_TOKEN, login.tokens.id_token.expose_secret().as_bytes())?;
        let refresh_token = sealed_refresh(sealing, &login.tokens)?;
        let mut tx = self.pool.begin().await?;
        let user = upsert(&mut tx, vouched, standing_until, change.at).await?;
        sqlx::query!(
            "INSERT INTO logins (id, user_id, cookie, began_at, seen_at, ends_at, address, user_agent, id_token,
                                 refresh_token, refreshed_at)
             VALUES ($1, $2, $3, $4, $4, $5, ($6::text)::inet, $7, $8, $9, $4)",
            LoginId::generate().uuid(),
            user,
            &login.cookie[..],
            change.at,
            login.ends_at,
            change.address.to_string(),
            &*plain(login.user_agent),
            id_token,
            refresh_token,
        )
        .execute(&mut *tx)
        .await?;
        let change = Change { actor: Some(user.into()), called: vouched.name.to_string(), ..change.clone() };
        let detail = json!({
            "provider": vouched.provider.as_str(), "subject": vouched.subject, "groups": vouched.groups,
            "address": change.address,
        });
        audit(&mut tx, &change, "login.began", Some(true), detail).await?;
        finish(tx).await?;
        Ok(user.into())
    }

    /// The live login of a cookie, and that it was used. `idle_since` is when it must have been used last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn login(
        &self,
        cookie: [u8; 32],
        now: OffsetDateTime,
        idle_since: OffsetDateTime,
    ) -> Result<Option<Login>, StoreError> {
        let row = sqlx::query!(
            "UPDATE logins SET seen_at = $2
             WHERE cookie = $1 AND ended_at IS NULL AND ends_at > $2 AND seen_at >= $3
             RETURNING id, user_id",
            &cookie[..],
            now,
            idle_since,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Login { id: row.id.into(), user: row.user_id.into() }))
    }

    /// Whether a login still lives; to ask is not to use it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn login_lives(
        &self,
        login: LoginId,
        now: OffsetDateTime,
        idle_since: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let lives = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM logins WHERE id = $1 AND ended_at IS NULL AND ends_at > $2
                              AND seen_at >= $3) AS "lives!""#,
            login.uuid(),
            now,
            idle_since,
        );
        Ok(lives.fetch_one(&self.pool).await?)
    }

    /// The live logins of a person, the newest first. `idle_since` is when one must have been used last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn live_logins(
        &self,
        user: UserId,
        now: OffsetDateTime,
        idle_since: OffsetDateTime,
    ) -> Result<Vec<LiveLogin>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT id, began_at, seen_at, host(address) AS "address!", user_agent FROM logins
               WHERE user_id = $1 AND ended_at IS NULL AND ends_at > $2 AND seen_at >= $3
               ORDER BY began_at DESC, id"#,
            user.uuid(),
            now,
            idle_since,
        )
        .fetch_all(&self.pool)
        .await?;
        let logins = rows.into_iter().map(|row| LiveLogin {
            id: row.id.into(),
            began_at: row.began_at,
            seen_at: row.seen_at,
            address: row.address,
            user_agent: row.user_agent,
        });
        Ok(logins.collect())
    }

    /// Ends one login of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn end_login(&self, user: UserId, login: LoginId, change: &Change) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let ended = sqlx::query!(
            "UPDATE logins SET ended_at = $3, end_reason = 'ended by the person', refresh_token = NULL
             WHERE id = $1 AND user_id = $2 AND ended_at IS NULL",
            login.uuid(),
            user.uuid(),
            change.at,
        )
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        let detail = json!({ "reason": "ended by the person", "login": login.to_string() });
        audit(&mut tx, change, "login.ended", None, detail).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a login; gives its ID token, for the provider's own sign-out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn sign_out(
        &self,
        login: LoginId,
        sealing: &SealingKey,
        change: &Change,
    ) -> Result<Option<SecretString>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let token = sqlx::query_scalar!(
            "UPDATE logins SET ended_at = $2, end_reason = 'signed out', refresh_token = NULL
             WHERE id = $1 AND ended_at IS NULL RETURNING id_token",
            login.uuid(),
            change.at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(token) = token else { return Ok(None) };
        audit(&mut tx, change, "login.ended", None, json!({ "reason": "signed out" })).await?;
        tx.commit().await?;
        text(sealing, ID_TOKEN, &token).map(Some)
    }

    /// Ends every login of a person. Answers how many there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn end_logins(&self, user: UserId, change: &Change) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let ended = sqlx::query!(
            "UPDATE logins SET ended_at = $2, end_reason = 'signed out over ssh', refresh_token = NULL
             WHERE user_id = $1 AND ended_at IS NULL",
            user.uuid(),
            change.at,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if ended > 0 {
            let detail = json!({ "reason": "signed out over ssh", "logins": ended });
            audit(&mut tx, change, "login.ended", None, detail).await?;
            tx.commit().await?;
        }
        Ok(ended)
    }
}

async fn upsert(
    tx: &mut Transaction<'_, Postgres>,
    vouched: &Vouched,
    standing_until: OffsetDateTime,
    at: OffsetDateTime,
) -> Result<Uuid, StoreError> {
    let groups: Vec<String> = vouched.groups.iter().map(|group| plain(group).into_owned()).collect();
    let id = sqlx::query_scalar!(
        "INSERT INTO users (id, provider, subject, name, email, groups, standing_until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (provider, subject) DO UPDATE
         SET name = excluded.name, email = excluded.email, groups = excluded.groups,
             standing_until = greatest(users.standing_until, excluded.standing_until),
             standing_ended_at = NULL, standing_end = NULL
         RETURNING id",
        UserId::generate().uuid(),
        vouched.provider.as_str(),
        &*plain(&vouched.subject),
        vouched.name.as_str(),
        vouched.email,
        &groups,
        standing_until,
        at,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
}

fn sealed_refresh(sealing: &SealingKey, tokens: &Tokens) -> Result<Option<Vec<u8>>, StoreError> {
    let token = tokens.refresh_token.as_ref();
    token.map(|token| sealing.seal(REFRESH_TOKEN, token.expose_secret().as_bytes())).transpose()
}

fn text(sealing: &SealingKey, name: &str, sealed: &[u8]) -> Result<SecretString, StoreError> {
    let bytes = sealing.open(name, sealed)?;
    let text = std::str::from_utf8(bytes.expose_secret()).map_err(|_| StoreError::Sealed)?;
    Ok(SecretString::from(text))
}
