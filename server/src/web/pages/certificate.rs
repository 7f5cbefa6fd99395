//! An OpenSSH certificate for a key of the person's.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use russh::keys::Algorithm;
use serde::Deserialize;
use tracing::error;

use super::{Problem, keys};
use crate::identity::CertifyError;
use crate::web::site::Site;
use crate::web::visit::Person;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Wanted {
    key: String,
}

/// Certifies a key and sends the certificate as the file that `ssh` looks for beside the key.
pub(in crate::web) async fn issue(
    State(site): State<Arc<Site>>,
    person: Person,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, Problem> {
    if site.certificates.own_key().is_none() {
        return Err(Problem::NotFound);
    }
    let Form(wanted) = form.map_err(|_| Problem::Form)?;
    let issued =
        site.identity.certify(&site.certificates, &person.who.user, &wanted.key, &person.visitor).await;
    let certificate = match issued {
        Ok(certificate) => certificate,
        Err(CertifyError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let page = keys::page(&site, &person, Some(error.to_string()), String::new()).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let line = certificate.to_openssh().map_err(|error| {
        error!(%error, "a certificate could not be written out");
        Problem::Broken
    })?;
    let kind = match certificate.algorithm() {
        Algorithm::Rsa { .. } => "rsa",
        Algorithm::Ecdsa { .. } => "ecdsa",
        Algorithm::SkEd25519 => "ed25519_sk",
        Algorithm::SkEcdsaSha2NistP256 => "ecdsa_sk",
        _ => "ed25519",
    };
    let name = format!("attachment; filename=\"id_{kind}-cert.pub\"");
    let headers = AppendHeaders([
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ]);
    Ok((headers, format!("{line}\n")).into_response())
}
