//! Everybody who is known as a file, for whoever reviews who has access.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};

use super::Asked;
use crate::domain::csv::quoted;
use crate::domain::plain;
use crate::identity::Entry;
use crate::web::api::people::Person as Written;
use crate::web::export::{Format, file, noted};
use crate::web::pages::Problem;
use crate::web::site::Site;
use crate::web::visit::{Admin, Person};

/// The columns of a row, where they stand in [`Written`].
const COLUMNS: [&str; 13] = [
    "id",
    "name",
    "provider",
    "role",
    "groups",
    "standing",
    "standing_at",
    "keys",
    "suspended",
    "suspension/by",
    "suspension/at",
    "suspension/reason",
    "profiles",
];

/// The wanted people as comma-separated values, by name.
pub(in crate::web) async fn csv(
    State(site): State<Arc<Site>>,
    Admin(admin): Admin,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &admin, &asked, Format::Csv).await
}

/// The wanted people as JSON objects, one a line, by name.
pub(in crate::web) async fn jsonl(
    State(site): State<Arc<Site>>,
    Admin(admin): Admin,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    export(&site, &admin, &asked, Format::JsonLines).await
}

async fn export(site: &Site, admin: &Person, asked: &Asked, form: Format) -> Result<Response, Problem> {
    let directory = site.identity.directory();
    let people: Vec<String> = directory
        .like(&asked.q)
        .map(|entry| line(&written(site, entry), form))
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::Broken)?;
    // Before the first row leaves: an export that is not on record does not happen.
    let detail = json!({
        "address": admin.visitor.address, "filters": { "q": asked.q }, "form": form.word(), "rows": people.len(),
    });
    noted(site, &admin.who.user, "user.exported", detail).await?;
    let (name, head) = match form {
        Format::Csv => ("spaceport-users.csv", format!("{}\r\n", COLUMNS.join(","))),
        Format::JsonLines => ("spaceport-users.jsonl", String::new()),
    };
    let parts = std::iter::once(head).chain(people).filter(|part| !part.is_empty());
    Ok(file(name, form, stream::iter(parts.map(|part| Ok(Bytes::from(part))))))
}

fn written(site: &Site, entry: &Entry) -> Written {
    Written::of(entry, site.identity.stands(&entry.user))
}

/// Somebody as a line of the file.
fn line(person: &Written, form: Format) -> Result<String, serde_json::Error> {
    let person = serde_json::to_value(person)?;
    if form == Format::JsonLines {
        return Ok(format!("{}\n", plain::json(&person.to_string())));
    }
    let field = |name: &&str| match person.pointer(&format!("/{name}")) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(Value::Array(texts)) => {
            quoted(&texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
        }
        Some(other) => other.to_string(),
    };
    Ok(format!("{}\r\n", COLUMNS.iter().map(field).collect::<Vec<_>>().join(",")))
}
