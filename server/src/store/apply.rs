//! Writing changes of the record, so that each may be written twice and lands once.
//!
//! A row is begun by `INSERT … ON CONFLICT DO NOTHING` and ended by an `UPDATE` that finds only open rows, or rows
//! whose end another replica wrote when it found the lease lapsed: those give way to the truer end. An end whose
//! beginning is missing changes nothing: the beginning was set aside or dropped, and that was logged.

use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use super::text::{count, plain, plain_json, plain_option};
use crate::domain::ending::EndReason;
use crate::domain::record::{Change, SessionStart};

/// The end of sessions that never reached their space.
const NOT_OPENED: &str = EndReason::NotOpened("").code();

type Statement<'a> = Query<'a, Postgres, PgArguments>;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is in the record, now or already.
    Written,
    /// The session that it ends does not exist.
    NoSession,
}

/// Writes one change on a connection that is in a transaction.
pub(super) async fn apply(on: &mut PgConnection, change: &Change) -> Result<Applied, StoreError> {
    let statement = match change {
        Change::LinkOpened { .. } | Change::LinkClosed { .. } => link(change),
        Change::StreamOpened { .. } | Change::StreamClosed { .. } => stream(change),
        Change::ChannelOpened { .. } | Change::ChannelClosed { .. } => channel(change),
        Change::SessionBytes { session, bytes_in, bytes_out } => {
            Some(session_bytes(*session, *bytes_in, *bytes_out))
        }
        Change::SessionEnded { session, at, code, reason, bytes_in, bytes_out, audit } => {
            let end = SessionEnd { at: *at, code, reason, bytes: (*bytes_in, *bytes_out), audit: *audit };
            return session_ended(on, *session, end).await;
        }
        Change::Audit { .. } => audit(change),
    };
    if let Some(statement) = statement {
        statement.execute(on).await?;
    }
    Ok(Applied::Written)
}

/// A session's first row.
pub(super) fn session_began(start: &SessionStart) -> Statement<'_> {
    sqlx::query!(
        "INSERT INTO sessions (id, replica_id, user_id, space_id, connection_id, mode, client_address,
                               client_version, key_fingerprint, started_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet, $8, $9, $10)
         ON CONFLICT (id) DO NOTHING",
        start.session,
        start.replica,
        start.user,
        start.space,
        start.connection,
        start.mode.as_str(),
        start.client_address.to_canonical().to_string(),
        &*plain(&start.client_version),
        &*plain(&start.key_fingerprint),
        start.at,
    )
}

fn link(change: &Change) -> Option<Statement<'_>> {
    Some(match change {
        Change::LinkOpened { link, replica, user, space, purpose, at } => sqlx::query!(
            "INSERT INTO links (id, replica_id, user_id, space_id, purpose, started_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
            link,
            replica,
            *user,
            space,
            purpose,
            at,
        ),
        Change::LinkClosed { link, at, reason } => sqlx::query!(
            "UPDATE links SET ended_at = $2, end_reason = $3, crashed = false
             WHERE id = $1 AND (ended_at IS NULL OR crashed)",
            link,
            at,
            &*plain(reason),
        ),
        _ => return None,
    })
}

fn stream(change: &Change) -> Option<Statement<'_>> {
    Some(match change {
        Change::StreamOpened {
            stream,
            replica,
            user,
            space,
            link,
            aws_session_id,
            role_session,
            request_id,
            at,
        } => sqlx::query!(
            "INSERT INTO streams (id, replica_id, user_id, space_id, link_id, aws_session_id, role_session,
                                  request_id, started_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
            stream,
            replica,
            *user,
            space,
            *link,
            &*plain(aws_session_id),
            &*plain(role_session),
            plain_option(request_id.as_deref()),
            at,
        ),
        Change::StreamClosed { stream, at, reason } => sqlx::query!(
            "UPDATE streams SET ended_at = $2, end_reason = $3, crashed = false
             WHERE id = $1 AND (ended_at IS NULL OR crashed)",
            stream,
            at,
            &*plain(reason),
        ),
        _ => return None,
    })
}

