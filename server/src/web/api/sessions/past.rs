//! Sessions that ended: found, listed, and to take away.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use time::Date;
use utoipa::IntoParams;

use crate::domain::ids::SessionId;
use crate::domain::user::Role;
use crate::store::sessions::history::HistoryFilter;
use crate::store::sessions::live::LONGEST_SEARCH;
use crate::web::api::admit::Caller;
use crate::web::api::problem::{Kind, Problem};
use crate::web::api::read::{Micros, Page, Paging, Query, day, page, search};
use crate::web::api::told::Json;
use crate::web::export::{Format, noted};
use crate::web::pages::sessions::history::export;
use crate::web::rows::PastSession;
use crate::web::site::Site;

/// Which sessions that ended.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(in crate::web::api) struct PastWanted {
    /// Text in the name of person or space, an address or a network, or the end of an id.
    #[param(max_length = 120)]
    q: Option<String>,
    /// Those that began on this day (UTC) or later.
    #[param(format = Date)]
    from: Option<String>,
    /// Those that began on this day (UTC) or earlier.
    #[param(format = Date)]
    to: Option<String>,
    /// The code of their end.
    end: Option<String>,
    /// The id of their person.
    person: Option<String>,
}

/// Sessions of everybody that ended, the newest first. For auditors and admins.
#[utoipa::path(
    get, path = "/sessions/history", operation_id = "listPastSessions", tag = "Sessions", params(PastWanted, Paging),
    responses((status = 200, body = Page<PastSession>)), security(("token" = ["sessions:read"]))
)]
pub(in crate::web::api) async fn list(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<PastWanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<PastSession>>, Problem> {
    caller.at_least(Role::Auditor)?;
    let limit = paging.items()?;
    let behind = paging.after::<Micros, SessionId>()?.map(|(Micros(at), id)| (at, id));
    let search = site.store.history_search(wanted.filter()?).await?;
    let sessions = site.store.history(&search, behind, limit + 1).await?;
    let Page { items, next } = page(sessions, limit, |session| (Micros(session.started_at), session.id));
    Ok(Json(Page { items: items.into_iter().map(PastSession::from).collect(), next }))
}

/// All of them as comma-separated values (RFC 4180), sent while they are read.
#[utoipa::path(
    get, path = "/sessions/history.csv", operation_id = "exportPastSessionsCsv", tag = "Sessions",
    params(PastWanted),
    responses((status = 200, body = String, content_type = "text/csv")),
    security(("token" = ["sessions:read"]))
)]
pub(in crate::web::api) async fn csv(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<PastWanted>,
) -> Result<Response, Problem> {
    taken(&site, &caller, wanted, Format::Csv).await
}

/// All of them as a JSON object a line, sent while they are read.
#[utoipa::path(
    get, path = "/sessions/history.jsonl", operation_id = "exportPastSessions", tag = "Sessions",
    params(PastWanted),
    responses((status = 200, body = String, content_type = "application/jsonl")),
    security(("token" = ["sessions:read"]))
)]
pub(in crate::web::api) async fn jsonl(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<PastWanted>,
) -> Result<Response, Problem> {
    taken(&site, &caller, wanted, Format::JsonLines).await
}

async fn taken(
    site: &Site,
    caller: &Caller,
    wanted: PastWanted,
    format: Format,
) -> Result<Response, Problem> {
    caller.at_least(Role::Auditor)?;
    let detail = serde_json::json!({
        "address": caller.visitor.address, "token": caller.token.id.to_string(), "form": format.word(),
        "filters": { "q": wanted.q, "from": wanted.from, "to": wanted.to, "end": wanted.end, "person": wanted.person },
    });
    let filter = wanted.filter()?;
    noted(site, &caller.user, "sessions.exported", detail).await?;
    Ok(export(site, filter, format).await?)
}

impl PastWanted {
    fn filter(&self) -> Result<HistoryFilter, Problem> {
        let person = self
            .person
            .as_deref()
            .map(|id| id.parse().map_err(|_| Problem::new(Kind::Malformed, "person is the id of a person.")));
        let until = day("to", self.to.as_deref())?.and_then(Date::next_day);
        Ok(HistoryFilter {
            words: search(self.q.as_deref(), LONGEST_SEARCH)?,
            from: day("from", self.from.as_deref())?.map(|day| day.midnight().assume_utc()),
            until: until.map(|day| day.midnight().assume_utc()),
            end: self.end.clone().map(|code| code.replace('\0', "")),
            person: person.transpose()?,
        })
    }
}
