//! Sessions: what is live, and asking for an end.

pub mod history;
pub mod live;
pub mod one;

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::control::{CHANNEL, EndWish, Message};
use super::text::{counted, id_digits, plain};
use super::{Store, StoreError};
use crate::domain::ids::{AuditId, ReplicaId, SessionId, SpaceId, UserId, UserName};

/// The longest reason that is kept with a request, in characters: a notification holds 8,000 bytes
/// (PostgreSQL manual, NOTIFY).
const REASON_CHARS: usize = 500;

/// A live session, as `spaceport session list` shows it.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// The session.
    pub id: SessionId,
    /// The user's row.
    pub user_id: UserId,
    /// The user.
    pub user: String,
    /// The space's row.
    pub space_id: SpaceId,
    /// The space.
    pub space: String,
    /// The domain.
    pub domain: String,
    /// `session` or `jump`.
    pub mode: String,
    /// Where the client connects from.
    pub client_address: String,
    /// The client's version line.
    pub client_version: String,
    /// Since when.
    pub started_at: OffsetDateTime,
    /// When this person was last seen at work in the space, over all of their sessions there.
    pub last_seen_at: Option<OffsetDateTime>,
    /// Bytes from the client to the space.
    pub bytes_in: u64,
    /// Bytes from the space to the client.
    pub bytes_out: u64,
    /// The replica that serves it.
    pub replica: ReplicaId,
    /// The lease of its replica has lapsed: it is dead, or cut off from Postgres.
    pub doubtful: bool,
}

/// What became of asking for a session's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndRequest {
    /// The replica that serves it has been told.
    Asked(SessionId),
    /// No live session has that id.
    NotLive,
    /// Several live sessions have that short id.
    Several(Vec<SessionId>),
}

impl LiveSession {
    /// Since when this person has done nothing in the space: a session begins with its person at work.
    #[must_use]
    pub fn quiet_since(&self) -> OffsetDateTime {
        self.last_seen_at.map_or(self.started_at, |at| at.max(self.started_at))
    }
}

impl Store {
    /// Live sessions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn live_sessions(&self) -> Result<Vec<LiveSession>, StoreError> {
        self.live_sessions_of(None).await
    }

    /// The live sessions in these spaces, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn live_sessions_in(&self, spaces: &[SpaceId]) -> Result<Vec<LiveSession>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        self.live_sessions_of(Some(&spaces)).await
    }

    async fn live_sessions_of(&self, spaces: Option<&[Uuid]>) -> Result<Vec<LiveSession>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT s.id, u.name AS "user", p.name AS space, p.domain, s.mode,
                      host(s.client_address) AS "client_address!", s.client_version, s.started_at, s.bytes_in,
                      s.bytes_out, s.replica_id,
                      r.renewed_at + make_interval(secs => r.lease_s) <= now() AS "doubtful!",
                      s.user_id, s.space_id,
                      (SELECT max(g.at) FROM signs g
                       WHERE g.space_id = s.space_id AND g.user_id = s.user_id
                         AND g.sign IN ('keys', 'opened', 'sent')) AS last_seen_at
               FROM sessions s
               JOIN users u ON u.id = s.user_id
               JOIN spaces p ON p.id = s.space_id
               JOIN replicas r ON r.id = s.replica_id
               WHERE s.ended_at IS NULL AND ($1::uuid[] IS NULL OR s.space_id = ANY ($1))
               ORDER BY s.started_at DESC, s.id DESC"#,
            spaces,
        )
        .fetch_all(&self.pool)
        .await?;
        let sessions = rows.into_iter().map(|row| LiveSession {
            id: row.id.into(),
            user_id: row.user_id.into(),
            user: row.user,
            space_id: row.space_id.into(),
            space: row.space,
            domain: row.domain,
            mode: row.mode,
            client_address: row.client_address,
            client_version: row.client_version,
            started_at: row.started_at,
            last_seen_at: row.last_seen_at,
            bytes_in: counted(row.bytes_in),
            bytes_out: counted(row.bytes_out),
            replica: row.replica_id.into(),
            doubtful: row.doubtful,
        });
        Ok(sessions.collect())
    }

    /// Asks whichever replica serves a session to end it; `id` is its id or the end of it. The request is kept on
    /// the row, so that a replica that was cut off finds it later; the first one stands.
    ///
    /// # Errors
    /// When it could not be written; then nobody was told.
    pub async fn request_end(&self, id: &str, by: &UserName, reason: &str) -> Result<EndRequest, StoreError> {
        let reason: String = plain(reason).chars().take(REASON_CHARS).collect();
        let mut tx = self.pool.begin().await?;
        let found = find_live(&mut tx, id).await?;
        let session = match found.as_slice() {
            [] => return Ok(EndRequest::NotLive),
            [session] => *session,
            _ => return Ok(EndRequest::Several(found.into_iter().map(SessionId::from).collect())),
        };
        let row = sqlx::query!(
            r#"UPDATE sessions
               SET end_requested_by = coalesce(end_requested_by, $2),
                   end_request_reason = coalesce(end_request_reason, $3),
                   end_requested_at = coalesce(end_requested_at, now())
               WHERE id = $1
               RETURNING replica_id, end_requested_by AS "by!", end_request_reason AS "reason!""#,
            session,
            by.as_str(),
            reason,
        )
        .fetch_one(&mut *tx)
        .await?;
        let detail = json!({ "reason": reason });
        audit_request(&mut tx, session, by.as_str(), "session.end_requested", detail).await?;
        let message =
            Message::EndSession { replica: row.replica_id, session, by: row.by, reason: row.reason };
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, message.payload()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(EndRequest::Asked(session.into()))
    }

    /// Ends that were asked of this replica's sessions and are not done: for after a lost connection.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pending_ends(&self, replica: ReplicaId) -> Result<Vec<EndWish>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT id, end_requested_by AS "by!", end_request_reason AS "reason!"
               FROM sessions
               WHERE replica_id = $1 AND ended_at IS NULL AND end_requested_at IS NOT NULL
               ORDER BY end_requested_at"#,
            replica.uuid(),
        )
        .fetch_all(&self.pool)
        .await?;
        let ends = rows.into_iter().filter_map(|row| EndWish::read(row.id, &row.by, row.reason));
        Ok(ends.collect())
    }
}

/// Locks and answers the live sessions with this id, or with this end of an id.
pub(super) async fn find_live(on: &mut PgConnection, id: &str) -> Result<Vec<Uuid>, StoreError> {
    let Some(digits) = id_digits(id) else { return Ok(Vec::new()) };
    let ids = sqlx::query_scalar!(
        "SELECT id FROM sessions
         WHERE ended_at IS NULL AND right(replace(id::text, '-', ''), length($1)) = $1
         ORDER BY id FOR NO KEY UPDATE",
        digits,
    )
    .fetch_all(on)
    .await?;
    Ok(ids)
}

/// Writes down what was asked about a session.
pub(super) async fn audit_request(
    on: &mut PgConnection,
    session: Uuid,
    by: &str,
    kind: &str,
    detail: Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit (id, at, replica_id, actor_name, space_id, session_id, connection_id, kind, allowed,
                            detail)
         SELECT $2, now(), replica_id, $3, space_id, id, connection_id, $4, true, $5
         FROM sessions WHERE id = $1",
        session,
        AuditId::generate().uuid(),
        by,
        kind,
        detail,
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Has the next statements of a transaction planned for what they are asked with: a plan for every filter at once would
/// read the whole table.
async fn planned_anew(on: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("SET LOCAL plan_cache_mode = force_custom_plan").execute(on).await?;
    Ok(())
}
