//! Setting up ssh, once: a key, short names, and the first connection, which the page notices.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Bar, Problem, page_of};
use crate::domain::client;
use crate::domain::names::shortest;
use crate::web::show::When;
use crate::web::site::Site;
use crate::web::visit::Person;

/// How soon the page looks for the first connection again, and afterwards for nothing, in seconds.
const WAITING: u32 = 2;
const DONE: u32 = 3600;
/// What stands for a space where a person has none yet.
const EXAMPLE: &str = "my-space";

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    bar: Option<Bar>,
    keys: usize,
    command: String,
    config: String,
    fresh_config: String,
    jump_config: String,
    fingerprint: String,
    known_host: String,
    host: String,
    port: u16,
    /// The command for networks that let nothing but the pages through.
    other_command: Option<String>,
    /// Whether there is a space to connect to.
    has_space: bool,
    first: Option<First>,
    fresh_s: u32,
    live: String,
}

/// A connection that was made.
struct First {
    space: String,
    path: String,
    client: String,
    at: When,
}

/// The guide, as far as the person has come.
pub(in crate::web) async fn show(State(site): State<Arc<Site>>, person: Person) -> Result<Response, Problem> {
    let user = &person.who.user;
    let keys = site.identity.all_keys_of(user).await?;
    let spaces = site.gateway.spaces(user);
    let names: Vec<String> = spaces.iter().map(|space| shortest(space, &spaces)).collect();
    let example = names.first().map_or(EXAMPLE, String::as_str);
    let shown = if names.is_empty() { vec![EXAMPLE.to_owned()] } else { names.clone() };
    let wall = person.wall(site.clock.now());
    let newest = site.store.newest_session(user.id).await?;
    let first = newest.map(|session| First {
        path: format!("/spaces/{}/{}", session.domain, session.space),
        space: session.space,
        client: client::name(&session.client_version),
        at: When::at(session.started_at, &wall),
    });
    Ok(page_of(&ConnectPage {
        bar: Some(Bar::of(&person, "/connect")),
        keys: keys.added.len() + keys.listed.len(),
        command: site.address.ssh(example),
        config: shown.iter().map(|name| site.address.config_block(name)).collect::<Vec<_>>().join(""),
        fresh_config: site.address.command("config"),
        jump_config: site.address.command("config --jump"),
        fingerprint: site.host_key.fingerprint.clone(),
        known_host: site.host_key.known_host.clone(),
        host: site.address.host.clone(),
        port: site.address.port,
        other_command: site
            .shared_address
            .as_ref()
            .filter(|other| other.port != site.address.port)
            .map(|other| other.ssh(example)),
        has_space: !names.is_empty(),
        fresh_s: if first.is_some() { DONE } else { WAITING },
        live: String::new(),
        first,
    }))
}
