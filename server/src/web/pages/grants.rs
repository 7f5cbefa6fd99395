//! Grants of single spaces to single people, for admins.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::users::sentence;
use super::{Bar, Problem, page_of};
use crate::domain::grant::Term;
use crate::domain::ids::GrantId;
use crate::identity::Entry;
use crate::identity::grants::{Asked, GrantError};
use crate::store::grants::RunningGrant;
use crate::web::show::{WallClock, When};
use crate::web::site::Site;
use crate::web::visit::{Admin, Person};

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Done {
    made: Option<String>,
    ended: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct NewGrant {
    #[serde(default)]
    user: String,
    #[serde(default)]
    space: String,
    #[serde(rename = "for", default)]
    lasts: String,
    #[serde(default)]
    reason: String,
}

#[derive(Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    bar: Option<Bar>,
    done: Option<String>,
    problem: Option<String>,
    grants: Vec<Row>,
    people: Vec<String>,
    spaces: Vec<String>,
    longest: String,
    typed: NewGrant,
}

struct Row {
    id: GrantId,
    person: String,
    space: String,
    until: When,
    reason: String,
    by: String,
}

async fn page(
    site: &Site,
    person: &Person,
    done: Option<String>,
    (problem, typed): (Option<String>, NewGrant),
) -> Result<Response, Problem> {
    let grants = site.identity.running_grants().await?;
    let spaces = site.identity.grantable().await?;
    let wall = person.wall(site.clock.now());
    Ok(page_of(&GrantsPage {
        bar: Some(Bar::of(person, "/grants")),
        done,
        problem,
        grants: grants.into_iter().map(|grant| row(grant, &wall)).collect(),
        people: site.identity.directory().entries().iter().map(Entry::written).collect(),
        spaces,
        longest: Term::of(site.identity.longest_grant()).to_string(),
        typed,
    }))
}

/// The grants that run, and a form for one more.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    Admin(person): Admin,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let id = |text: Option<String>| text.and_then(|text| text.parse::<GrantId>().ok());
    let done = match (id(done.made), id(done.ended)) {
        (Some(id), _) => Some(format!("Grant {} counts from now on.", id.short())),
        (None, Some(id)) => {
            Some(format!("Grant {} is over. What is open by it ends within a minute.", id.short()))
        }
        (None, None) => None,
    };
    page(&site, &person, done, (None, NewGrant::default())).await
}

/// Adds one.
pub(in crate::web) async fn add(
    State(site): State<Arc<Site>>,
    Admin(person): Admin,
    form: Result<Form<NewGrant>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(typed) = form.map_err(|_| Problem::Form)?;
    let asked = Asked { user: &typed.user, space: &typed.space, lasts: &typed.lasts, reason: &typed.reason };
    match site.identity.grant(&person.who.user, &asked, &person.visitor).await {
        Ok(granted) => Ok(Redirect::to(&format!("/grants?made={}", granted.id)).into_response()),
        Err(GrantError::Store(error)) => Err(error.into()),
        Err(error) => {
            let problem = Some(sentence(&error.to_string()));
            let page = page(&site, &person, None, (problem, typed)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// Ends one.
pub(in crate::web) async fn end(
    State(site): State<Arc<Site>>,
    Admin(person): Admin,
    Path(grant): Path<String>,
) -> Result<Redirect, Problem> {
    let grant: GrantId = grant.parse().map_err(|_| Problem::NotFound)?;
    if site.identity.end_grant(&person.who.user, grant, &person.visitor).await? {
        Ok(Redirect::to(&format!("/grants?ended={grant}")))
    } else {
        Err(Problem::NotFound)
    }
}

fn row(grant: RunningGrant, wall: &WallClock) -> Row {
    Row {
        id: grant.id,
        person: format!("{}/{}", grant.provider, grant.name),
        space: format!("{}.{}", grant.space, grant.domain),
        until: When::at(grant.until, wall),
        reason: grant.reason,
        by: grant.approved_by,
    }
}
