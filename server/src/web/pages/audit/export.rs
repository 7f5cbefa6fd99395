//! The audit log as files, sent page by page as they are read: nothing of it is held.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::stream::try_unfold;
use serde_json::{Value, json};

use super::Asked;
use crate::domain::csv::quoted;
use crate::domain::plain;
use crate::store::StoreError;
use crate::store::chain::export::{Export, Wanted};
use crate::web::export::{Format, file, noted};
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

/// The wanted rows as comma-separated values, oldest first.
pub(in crate::web) async fn csv(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &person, &asked, Format::Csv).await
}

/// The wanted rows as JSON objects, one a line, oldest first.
pub(in crate::web) async fn jsonl(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &person, &asked, Format::JsonLines).await
}

async fn export(site: &Site, person: &Person, asked: &Asked, form: Format) -> Result<Response, Problem> {
    let wanted = asked.wanted(site, &asked.zone(site)?).await?;
    // Before the first row leaves: an export that is not on record does not happen.
    note(site, person, asked, form).await?;
    Ok(rows(site, wanted, form))
}

/// The wanted rows as a file.
pub(in crate::web) fn rows(site: &Site, wanted: Wanted, form: Format) -> Response {
    let pages = Pages { rows: site.store.export_audit(wanted), form, begun: false };
    let name = match form {
        Format::Csv => "spaceport-audit.csv",
        Format::JsonLines => "spaceport-audit.jsonl",
    };
    file(name, form, try_unfold(pages, Pages::next))
}

async fn note(site: &Site, person: &Person, asked: &Asked, form: Format) -> Result<(), Problem> {
    let said = asked.filters().into_iter().filter(|(_, value)| !value.is_empty());
    let filters: serde_json::Map<String, Value> =
        said.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let detail = json!({
        "address": person.visitor.address, "filters": filters,
        "form": form.word(),
    });
    Ok(noted(site, &person.who.user, "audit.exported", detail).await?)
}

/// What is still to be sent.
struct Pages {
    rows: Export,
    form: Format,
    begun: bool,
}

impl Pages {
    /// The next part of the file, and what is behind it.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let page = self.rows.next().await?;
        let mut text = String::new();
        if self.form == Format::Csv && !std::mem::replace(&mut self.begun, true) {
            text += &format!("{}\r\n", COLUMNS.join(","));
        }
        for row in &page {
            match self.form {
                Format::Csv => text += &line(row),
                Format::JsonLines => text += &format!("{}\n", plain::json(&row.to_string())),
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
