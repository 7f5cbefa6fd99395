//! People whom providers vouch for, their standing and their keys: what every replica holds in memory, and the
//! changes to it. Each change and its audit row are one transaction, which also moves the version that replicas
//! look at.

use std::net::IpAddr;

use serde_json::{Value, json};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{plain, plain_json};
use super::{Store, StoreError};
use crate::domain::ids::{AuditId, KeyId, ReplicaId, SpaceId, UserId};
use crate::domain::user::{Standing, Withdrawal};

/// A person whom a provider vouches for, or did.
#[derive(Debug, Clone)]
pub struct KnownPerson {
    /// The row.
    pub id: UserId,
    /// The provider's alias.
    pub provider: String,
    /// The provider's identifier.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// Their verified address.
    pub email: Option<String>,
    /// Their groups, without the provider.
    pub groups: Vec<String>,
    /// Whether they may connect.
    pub standing: Standing,
}

/// A key that somebody added.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// The row.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// The key as OpenSSH writes it, without a comment.
    pub public_key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What the person calls it.
    pub name: String,
    /// Since when it counts.
    pub added_at: OffsetDateTime,
    /// From where it was added: for an approved key, where its client connected from.
    pub added_from: String,
    /// Until when, if not for ever.
    pub expires_at: Option<OffsetDateTime>,
}

/// Who changes something, and where: for the audit row.
#[derive(Debug, Clone)]
pub struct Change {
    /// The replica that serves them.
    pub replica: ReplicaId,
    /// The person, if known.
    pub actor: Option<UserId>,
    /// What they are called.
    pub called: String,
    /// From where.
    pub address: IpAddr,
    /// When.
    pub at: OffsetDateTime,
}

/// Why a key was not added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedKey {
    /// It was.
    Added(KeyId),
    /// The person has it already.
    AlreadyYours,
    /// It is somebody else's.
    SomebodyElses,
}

impl Store {
    /// Grows with every change of people and keys.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn people_version(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!("SELECT version FROM people_version").fetch_one(&self.pool).await?)
    }

    /// Everybody whom a provider vouched for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_people(&self) -> Result<Vec<KnownPerson>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, provider, subject, name, email, groups, standing_until, standing_ended_at, standing_end
             FROM users WHERE standing_until IS NOT NULL"
        )
        .fetch_all(&self.pool)
        .await?;
        let people = rows.into_iter().map(|row| KnownPerson {
            id: row.id.into(),
            provider: row.provider,
            subject: row.subject,
            name: row.name,
            email: row.email,
            groups: row.groups,
            standing: match (row.standing_ended_at, row.standing_end.as_deref(), row.standing_until) {
                (Some(at), Some("left_group"), _) => Standing::Withdrawn { at, why: Withdrawal::LeftGroup },
                (Some(at), _, _) => Standing::Withdrawn { at, why: Withdrawal::Refused },
                (None, _, until) => Standing::Until(until.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
            },
        });
        Ok(people.collect())
    }

    /// Every key that counts or will lapse later.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT id, user_id, public_key, fingerprint, name, added_at, host(added_from) AS "added_from!", expires_at
               FROM keys WHERE removed_at IS NULL ORDER BY added_at"#
        )
        .fetch_all(&self.pool)
        .await?;
        let keys = rows.into_iter().map(|row| KnownKey {
            id: row.id.into(),
            user: row.user_id.into(),
            public_key: row.public_key,
            fingerprint: row.fingerprint,
            name: row.name,
            added_at: row.added_at,
            added_from: row.added_from,
            expires_at: row.expires_at,
        });
        Ok(keys.collect())
    }

    /// Adds a key for a person. A key that lapsed gives way.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_key(
        &self,
        user: UserId,
        (public_key, fingerprint, name): (&str, &str, &str),
        expires_at: Option<OffsetDateTime>,
        change: &Change,
    ) -> Result<AddedKey, StoreError> {
        let mut tx = self.pool.begin().await?;
        let added = insert_key(&mut tx, user, (public_key, fingerprint, name), expires_at, change).await?;
        match added {
            AddedKey::Added(_) => {}
            AddedKey::AlreadyYours => return Ok(added),
            AddedKey::SomebodyElses => {
                let detail = json!({ "fingerprint": fingerprint, "because": "it is somebody else's" });
                audit(&mut tx, change, "key.refused", Some(false), detail).await?;
                tx.commit().await?;
                return Ok(added);
            }
        }
        let detail = json!({ "fingerprint": fingerprint, "name": name, "address": change.address });
        audit(&mut tx, change, "key.added", Some(true), detail).await?;
        finish(tx).await?;
        Ok(added)
    }

    /// Writes an audit row that belongs to no change: a refusal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn note(
        &self,
        change: &Change,
        kind: &str,
        allowed: Option<bool>,
        detail: Value,
    ) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        audit(&mut connection, change, kind, allowed, detail).await
    }

    /// Removes a key of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn remove_key(&self, user: UserId, key: KeyId, change: &Change) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let fingerprint = sqlx::query_scalar!(
            "UPDATE keys SET removed_at = $3 WHERE id = $1 AND user_id = $2 AND removed_at IS NULL
             RETURNING fingerprint",
            key.uuid(),
            user.uuid(),
            change.at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(fingerprint) = fingerprint else { return Ok(false) };
        audit(&mut tx, change, "key.removed", Some(true), json!({ "fingerprint": fingerprint })).await?;
        finish(tx).await?;
        Ok(true)
    }
}

