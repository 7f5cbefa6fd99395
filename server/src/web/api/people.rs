//! People and grants, for admins.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admit::Caller;
use super::keys::{Key, Made};
use super::problem::{Kind, Problem};
use super::read::{Body, Page, Paging, Query, page};
use super::told::Json;
use crate::domain::grant::Reason;
use crate::domain::ids::{GrantId, KeyId, UserId};
use crate::domain::user::Standing;
use crate::domain::written::At;
use crate::identity::Entry;
use crate::identity::grants::{Asked, GrantError};
use crate::store::grants::RunningGrant;
use crate::web::pages::users::sentence;
use crate::web::site::Site;

/// Which people.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Wanted {
    /// Text in their name, provider or groups.
    q: Option<String>,
}

/// Somebody who is known.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Person {
    /// Their id.
    id: String,
    /// Their name.
    name: String,
    /// Who vouches for them; `local` is the configuration file.
    provider: String,
    /// Their groups, as `PROVIDER/GROUP`.
    groups: Vec<String>,
    /// Their SageMaker user profiles, as `DOMAIN/PROFILE`: the private spaces of these are theirs.
    profiles: Vec<String>,
    /// `user`, `auditor` or `admin`.
    role: String,
    /// `configured`, `signed-in`, `lapsed`, or `withdrawn` by their provider.
    standing: &'static str,
    /// Until when their sign-in counts or counted, or when it was withdrawn.
    standing_at: Option<At>,
    /// How many SSH keys they have.
    keys: usize,
    /// Whether an admin or the configuration file keeps them out.
    suspended: bool,
    /// Who keeps them out, if an admin does.
    suspension: Option<Suspension>,
}

/// How an admin keeps somebody out.
#[derive(Debug, Serialize, ToSchema)]
struct Suspension {
    /// Which admin.
    by: String,
    /// Since when.
    at: At,
    /// Why, for other admins.
    reason: String,
}

/// Why somebody is kept out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspending {
    /// Why, for other admins.
    #[schema(min_length = 1, max_length = 300)]
    reason: String,
}

/// Whether something changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// False if it was so already.
    changed: bool,
}

/// A grant of a space to a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Grant {
    /// Its id.
    id: String,
    /// Whom, as `PROVIDER/NAME`.
    person: String,
    /// What, as `SPACE.DOMAIN`.
    space: String,
    /// Until when.
    until: At,
    /// Why.
    reason: String,
    /// Who made it.
    by: String,
    /// When.
    made_at: At,
}

/// A grant to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// Whom: a name, `PROVIDER/NAME` or an id.
    user: String,
    /// What: `SPACE`, `SPACE.DOMAIN` or an ARN.
    space: String,
    /// How long, as a number and `m`, `h` or `d`.
    #[serde(rename = "for")]
    #[schema(example = "3d", pattern = "^[1-9][0-9]{0,4}[smhd]$")]
    lasts: String,
    /// Why.
    #[schema(min_length = 1, max_length = 300)]
    reason: String,
}

impl Person {
    pub(in crate::web) fn of(entry: &Entry, stands: bool) -> Self {
        let user = &entry.user;
        let (standing, at) = match user.standing {
            Standing::Configured => ("configured", None),
            Standing::Until(until) if stands || user.suspended => ("signed-in", Some(until)),
            Standing::Until(until) => ("lapsed", Some(until)),
            Standing::Withdrawn { at, .. } => ("withdrawn", Some(at)),
        };
        Self {
            id: user.id.to_string(),
            name: user.name.to_string(),
            provider: entry.provider.clone(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            profiles: user.profiles.iter().map(ToString::to_string).collect(),
            role: user.role.to_string(),
            standing,
            standing_at: at.map(At::from),
            keys: entry.added_keys + entry.listed_keys.len(),
            suspended: user.suspended,
            suspension: entry.suspension.as_ref().map(|kept| Suspension {
                by: kept.by.clone(),
                at: kept.at.into(),
                reason: kept.reason.clone(),
            }),
        }
    }
}

impl From<RunningGrant> for Grant {
    fn from(grant: RunningGrant) -> Self {
        Self {
            id: grant.id.to_string(),
            person: format!("{}/{}", grant.provider, grant.name),
            space: format!("{}.{}", grant.space, grant.domain),
            until: grant.until.into(),
            reason: grant.reason,
            by: grant.approved_by,
            made_at: grant.made_at.into(),
        }
    }
}

/// Everybody who is known, by name.
#[utoipa::path(
    get, path = "/users", operation_id = "listUsers", tag = "People", params(Wanted, Paging),
    responses((status = 200, body = Page<Person>)), security(("token" = ["people:read"]))
)]
pub(super) async fn users(
    State(site): State<Arc<Site>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Person>>, Problem> {
    let limit = paging.items()?;
    let behind = paging.after::<String, UserId>()?;
    let text = wanted.q.unwrap_or_default();
    let place = |entry: &&Entry| (entry.user.name.to_string(), entry.user.id);
    let directory = site.identity.directory();
    let mut entries: Vec<&Entry> = directory.like(&text).collect();
    entries.retain(|entry| behind.as_ref().is_none_or(|behind| place(entry) > *behind));
    entries.sort_by_cached_key(place);
    let Page { items, next } = page(entries, limit, place);
    let person = |entry: &Entry| Person::of(entry, site.identity.stands(&entry.user));
    Ok(Json(Page { items: items.into_iter().map(person).collect(), next }))
}

/// Somebody.
#[utoipa::path(
    get, path = "/users/{user}", operation_id = "getUser", tag = "People",
    params(("user" = String, Path, description = "Their id")),
    responses((status = 200, body = Person)), security(("token" = ["people:read"]))
)]
pub(super) async fn user(
    State(site): State<Arc<Site>>,
    Path(user): Path<String>,
) -> Result<Json<Person>, Problem> {
    let user = known(&site, &user)?;
    let directory = site.identity.directory();
    let entry = directory.entry(user).ok_or_else(Problem::not_found)?;
    Ok(Json(Person::of(entry, site.identity.stands(&entry.user))))
}