fn channel(change: &Change) -> Option<Statement<'_>> {
    Some(match change {
        Change::ChannelOpened { channel, session, stream, replica, kind, detail, pty, at } => sqlx::query!(
            "INSERT INTO channels (id, session_id, stream_id, replica_id, kind, detail, pty, started_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
            channel,
            session,
            stream,
            replica,
            kind.as_str(),
            plain_option(detail.as_deref()),
            pty,
            at,
        ),
        Change::ChannelClosed { channel, at, bytes_in, bytes_out, exit_status, reason } => sqlx::query!(
            "UPDATE channels
             SET ended_at = $2, bytes_in = $3, bytes_out = $4, exit_status = $5, end_reason = $6, crashed = false
             WHERE id = $1 AND (ended_at IS NULL OR crashed)",
            channel,
            at,
            count(*bytes_in),
            count(*bytes_out),
            exit_status.map(i64::from),
            plain_option(reason.as_deref()),
        ),
        _ => return None,
    })
}

fn session_bytes(session: Uuid, bytes_in: u64, bytes_out: u64) -> Statement<'static> {
    // A late or repeated count may be lower than the row's.
    sqlx::query!(
        "UPDATE sessions SET bytes_in = greatest(bytes_in, $2), bytes_out = greatest(bytes_out, $3)
         WHERE id = $1 AND (bytes_in < $2 OR bytes_out < $3)",
        session,
        count(bytes_in),
        count(bytes_out),
    )
}

struct SessionEnd<'a> {
    at: OffsetDateTime,
    code: &'a str,
    reason: &'a str,
    bytes: (u64, u64),
    audit: Uuid,
}

/// The first end stands, unless another replica wrote it for want of a better one. The audit log then has both: the
/// second says what it corrects.
async fn session_ended(
    on: &mut PgConnection,
    session: Uuid,
    end: SessionEnd<'_>,
) -> Result<Applied, StoreError> {
    let exists = sqlx::query_scalar!(
        r#"WITH before AS (
               SELECT id, end_code FROM sessions WHERE id = $1 FOR UPDATE
           ), ended AS (
               UPDATE sessions s
               SET ended_at = $2, end_code = $3, end_reason = $4,
                   bytes_in = greatest(s.bytes_in, $5), bytes_out = greatest(s.bytes_out, $6)
               FROM before
               WHERE s.id = before.id AND (s.ended_at IS NULL OR s.end_code = 'gateway_crashed')
               RETURNING s.*, before.end_code AS corrected
           ), audited AS (
               INSERT INTO audit (id, at, replica_id, actor_id, actor_name, space_id, session_id, connection_id,
                                  kind, detail)
               SELECT $7, $2, e.replica_id, e.user_id, u.name, e.space_id, e.id, e.connection_id, 'session.ended',
                      jsonb_strip_nulls(jsonb_build_object('code', $3::text, 'reason', $4::text,
                                                           'corrects', e.corrected))
               FROM ended e JOIN users u ON u.id = e.user_id
               ON CONFLICT (id) DO NOTHING
           )
           SELECT EXISTS (SELECT FROM before) AS "exists!""#,
        session,
        end.at,
        end.code,
        &*plain(end.reason),
        count(end.bytes.0),
        count(end.bytes.1),
        end.audit,
    )
    .fetch_one(on)
    .await?;
    // A session that was not opened may never have had a row.
    let missed = !exists && end.code != NOT_OPENED;
    Ok(if missed { Applied::NoSession } else { Applied::Written })
}

fn audit(change: &Change) -> Option<Statement<'_>> {
    let Change::Audit {
        audit,
        at,
        replica,
        actor,
        actor_name,
        space,
        session,
        connection,
        kind,
        allowed,
        detail,
    } = change
    else {
        return None;
    };
    Some(sqlx::query!(
        "INSERT INTO audit (id, at, replica_id, actor_id, actor_name, space_id, session_id, connection_id, kind,
                            allowed, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
        audit,
        at,
        replica,
        *actor,
        &*plain(actor_name),
        *space,
        *session,
        *connection,
        kind,
        *allowed,
        plain_json(detail),
    ))
}
