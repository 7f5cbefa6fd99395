//! Everybody who is known, for admins: who vouches for them, their keys, and keeping them out.

pub(in crate::web) mod export;
pub(in crate::web) mod one;

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Bar, Problem, page_of, role_word};
use crate::domain::grant::Reason;
use crate::domain::ids::UserId;
use crate::domain::user::Standing;
use crate::identity::Entry;
use crate::web::query::{Pages, address};
use crate::web::show::minute;
use crate::web::site::Site;
use crate::web::visit::{Admin, Person};

/// People on a page.
const PAGE: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Asked {
    #[serde(default)]
    q: String,
    page: Option<usize>,
    suspended: Option<String>,
    resumed: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Suspending {
    #[serde(default)]
    reason: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    bar: Option<Bar>,
    summary: String,
    done: Option<String>,
    problem: Option<String>,
    query: String,
    people: Vec<Row>,
    pages: Pages,
    /// Files with those that are looked for.
    csv: String,
    jsonl: String,
}

/// Whether somebody is kept out, and whether that can be changed here.
enum Kept {
    /// They are not.
    In,
    /// By an admin.
    Out { by: String, at: String, reason: String },
    /// By the configuration file only.
    OutByFile,
}

struct Row {
    id: UserId,
    name: String,
    provider: String,
    groups: String,
    role: &'static str,
    standing: String,
    keys: usize,
    kept: Kept,
    is_you: bool,
}

fn page(
    site: &Site,
    person: &Admin,
    asked: &Asked,
    done: Option<String>,
    problem: Option<String>,
) -> Response {
    let Admin(person) = person;
    let directory = site.identity.directory();
    let entries = directory.entries();
    let out = entries.iter().filter(|entry| entry.user.suspended).count();
    let people = if entries.len() == 1 { "person is" } else { "people are" };
    let summary = format!("{} {people} known here, {out} suspended.", entries.len());
    let found: Vec<&Entry> = directory.like(&asked.q).collect();
    let sought = [("q", asked.q.trim())];
    let pages = Pages::of(found.len(), PAGE, asked.page, ("/users", &sought));
    let rows = pages.part(&found).iter();
    page_of(&UsersPage {
        bar: Some(Bar::of(person, "/users")),
        summary,
        done,
        problem,
        query: asked.q.trim().to_owned(),
        people: rows.map(|entry| row(entry, site.identity.stands(&entry.user), person)).collect(),
        pages,
        csv: address("/users.csv", &sought),
        jsonl: address("/users.jsonl", &sought),
    })
}

/// Everybody.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    person: Admin,
    Query(asked): Query<Asked>,
) -> Response {
    let directory = site.identity.directory();
    let named = |id: Option<&String>| directory.entry(id?.parse().ok()?).map(Entry::written);
    let done = match (named(asked.suspended.as_ref()), named(asked.resumed.as_ref())) {
        (Some(who), _) => Some(format!("{who} is suspended. What they have open ends now, and says why.")),
        (None, Some(who)) => Some(format!("{who} may connect again, as far as their login goes.")),
        (None, None) => None,
    };
    page(&site, &person, &asked, done, None)
}

/// Keeps somebody out.
pub(in crate::web) async fn suspend(
    State(site): State<Arc<Site>>,
    person: Admin,
    Path(user): Path<String>,
    form: Result<Form<Suspending>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(form) = form.map_err(|_| Problem::Form)?;
    let user = known(&site, &user)?;
    let refused = |why: &str| {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            page(&site, &person, &Asked::default(), None, Some(why.to_owned())),
        )
            .into_response()
    };
    if user == person.0.who.user.id {
        return Ok(refused("You cannot suspend yourself. Ask another admin."));
    }
    let reason: Reason = match form.reason.parse() {
        Ok(reason) => reason,
        Err(why) => return Ok(refused(&sentence(why))),
    };
    let Admin(admin) = &person;
    site.identity.suspend(&admin.who.user, user, &reason, &admin.visitor).await?;
    Ok(Redirect::to(&format!("/users?suspended={user}")).into_response())
}

/// Lets somebody in again.
pub(in crate::web) async fn resume(
    State(site): State<Arc<Site>>,
    Admin(admin): Admin,
    Path(user): Path<String>,
) -> Result<Redirect, Problem> {
    let user = known(&site, &user)?;
    let resumed = site.identity.resume(&admin.who.user, user, &admin.visitor).await?;
    Ok(if resumed { Redirect::to(&format!("/users?resumed={user}")) } else { Redirect::to("/users") })
}

fn known(site: &Site, user: &str) -> Result<UserId, Problem> {
    let id = user.parse().map_err(|_| Problem::NotFound)?;
    site.identity.directory().entry(id).map(|entry| entry.user.id).ok_or(Problem::NotFound)
}

/// Words of ours as a sentence of a page.
pub(in crate::web) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn row(entry: &Entry, stands: bool, reader: &Person) -> Row {
    let (user, shown) = (&entry.user, |at| minute(at, &reader.zone));
    let groups: Vec<&str> = user.groups.iter().map(|group| group.as_str()).collect();
    Row {
        id: user.id,
        name: user.name.to_string(),
        provider: entry.provider.clone(),
        groups: groups.join(", "),
        role: role_word(user.role),
        standing: match user.standing {
            Standing::Configured => "listed in the file".to_owned(),
            Standing::Until(until) if stands => format!("signed in until {}", shown(until)),
            Standing::Until(until) => format!("login lapsed {}", shown(until)),
            Standing::Withdrawn { at, .. } => format!("withdrawn {}", shown(at)),
        },
        keys: entry.added_keys + entry.listed_keys.len(),
        kept: match &entry.suspension {
            Some(s) => Kept::Out { by: s.by.clone(), at: shown(s.at), reason: s.reason.clone() },
            None if user.suspended => Kept::OutByFile,
            None => Kept::In,
        },
        is_you: user.id == reader.who.user.id,
    }
}
