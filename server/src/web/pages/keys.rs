//! The keys of a person.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{Bar, Problem, page_of};
use crate::domain::day::Zone;
use crate::identity::{AddKeyError, PastedKeyError};
use crate::web::show::minute;
use crate::web::site::Site;
use crate::web::visit::Person;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct NewKey {
    key: String,
    #[serde(default)]
    name: String,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    bar: Option<Bar>,
    keys: Vec<Row>,
    problem: Option<String>,
    typed: String,
    /// How long a certificate of the gateway's lasts, if it issues any.
    certificates: Option<String>,
}

struct Row {
    id: String,
    name: String,
    fingerprint: String,
    counts: String,
}

/// A length of time in words.
fn lasting(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Since when a key counts, where it came from, and until when it counts.
pub(super) fn counts(
    (added, from): (OffsetDateTime, &str),
    until: Option<OffsetDateTime>,
    zone: &Zone,
) -> String {
    let added = minute(added, zone);
    match until {
        Some(until) => format!("approved {added} from {from}, until {}", minute(until, zone)),
        None => format!("added {added} from {from}, until it is removed"),
    }
}

/// The page of a person's keys.
pub(super) async fn page(
    site: &Site,
    person: &Person,
    problem: Option<String>,
    typed: String,
) -> Result<Response, Problem> {
    let keys = site.identity.keys_of(&person.who.user).await?;
    let keys = keys.into_iter().map(|key| Row {
        id: key.id.to_string(),
        name: key.name,
        fingerprint: key.fingerprint,
        counts: counts((key.added_at, &key.added_from), key.expires_at, &person.zone),
    });
    let bar = Some(Bar::of(person, "/keys"));
    let certificates = site.certificates.own_key().map(|_| lasting(site.certificates.lifetime()));
    Ok(page_of(&KeysPage { bar, keys: keys.collect(), problem, typed, certificates }))
}

/// The keys, and a form for one more.
pub(in crate::web) async fn list(State(site): State<Arc<Site>>, person: Person) -> Result<Response, Problem> {
    page(&site, &person, None, String::new()).await
}

/// Adds one.
pub(in crate::web) async fn add(
    State(site): State<Arc<Site>>,
    person: Person,
    form: Result<Form<NewKey>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(new) = form.map_err(|_| Problem::Form)?;
    match site.identity.add_key(&person.who.user, &new.key, &new.name, &person.visitor).await {
        Ok(_) => Ok(Redirect::to("/keys").into_response()),
        Err(AddKeyError::Store(error)) => Err(error.into()),
        Err(error) => {
            // A private key that was pasted by mistake is not sent back.
            let typed = if matches!(error, AddKeyError::Pasted(PastedKeyError::Private)) {
                String::new()
            } else {
                new.key
            };
            let page = page(&site, &person, Some(error.to_string()), typed).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// Removes one.
pub(in crate::web) async fn remove(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(key): Path<String>,
) -> Result<Redirect, Problem> {
    let key = key.parse().map_err(|_| Problem::NotFound)?;
    let removed = site.identity.remove_key(&person.who.user, key, &person.visitor).await?;
    if removed { Ok(Redirect::to("/keys")) } else { Err(Problem::NotFound) }
}
