//! Tokens for the API: making one, which is shown once, and revoking them.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::ExposeSecret as _;

use super::{Bar, Problem, page_of};
use crate::domain::day::Zone;
use crate::domain::grant::Term;
use crate::domain::scope::Scope;
use crate::identity::{MakeTokenError, MyToken, WantedToken};
use crate::web::show::minute;
use crate::web::site::Site;
use crate::web::visit::Person;

/// How long a token counts if nothing else is chosen, as far as that is allowed.
const USUAL: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    bar: Option<Bar>,
    tokens: Vec<Row>,
    problem: Option<String>,
    made: Option<Made>,
    scopes: Vec<Choice>,
    name: String,
    lasts: String,
    longest: String,
    document: String,
}

struct Row {
    id: String,
    name: String,
    scopes: String,
    made: String,
    until: String,
    used: String,
}

/// A new token: nobody sees it again.
struct Made {
    token: String,
    command: String,
}

struct Choice {
    name: &'static str,
    words: &'static str,
    chosen: bool,
}

/// What was typed.
#[derive(Default)]
struct Typed {
    name: String,
    lasts: String,
    scopes: Vec<String>,
}

impl Typed {
    /// Reads the form, which has a field for each scope that was chosen.
    fn of(fields: Vec<(String, String)>) -> Self {
        let mut typed = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "name" => typed.name = value,
                "for" => typed.lasts = value,
                "scope" => typed.scopes.push(value),
                _ => {}
            }
        }
        typed
    }
}

async fn page(
    site: &Site,
    person: &Person,
    (problem, typed): (Option<String>, Typed),
    made: Option<Made>,
) -> Result<Response, Problem> {
    let user = &person.who.user;
    let tokens = site.identity.tokens_of(user).await?;
    let longest = site.identity.longest_token();
    let choice = |scope: Scope| Choice {
        name: scope.as_str(),
        words: scope.words(),
        chosen: typed.scopes.iter().any(|chosen| chosen == scope.as_str()),
    };
    Ok(page_of(&TokensPage {
        bar: Some(Bar::of(person, "/tokens")),
        tokens: tokens.into_iter().map(|token| row(token, &person.zone)).collect(),
        problem,
        made,
        scopes: Scope::of(user.role).map(choice).collect(),
        lasts: if typed.lasts.is_empty() { Term::of(USUAL.min(longest)).to_string() } else { typed.lasts },
        name: typed.name,
        longest: Term::of(longest).to_string(),
        document: site.public_url.page("/api/v1/openapi.json"),
    }))
}

/// The tokens, and a form for one more.
pub(in crate::web) async fn list(State(site): State<Arc<Site>>, person: Person) -> Result<Response, Problem> {
    page(&site, &person, (None, Typed::default()), None).await
}

/// Makes one. The page that says so shows it: an address would keep it in the browser's history.
pub(in crate::web) async fn make(
    State(site): State<Arc<Site>>,
    person: Person,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(fields) = form.map_err(|_| Problem::Form)?;
    let typed = Typed::of(fields);
    let scopes: Result<BTreeSet<Scope>, String> = typed.scopes.iter().map(|scope| scope.parse()).collect();
    let scopes = scopes.map_err(|_| Problem::Form)?;
    let wanted = WantedToken { name: &typed.name, scopes, lasts: &typed.lasts };
    match site.identity.make_token(&person.who.user, &wanted, &person.visitor).await {
        Ok((_, token)) => {
            let token = token.expose_secret().to_owned();
            let address = site.public_url.page("/api/v1/me");
            let command = format!("curl -H 'Authorization: Bearer {token}' {address}");
            page(&site, &person, (None, Typed::default()), Some(Made { token, command })).await
        }
        Err(MakeTokenError::Store(error)) => Err(error.into()),
        Err(error) => {
            let page = page(&site, &person, (Some(error.to_string()), typed), None).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// Revokes one.
pub(in crate::web) async fn revoke(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(token): Path<String>,
) -> Result<Redirect, Problem> {
    let token = token.parse().map_err(|_| Problem::NotFound)?;
    let revoked = site.identity.revoke_token(&person.who.user, token, &person.visitor).await?;
    if revoked { Ok(Redirect::to("/tokens")) } else { Err(Problem::NotFound) }
}

fn row(token: MyToken, zone: &Zone) -> Row {
    let scopes: Vec<&str> = token.scopes.into_iter().map(Scope::as_str).collect();
    Row {
        id: token.id.to_string(),
        name: token.name,
        scopes: scopes.join(", "),
        made: minute(token.made_at, zone),
        until: minute(token.expires_at, zone),
        used: token
            .used
            .map_or_else(|| "never".to_owned(), |(at, from)| format!("{} from {from}", minute(at, zone))),
    }
}
