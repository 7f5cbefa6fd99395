//! Requests with an idempotency key: whoever does not hear an answer asks again, and nothing happens twice.
//!
//! The header is that of the IETF's draft-ietf-httpapi-idempotency-key-header. Only answers that something was done are
//! kept: what was refused may be allowed when it is asked again.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::admit::Caller;
use super::problem::{Kind, Problem};
use crate::domain::ids::UserId;
use crate::store::StoreError;
use crate::store::api::answers::{Given, Keyed, Turn};
use crate::web::site::Site;

/// The header that has the key.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key.
const LONGEST: usize = 200;
/// The largest answer that is kept.
const LARGEST: usize = 256 * 1_024;
/// How soon whoever was told to wait asks again.
const SOON: Duration = Duration::from_secs(1);

/// A request that has a key.
pub(super) struct Attempt {
    user: UserId,
    key: String,
}

impl Attempt {
    /// Nothing if there is no key.
    pub(super) fn of(caller: &Caller, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut found = headers.get_all(KEY).iter();
        let Some(first) = found.next() else { return Ok(None) };
        let malformed = || {
            let rule = format!("Idempotency-Key is one text of 1 to {LONGEST} visible ASCII characters.");
            Problem::new(Kind::Malformed, rule)
        };
        let key = first.to_str().map_err(|_| malformed())?.trim();
        let fits =
            (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !fits || found.next().is_some() {
            return Err(malformed());
        }
        Ok(Some(Self { user: caller.user.id, key: key.to_owned() }))
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// Carries a request out, unless it was carried out already.
pub(super) async fn carry_out(
    site: &Site,
    attempt: Attempt,
    (parts, body): (Parts, Bytes),
    next: Next,
) -> Result<Response, Problem> {
    let keyed = Keyed { user: attempt.user, key: attempt.key, request: digest(&parts, &body) };
    let this = match site.store.take_key(&keyed, site.clock.now()).await? {
        Turn::First(this) => this,
        Turn::Again(given) => return Ok(replayed(given)),
        Turn::Other => {
            let detail = "A key is for one request. Make another for this one.";
            return Err(Problem::new(Kind::KeyReused, detail));
        }
        Turn::Busy => {
            let busy =
                Problem::new(Kind::KeyBusy, "A request with this key is being carried out. Ask again.");
            let again = [(RETRY_AFTER, HeaderValue::from(SOON.as_secs()))];
            return Ok((again, busy).into_response());
        }
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        site.store.give_key_back(&keyed, this).await?;
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, LARGEST).await.map_err(|_| Problem::broken())?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = Given {
        status: head.status.as_u16(),
        content_type: content_type.map(str::to_owned),
        body: body.to_vec(),
    };
    let kept: Result<(), StoreError> = site.store.keep_answer(&keyed, this, &given).await;
    if let Err(error) = kept {
        // It was done, and whoever asked hears so. A second request waits until the first counts as lost.
        tracing::warn!(error = error.detail(), "an answer of the API was not kept");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replayed(given: Given) -> Response {
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let mut response = (status, given.body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if let Some(kind) = given.content_type.and_then(|kind| HeaderValue::from_str(&kind).ok()) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// SHA-256 of what a request asks for.
fn digest(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), b"\n", target.as_bytes(), b"\n", body] {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}
