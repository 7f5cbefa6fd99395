//! What the site is wrapped in: headers that browsers enforce; and around every page, the refusal of other sites' posts.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::pages::Problem;
use super::site::Site;
use super::visit::Browser;

/// The same on every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // `same-origin` and not `no-referrer`: with the latter browsers name no origin in our own forms' posts.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("origin-agent-cluster"), "?1"),
];

/// Refuses what another site sends.
pub(super) async fn own_only(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe || is_own(request.headers(), &site.public_url.origin()) {
        return next.run(request).await;
    }
    let (mut parts, _) = request.into_parts();
    refuse(&site, &mut parts).await.into_response()
}

/// Sets the headers.
pub(super) async fn headers(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, site.content_policy.clone());
    if site.public_url.is_https() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

async fn refuse(site: &Arc<Site>, parts: &mut Parts) -> Problem {
    match Browser::from_request_parts(parts, site).await {
        Ok(browser) => {
            let why = "another site's page sent it";
            let noted = site.identity.stranger(parts.uri.path(), why, &browser.visitor).await;
            noted.err().map_or(Problem::CrossSite, Problem::from)
        }
        Err(problem) => problem,
    }
}

/// Whether a browser says that a request comes from our own page. One that says neither is none that we know.
fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let fetch_site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let from = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    match (fetch_site, from) {
        (Some("same-origin"), None) => true,
        (None | Some("same-origin"), Some(from)) => from == origin,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_post() {
        let ours = "https://gateway.example.com";
        let asks = |site: Option<&'static str>, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            site.map(|site| headers.insert("sec-fetch-site", HeaderValue::from_static(site)));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            is_own(&headers, ours)
        };
        assert!(asks(Some("same-origin"), Some(ours)));
        assert!(asks(None, Some(ours)));
        for (site, origin) in [
            (None, None),
            (None, Some("null")),
            (None, Some("https://evil.example")),
            (Some("same-site"), Some(ours)),
            (Some("cross-site"), None),
            (Some("same-origin"), Some("https://evil.example")),
        ] {
            assert!(!asks(site, origin), "{site:?} {origin:?}");
        }
    }
}
