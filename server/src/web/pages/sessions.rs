//! Everybody's live sessions, for auditors and admins.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

use super::{Bar, Problem, page_of, shown};
use crate::domain::bytes;
use crate::domain::user::Role;
use crate::store::{EndRequest, LiveSession};
use crate::web::site::Site;
use crate::web::visit::{Admin, Onlooker};

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Shown {
    ending: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Ending {
    #[serde(default)]
    reason: String,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    bar: Option<Bar>,
    summary: String,
    sessions: Vec<Row>,
    may_end: bool,
    done: Option<String>,
}

struct Row {
    id: String,
    short: String,
    user: String,
    space: String,
    mode: String,
    address: String,
    client: String,
    down: String,
    up: String,
    since: String,
    since_shown: String,
    doubtful: bool,
}

/// The live sessions.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(shown): Query<Shown>,
) -> Result<Response, Problem> {
    let sessions = site.store.live_sessions().await?;
    let short = shown.ending.filter(|id| id.len() == 4 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    Ok(page_of(&SessionsPage {
        bar: Some(Bar::of(&person, "/sessions")),
        summary: summary(&sessions),
        sessions: sessions.into_iter().map(row).collect(),
        may_end: person.who.user.role >= Role::Admin,
        done: short.map(|id| format!("Session {id} is ending. Its terminal says who ended it, and why.")),
    }))
}

/// Ends one.
pub(in crate::web) async fn end(
    State(site): State<Arc<Site>>,
    Admin(person): Admin,
    Path(session): Path<String>,
    form: Result<Form<Ending>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(ending) = form.map_err(|_| Problem::Form)?;
    let session: crate::domain::ids::SessionId = session.parse().map_err(|_| Problem::NotFound)?;
    let by = &person.who.user.name;
    match site.store.request_end(&session.to_string(), by, ending.reason.trim()).await? {
        EndRequest::Asked(session) => {
            Ok(Redirect::to(&format!("/sessions?ending={}", session.short())).into_response())
        }
        EndRequest::NotLive | EndRequest::Several(_) => Err(Problem::NotFound),
    }
}

fn summary(sessions: &[LiveSession]) -> String {
    let people: BTreeSet<&str> = sessions.iter().map(|session| session.user.as_str()).collect();
    let spaces: BTreeSet<_> = sessions.iter().map(|session| (&session.space, &session.domain)).collect();
    match (people.len(), spaces.len()) {
        (0, _) => "Nobody is connected right now.".to_owned(),
        (people, spaces) => format!(
            "{} in {} right now.",
            count(people, "person", "people"),
            count(spaces, "space", "spaces")
        ),
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn row(session: LiveSession) -> Row {
    Row {
        id: session.id.to_string(),
        short: session.id.short(),
        user: session.user,
        space: format!("{}.{}", session.space, session.domain),
        mode: session.mode,
        address: session.client_address,
        client: session.client_version,
        down: bytes::shown(session.bytes_out),
        up: bytes::shown(session.bytes_in),
        since: session.started_at.format(&Rfc3339).unwrap_or_default(),
        since_shown: shown(session.started_at),
        doubtful: session.doubtful,
    }
}
