//! Sessions that ended, for auditors and admins; and the same to take away.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::one::lasted;
use super::rows::{counted, space_path};
use crate::domain::bytes::shown as amount;
use crate::domain::client;
use crate::domain::csv::record;
use crate::domain::day::Zone;
use crate::domain::ending::{END_KINDS, EndKind, briefly};
use crate::domain::ids::SessionId;
use crate::domain::plain;
use crate::store::sessions::history::{COUNTED, EndedSession, HistoryAfter, HistoryFilter, HistorySearch};
use crate::store::{Store, StoreError};
use crate::web::export::{Format, file, noted};
use crate::web::pages::{Bar, Problem, page_of};
use crate::web::query::{address, cursor, micros, of_micros, read_cursor};
use crate::web::rows::PastSession;
use crate::web::show::{WallClock, When, zone_called};
use crate::web::site::Site;
use crate::web::visit::{Onlooker, Person};

/// Rows of one page.
const ROWS: u32 = 50;
/// Rows that an export reads at a time: so many are in memory, however long the file gets, and no connection to Postgres
/// waits for a slow reader.
const PART: u32 = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    q: String,
    from: String,
    to: String,
    end: String,
    person: String,
    after: String,
    /// Of an export: whose days `from` and `to` are, if not UTC's. Those of the page are its reader's.
    zone: String,
}

#[derive(Template)]
#[template(path = "sessions-history.html")]
struct HistoryPage {
    bar: Option<Bar>,
    summary: String,
    wanted: Wanted,
    kinds: [EndKind; 8],
    rows: Vec<Row>,
    csv: String,
    jsonl: String,
    next: Option<String>,
    first: Option<String>,
}

struct Row {
    id: SessionId,
    short: String,
    began: When,
    user: String,
    space: String,
    space_path: String,
    address: String,
    client: String,
    lasted: String,
    bytes: String,
    because: String,
}

/// A page of them.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let search = site.store.history_search(wanted.filter(&person.zone)).await?;
    let after = wanted.after();
    let mut sessions = site.store.history(&search, after, ROWS + 1).await?;
    let count = site.store.history_count(&search).await?;
    let more = sessions.len() > ROWS as usize;
    sessions.truncate(ROWS as usize);
    let next = sessions.last().filter(|_| more);
    let next = next.map(|last| cursor(&micros(last.started_at).to_string(), &last.id.to_string()));
    let whose =
        wanted.person.parse().ok().and_then(|id| site.identity.user(id)).map(|user| user.name.to_string());
    let wall = person.wall(site.clock.now());
    Ok(page_of(&HistoryPage {
        bar: Some(Bar::of(&person, "/sessions")),
        summary: summary(count, &wanted, whose.as_deref()),
        kinds: END_KINDS,
        rows: sessions.into_iter().map(|session| row(session, &wall)).collect(),
        csv: wanted.file("/sessions/history.csv", &person.zone),
        jsonl: wanted.file("/sessions/history.jsonl", &person.zone),
        next: next.map(|next| wanted.address("/sessions/history", &next)),
        first: after.map(|_| wanted.address("/sessions/history", "")),
        wanted,
    }))
}

/// All of them as CSV.
pub(in crate::web) async fn csv(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(wanted): Query<Wanted>,
    Query(filters): Query<Filters>,
) -> Result<Response, Problem> {
    let filter = wanted.filter(&wanted.zone()?);
    noted(&site, &person.who.user, "sessions.exported", said(&person, filters, "csv")).await?;
    Ok(export(&site, filter, Format::Csv).await?)
}

/// All of them as a JSON object a line.
pub(in crate::web) async fn jsonl(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(wanted): Query<Wanted>,
    Query(filters): Query<Filters>,
) -> Result<Response, Problem> {
    let filter = wanted.filter(&wanted.zone()?);
    noted(&site, &person.who.user, "sessions.exported", said(&person, filters, "jsonl")).await?;
    Ok(export(&site, filter, Format::JsonLines).await?)
}

/// What was asked for, for the audit log.
fn said(person: &Person, mut filters: Filters, form: &str) -> Value {
    filters.retain(|_, value| !value.is_empty());
    json!({ "address": person.visitor.address, "filters": filters, "form": form })
}

/// The address's query, as it was written.
type Filters = BTreeMap<String, String>;

/// The wanted sessions as a file.
pub(in crate::web) async fn export(
    site: &Site,
    filter: HistoryFilter,
    format: Format,
) -> Result<Response, StoreError> {
    let search = site.store.history_search(filter).await?;
    let name = match format {
        Format::Csv => "sessions.csv",
        Format::JsonLines => "sessions.jsonl",
    };
    Ok(file(name, format, parts(site.store.clone(), search, format)))
}