/// The keys that somebody added or approved, oldest first.
#[utoipa::path(
    get, path = "/users/{user}/keys", operation_id = "listKeysOfUser", tag = "People",
    params(("user" = String, Path, description = "Their id")),
    responses((status = 200, body = Page<Key>)), security(("token" = ["people:read"]))
)]
pub(super) async fn keys(
    State(site): State<Arc<Site>>,
    Path(user): Path<String>,
) -> Result<Json<Page<Key>>, Problem> {
    let user = known(&site, &user)?;
    let directory = site.identity.directory();
    let entry = directory.entry(user).ok_or_else(Problem::not_found)?;
    let keys = site.identity.keys_of(&entry.user).await?;
    Ok(Json(Page { items: keys.into_iter().map(Key::from).collect(), next: None }))
}

/// Takes a key away from its owner: it lets nobody in any more, and what it has open ends.
#[utoipa::path(
    delete, path = "/users/{user}/keys/{key}", operation_id = "removeKeyOfUser", tag = "People",
    params(("user" = String, Path, description = "Their id"), ("key" = String, Path, description = "Its id")),
    responses((status = 204)), security(("token" = ["people:write"]))
)]
pub(super) async fn remove_key(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path((user, key)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let user = known(&site, &user)?;
    let key: KeyId = key.parse().map_err(|_| Problem::not_found())?;
    let removed = site.identity.revoke_key(&caller.user, (user, key), &caller.visitor).await?;
    removed.map(|_| StatusCode::NO_CONTENT).ok_or_else(Problem::not_found)
}

/// Keeps somebody out: what they have open ends, and says why.
#[utoipa::path(
    post, path = "/users/{user}/suspend", operation_id = "suspendUser", tag = "People",
    params(("user" = String, Path, description = "Their id")), request_body = Suspending,
    responses((status = 200, body = Changed)), security(("token" = ["people:write"]))
)]
pub(super) async fn suspend(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(user): Path<String>,
    Body(wish): Body<Suspending>,
) -> Result<Json<Changed>, Problem> {
    let user = known(&site, &user)?;
    if user == caller.user.id {
        return Err(Problem::new(Kind::Conflict, "You cannot suspend yourself. Ask another admin."));
    }
    let reason: Reason = wish.reason.parse().map_err(|why| Problem::invalid(sentence(why)))?;
    let changed = site.identity.suspend(&caller.user, user, &reason, &caller.visitor).await?;
    Ok(Json(Changed { changed }))
}

/// Lets somebody in again.
#[utoipa::path(
    post, path = "/users/{user}/resume", operation_id = "resumeUser", tag = "People",
    params(("user" = String, Path, description = "Their id")),
    responses((status = 200, body = Changed)), security(("token" = ["people:write"]))
)]
pub(super) async fn resume(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let user = known(&site, &user)?;
    let changed = site.identity.resume(&caller.user, user, &caller.visitor).await?;
    Ok(Json(Changed { changed }))
}

/// The grants that run.
#[utoipa::path(
    get, path = "/grants", operation_id = "listGrants", tag = "People", params(Paging),
    responses((status = 200, body = Page<Grant>)), security(("token" = ["people:read"]))
)]
pub(super) async fn grants(
    State(site): State<Arc<Site>>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Grant>>, Problem> {
    let limit = paging.items()?;
    let behind = paging.after::<GrantId, GrantId>()?.map(|(id, _)| id);
    let mut grants = site.identity.running_grants().await?;
    grants.sort_by_key(|grant| grant.id);
    grants.retain(|grant| behind.is_none_or(|behind| grant.id > behind));
    let Page { items, next } = page(grants, limit, |grant| (grant.id, grant.id));
    Ok(Json(Page { items: items.into_iter().map(Grant::from).collect(), next }))
}

/// Grants a space to a person for a time.
#[utoipa::path(
    post, path = "/grants", operation_id = "makeGrant", tag = "People", request_body = NewGrant,
    responses((status = 201, body = Made)), security(("token" = ["people:write"]))
)]
pub(super) async fn grant(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Body(new): Body<NewGrant>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let asked = Asked { user: &new.user, space: &new.space, lasts: &new.lasts, reason: &new.reason };
    match site.identity.grant(&caller.user, &asked, &caller.visitor).await {
        Ok(granted) => Ok((StatusCode::CREATED, Json(Made { id: granted.id.to_string() }))),
        Err(GrantError::Store(error)) => Err(error.into()),
        Err(error) => Err(Problem::invalid(sentence(&error.to_string()))),
    }
}

/// Ends a grant. What is open by it ends within a minute.
#[utoipa::path(
    delete, path = "/grants/{grant}", operation_id = "endGrant", tag = "People",
    params(("grant" = String, Path, description = "Its id")),
    responses((status = 204)), security(("token" = ["people:write"]))
)]
pub(super) async fn end_grant(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(grant): Path<String>,
) -> Result<StatusCode, Problem> {
    let grant: GrantId = grant.parse().map_err(|_| Problem::not_found())?;
    let ended = site.identity.end_grant(&caller.user, grant, &caller.visitor).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

fn known(site: &Site, user: &str) -> Result<UserId, Problem> {
    let id = user.parse().map_err(|_| Problem::not_found())?;
    site.identity.directory().entry(id).map(|entry| entry.user.id).ok_or_else(Problem::not_found)
}
