//! What went wrong, as programs read it (RFC 9457): the same words as on pages and in terminals, and a type that stays.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::told::Json;
use crate::domain::scope::Scope;
use crate::gateway::{AskError, OpenError};
use crate::ssh::told;
use crate::store::StoreError;
use crate::web::site::Site;

/// What every type of problem begins with.
const TYPES: &str = "urn:spaceport:problem:";

/// Kinds of problems. Their names stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    NoToken,
    BadToken,
    Scope,
    Denied,
    NotFound,
    Method,
    Conflict,
    OverBudget,
    KeyBusy,
    KeyReused,
    TooLarge,
    MediaType,
    Invalid,
    TooMany,
    Broken,
    Aws,
    Away,
    Unwatched,
}

impl Kind {
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "no-token", "There is no token"),
            Self::BadToken => (StatusCode::UNAUTHORIZED, "bad-token", "The token lets nobody in"),
            Self::Scope => (StatusCode::FORBIDDEN, "scope", "The token may not do that"),
            Self::Denied => (StatusCode::FORBIDDEN, "denied", "The access policy says no"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing, or not for you"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "That cannot be done here"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "That cannot be done now"),
            Self::OverBudget => (StatusCode::CONFLICT, "over-budget", "A budget is spent"),
            Self::KeyBusy => (StatusCode::CONFLICT, "key-busy", "The first request is not answered yet"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The key belongs to another request")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The request is no JSON"),
            Self::Invalid => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request cannot be carried out")
            }
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests"),
            Self::Broken => {
                (StatusCode::INTERNAL_SERVER_ERROR, "broken", "Something broke here, not at your end")
            }
            Self::Aws => (StatusCode::BAD_GATEWAY, "aws", "AWS did not do it"),
            Self::Away => (StatusCode::SERVICE_UNAVAILABLE, "away", "The gateway cannot answer now"),
            Self::Unwatched => (StatusCode::SERVICE_UNAVAILABLE, "unwatched", "Spaces are not watched here"),
        }
    }
}

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// Which problem it is; programs compare this.
    #[serde(rename = "type")]
    #[schema(example = "urn:spaceport:problem:not-found")]
    kind: String,
    /// The problem in a few words, always the same for a type.
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time and what to do, for people.
    detail: String,
}

/// An answer that is a problem.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), header: None }
    }

    pub(super) fn not_found() -> Self {
        Self::new(Kind::NotFound, "It may never have been, be over, or not be for you.")
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    pub(super) fn broken() -> Self {
        Self::new(Kind::Broken, "It is in the gateway's log. Try again, or tell an admin.")
    }

    pub(super) fn no_token() -> Self {
        let problem = Self::new(
            Kind::NoToken,
            "Send a token: Authorization: Bearer TOKEN. Make one on the page Tokens.",
        );
        problem.challenge("Bearer realm=\"spaceport\"".to_owned())
    }

    pub(super) fn bad_token(detail: &str) -> Self {
        let challenge = "Bearer realm=\"spaceport\", error=\"invalid_token\"";
        Self::new(Kind::BadToken, detail).challenge(challenge.to_owned())
    }

    pub(super) fn scope(scope: Scope) -> Self {
        let detail = format!("It lacks the scope {scope}. Make a token that has it.");
        let challenge =
            format!("Bearer realm=\"spaceport\", error=\"insufficient_scope\", scope=\"{scope}\"");
        Self::new(Kind::Scope, detail).challenge(challenge)
    }

    pub(super) fn too_many(wait: Duration) -> Self {
        Self::too_often("Your tokens ask too often.", wait.as_secs() + 1)
    }

    /// What came too often, and for how many seconds to wait.
    pub(super) fn too_often(what: &str, seconds: u64) -> Self {
        let problem = Self::new(Kind::TooMany, format!("{what} Wait {seconds} s."));
        Self { header: Some((RETRY_AFTER, HeaderValue::from(seconds))), ..problem }
    }

    /// How to come in (RFC 6750, section 3).
    fn challenge(self, challenge: String) -> Self {
        Self { header: HeaderValue::from_str(&challenge).ok().map(|value| (WWW_AUTHENTICATE, value)), ..self }
    }

    /// Why a wish about a space was not fulfilled, in the words of terminals.
    pub(super) fn asked(error: &AskError, space: &str, site: &Site) -> Self {
        let kind = match error {
            AskError::NotWatched => Kind::Unwatched,
            AskError::RecordAway => Kind::Away,
            AskError::TooLong(_) => Kind::Invalid,
            AskError::Others(_) => Kind::Conflict,
            AskError::Open(error) => open_kind(error),
        };
        Self::new(kind, told::refusal(error, space, site.clock.now(), &site.address))
    }

    /// For a method that an address does not know; the router says which it knows.
    pub(super) fn method() -> Self {
        Self::new(Kind::Method, "The header Allow says what can be.")
    }
}

const fn open_kind(error: &OpenError) -> Kind {
    match error {
        OpenError::Denied { .. } => Kind::Denied,
        OpenError::OverBudget { .. } => Kind::OverBudget,
        OpenError::RecordAway | OpenError::Draining => Kind::Away,
        OpenError::Aws(_) | OpenError::AppFailed { .. } | OpenError::StartTimedOut { .. } => Kind::Aws,
        OpenError::NotRunning(_)
        | OpenError::Idled(_)
        | OpenError::Start(_)
        | OpenError::NoFreeStream(_)
        | OpenError::Dial(_)
        | OpenError::SpaceSsh(_)
        | OpenError::RefusedBySpace(_)
        | OpenError::Ended(_) => Kind::Conflict,
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        error!(error = error.detail(), "a request to the API could not be answered");
        Self::new(Kind::Away, "The database is away. Open ssh sessions go on. Try again in a minute.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind.facts();
        let details =
            Details { kind: format!("{TYPES}{name}"), title, status: status.as_u16(), detail: self.detail };
        let mut response = (status, Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.header);
        response
    }
}