/// The file, in parts of [`PART`] rows.
fn parts(
    store: Store,
    search: HistorySearch,
    format: Format,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
    let head = if format == Format::Csv { record(COLUMNS) } else { String::new() };
    let begun = Some((head, None::<HistoryAfter>));
    stream::try_unfold((begun, store, search), move |(at, store, search)| async move {
        let Some((mut text, after)) = at else { return Ok(None) };
        let sessions = store.history(&search, after, PART).await?;
        let next = sessions.last().filter(|_| sessions.len() == PART as usize);
        let next = next.map(|last| (String::new(), Some((last.started_at, last.id))));
        for session in sessions {
            text.push_str(&match format {
                Format::Csv => csv_record(&session),
                Format::JsonLines => json_line(session),
            });
        }
        Ok(Some((Bytes::from(text), (next, store, search))))
    })
}

const COLUMNS: [&str; 13] = [
    "id",
    "user",
    "space",
    "domain",
    "mode",
    "client_address",
    "client_version",
    "started_at",
    "ended_at",
    "end_code",
    "end_reason",
    "bytes_in",
    "bytes_out",
];

fn csv_record(session: &EndedSession) -> String {
    record([
        &*session.id.to_string(),
        &session.user,
        &session.space,
        &session.domain,
        &session.mode,
        &session.client_address,
        &session.client_version,
        &rfc3339(session.started_at),
        &rfc3339(session.ended_at),
        &session.end_code,
        &session.end_reason,
        &session.bytes_in.to_string(),
        &session.bytes_out.to_string(),
    ])
}

fn json_line(session: EndedSession) -> String {
    let line = serde_json::to_string(&PastSession::from(session));
    line.map(|line| format!("{}\n", plain::json(&line))).unwrap_or_default()
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

impl Wanted {
    fn filter(&self, zone: &Zone) -> HistoryFilter {
        let until = day(&self.to).and_then(Date::next_day);
        HistoryFilter {
            words: self.q.clone(),
            from: day(&self.from).map(|day| zone.start(day)),
            until: until.map(|day| zone.start(day)),
            end: END_KINDS.iter().find(|kind| kind.code == self.end).map(|kind| kind.code.to_owned()),
            person: self.person.parse().ok(),
        }
    }

    /// Whose days an export has.
    fn zone(&self) -> Result<Zone, Problem> {
        if self.zone.is_empty() { Ok(Zone::UTC) } else { zone_called(&self.zone).ok_or(Problem::Form) }
    }

    fn after(&self) -> Option<HistoryAfter> {
        let (at, id) = read_cursor(&self.after)?;
        Some((of_micros(at.parse().ok()?)?, id.parse().ok()?))
    }

    fn address(&self, path: &str, after: &str) -> String {
        address(path, &[&self.fields()[..], &[("after", after)]].concat())
    }

    /// The address of a file of the same rows, whoever takes it: where a day is named, it says whose day.
    fn file(&self, path: &str, zone: &Zone) -> String {
        let zone = if self.from.is_empty() && self.to.is_empty() { "" } else { zone.name() };
        address(path, &[&self.fields()[..], &[("zone", zone)]].concat())
    }

    fn fields(&self) -> [(&str, &str); 5] {
        [("q", &self.q), ("from", &self.from), ("to", &self.to), ("end", &self.end), ("person", &self.person)]
    }
}

/// A day as browsers send it. Years are those that Postgres and people know.
fn day(text: &str) -> Option<Date> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    (1970..=9998).contains(&day.year()).then_some(day)
}

fn summary(count: u64, wanted: &Wanted, whose: Option<&str>) -> String {
    let whose = whose.map(|name| format!(" of {name}")).unwrap_or_default();
    let shown = |text: &str| {
        let format = format_description!("[day padding:none] [month repr:short] [year]");
        day(text).and_then(|day| day.format(format).ok())
    };
    let when = match (shown(&wanted.from), shown(&wanted.to)) {
        (Some(from), Some(to)) => format!(" that began from {from} to {to}"),
        (Some(from), None) => format!(" that began on {from} or later"),
        (None, Some(to)) => format!(" that began on {to} or earlier"),
        (None, None) => String::new(),
    };
    let many = if count > COUNTED {
        format!("More than {COUNTED} sessions")
    } else {
        counted(count, "session", "sessions")
    };
    format!("{many}{whose}{when}, without those that are live.")
}

fn row(session: EndedSession, wall: &WallClock) -> Row {
    Row {
        id: session.id,
        short: session.id.short(),
        began: When::at(session.started_at, wall),
        user: session.user,
        space_path: space_path(&session.domain, &session.space),
        space: format!("{}.{}", session.space, session.domain),
        address: session.client_address,
        client: client::name(&session.client_version),
        lasted: lasted(session.ended_at - session.started_at),
        bytes: amount(session.bytes_in.saturating_add(session.bytes_out)),
        because: briefly(&session.end_code, &session.end_reason),
    }
}
