//! The audit log as files, sent page by page as they are read: nothing of it is held.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use serde_json::{Value, json};
use tracing::error;

use super::Asked;
use crate::domain::audit::AuditEvent;
use crate::domain::csv::quoted;
use crate::domain::ids::AuditId;
use crate::store::StoreError;
use crate::store::audit::audit_change;
use crate::store::chain::export::Export;
use crate::web::pages::Problem;
use crate::web::site::Site;
use crate::web::visit::{Onlooker, Person};

/// The columns of a row, as `spaceport audit export` names them.
const COLUMNS: [&str; 13] = [
    "at",
    "actor_name",
    "kind",
    "allowed",
    "space",
    "session",
    "connection",
    "actor",
    "replica",
    "id",
    "seq",
    "mac",
    "detail",
];

/// What a page of rows is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    JsonLines,
}

/// The wanted rows as comma-separated values, oldest first.
pub(in crate::web) async fn csv(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &person, &asked, Form::Csv).await
}

/// The wanted rows as JSON objects, one a line, oldest first.
pub(in crate::web) async fn jsonl(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &person, &asked, Form::JsonLines).await
}

async fn export(site: &Site, person: &Person, asked: &Asked, form: Form) -> Result<Response, Problem> {
    let wanted = asked.wanted(site).await?;
    // Before the first row leaves: an export that is not on record does not happen.
    note(site, person, asked, form).await?;
    let pages = Pages { rows: site.store.export_audit(wanted), form, begun: false };
    let body = Body::from_stream(try_unfold(pages, |pages| async { pages.next().await.inspect_err(told) }));
    let (kind, name) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "spaceport-audit.csv"),
        Form::JsonLines => ("application/jsonl; charset=utf-8", "spaceport-audit.jsonl"),
    };
    let headers: [(HeaderName, String); 2] = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body).into_response())
}

/// The browser sees a file that ends early; the log says why.
fn told(error: &StoreError) {
    error!(error = error.detail(), "an export of the audit log broke off");
}

async fn note(site: &Site, person: &Person, asked: &Asked, form: Form) -> Result<(), Problem> {
    let said = asked.filters().into_iter().filter(|(_, value)| !value.is_empty());
    let filters: serde_json::Map<String, Value> =
        said.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let user = &person.who.user;
    let event = AuditEvent {
        actor: Some(user.id),
        actor_name: user.name.to_string(),
        space: None,
        session: None,
        connection: None,
        kind: "audit.exported",
        allowed: Some(true),
        detail: json!({
            "address": person.visitor.address, "filters": filters,
            "form": match form { Form::Csv => "csv", Form::JsonLines => "jsonl" },
        }),
    };
    let change = audit_change(AuditId::generate(), site.clock.now(), site.ledger.replica, event);
    Ok(site.store.write_audit(&change).await?)
}

/// What is still to be sent.
struct Pages {
    rows: Export,
    form: Form,
    begun: bool,
}

impl Pages {
    /// The next part of the file, and what is behind it.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let page = self.rows.next().await?;
        let mut text = String::new();
        if self.form == Form::Csv && !std::mem::replace(&mut self.begun, true) {
            text += &format!("{}\r\n", COLUMNS.join(","));
        }
        for row in &page {
            match self.form {
                Form::Csv => text += &line(row),
                Form::JsonLines => text += &format!("{row}\n"),
            }
        }
        Ok((!text.is_empty()).then(|| (Bytes::from(text), self)))
    }
}

/// A row as comma-separated values.
fn line(row: &Value) -> String {
    let field = |name: &&str| match row.get(*name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(other) => quoted(&other.to_string()),
    };
    format!("{}\r\n", COLUMNS.iter().map(field).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_and_no_formula() {
        let row = json!({
            "at": "2026-11-27T00:00:00Z", "actor_name": "=cmd|'/c calc'!A1", "kind": "space.held",
            "allowed": true, "seq": 7, "detail": { "reason": "a, \"b\"\nc" },
        });
        assert_eq!(
            line(&row),
            "2026-11-27T00:00:00Z,'=cmd|'/c calc'!A1,space.held,true,,,,,,,7,,\
             \"{\"\"reason\"\":\"\"a, \\\"\"b\\\"\"\\nc\"\"}\"\r\n"
        );
    }
}
