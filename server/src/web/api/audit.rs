//! The audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::admit::Caller;
use super::problem::{Kind, Problem};
use super::read::{self, Micros, Page, Paging, Query, page};
use super::told::Json;
use crate::domain::written::At;
use crate::store::audit::search::AuditRow;
use crate::web::export::{Format, noted};
use crate::web::pages::audit::{Asked, NoFilter, rows};
use crate::web::site::Site;

/// What the access policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// Yes.
    Allowed,
    /// No.
    Denied,
}

/// Which rows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Wanted {
    /// Text in the name of who did it.
    #[param(max_length = 200)]
    who: Option<String>,
    /// Text in the space's `SPACE.DOMAIN`.
    #[param(max_length = 200)]
    space: Option<String>,
    /// The end of the session's id.
    #[param(max_length = 200)]
    session: Option<String>,
    /// The kind, such as `session.ended`; one that ends in a dot stands for all that begin so.
    #[param(max_length = 200)]
    kind: Option<String>,
    /// What the access policy said.
    #[param(inline)]
    answer: Option<Answer>,
    /// Those of this day or later, in the time zone of costs.
    #[param(format = Date)]
    from: Option<String>,
    /// Those of this day or earlier.
    #[param(format = Date)]
    to: Option<String>,
}

/// A row of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entry {
    /// Its id.
    id: String,
    /// When.
    at: At,
    /// What happened, in dotted words.
    #[schema(example = "session.ended")]
    kind: String,
    /// How whoever did it was called.
    actor_name: String,
    /// What the access policy said; none for plain facts.
    allowed: Option<bool>,
    /// The space it was about, as `SPACE.DOMAIN`.
    space: Option<String>,
    /// The id of the session it belongs to.
    session: Option<String>,
    /// What the kind calls for.
    #[schema(value_type = Object)]
    detail: Value,
}

impl Wanted {
    fn asked(self) -> Result<Asked, Problem> {
        for (name, day) in [("from", &self.from), ("to", &self.to)] {
            read::day(name, day.as_deref())?;
        }
        let answer = self.answer.map(|answer| match answer {
            Answer::Allowed => "allowed".to_owned(),
            Answer::Denied => "denied".to_owned(),
        });
        Ok(Asked {
            who: self.who.unwrap_or_default(),
            space: self.space.unwrap_or_default(),
            session: self.session.unwrap_or_default(),
            kind: self.kind.unwrap_or_default(),
            answer: answer.unwrap_or_default(),
            from: self.from.unwrap_or_default(),
            to: self.to.unwrap_or_default(),
            ..Asked::default()
        })
    }
}

impl From<NoFilter> for Problem {
    fn from(why: NoFilter) -> Self {
        match why {
            NoFilter::Malformed(rule) => Self::new(Kind::Malformed, rule),
            NoFilter::Store(error) => error.into(),
        }
    }
}

impl From<AuditRow> for Entry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            at: row.at.into(),
            kind: row.kind,
            actor_name: row.actor_name,
            allowed: row.allowed,
            space: row.space,
            session: row.session.map(|session| session.to_string()),
            detail: row.detail,
        }
    }
}

/// Rows of the audit log, the newest first.
#[utoipa::path(
    get, path = "/audit", operation_id = "listAudit", tag = "Audit", params(Wanted, Paging),
    responses((status = 200, body = Page<Entry>)), security(("token" = ["audit:read"]))
)]
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Entry>>, Problem> {
    let limit = paging.items()?;
    let before = paging.after::<Micros, Uuid>()?.map(|(Micros(at), id)| (at, id));
    let wanted = wanted.asked()?.wanted(&site, &site.ledger.costs.terms.zone).await?;
    let more = u16::try_from(limit + 1).unwrap_or(u16::MAX);
    let found = site.store.audit_page(&wanted, before, more).await?;
    let Page { items, next } = page(found, limit, |row| (Micros(row.at), row.id));
    Ok(Json(Page { items: items.into_iter().map(Entry::from).collect(), next }))
}

/// All of them as comma-separated values (RFC 4180), oldest first, sent while they are read.
#[utoipa::path(
    get, path = "/audit.csv", operation_id = "exportAuditCsv", tag = "Audit", params(Wanted),
    responses((status = 200, body = String, content_type = "text/csv")), security(("token" = ["audit:read"]))
)]
pub(super) async fn csv(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    taken(&site, &caller, &wanted.asked()?, Format::Csv).await
}

/// All of them as a JSON object a line, oldest first, sent while they are read.
#[utoipa::path(
    get, path = "/audit.jsonl", operation_id = "exportAudit", tag = "Audit", params(Wanted),
    responses((status = 200, body = String, content_type = "application/jsonl")),
    security(("token" = ["audit:read"]))
)]
pub(super) async fn jsonl(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    taken(&site, &caller, &wanted.asked()?, Format::JsonLines).await
}

async fn taken(site: &Site, caller: &Caller, asked: &Asked, form: Format) -> Result<Response, Problem> {
    let wanted = asked.wanted(site, &site.ledger.costs.terms.zone).await?;
    let said = asked.filters().into_iter().filter(|(_, value)| !value.is_empty());
    let filters: serde_json::Map<String, Value> =
        said.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let detail = json!({
        "address": caller.visitor.address, "token": caller.token.id.to_string(), "filters": filters,
        "form": form.word(),
    });
    noted(site, &caller.user, "audit.exported", detail).await?;
    Ok(rows(site, wanted, form))
}
