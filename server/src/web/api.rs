//! The API for programs: what the pages show and do, as JSON (RFC 8259) under `/api/v1`, described by an OpenAPI document
//! that is made from this code.
//!
//! What is *not* here: rules and words, which are those of pages and terminals.

#![allow(unused_qualifications, reason = "utoipa's macros write them")]

mod admit;
mod audit;
mod cost;
mod document;
mod gateway;
mod keyed;
mod keys;
mod me;
pub(super) mod people;
mod problem;
mod read;
mod sessions;
mod spaces;
mod told;

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::admit::{Door, admit};
use self::problem::Problem;
use super::site::Site;

/// Where the API is.
pub(super) const ROOT: &str = "/api/v1";

/// Every operation, with its description.
fn operations() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(me::connect))
        .routes(routes!(spaces::list))
        .routes(routes!(spaces::show))
        .routes(routes!(spaces::days))
        .routes(routes!(spaces::hold, spaces::release))
        .routes(routes!(spaces::stop))
        .routes(routes!(spaces::start))
        .routes(routes!(keys::list, keys::add))
        .routes(routes!(keys::remove))
        .routes(routes!(keys::certify))
        .routes(routes!(sessions::live))
        .routes(routes!(sessions::past::list))
        .routes(routes!(sessions::past::csv))
        .routes(routes!(sessions::past::jsonl))
        .routes(routes!(sessions::one::show))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::message::send))
        .routes(routes!(cost::show))
        .routes(routes!(cost::csv))
        .routes(routes!(cost::jsonl))
        .routes(routes!(audit::list))
        .routes(routes!(audit::csv))
        .routes(routes!(audit::jsonl))
        .routes(routes!(gateway::policies))
        .routes(routes!(gateway::health))
        .routes(routes!(people::users))
        .routes(routes!(people::user))
        .routes(routes!(people::keys))
        .routes(routes!(people::remove_key))
        .routes(routes!(people::suspend))
        .routes(routes!(people::resume))
        .routes(routes!(people::grants, people::grant))
        .routes(routes!(people::end_grant))
}

/// The API, to be nested below [`ROOT`].
pub(super) fn router(site: &Arc<Site>) -> Router<Arc<Site>> {
    let (routes, described) = operations().split_for_parts();
    let needs = document::needs(&described);
    let text: Arc<str> = document::finished(described).into();
    let door = Arc::new(Door { site: Arc::clone(site), needs });
    routes
        .route_layer(from_fn_with_state(door, admit))
        .route(
            "/openapi.json",
            get(move || async move { ([(CONTENT_TYPE, "application/json")], text.to_string()) }),
        )
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method() })
}
