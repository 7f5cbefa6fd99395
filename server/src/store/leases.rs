//! Leases: how replicas know of each other's death, on Postgres's clock alone.
//!
//! A replica renews its lease. When it has not done so for a lease's length, another closes its open rows at the
//! last renewal, as crashed. Three things can follow:
//!
//! - It is dead. When it starts again it has another id, and replays what its spool still holds; an end from there
//!   takes the place of the crashed one.
//! - It lives and was only cut off from Postgres. Its next renewal fails, it registers again, and the rows that
//!   were closed for it are opened again. What had really ended meanwhile is in its spool, and lands as above in
//!   either order.
//! - Postgres itself was away, so that every lease looks lapsed. Nobody closes anything until Postgres has been up,
//!   and the closing replica in touch with it, for longer than a lease: the others renew first.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ending::EndReason;
use crate::domain::ids::{AuditId, ReplicaId};

impl Store {
    /// Registers this replica with a lease, which lasts `lease_s` on Postgres's clock. Registering again renews it,
    /// and opens the rows again that were closed while the lease had lapsed.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn register_replica(
        &self,
        replica: ReplicaId,
        host: &str,
        lease_s: u32,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let lapsed = sqlx::query_scalar!(
            r#"SELECT lapsed_at IS NOT NULL AS "lapsed!" FROM replicas WHERE id = $1 FOR NO KEY UPDATE"#,
            replica.uuid(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        sqlx::query!(
            "INSERT INTO replicas (id, host, lease_s, version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE
             SET host = excluded.host, lease_s = excluded.lease_s, version = excluded.version, renewed_at = now(), released_at = NULL,
                 lapsed_at = NULL",
            replica.uuid(),
            host,
            i32::try_from(lease_s).unwrap_or(i32::MAX),
            env!("CARGO_PKG_VERSION"),
        )
        .execute(&mut *tx)
        .await?;
        if lapsed == Some(true) {
            reopen(&mut tx, replica).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Renews the lease. `false`: it had lapsed and its rows were closed, or Postgres lost it; register again.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn renew_lease(&self, replica: ReplicaId) -> Result<bool, StoreError> {
        let renewed = sqlx::query!(
            "UPDATE replicas SET renewed_at = now() WHERE id = $1 AND lapsed_at IS NULL AND released_at IS NULL",
            replica.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(renewed.rows_affected() > 0)
    }

    /// Notes that this replica takes no new connections.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn note_draining(&self, replica: ReplicaId) -> Result<(), StoreError> {
        sqlx::query!("UPDATE replicas SET draining_at = now() WHERE id = $1", replica.uuid())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives the lease up at a clean end. Rows that are still open count as crashed after a lease's length, unless
    /// a spool brings their true end.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn release_lease(&self, replica: ReplicaId) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE replicas SET released_at = now(), renewed_at = now() WHERE id = $1 AND lapsed_at IS NULL",
            replica.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Closes the open rows of replicas whose lease lapsed, at its last renewal, with an audit row for each
    /// session. `contact` is for how long the caller has been in touch with Postgres without a gap: only leases
    /// shorter than that are judged.
    ///
    /// # Errors
    /// When it could not be written; then nothing was.
    pub async fn close_lapsed(&self, contact: Duration) -> Result<Vec<ReplicaId>, StoreError> {
        let mut tx = self.pool.begin().await?;
        // A replica that another is closing just now is skipped. One that was closed before may have open rows
        // again, from its spool.
        let lapsed = sqlx::query_scalar!(
            "SELECT id FROM replicas r
             WHERE renewed_at + make_interval(secs => lease_s) < now()
               AND pg_postmaster_start_time() + make_interval(secs => lease_s) < now()
               AND lease_s < $1::double precision
               AND (lapsed_at IS NULL AND released_at IS NULL
                    OR EXISTS (SELECT FROM sessions WHERE replica_id = r.id AND ended_at IS NULL)
                    OR EXISTS (SELECT FROM streams WHERE replica_id = r.id AND ended_at IS NULL)
                    OR EXISTS (SELECT FROM links WHERE replica_id = r.id AND ended_at IS NULL)
                    OR EXISTS (SELECT FROM channels WHERE replica_id = r.id AND ended_at IS NULL))
             FOR NO KEY UPDATE SKIP LOCKED",
            contact.as_secs_f64(),
        )
        .fetch_all(&mut *tx)
        .await?;
        if !lapsed.is_empty() {
            close_sessions(&mut tx, &lapsed).await?;
            close_others(&mut tx, &lapsed).await?;
            sqlx::query!("UPDATE replicas SET lapsed_at = now() WHERE id = ANY ($1)", &lapsed)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(lapsed.into_iter().map(ReplicaId::from).collect())
    }
}

/// Ends sessions as crashed and audits each.
async fn close_sessions(on: &mut PgConnection, replicas: &[Uuid]) -> Result<(), StoreError> {
    let end = EndReason::GatewayCrashed;
    let sessions = sqlx::query_scalar!(
        "UPDATE sessions s
         SET ended_at = greatest(r.renewed_at, s.started_at), end_code = $2, end_reason = $3
         FROM replicas r
         WHERE r.id = s.replica_id AND s.replica_id = ANY ($1) AND s.ended_at IS NULL
         RETURNING s.id",
        replicas,
        end.code(),
        end.to_string(),
    )
    .fetch_all(&mut *on)
    .await?;
    let detail = json!({ "code": end.code(), "reason": end.to_string() });
    audit_sessions(on, &sessions, "session.ended", detail).await
}

/// Ends streams, links and channels as crashed.
async fn close_others(on: &mut PgConnection, replicas: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH links_closed AS (
             UPDATE links l
             SET ended_at = greatest(r.renewed_at, l.started_at), end_reason = $2, crashed = true
             FROM replicas r
             WHERE r.id = l.replica_id AND l.replica_id = ANY ($1) AND l.ended_at IS NULL
         ), channels_closed AS (
             UPDATE channels c
             SET ended_at = greatest(r.renewed_at, c.started_at), end_reason = $2, crashed = true
             FROM replicas r
             WHERE r.id = c.replica_id AND c.replica_id = ANY ($1) AND c.ended_at IS NULL
         )
         UPDATE streams t
         SET ended_at = greatest(r.renewed_at, t.started_at), end_reason = $2, crashed = true
         FROM replicas r
         WHERE r.id = t.replica_id AND t.replica_id = ANY ($1) AND t.ended_at IS NULL",
        replicas,
        EndReason::GatewayCrashed.to_string(),
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Opens again what was closed as crashed while a living replica was cut off.
async fn reopen(on: &mut PgConnection, replica: ReplicaId) -> Result<(), StoreError> {
    let sessions = sqlx::query_scalar!(
        "UPDATE sessions SET ended_at = NULL, end_code = NULL, end_reason = NULL
         WHERE replica_id = $1 AND end_code = 'gateway_crashed'
         RETURNING id",
        replica.uuid(),
    )
    .fetch_all(&mut *on)
    .await?;
    sqlx::query!(
        "WITH links_opened AS (
             UPDATE links SET ended_at = NULL, end_reason = NULL, crashed = false
             WHERE replica_id = $1 AND crashed
         ), channels_opened AS (
             UPDATE channels SET ended_at = NULL, end_reason = NULL, crashed = false
             WHERE replica_id = $1 AND crashed
         )
         UPDATE streams SET ended_at = NULL, end_reason = NULL, crashed = false, forgotten_at = NULL
         WHERE replica_id = $1 AND crashed",
        replica.uuid(),
    )
    .execute(&mut *on)
    .await?;
    let detail = json!({ "reason": "the gateway was only cut off from Postgres" });
    audit_sessions(on, &sessions, "session.reopened", detail).await
}

/// An audit row for each session, in its user's name.
async fn audit_sessions(
    on: &mut PgConnection,
    sessions: &[Uuid],
    kind: &str,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = sessions.iter().map(|_| AuditId::generate().uuid()).collect();
    sqlx::query!(
        "INSERT INTO audit (id, at, replica_id, actor_id, actor_name, space_id, session_id, connection_id, kind,
                            detail)
         SELECT a.id, now(), s.replica_id, s.user_id, u.name, s.space_id, s.id, s.connection_id, $3, $4
         FROM unnest($1::uuid[], $2::uuid[]) AS a (id, session_id)
         JOIN sessions s ON s.id = a.session_id
         JOIN users u ON u.id = s.user_id",
        &ids,
        sessions,
        kind,
        detail,
    )
    .execute(on)
    .await?;
    Ok(())
}
