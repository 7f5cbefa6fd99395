//! Grants of the database. Each change and its audit row are one transaction, which also moves the version that
//! replicas look at.

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::people::{Change, audit, finish};
use super::text::{id_digits, plain};
use super::{Store, StoreError};
use crate::domain::grant::{Grant, HeldGrant, Reason};
use crate::domain::ids::{DomainAlias, GrantId, SpaceName, UserId};

/// How long a grant that is over is remembered, so that a refusal can say so.
const REMEMBERED: time::Duration = time::Duration::days(30);

/// A grant to write down.
#[derive(Debug, Clone)]
pub struct NewGrant<'a> {
    /// Whom.
    pub user: UserId,
    /// The space's domain.
    pub domain: &'a DomainAlias,
    /// The space.
    pub space: &'a SpaceName,
    /// Until when.
    pub until: OffsetDateTime,
    /// Why.
    pub reason: &'a Reason,
}

/// A grant that runs, as admins see it.
#[derive(Debug, Clone)]
pub struct RunningGrant {
    /// The row.
    pub id: GrantId,
    /// Whose.
    pub user: UserId,
    /// Who vouches for them.
    pub provider: String,
    /// What they are called.
    pub name: String,
    /// The space's domain.
    pub domain: String,
    /// The space.
    pub space: String,
    /// Until when.
    pub until: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approved_by: String,
    /// When.
    pub made_at: OffsetDateTime,
}

/// What became of ending a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantEnd {
    /// It is over.
    Ended(GrantId),
    /// No grant that runs has that id.
    NotRunning,
    /// Several that run have that short id.
    Several(Vec<GrantId>),
}

impl Store {
    /// Every person's grants: those that run, and those that ended not long ago.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_grants(&self, now: OffsetDateTime) -> Result<Vec<(UserId, HeldGrant)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, user_id, domain, space, until, reason, ended_at FROM grants
             WHERE until > $1 ORDER BY made_at, id",
            now - REMEMBERED,
        )
        .fetch_all(&self.pool)
        .await?;
        let grants = rows.into_iter().filter_map(|row| {
            let (Ok(domain), Ok(space)) = (row.domain.parse(), row.space.parse()) else {
                warn!(grant.id = %row.id, "a stored grant cannot be read");
                return None;
            };
            // Whoever ended it may have a clock that is ahead of this one's: it is over all the same.
            let until = row.ended_at.map_or(row.until, |ended| row.until.min(ended).min(now));
            let grant = Grant { domain, space, until, reason: row.reason };
            Some((row.user_id.into(), HeldGrant { id: row.id.into(), grant }))
        });
        Ok(grants.collect())
    }

    /// The grants that run, the one that ends first at the top.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn running_grants(&self, now: OffsetDateTime) -> Result<Vec<RunningGrant>, StoreError> {
        let rows = sqlx::query!(
            "SELECT g.id, g.user_id, u.provider, u.name, g.domain, g.space, g.until, g.reason, g.approved_by,
                    g.made_at
             FROM grants g JOIN users u ON u.id = g.user_id
             WHERE g.ended_at IS NULL AND g.until > $1
             ORDER BY g.until, g.id",
            now,
        )
        .fetch_all(&self.pool)
        .await?;
        let grants = rows.into_iter().map(|row| RunningGrant {
            id: row.id.into(),
            user: row.user_id.into(),
            provider: row.provider,
            name: row.name,
            domain: row.domain,
            space: row.space,
            until: row.until,
            reason: row.reason,
            approved_by: row.approved_by,
            made_at: row.made_at,
        });
        Ok(grants.collect())
    }

    /// Writes a grant down; it counts on every replica within a second.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_grant(&self, new: &NewGrant<'_>, change: &Change) -> Result<GrantId, StoreError> {
        let id = GrantId::generate();
        let mut tx = self.pool.begin().await?;
        sqlx::query!(
            "INSERT INTO grants (id, user_id, domain, space, until, reason, approved_by, approved_by_id, made_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            id.uuid(),
            new.user.uuid(),
            new.domain.as_str(),
            new.space.as_str(),
            new.until,
            new.reason.as_str(),
            &*plain(&change.called),
            change.actor.map(UserId::uuid),
            change.at,
        )
        .execute(&mut *tx)
        .await?;
        let detail = json!({
            "grant": id.to_string(), "user": new.user.to_string(), "space": new.space.as_str(),
            "domain": new.domain.as_str(), "until": new.until.to_string(), "reason": new.reason.as_str(),
        });
        audit(&mut tx, change, "grant.added", Some(true), detail).await?;
        finish(tx).await?;
        Ok(id)
    }

    /// Ends a grant that runs; `id` is its id or the end of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn end_grant(&self, id: &str, change: &Change) -> Result<GrantEnd, StoreError> {
        let mut tx = self.pool.begin().await?;
        let found = find_running(&mut tx, id, change.at).await?;
        let grant = match found.as_slice() {
            [] => return Ok(GrantEnd::NotRunning),
            [grant] => *grant,
            _ => return Ok(GrantEnd::Several(found.into_iter().map(GrantId::from).collect())),
        };
        let row = sqlx::query!(
            "UPDATE grants SET ended_at = $2, ended_by = $3 WHERE id = $1 RETURNING user_id, domain, space",
            grant,
            change.at,
            &*plain(&change.called),
        )
        .fetch_one(&mut *tx)
        .await?;
        let detail = json!({
            "grant": grant.to_string(), "user": row.user_id.to_string(), "space": row.space,
            "domain": row.domain,
        });
        audit(&mut tx, change, "grant.ended", None, detail).await?;
        finish(tx).await?;
        Ok(GrantEnd::Ended(grant.into()))
    }
}

/// Locks and answers the grants that run and have this id, or this end of an id.
async fn find_running(on: &mut PgConnection, id: &str, now: OffsetDateTime) -> Result<Vec<Uuid>, StoreError> {
    let Some(digits) = id_digits(id) else { return Ok(Vec::new()) };
    let ids = sqlx::query_scalar!(
        "SELECT id FROM grants
         WHERE ended_at IS NULL AND until > $2 AND right(replace(id::text, '-', ''), length($1)) = $1
         ORDER BY id FOR NO KEY UPDATE",
        digits,
        now,
    )
    .fetch_all(on)
    .await?;
    Ok(ids)
}
