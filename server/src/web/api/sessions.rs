//! Sessions: those that are live, and ending them; messages, past ones and each by itself are in files of their own.

pub(super) mod message;
pub(super) mod one;
pub(super) mod past;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admit::Caller;
use super::problem::{Kind, Problem};
use super::read::{Body, Page, Paging, Query, search};
use super::told::Json;
use crate::domain::grant::Reason;
use crate::domain::ids::SessionId;
use crate::domain::record::Mode;
use crate::domain::user::Role;
use crate::domain::written::At;
use crate::store::sessions::EndRequest;
use crate::store::sessions::live::{LONGEST_SEARCH, LiveAfter, LiveFilter, LiveOrder, WatchedSession};
use crate::web::pages::users::sentence;
use crate::web::query::cursor;
use crate::web::site::Site;

/// The longest idle time that is asked for, in seconds.
const LONGEST_IDLE: u32 = 31_536_000;

/// How a session reaches its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Way {
    /// The gateway terminates SSH.
    Session,
    /// SSH is encrypted up to the space.
    Jump,
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// The newest first.
    #[default]
    Since,
    /// By person.
    Person,
    /// By space.
    Space,
    /// The longest idle first.
    Idle,
}

/// Which live sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct LiveWanted {
    /// Text in the name of person or space, the beginning of an address, or the end of an id.
    #[param(max_length = 120)]
    q: Option<String>,
    /// How they reach their space.
    #[param(inline)]
    mode: Option<Way>,
    /// Those whose person has done nothing for so many seconds.
    #[param(minimum = 0, maximum = 31536000)]
    idle_s: Option<u32>,
    /// Their order.
    #[param(inline)]
    sort: Sort,
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveSession {
    /// Its id.
    id: String,
    /// Its person.
    user: String,
    /// Its space.
    space: String,
    /// The space's domain, as the gateway calls it.
    domain: String,
    /// `session`, or `jump` if ssh is encrypted up to the space.
    mode: String,
    /// Where the client connects from.
    client_address: String,
    /// The client's version line.
    client_version: String,
    /// Since when.
    started_at: At,
    /// Since when the person has done nothing.
    quiet_since: At,
    /// Bytes from the client to the space.
    bytes_in: u64,
    /// Bytes from the space to the client.
    bytes_out: u64,
    /// Whether its replica has been silent for too long, so that it may be over.
    doubtful: bool,
    /// Its open channels by kind.
    channels: Vec<OpenChannels>,
}

/// The open channels of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenChannels {
    /// `shell`, `exec`, `subsystem`, `direct-tcpip` and so on.
    kind: String,
    /// How many.
    open: u64,
}

/// Why a session is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    /// What the person in it reads.
    #[schema(min_length = 1, max_length = 300)]
    reason: String,
}

/// What is happening to a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    /// `ending`: the gateway that serves it has been told.
    state: &'static str,
}

/// Live sessions of everybody. For auditors and admins.
#[utoipa::path(
    get, path = "/sessions", operation_id = "listSessions", tag = "Sessions", params(LiveWanted, Paging),
    responses((status = 200, body = Page<LiveSession>)), security(("token" = ["sessions:read"]))
)]
pub(super) async fn live(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<LiveWanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<LiveSession>>, Problem> {
    caller.at_least(Role::Auditor)?;
    let limit = paging.items()?;
    let mode = wanted.mode.map(|way| match way {
        Way::Session => Mode::Session,
        Way::Jump => Mode::Jump,
    });
    let order = match wanted.sort {
        Sort::Since => LiveOrder::Since,
        Sort::Person => LiveOrder::Person,
        Sort::Space => LiveOrder::Space,
        Sort::Idle => LiveOrder::Idle,
    };
    if wanted.idle_s.is_some_and(|seconds| seconds > LONGEST_IDLE) {
        return Err(Problem::new(Kind::Malformed, format!("idle_s is at most {LONGEST_IDLE}, a year.")));
    }
    let idle = wanted.idle_s.map(|seconds| Duration::from_secs(seconds.into()));
    let filter = LiveFilter::new(&search(wanted.q.as_deref(), LONGEST_SEARCH)?, mode, idle);
    let behind = paging.after::<String, SessionId>()?;
    let behind = behind.map(|(key, id)| LiveAfter { key: key.replace('\0', ""), id });
    let found = site.store.live_page(&filter, order, behind.as_ref(), limit).await?;
    let next = found.next.map(|next| cursor(&next.key, &next.id.to_string()));
    Ok(Json(Page { items: found.sessions.into_iter().map(LiveSession::from).collect(), next }))
}

/// Ends a live session. The person in it reads who did it and why.
#[utoipa::path(
    post, path = "/sessions/{session}/end", operation_id = "endSession", tag = "Sessions",
    params(("session" = String, Path, description = "Its id")), request_body = Ending,
    responses((status = 202, body = Asked)), security(("token" = ["sessions:write"]))
)]
pub(super) async fn end(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(session): Path<String>,
    Body(ending): Body<Ending>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let id: SessionId = session.parse().map_err(|_| Problem::not_found())?;
    let reason: Reason = ending.reason.parse().map_err(|why| Problem::invalid(sentence(why)))?;
    match site.store.request_end(&id.to_string(), &caller.user.name, reason.as_str()).await? {
        EndRequest::Asked(_) => Ok((StatusCode::ACCEPTED, Json(Asked { state: "ending" }))),
        EndRequest::NotLive | EndRequest::Several(_) => Err(Problem::not_found()),
    }
}

impl From<WatchedSession> for LiveSession {
    fn from(watched: WatchedSession) -> Self {
        let WatchedSession { session, channels } = watched;
        Self {
            id: session.id.to_string(),
            started_at: session.started_at.into(),
            quiet_since: session.quiet_since().into(),
            user: session.user,
            space: session.space,
            domain: session.domain,
            mode: session.mode,
            client_address: session.client_address,
            client_version: session.client_version,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            doubtful: session.doubtful,
            channels: channels.into_iter().map(|(kind, open)| OpenChannels { kind, open }).collect(),
        }
    }
}
