//! How the installation stands, for whoever looks after it: replicas, jobs, domains, price lists, holds.
//!
//! Ages are told on Postgres's clock, as leases are.

use time::OffsetDateTime;

use super::text::counted;
use super::{Store, StoreError};
use crate::domain::ids::ReplicaId;

/// A replica that runs, or that ended within a day.
#[derive(Debug, Clone)]
pub struct ReplicaState {
    /// Which.
    pub id: ReplicaId,
    /// On what machine.
    pub host: String,
    /// The release, where it has said.
    pub version: Option<String>,
    /// Since when.
    pub started_at: OffsetDateTime,
    /// When it renewed its lease last.
    pub renewed_at: OffsetDateTime,
    /// How long ago that was, in seconds.
    pub age_s: f64,
    /// For how long a renewal is good, in seconds.
    pub lease_s: i32,
    /// Since when it takes no new connections.
    pub draining_at: Option<OffsetDateTime>,
    /// When it ended in order.
    pub released_at: Option<OffsetDateTime>,
    /// Whether its lease is over without that.
    pub lapsed: bool,
    /// Its live sessions.
    pub sessions: u64,
}

/// A job that one replica does at a time.
#[derive(Debug, Clone)]
pub struct JobState {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub replica: ReplicaId,
    /// What that runs on, where it is known.
    pub host: Option<String>,
    /// Until when.
    pub until: OffsetDateTime,
    /// Whether that is over.
    pub over: bool,
}

/// How a domain is watched.
#[derive(Debug, Clone)]
pub struct DomainState {
    /// Its alias.
    pub alias: String,
    /// When its newest listing was written.
    pub written_at: Option<OffsetDateTime>,
    /// How long ago that was, in seconds.
    pub age_s: Option<f64>,
    /// Since when it has been watched without a gap.
    pub watched_since: Option<OffsetDateTime>,
    /// Gaps of the last seven days.
    pub gaps: u64,
    /// Its spaces.
    pub spaces: u64,
    /// Its spaces that run.
    pub running: u64,
}

/// How the price list of a region was read.
#[derive(Debug, Clone)]
pub struct PriceState {
    /// The region.
    pub region: String,
    /// When it was read last.
    pub read_at: Option<OffsetDateTime>,
    /// When it is read again.
    pub due_at: OffsetDateTime,
    /// How many prices it had.
    pub prices: Option<i32>,
    /// How many of its rows nobody could read.
    pub malformed: Option<i32>,
    /// Why it could not be read.
    pub problem: Option<String>,
}

/// A hold that runs.
#[derive(Debug, Clone)]
pub struct RunningHold {
    /// Its space, as `SPACE.DOMAIN`.
    pub space: String,
    /// Who holds it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub made_at: OffsetDateTime,
    /// Until when.
    pub until: OffsetDateTime,
}

impl Store {
    /// Replicas that run or ended within a day, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn replica_states(&self) -> Result<Vec<ReplicaState>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT r.id, host, version, started_at, renewed_at, lease_s, draining_at, released_at,
                      extract(epoch FROM now() - renewed_at)::double precision AS "age_s!",
                      released_at IS NULL AND renewed_at + make_interval(secs => lease_s) < now() AS "lapsed!",
                      (SELECT count(*) FROM sessions s WHERE s.replica_id = r.id AND s.ended_at IS NULL) AS "sessions!"
               FROM replicas r WHERE renewed_at > now() - interval '1 day'
               ORDER BY released_at IS NOT NULL, started_at DESC, r.id"#
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| ReplicaState {
            id: row.id.into(),
            host: row.host,
            version: row.version,
            started_at: row.started_at,
            renewed_at: row.renewed_at,
            age_s: row.age_s,
            lease_s: row.lease_s,
            draining_at: row.draining_at,
            released_at: row.released_at,
            lapsed: row.lapsed,
            sessions: counted(row.sessions),
        });
        Ok(states.collect())
    }

    /// Every job that some replica has ever taken.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn job_states(&self) -> Result<Vec<JobState>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT j.name, j.replica_id, r.host AS "host?", j.until, j.until < now() AS "over!"
               FROM job_leases j LEFT JOIN replicas r ON r.id = j.replica_id ORDER BY j.name"#
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| JobState {
            name: row.name,
            replica: row.replica_id.into(),
            host: row.host,
            until: row.until,
            over: row.over,
        });
        Ok(states.collect())
    }

    /// Every domain that was ever listed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn domain_states(&self) -> Result<Vec<DomainState>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT d.alias, d.written_at,
                      extract(epoch FROM now() - d.written_at)::double precision AS age_s,
                      (SELECT max(w.began_at) FROM watches w WHERE w.domain = d.alias) AS watched_since,
                      (SELECT count(*) FROM watches w
                       WHERE w.domain = d.alias AND w.began_at > now() - interval '7 days'
                         AND EXISTS (SELECT FROM watches b WHERE b.domain = w.domain AND b.began_at < w.began_at))
                          AS "gaps!",
                      (SELECT count(*) FROM spaces s WHERE s.domain = d.alias AND s.deleted_at IS NULL) AS "spaces!",
                      (SELECT count(*) FROM runs r JOIN spaces s ON s.id = r.space_id
                       WHERE s.domain = d.alias AND r.ended_at IS NULL) AS "running!"
               FROM domains d ORDER BY d.alias"#
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| DomainState {
            alias: row.alias,
            written_at: row.written_at,
            age_s: row.age_s,
            watched_since: row.watched_since,
            gaps: counted(row.gaps),
            spaces: counted(row.spaces),
            running: counted(row.running),
        });
        Ok(states.collect())
    }

    /// How each region's price list was read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn price_states(&self) -> Result<Vec<PriceState>, StoreError> {
        Ok(sqlx::query_as!(
            PriceState,
            "SELECT region, read_at, due_at, prices, malformed, problem FROM price_readings ORDER BY region"
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Holds of all spaces that run at a time, the one that ends first at the top.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn running_holds(&self, now: OffsetDateTime) -> Result<Vec<RunningHold>, StoreError> {
        Ok(sqlx::query_as!(
            RunningHold,
            r#"SELECT s.name || '.' || s.domain AS "space!", h.made_by AS "by", h.reason, h.made_at, h.until
               FROM holds h JOIN spaces s ON s.id = h.space_id
               WHERE h.ended_at IS NULL AND h.until > $1 AND s.deleted_at IS NULL ORDER BY h.until, h.id"#,
            now,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
