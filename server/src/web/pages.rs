//! The pages: what each shows, and what went wrong where one cannot be shown.

pub(super) mod approve;
pub(super) mod audit;
pub(super) mod certificate;
pub(super) mod connect;
pub(super) mod cost;
pub(super) mod grants;
pub(super) mod health;
pub(super) mod keys;
pub(super) mod logins;
pub(super) mod policies;
pub(super) mod sessions;
pub(super) mod signin;
pub(super) mod space;
pub(super) mod spaces;
pub(super) mod tokens;
pub(super) mod users;

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use tracing::error;

use super::show::minute;
use super::visit::Person;
use crate::domain::user::{Role, Standing};
use crate::gateway::AskError;
use crate::store::StoreError;

/// The largest form that is read.
pub(super) const LARGEST_FORM: usize = 64 * 1024;

/// The bar over each page of somebody who is signed in.
pub(super) struct Bar {
    here: &'static str,
    name: String,
    role: Role,
    until: String,
    /// The zone of the page's times.
    zone: String,
    /// Whether the page may be loaded again by itself, for the times of another zone.
    only_reads: bool,
}

/// A page in the bar: its path, its name, and who finds it.
const BAR: [(&str, &str, Role); 10] = [
    ("/spaces", "Spaces", Role::User),
    ("/keys", "Keys", Role::User),
    ("/connect", "Set up", Role::User),
    ("/sessions", "Sessions", Role::Auditor),
    ("/cost", "Cost", Role::Auditor),
    ("/audit", "Audit", Role::Auditor),
    ("/policies", "Policies", Role::Auditor),
    ("/health", "Health", Role::Auditor),
    ("/grants", "Grants", Role::Admin),
    ("/users", "Users", Role::Admin),
];

/// One of the bar's links.
struct BarEntry {
    path: &'static str,
    text: &'static str,
    here: bool,
    /// Whether it begins what is about everybody.
    gap: bool,
}

impl Bar {
    /// `here` is the path of the page in the bar that this one belongs to.
    fn of(person: &Person, here: &'static str) -> Self {
        let user = &person.who.user;
        Self {
            here,
            name: user.name.to_string(),
            role: user.role,
            until: match user.standing {
                Standing::Until(until) => format!("Signed in until {}", minute(until, &person.zone)),
                Standing::Configured | Standing::Withdrawn { .. } => String::new(),
            },
            zone: person.zone.to_string(),
            only_reads: person.only_reads,
        }
    }

    fn role_word(&self) -> &'static str {
        role_word(self.role)
    }

    /// Whose times the page shows.
    fn times(&self) -> String {
        match self.zone.as_str() {
            "UTC" => "Times are UTC.".to_owned(),
            zone => format!("Times are those of {zone}."),
        }
    }

    fn entries(&self) -> Vec<BarEntry> {
        let seen = BAR.into_iter().filter(|(_, _, role)| self.role >= *role);
        let mut everybody = false;
        seen.map(|(path, text, role)| {
            let gap = role > Role::User && !std::mem::replace(&mut everybody, role > Role::User);
            BarEntry { path, text, here: path == self.here, gap }
        })
        .collect()
    }
}

/// Why there is no page to show.
#[derive(Debug)]
pub(super) enum Problem {
    /// Nobody is signed in; afterwards they get what they wanted.
    SignIn {
        /// Path and query.
        wanted: String,
    },
    /// There is no such page, or not for this person.
    NotFound,
    /// An admin keeps the person out.
    Suspended,
    /// Another site sent it.
    CrossSite,
    /// A form that no page of ours has.
    Form,
    /// The person was not signed in: what they read.
    NotSignedIn(StatusCode, &'static str),
    /// Too many sign-ins from one address; again after this time.
    TooManySignIns(Duration),
    /// Too many pages for one person; again after this time.
    TooManyPages(Duration),
    /// This gateway does not watch spaces.
    Unwatched,
    /// Postgres is away.
    Away,
    /// A fault of ours.
    Broken,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        error!(error = error.detail(), "a page could not be made");
        Self::Away
    }
}

impl Problem {
    /// Why spaces cannot be shown.
    fn ask(error: AskError) -> Self {
        match error {
            AskError::NotWatched => Self::Unwatched,
            AskError::RecordAway => Self::Away,
            error => {
                error!(?error, "a page could not be made");
                Self::Broken
            }
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    bar: Option<Bar>,
    status: u16,
    title: &'static str,
    text: &'static str,
    next: &'static str,
    next_text: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let again = match self {
            Self::TooManySignIns(wait) | Self::TooManyPages(wait) => {
                Some(AppendHeaders([(RETRY_AFTER, wait.as_secs() + 1)]))
            }
            _ => None,
        };
        let (status, title, text) = match self {
            Self::SignIn { wanted } => {
                let escaped = askama::filters::urlencode_strict(&wanted).map(|text| text.to_string());
                return Redirect::to(&format!("/signin?return={}", escaped.unwrap_or_default()))
                    .into_response();
            }
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "There is no such page", "It may have moved, or it is not for you.")
            }
            Self::Suspended => (
                StatusCode::FORBIDDEN,
                "An admin suspended your access",
                "There is nothing for you here until they let you in again. Ask them.",
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "That did not come from this site",
                "Your browser says that another page sent it. Open the page here and try again.",
            ),
            Self::Form => (
                StatusCode::BAD_REQUEST,
                "That form cannot be read",
                "It is not complete. Open the page again and fill it in anew.",
            ),
            Self::NotSignedIn(status, text) => (status, "You are not signed in", text),
            Self::TooManySignIns(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many sign-ins at once",
                "Your address has begun very many in a minute. Try again a little later.",
            ),
            Self::TooManyPages(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many pages at once",
                "Your browsers have asked for very many in a minute. Try again a little later; programs have the API.",
            ),
            Self::Unwatched => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Spaces are not watched here yet",
                "The gateway has just started, or does not watch spaces for idleness. Try again in a minute.",
            ),
            Self::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database is away",
                "Open ssh sessions go on. Try again in a minute.",
            ),
            Self::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something broke here, not at your end",
                "It is in the gateway's log. Try again, or tell an admin.",
            ),
        };
        let page = ErrorPage {
            bar: None,
            status: status.as_u16(),
            title,
            text,
            next: "/",
            next_text: "Start again",
        };
        (status, again, page_of(&page)).into_response()
    }
}

/// A role as pages name it.
const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "User",
        Role::Auditor => "Auditor",
        Role::Admin => "Admin",
    }
}

/// A template as an answer.
fn page_of(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            error!(%error, "a template failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The first page.
pub(super) async fn home(_person: Person) -> Redirect {
    Redirect::to("/spaces")
}
