//! One session with everything that the record keeps of it.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::SessionId;
use crate::domain::user::Role;
use crate::domain::written::At;
use crate::store::sessions::one::RecordedSession;
use crate::web::api::admit::Caller;
use crate::web::api::problem::Problem;
use crate::web::api::told::Json;
use crate::web::site::Site;

/// A session with everything that the record keeps of it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web::api) struct Session {
    /// Its id.
    id: String,
    /// The id of its person.
    user_id: String,
    /// Its person.
    user: String,
    /// Its space.
    space: String,
    /// The space's domain, as the gateway calls it.
    domain: String,
    /// `session`, or `jump` if ssh is encrypted up to the space.
    mode: String,
    /// Where the client connected from.
    client_address: String,
    /// The client's version line.
    client_version: String,
    /// `SHA256:…` of the key that let it in.
    key_fingerprint: String,
    /// The host of the gateway that served it.
    gateway: String,
    /// When it began.
    started_at: At,
    /// How it ended; none of a live one.
    end: Option<End>,
    /// Bytes from the client to the space.
    bytes_in: u64,
    /// Bytes from the space to the client.
    bytes_out: u64,
    /// How many channels it has had.
    channel_count: u64,
    /// The first 500 of them.
    channels: Vec<Channel>,
    /// The Session Manager streams that they ran on, by the names that AWS has for them.
    streams: Vec<Stream>,
}

/// How a session ended.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web::api) struct End {
    /// When.
    at: At,
    /// Why, in one word.
    code: String,
    /// Why.
    reason: String,
}

/// A channel of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web::api) struct Channel {
    /// What it was for, in one word.
    kind: String,
    /// The command, the subsystem or the port.
    detail: Option<String>,
    /// Whether it had a terminal.
    pty: bool,
    /// When it was opened.
    started_at: At,
    /// When it was closed.
    ended_at: Option<At>,
    /// Bytes from the client.
    bytes_in: u64,
    /// Bytes to the client.
    bytes_out: u64,
    /// What the command exited with.
    exit_status: Option<i64>,
    /// Why it was closed otherwise.
    end_reason: Option<String>,
}

/// A stream of Session Manager's.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web::api) struct Stream {
    /// Session Manager's id of it.
    aws_session_id: String,
    /// The role session that asked for it: CloudTrail's user name.
    role_session: String,
    /// The id of the request.
    request_id: Option<String>,
    /// When it was opened.
    started_at: At,
}

/// One session: the person's own, or anybody's for auditors and admins.
#[utoipa::path(
    get, path = "/sessions/{session}", operation_id = "getSession", tag = "Sessions",
    params(("session" = String, Path, description = "Its id")),
    responses((status = 200, body = Session)), security(("token" = ["sessions:read"]))
)]
pub(in crate::web::api) async fn show(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(session): Path<String>,
) -> Result<Json<Session>, Problem> {
    let id: SessionId = session.parse().map_err(|_| Problem::not_found())?;
    let session = site.store.session(id).await?.ok_or_else(Problem::not_found)?;
    if session.user_id != caller.user.id {
        caller.at_least(Role::Auditor)?;
    }
    Ok(Json(Session::from(session)))
}

impl From<RecordedSession> for Session {
    fn from(session: RecordedSession) -> Self {
        let channels = session.channels.into_iter().map(|channel| Channel {
            kind: channel.kind,
            detail: channel.detail,
            pty: channel.pty,
            started_at: channel.started_at.into(),
            ended_at: channel.ended_at.map(At::from),
            bytes_in: channel.bytes_in,
            bytes_out: channel.bytes_out,
            exit_status: channel.exit_status,
            end_reason: channel.end_reason,
        });
        let streams = session.streams.into_iter().map(|stream| Stream {
            aws_session_id: stream.aws_session_id,
            role_session: stream.role_session,
            request_id: stream.request_id,
            started_at: stream.started_at.into(),
        });
        Self {
            id: session.id.to_string(),
            user_id: session.user_id.to_string(),
            user: session.user,
            space: session.space,
            domain: session.domain,
            mode: session.mode,
            client_address: session.client_address,
            client_version: session.client_version,
            key_fingerprint: session.key_fingerprint,
            gateway: session.gateway,
            started_at: session.started_at.into(),
            end: session.end.map(|(at, code, reason)| End { at: at.into(), code, reason }),
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            channel_count: session.channel_count,
            channels: channels.collect(),
            streams: streams.collect(),
        }
    }
}
