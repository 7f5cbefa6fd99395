//! What people do to a space on its page: hold, stop, start.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::page;
use crate::domain::grant::{Reason, Term};
use crate::domain::ids::InstanceType;
use crate::gateway::idle::Stopping;
use crate::gateway::{AskError, Asker, StartWish, Started};
use crate::ssh::told;
use crate::web::find::{At, Found, find_stoppable, find_usable};
use crate::web::pages::Problem;
use crate::web::site::Site;
use crate::web::visit::Person;

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Wish {
    #[serde(rename = "for", default)]
    lasts: String,
    #[serde(default)]
    because: String,
    #[serde(default)]
    force: String,
    #[serde(rename = "type", default)]
    instance_type: String,
    #[serde(default)]
    back: String,
}

/// Holds it, or lets go of it.
pub(in crate::web) async fn hold(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = find_stoppable(&site, &person.who.user, &at).ok_or(Problem::NotFound)?;
    let length = match wish.lasts.as_str() {
        "off" => None,
        time => match time.parse::<Term>().ok().and_then(|term| term.within(Duration::MAX).ok()) {
            Some(length) => Some(length),
            None => return Err(Problem::Form),
        },
    };
    let reason = match wish.because.parse::<Reason>() {
        Ok(reason) => reason.as_str().to_owned(),
        Err(_) if wish.because.trim().is_empty() => String::new(),
        Err(why) => return refused(&site, &person, &found, format!("It is not held: {why}.")).await,
    };
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    match site.gateway.hold(&asker, &found.space, (length, &reason)).await {
        Ok(held) => Ok(back(&found, &wish, if held.until.is_some() { "held" } else { "released" })),
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

/// Stops it.
pub(in crate::web) async fn stop(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = find_stoppable(&site, &person.who.user, &at).ok_or(Problem::NotFound)?;
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    match site.gateway.stop(&asker, &found.space, wish.force == "yes").await {
        Ok(stopped) if stopped.outcome == Stopping::Stopping => Ok(back(&found, &wish, "stopping")),
        Ok(stopped) => {
            let name = found.space.name().as_str();
            let why = told::not_stopped(&stopped.outcome, name, found.space.state());
            refused(&site, &person, &found, why).await
        }
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

/// Starts it, on another instance type if one is named.
pub(in crate::web) async fn start(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = find_usable(&site, &person.who.user, &at).ok_or(Problem::NotFound)?;
    let instance_type = match wish.instance_type.trim() {
        "" => None,
        text => match text.parse::<InstanceType>() {
            Ok(instance_type) => Some(instance_type),
            Err(_) => {
                let why = format!("“{text}” is no instance type. Write one such as ml.m5.xlarge.");
                return refused(&site, &person, &found, why).await;
            }
        },
    };
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    let start = StartWish { instance_type, force: wish.force == "yes" };
    let (name, clock, address) =
        (found.space.name().to_string(), Arc::clone(&site.clock), site.address.clone());
    let tell = move |error: &AskError| told::refusal(error, &name, clock.now(), &address);
    match site.gateway.start_alone(&asker, &found.space, &start, tell).await {
        Ok(Started::Now) => Ok(back(&found, &wish, "starting")),
        Ok(Started::Already) => Ok(back(&found, &wish, "up")),
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

fn words(site: &Site, found: &Found, error: &AskError) -> String {
    told::refusal(error, found.space.name().as_str(), site.clock.now(), &site.address)
}

/// To the page that the form was on.
fn back(found: &Found, wish: &Wish, done: &str) -> Response {
    let space = &found.space;
    let path = if wish.back == "home" {
        "/spaces".to_owned()
    } else {
        format!("/spaces/{}/{}", space.domain, space.name())
    };
    Redirect::to(&format!("{path}?done={done}")).into_response()
}

async fn refused(site: &Site, person: &Person, found: &Found, problem: String) -> Result<Response, Problem> {
    let page = page(site, person, found, None, Some(problem)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}
