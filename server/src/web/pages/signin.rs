//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;
use tracing::warn;

use super::{Bar, Problem, page_of};
use crate::identity::{Answer, Choice, ProviderError, SignInError};
use crate::web::site::Site;
use crate::web::visit::{Browser, Person, set_cookie};

/// How long the cookie of a sign-in is kept, in seconds.
const SIGN_IN: u64 = 600;
/// How long browsers keep the cookie of a login; the server ends it earlier.
const LOGIN: u64 = 30 * 24 * 60 * 60;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Wanted {
    #[serde(rename = "return", default)]
    return_to: String,
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    bar: Option<Bar>,
    choices: Vec<Choice>,
    return_to: String,
}

/// The providers to choose from.
pub(in crate::web) async fn choose(State(site): State<Arc<Site>>, Query(wanted): Query<Wanted>) -> Response {
    page_of(&SignInPage { bar: None, choices: site.identity.choices(), return_to: wanted.return_to })
}

/// On the way to a provider.
pub(in crate::web) async fn depart(
    State(site): State<Arc<Site>>,
    Path(provider): Path<String>,
    Query(wanted): Query<Wanted>,
    browser: Browser,
) -> Result<Response, Problem> {
    let begun = site.identity.begin_sign_in(&provider, &wanted.return_to, &browser.visitor).await;
    let begun = begun.map_err(|error| {
        warn!(%error, provider, client.address = %browser.visitor.address, "a sign-in was not begun");
        told(&error)
    })?;
    let name = site.sign_in_cookie();
    let cookie = set_cookie(name, Some(&begun.browser), site.public_url.is_https(), SIGN_IN);
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to(begun.url.as_str())).into_response())
}

/// Back from a provider.
pub(in crate::web) async fn arrive(
    State(site): State<Arc<Site>>,
    Path(provider): Path<String>,
    Query(answer): Query<Answer>,
    browser: Browser,
) -> Response {
    let secure = site.public_url.is_https();
    let forget = set_cookie(site.sign_in_cookie(), None, secure, 0);
    let kept = browser.cookies.get(site.sign_in_cookie()).unwrap_or_else(|| SecretString::from(""));
    match site.identity.complete_sign_in(&provider, answer, &kept, &browser.visitor).await {
        Ok(signed_in) => {
            let login = set_cookie(site.login_cookie(), Some(&signed_in.cookie), secure, LOGIN);
            let cookies = AppendHeaders([(header::SET_COOKIE, forget), (header::SET_COOKIE, login)]);
            (cookies, Redirect::to(&signed_in.return_to)).into_response()
        }
        Err(error) => (AppendHeaders([(header::SET_COOKIE, forget)]), told(&error)).into_response(),
    }
}

/// Signs out, here and at the provider.
pub(in crate::web) async fn sign_out(
    State(site): State<Arc<Site>>,
    person: Person,
) -> Result<Response, Problem> {
    let onward = site.identity.sign_out(&person.who, &person.visitor).await?;
    let forget = set_cookie(site.login_cookie(), None, site.public_url.is_https(), 0);
    let next = onward.map_or_else(|| "/signin".to_owned(), String::from);
    Ok((AppendHeaders([(header::SET_COOKIE, forget)]), Redirect::to(&next)).into_response())
}

/// What a person reads; the log and the audit have the rest.
fn told(error: &SignInError) -> Problem {
    match error {
        SignInError::NoProvider(_) => Problem::NotFound,
        SignInError::NotBegun => Problem::NotSignedIn(
            StatusCode::BAD_REQUEST,
            "This sign-in is over: it was begun in another browser, too long ago, or is done already. Begin again.",
        ),
        SignInError::MixedUp => Problem::NotSignedIn(
            StatusCode::BAD_REQUEST,
            "The answer came from another provider than the one you chose. Begin again.",
        ),
        SignInError::Declined(_) => Problem::NotSignedIn(
            StatusCode::FORBIDDEN,
            "Your identity provider sent you back without signing you in.",
        ),
        SignInError::NotAdmitted(_) => Problem::NotSignedIn(
            StatusCode::FORBIDDEN,
            "You are in none of the groups that may sign in here. Ask an admin.",
        ),
        SignInError::Provider(ProviderError::Away(..)) => Problem::NotSignedIn(
            StatusCode::BAD_GATEWAY,
            "Your identity provider does not answer. Who is connected stays so; try again in a minute.",
        ),
        SignInError::Provider(_) => Problem::NotSignedIn(
            StatusCode::FORBIDDEN,
            "What your identity provider says does not hold. Begin again; if it stays so, tell an admin.",
        ),
        SignInError::TooMany(wait) => Problem::TooManySignIns(*wait),
        SignInError::Store(_) => Problem::Away,
        SignInError::Random(_) => Problem::Broken,
    }
}
