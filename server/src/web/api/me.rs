//! Whose token it is, and how ssh is set up for them.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::admit::Caller;
use super::problem::Problem;
use super::told::Json;
use crate::domain::names::shortest;
use crate::domain::scope::Scope;
use crate::domain::written::At;
use crate::web::site::Site;

/// A person, and the token that speaks for them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// The person's id.
    id: String,
    /// Their name.
    name: String,
    /// `user`, `auditor` or `admin`.
    role: String,
    /// Their groups, as `PROVIDER/GROUP`.
    groups: Vec<String>,
    /// The token.
    token: TokenFacts,
}

/// A token, without what is secret of it.
#[derive(Debug, Serialize, ToSchema)]
struct TokenFacts {
    /// Its id.
    id: String,
    /// What its person calls it.
    name: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// Until when it counts.
    expires_at: At,
}

/// How ssh is set up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Setup {
    /// The host that ssh connects to.
    host: String,
    /// Its port.
    port: u16,
    /// The host key's fingerprint, `SHA256:…`.
    host_key: String,
    /// A line for `known_hosts`.
    known_hosts: String,
    /// Lines for `~/.ssh/config`: a block for each of the person's spaces.
    config: String,
}

/// Whose token this is.
#[utoipa::path(
    get, path = "/me", operation_id = "getMe", tag = "Me",
    responses((status = 200, body = Me)), security(("token" = []))
)]
pub(super) async fn show(caller: Caller) -> Json<Me> {
    let Caller { user, token, .. } = caller;
    Json(Me {
        id: user.id.to_string(),
        name: user.name.to_string(),
        role: user.role.to_string(),
        groups: user.groups.iter().map(ToString::to_string).collect(),
        token: TokenFacts {
            id: token.id.to_string(),
            name: token.name,
            scopes: token.scopes.into_iter().map(Scope::as_str).collect(),
            expires_at: token.expires_at.into(),
        },
    })
}

/// How ssh is set up for the token's person.
#[utoipa::path(
    get, path = "/connect", operation_id = "getConnect", tag = "Me",
    responses((status = 200, body = Setup)), security(("token" = ["spaces:read"]))
)]
pub(super) async fn connect(State(site): State<Arc<Site>>, caller: Caller) -> Result<Json<Setup>, Problem> {
    let spaces = site.gateway.spaces(&caller.user);
    let block = |space| site.address.config_block(&shortest(space, &spaces));
    Ok(Json(Setup {
        host: site.address.host.clone(),
        port: site.address.port,
        host_key: site.host_key.fingerprint.clone(),
        known_hosts: site.host_key.known_host.clone(),
        config: spaces.iter().map(block).collect(),
    }))
}
