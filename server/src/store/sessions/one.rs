//! One session with everything that the record keeps of it.

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::{SessionId, UserId};
use crate::store::text::counted;
use crate::store::{Store, StoreError};

/// The most channels of a session that are read. An editor may open thousands in a day.
pub const MOST_CHANNELS: i64 = 500;
/// The most streams.
const MOST_STREAMS: i64 = 50;
/// The most audit rows.
const MOST_AUDIT: i64 = 200;

/// A session, live or not.
#[derive(Debug, Clone)]
pub struct RecordedSession {
    /// The session.
    pub id: SessionId,
    /// Its person's row.
    pub user_id: UserId,
    /// Its person.
    pub user: String,
    /// The person's address for mail, as the provider told it.
    pub email: Option<String>,
    /// Its space.
    pub space: String,
    /// The space's domain.
    pub domain: String,
    /// `session` or `jump`.
    pub mode: String,
    /// Where the client connected from.
    pub client_address: String,
    /// The client's version line.
    pub client_version: String,
    /// The key that the person proved to have.
    pub key_fingerprint: String,
    /// The gateway's host.
    pub gateway: String,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it ended, with the code of its end and the reason; nothing of a live one.
    pub end: Option<(OffsetDateTime, String, String)>,
    /// Bytes from the client to the space.
    pub bytes_in: u64,
    /// Bytes from the space to the client.
    pub bytes_out: u64,
    /// Postgres's time.
    pub now: OffsetDateTime,
    /// Its channels, the first [`MOST_CHANNELS`].
    pub channels: Vec<RecordedChannel>,
    /// How many channels it has had.
    pub channel_count: u64,
    /// The streams that they ran on.
    pub streams: Vec<RecordedStream>,
    /// What the audit log says of it.
    pub audit: Vec<RecordedDecision>,
}

/// A channel of a session.
#[derive(Debug, Clone)]
pub struct RecordedChannel {
    /// What it is for, in one word.
    pub kind: String,
    /// The command, the subsystem or the port.
    pub detail: Option<String>,
    /// Whether it has a terminal.
    pub pty: bool,
    /// When it was opened.
    pub started_at: OffsetDateTime,
    /// When it was closed.
    pub ended_at: Option<OffsetDateTime>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// What the command exited with.
    pub exit_status: Option<i64>,
    /// Why it was closed otherwise.
    pub end_reason: Option<String>,
}

/// A stream that a session's channels ran on, by the names that AWS has for it.
#[derive(Debug, Clone)]
pub struct RecordedStream {
    /// Session Manager's id.
    pub aws_session_id: String,
    /// The role session that asked for it.
    pub role_session: String,
    /// The request.
    pub request_id: Option<String>,
    /// When it was opened.
    pub started_at: OffsetDateTime,
}

/// A row of the audit log.
#[derive(Debug, Clone)]
pub struct RecordedDecision {
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub actor: String,
    /// What.
    pub kind: String,
    /// Whether it was allowed; nothing for plain facts.
    pub allowed: Option<bool>,
    /// Details that the kind calls for.
    pub detail: Value,
}

impl Store {
    /// A session, if there is one with this id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn session(&self, id: SessionId) -> Result<Option<RecordedSession>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT s.user_id, u.name AS "user", u.email, p.name AS space, p.domain, s.mode,
                      host(s.client_address) AS "client_address!", s.client_version, s.key_fingerprint,
                      r.host AS gateway, s.started_at, s.ended_at, s.end_code, s.end_reason, s.bytes_in,
                      s.bytes_out, now() AS "now!",
                      (SELECT count(*) FROM channels c WHERE c.session_id = s.id) AS "channel_count!"
               FROM sessions s
               JOIN users u ON u.id = s.user_id
               JOIN spaces p ON p.id = s.space_id
               JOIN replicas r ON r.id = s.replica_id
               WHERE s.id = $1"#,
            id.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let end = row.ended_at.zip(row.end_code).zip(row.end_reason);
        Ok(Some(RecordedSession {
            id,
            user_id: row.user_id.into(),
            user: row.user,
            email: row.email,
            space: row.space,
            domain: row.domain,
            mode: row.mode,
            client_address: row.client_address,
            client_version: row.client_version,
            key_fingerprint: row.key_fingerprint,
            gateway: row.gateway,
            started_at: row.started_at,
            end: end.map(|((at, code), reason)| (at, code, reason)),
            bytes_in: counted(row.bytes_in),
            bytes_out: counted(row.bytes_out),
            now: row.now,
            channels: self.channels_of(id.uuid()).await?,
            channel_count: counted(row.channel_count),
            streams: self.streams_of(id.uuid()).await?,
            audit: self.audit_of(id.uuid()).await?,
        }))
    }

    async fn channels_of(&self, session: Uuid) -> Result<Vec<RecordedChannel>, StoreError> {
        let rows = sqlx::query!(
            "SELECT kind, detail, pty, started_at, ended_at, bytes_in, bytes_out, exit_status, end_reason
             FROM channels WHERE session_id = $1 ORDER BY started_at, id LIMIT $2",
            session,
            MOST_CHANNELS,
        )
        .fetch_all(&self.pool)
        .await?;
        let channels = rows.into_iter().map(|row| RecordedChannel {
            kind: row.kind,
            detail: row.detail,
            pty: row.pty,
            started_at: row.started_at,
            ended_at: row.ended_at,
            bytes_in: counted(row.bytes_in),
            bytes_out: counted(row.bytes_out),
            exit_status: row.exit_status,
            end_reason: row.end_reason,
        });
        Ok(channels.collect())
    }

    async fn streams_of(&self, session: Uuid) -> Result<Vec<RecordedStream>, StoreError> {
        let rows = sqlx::query!(
            "SELECT aws_session_id, role_session, request_id, started_at FROM streams
             WHERE id IN (SELECT stream_id FROM channels WHERE session_id = $1)
             ORDER BY started_at, id LIMIT $2",
            session,
            MOST_STREAMS,
        )
        .fetch_all(&self.pool)
        .await?;
        let streams = rows.into_iter().map(|row| RecordedStream {
            aws_session_id: row.aws_session_id,
            role_session: row.role_session,
            request_id: row.request_id,
            started_at: row.started_at,
        });
        Ok(streams.collect())
    }

    async fn audit_of(&self, session: Uuid) -> Result<Vec<RecordedDecision>, StoreError> {
        let rows = sqlx::query!(
            "SELECT at, actor_name, kind, allowed, detail FROM audit
             WHERE session_id = $1 ORDER BY at, id LIMIT $2",
            session,
            MOST_AUDIT,
        )
        .fetch_all(&self.pool)
        .await?;
        let decisions = rows.into_iter().map(|row| RecordedDecision {
            at: row.at,
            actor: row.actor_name,
            kind: row.kind,
            allowed: row.allowed,
            detail: row.detail,
        });
        Ok(decisions.collect())
    }
}
