//! The SSH keys of the token's person.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admit::Caller;
use super::problem::{Kind, Problem};
use super::read::{Body, Page};
use super::told::Json;
use crate::domain::written::At;
use crate::identity::{AddKeyError, CertifyError, MyKey};
use crate::web::site::Site;

/// A key that lets the person in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Key {
    /// Its id.
    id: String,
    /// What its person calls it.
    name: String,
    /// `SHA256:…`.
    fingerprint: String,
    /// Since when it counts.
    added_at: At,
    /// From where it was added.
    added_from: String,
    /// Until when it counts; none for one that counts until it is removed.
    expires_at: Option<At>,
}

/// A key to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// The public key as OpenSSH writes it: the line of a file that ends in `.pub`.
    #[schema(example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGm… alice@laptop")]
    key: String,
    /// What to call it; its comment, if nothing is said.
    #[serde(default)]
    #[schema(max_length = 60)]
    name: String,
}

/// The id of something that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Made {
    /// The id.
    pub(super) id: String,
}

/// A key to certify.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certifying {
    /// The public key as OpenSSH writes it.
    key: String,
}

/// A certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Certificate {
    /// The line of the file that ends in `-cert.pub`.
    certificate: String,
    /// Until when it counts.
    expires_at: At,
}

impl From<MyKey> for Key {
    fn from(key: MyKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            fingerprint: key.fingerprint,
            added_at: key.added_at.into(),
            added_from: key.added_from,
            expires_at: key.expires_at.map(At::from),
        }
    }
}

/// The keys that the person added or approved, oldest first.
#[utoipa::path(
    get, path = "/keys", operation_id = "listKeys", tag = "Keys",
    responses((status = 200, body = Page<Key>)), security(("token" = ["keys:read"]))
)]
pub(super) async fn list(State(site): State<Arc<Site>>, caller: Caller) -> Result<Json<Page<Key>>, Problem> {
    let keys = site.identity.keys_of(&caller.user).await?;
    Ok(Json(Page { items: keys.into_iter().map(Key::from).collect(), next: None }))
}

/// Adds a key: whoever holds it gets in as the person.
#[utoipa::path(
    post, path = "/keys", operation_id = "addKey", tag = "Keys", request_body = NewKey,
    responses((status = 201, body = Made)), security(("token" = ["keys:write"]))
)]
pub(super) async fn add(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    match site.identity.add_key(&caller.user, &new.key, &new.name, &caller.visitor).await {
        Ok(id) => Ok((StatusCode::CREATED, Json(Made { id: id.to_string() }))),
        Err(AddKeyError::Store(error)) => Err(error.into()),
        Err(error @ (AddKeyError::AlreadyYours | AddKeyError::SomebodyElses | AddKeyError::TooMany)) => {
            Err(Problem::new(Kind::Conflict, error.to_string()))
        }
        Err(error @ AddKeyError::Pasted(_)) => Err(Problem::invalid(error.to_string())),
    }
}

/// Removes a key. Connections that it let in end.
#[utoipa::path(
    delete, path = "/keys/{key}", operation_id = "removeKey", tag = "Keys",
    params(("key" = String, Path, description = "Its id")),
    responses((status = 204)), security(("token" = ["keys:write"]))
)]
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    let key = key.parse().map_err(|_| Problem::not_found())?;
    let removed = site.identity.remove_key(&caller.user, key, &caller.visitor).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

/// Certifies a key with the gateway's own authority, which lets it in for a while without being added.
#[utoipa::path(
    post, path = "/certificates", operation_id = "issueCertificate", tag = "Keys", request_body = Certifying,
    responses((status = 201, body = Certificate)), security(("token" = ["keys:write"]))
)]
pub(super) async fn certify(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Body(wanted): Body<Certifying>,
) -> Result<(StatusCode, Json<Certificate>), Problem> {
    if site.certificates.own_key().is_none() {
        return Err(Problem::new(Kind::NotFound, "This gateway issues no certificates."));
    }
    let issued = site.identity.certify(&site.certificates, &caller.user, &wanted.key, &caller.visitor).await;
    let certificate = match issued {
        Ok(certificate) => certificate,
        Err(CertifyError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(Problem::invalid(error.to_string())),
    };
    let line = certificate.to_openssh().map_err(|_| Problem::broken())?;
    let until = i64::try_from(certificate.valid_before()).ok();
    let until = until.and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    let expires_at = until.ok_or_else(Problem::broken)?.into();
    Ok((StatusCode::CREATED, Json(Certificate { certificate: line, expires_at })))
}
