//! One person: who vouches for them, what they may open, and the keys that let them in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Kept, Row, known, row};
use crate::domain::ids::KeyId;
use crate::identity::{Entry, MyKeys};
use crate::web::pages::keys::counts;
use crate::web::pages::{Bar, Problem, page_of};
use crate::web::query::address;
use crate::web::show::minute;
use crate::web::site::Site;
use crate::web::visit::{Admin, Person};

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Done {
    /// The fingerprint of a key that was removed.
    removed: Option<String>,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    bar: Option<Bar>,
    done: Option<String>,
    problem: Option<String>,
    person: Row,
    /// User profiles whose spaces are theirs, as `DOMAIN/PROFILE`.
    profiles: Vec<String>,
    keys: Vec<KeyRow>,
    grants: Vec<GrantRow>,
    sessions: String,
    acts: String,
}

struct KeyRow {
    /// Nothing for a key of the configuration file.
    id: Option<KeyId>,
    name: String,
    fingerprint: String,
    counts: String,
}

struct GrantRow {
    space: String,
    until: String,
    reason: String,
    by: String,
}

/// The page.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    Admin(admin): Admin,
    Path(user): Path<String>,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let id = known(&site, &user)?;
    let directory = site.identity.directory();
    let entry = directory.entry(id).ok_or(Problem::NotFound)?;
    let keys = site.identity.all_keys_of(&entry.user).await?;
    let mut grants = site.identity.running_grants().await?;
    grants.retain(|grant| grant.user == id);
    let name = entry.user.name.as_str();
    Ok(page_of(&UserPage {
        bar: Some(Bar::of(&admin, "/users")),
        done: done
            .removed
            .map(|fingerprint| format!("The key {fingerprint} is removed. What it has open ends now.")),
        problem: None,
        person: row(entry, site.identity.stands(&entry.user), &admin),
        profiles: entry.user.profiles.iter().map(ToString::to_string).collect(),
        keys: key_rows(keys, entry, &admin),
        grants: grants
            .into_iter()
            .map(|grant| GrantRow {
                space: format!("{}.{}", grant.space, grant.domain),
                until: minute(grant.until, &admin.zone),
                reason: grant.reason,
                by: grant.approved_by,
            })
            .collect(),
        sessions: address("/sessions/history", &[("q", name)]),
        acts: address("/audit", &[("who", name)]),
    }))
}

/// Takes a key away from its owner.
pub(in crate::web) async fn remove_key(
    State(site): State<Arc<Site>>,
    Admin(admin): Admin,
    Path((user, key)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let user = known(&site, &user)?;
    let key: KeyId = key.parse().map_err(|_| Problem::NotFound)?;
    let removed = site.identity.revoke_key(&admin.who.user, (user, key), &admin.visitor).await?;
    let fingerprint = removed.ok_or(Problem::NotFound)?;
    Ok(Redirect::to(&address(&format!("/users/{user}"), &[("removed", &fingerprint)])).into_response())
}

/// Their keys, those of the file first, which only the file takes away.
fn key_rows(keys: MyKeys, entry: &Entry, reader: &Person) -> Vec<KeyRow> {
    let listed = keys.listed.into_iter().map(|listed| KeyRow {
        id: None,
        name: Some(listed.key.comment().to_string())
            .filter(|name| !name.is_empty())
            .unwrap_or("key".to_owned()),
        fingerprint: listed.fingerprint,
        counts: "as long as the configuration file lists it".to_owned(),
    });
    let added = keys.added.into_iter().filter(|key| key.user == entry.user.id).map(|key| KeyRow {
        id: Some(key.id),
        name: key.name,
        fingerprint: key.fingerprint,
        counts: counts((key.added_at, &key.added_from), key.expires_at, &reader.zone),
    });
    listed.chain(added).collect()
}
