//! Everybody's live sessions, for auditors and admins.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::message::told;
use super::rows::{Row, filter_of, sentence};
use crate::domain::grant::Reason;
use crate::domain::ids::SessionId;
use crate::domain::user::Role;
use crate::store::EndRequest;
use crate::store::sessions::live::{LiveAfter, LiveOrder, LivePage};
use crate::web::pages::{Bar, Problem, page_of};
use crate::web::query::{address, cursor, micros, read_cursor};
use crate::web::site::Site;
use crate::web::visit::{Admin, Onlooker};

/// Rows of one page.
const ROWS: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    q: String,
    mode: String,
    idle: String,
    sort: String,
    after: String,
    ending: String,
    messaged: String,
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
    live: u64,
    wanted: Wanted,
    rows: Vec<Row>,
    sorts: [Sort; 4],
    may_end: bool,
    done: Option<String>,
    caption: &'static str,
    /// Where the page is told what changes.
    stream: String,
    next: Option<String>,
    first: Option<String>,
}

/// A column that rows can be sorted by.
struct Sort {
    href: String,
    text: &'static str,
    /// `ascending` or `descending` where the rows are.
    sorted: Option<&'static str>,
}

/// The live sessions.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let order = order_of(&wanted.sort);
    let filter = filter_of(&wanted.q, &wanted.mode, &wanted.idle);
    let after = after_of(&wanted.after);
    let page = site.store.live_page(&filter, order, after.as_ref(), ROWS).await?;
    let wall = person.wall(page.now);
    let here = |sort: &str, after: &str| {
        let fields = [
            ("q", &*wanted.q),
            ("mode", &wanted.mode),
            ("idle", &wanted.idle),
            ("sort", sort),
            ("after", after),
        ];
        address("/sessions", &fields)
    };
    let next = page.next.as_ref().map(|next| here(&wanted.sort, &cursor(&next.key, &next.id.to_string())));
    let short = Some(&wanted.ending).filter(|id| id.len() == 4 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    Ok(page_of(&SessionsPage {
        bar: Some(Bar::of(&person, "/sessions")),
        summary: sentence(page.count),
        live: page.count.sessions,
        rows: page.sessions.iter().map(|watched| Row::of(watched, &wall)).collect(),
        sorts: sorts(order, |sort| here(sort, "")),
        may_end: person.who.user.role >= Role::Admin,
        done: match short {
            Some(id) => Some(format!("Session {id} is ending. Its terminal says who ended it, and why.")),
            None => told(&site, &wanted.messaged, None).await?,
        },
        caption: match order {
            LiveOrder::Since => "Live sessions, newest first",
            LiveOrder::Person => "Live sessions, by person",
            LiveOrder::Space => "Live sessions, by space",
            LiveOrder::Idle => "Live sessions, the longest idle first",
        },
        stream: stream(&wanted, order, after.is_none(), &page),
        next,
        first: after.map(|_| here(&wanted.sort, "")),
        wanted,
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
    let session: SessionId = session.parse().map_err(|_| Problem::NotFound)?;
    // The form asks for one, and takes none that is too long.
    let reason: Reason = ending.reason.parse().map_err(|_| Problem::Form)?;
    let by = &person.who.user.name;
    match site.store.request_end(&session.to_string(), by, reason.as_str()).await? {
        EndRequest::Asked(session) => {
            Ok(Redirect::to(&format!("/sessions?ending={}", session.short())).into_response())
        }
        EndRequest::NotLive | EndRequest::Several(_) => Err(Problem::NotFound),
    }
}

fn order_of(word: &str) -> LiveOrder {
    let all = [LiveOrder::Person, LiveOrder::Space, LiveOrder::Idle];
    all.into_iter().find(|order| order.as_str() == word).unwrap_or_default()
}

fn after_of(word: &str) -> Option<LiveAfter> {
    let (key, id) = read_cursor(word)?;
    Some(LiveAfter { key: key.replace('\0', ""), id: id.parse().ok()? })
}

/// The heads of the columns that sort; `to` makes the address that does.
fn sorts(order: LiveOrder, to: impl Fn(&str) -> String) -> [Sort; 4] {
    let column = |text, this: LiveOrder, direction| Sort {
        href: to(if this == LiveOrder::Since { "" } else { this.as_str() }),
        text,
        sorted: (order == this).then_some(direction),
    };
    [
        column("Person", LiveOrder::Person, "ascending"),
        column("Space", LiveOrder::Space, "ascending"),
        column("Idle for", LiveOrder::Idle, "descending"),
        column("Since", LiveOrder::Since, "descending"),
    ]
}

/// The address at which this page is told what changes on it. New rows come where the newest are.
fn stream(wanted: &Wanted, order: LiveOrder, first: bool, page: &LivePage) -> String {
    let ids = page.sessions.iter().map(|watched| watched.session.id.uuid().simple().to_string());
    let ids = ids.collect::<Vec<_>>().join(",");
    let newest = first && order == LiveOrder::Since;
    let oldest = page.sessions.last().filter(|_| page.next.is_some());
    let oldest = oldest.map(|last| micros(last.session.started_at).to_string()).unwrap_or_default();
    let fields = [
        ("q", &*wanted.q),
        ("mode", &wanted.mode),
        ("idle", &wanted.idle),
        ("new", if newest { "1" } else { "" }),
        ("oldest", &oldest),
        ("read", &micros(page.now).to_string()),
        ("ids", &ids),
    ];
    address("/live/sessions", &fields)
}
