//! Who may ask the API what: the token, its scope, and its person's role. What an operation needs stands in the OpenAPI
//! document and nowhere else, so that the document is right about it and no operation can forget to ask.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Query, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde_json::json;

use super::ROOT;
use super::keyed::{self, Attempt};
use super::problem::{Kind, Problem};
use crate::domain::access::Because;
use crate::domain::scope::Scope;
use crate::domain::user::{Role, User};
use crate::gateway::Asker;
use crate::identity::{MyToken, NoBearer, Visitor};
use crate::web::export::noted;
use crate::web::site::Site;
use crate::web::visit::visitor;

/// The largest body that is read.
const LARGEST: usize = 64 * 1024;

/// What the document says of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// The scope that it needs; none if any token will do.
    pub(super) scope: Option<Scope>,
    /// The parameters behind its address.
    pub(super) parameters: Vec<String>,
}

/// What each operation needs, by its method and its path.
pub(super) type Needs = HashMap<(Method, String), Need>;

impl Need {
    /// Refuses parameters that the operation does not have: a filter with a slip in its name would not filter.
    fn knows(&self, uri: &Uri) -> Result<(), Problem> {
        let sent = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(sent) = sent.map_err(|error| Problem::new(Kind::Malformed, format!("{error}.")))?;
        let Some((name, _)) = sent.iter().find(|(name, _)| !self.parameters.contains(name)) else {
            return Ok(());
        };
        let name: String = name.chars().take(40).collect();
        let known = if self.parameters.is_empty() { "none".to_owned() } else { self.parameters.join(", ") };
        Err(Problem::new(
            Kind::Malformed,
            format!("There is no parameter {name:?} here. There are: {known}."),
        ))
    }
}

/// Whoever stands at the door.
pub(super) struct Door {
    pub(super) site: Arc<Site>,
    pub(super) needs: Needs,
}

/// Somebody, by one of their tokens, which has the scope that the operation needs.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) token: MyToken,
    pub(super) visitor: Visitor,
}

impl Caller {
    /// As who asks something about a space.
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker::on_page(&self.user, self.visitor.address)
    }

    /// Refuses those below a role. They find no such thing.
    pub(super) fn at_least(&self, role: Role) -> Result<(), Problem> {
        if self.user.role >= role { Ok(()) } else { Err(Problem::not_found()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::broken)
    }
}

/// Lets a request through to its operation, or answers it.
pub(super) async fn admit(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let Some(need) = path.and_then(|path| door.needs.get(&(method, path))) else {
        // No operation: the router says which methods there are.
        return next.run(request).await;
    };
    match let_in(&door, need, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn let_in(door: &Door, need: &Need, mut request: Request, next: Next) -> Result<Response, Problem> {
    let site = &door.site;
    let caller = caller(site, request.headers(), request.extensions(), request.uri().path()).await?;
    if let Some(scope) = need.scope {
        caller.at_least(scope.role())?;
        if !caller.token.scopes.contains(&scope) {
            return Err(Problem::scope(scope));
        }
    }
    need.knows(request.uri())?;
    if request.method().is_safe() {
        request.extensions_mut().insert(caller);
        return Ok(next.run(request).await);
    }
    let attempt = Attempt::of(&caller, request.headers())?;
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.map_err(|_| {
        Problem::new(Kind::TooLarge, format!("A request has at most {} KiB.", LARGEST / 1_024))
    })?;
    // Before anything happens: what is not on record does not happen.
    let detail = json!({
        "method": parts.method.as_str(), "path": format!("{ROOT}{}", parts.uri.path()), "address": caller.visitor.address,
        "token": caller.token.id.to_string(), "token_name": caller.token.name,
        "idempotency_key": attempt.as_ref().map(Attempt::key),
    });
    noted(site, &caller.user, "api.asked", detail).await?;
    parts.extensions.insert(caller);
    match attempt {
        None => Ok(next.run(Request::from_parts(parts, Body::from(body))).await),
        Some(attempt) => keyed::carry_out(site, attempt, (parts, body), next).await,
    }
}

async fn caller(
    site: &Site,
    headers: &HeaderMap,
    extensions: &axum::http::Extensions,
    path: &str,
) -> Result<Caller, Problem> {
    let visitor = visitor(site, headers, extensions).ok_or_else(Problem::broken)?;
    let Some(token) = bearer(headers) else {
        return Err(Problem::no_token());
    };
    match site.identity.bearer(&token, &visitor).await {
        Ok(bearer) => Ok(Caller { user: bearer.user, token: bearer.token, visitor }),
        Err(NoBearer::Unknown) => {
            site.identity
                .stranger(&format!("{ROOT}{path}"), "the token for the API is none that counts", &visitor)
                .await?;
            Err(Problem::bad_token(
                "It is unknown, has expired or was revoked. Make another on the page Tokens.",
            ))
        }
        Err(NoBearer::NoStanding(because)) => Err(Problem::bad_token(match because {
            Because::Suspended => "An admin suspended your access. Ask them.",
            Because::LoginLapsed(_) => {
                "Your sign-in is over and could not be renewed. Sign in again on the web."
            }
            _ => "Your identity provider no longer vouches for you. Sign in again on the web.",
        })),
        Err(NoBearer::TooMany(wait)) => Err(Problem::too_many(wait)),
        Err(NoBearer::Store(error)) => Err(error.into()),
    }
}

/// The token of a request (RFC 6750, section 2.1); nothing if there are two headers.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut found = headers.get_all(AUTHORIZATION).iter();
    let (first, None) = (found.next()?, found.next()) else { return None };
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_sent_once_and_as_a_bearer() {
        let sent = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_static(line));
            }
            bearer(&headers).map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(sent(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(sent(&["bearer  abc "]).as_deref(), Some("abc"));
        for none in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(sent(none), None, "{none:?}");
        }
    }
}