/// Makes a key a person's. A key that lapsed gives way.
pub(super) async fn insert_key(
    on: &mut PgConnection,
    user: UserId,
    (public_key, fingerprint, name): (&str, &str, &str),
    expires_at: Option<OffsetDateTime>,
    change: &Change,
) -> Result<AddedKey, StoreError> {
    sqlx::query!(
        "UPDATE keys SET removed_at = expires_at
             WHERE fingerprint = $1 AND removed_at IS NULL AND expires_at <= $2",
        fingerprint,
        change.at,
    )
    .execute(&mut *on)
    .await?;
    let id = KeyId::generate();
    let added = sqlx::query!(
        "INSERT INTO keys (id, user_id, fingerprint, public_key, name, added_at, added_from, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, ($7::text)::inet, $8)
             ON CONFLICT (fingerprint) WHERE removed_at IS NULL DO NOTHING",
        id.uuid(),
        user.uuid(),
        fingerprint,
        public_key,
        &*plain(name),
        change.at,
        change.address.to_string(),
        expires_at,
    )
    .execute(&mut *on)
    .await?;
    if added.rows_affected() > 0 {
        return Ok(AddedKey::Added(id));
    }
    let owner = sqlx::query_scalar!(
        "SELECT user_id FROM keys WHERE fingerprint = $1 AND removed_at IS NULL",
        fingerprint
    )
    .fetch_optional(&mut *on)
    .await?;
    Ok(if owner == Some(user.uuid()) { AddedKey::AlreadyYours } else { AddedKey::SomebodyElses })
}

/// Withdraws a person's standing.
pub(super) async fn withdraw(
    on: &mut PgConnection,
    user: Uuid,
    why: Withdrawal,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET standing_ended_at = $2, standing_end = $3
         WHERE id = $1 AND standing_ended_at IS NULL",
        user,
        at,
        why.code(),
    )
    .execute(on)
    .await?;
    Ok(())
}

/// One audit row of a change.
pub(super) async fn audit(
    on: &mut PgConnection,
    change: &Change,
    kind: &str,
    allowed: Option<bool>,
    detail: Value,
) -> Result<(), StoreError> {
    audit_about(on, change, None, kind, allowed, detail).await
}

/// The same, about a space.
pub(super) async fn audit_about(
    on: &mut PgConnection,
    change: &Change,
    space: Option<SpaceId>,
    kind: &str,
    allowed: Option<bool>,
    detail: Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit (id, at, replica_id, actor_id, actor_name, space_id, kind, allowed, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        AuditId::generate().uuid(),
        change.at,
        change.replica.uuid(),
        change.actor.map(UserId::uuid),
        &*plain(&change.called),
        space.map(SpaceId::uuid),
        kind,
        allowed,
        plain_json(&detail),
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Commits a change of people, and has every replica read them again.
pub(super) async fn finish(mut tx: Transaction<'_, Postgres>) -> Result<(), StoreError> {
    sqlx::query!("UPDATE people_version SET version = version + 1").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}
