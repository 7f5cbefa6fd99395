//! Certificates of the gateway's own authority for people who ask on the page.

use russh::keys::Certificate;
use tracing::info;

use super::certificates::{Certificates, IssueError};
use super::keys::{PastedKeyError, pasted};
use super::{Identity, Visitor};
use crate::domain::user::User;
use crate::store::StoreError;

/// Why a key was not certified. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// It cannot be.
    #[error(transparent)]
    Pasted(#[from] PastedKeyError),
    /// The authority does not certify it.
    #[error("That key was not certified: {0}.")]
    Refused(#[from] IssueError),
    /// Postgres is away.
    #[error("The certificate could not be written down. Try again in a minute.")]
    Store(#[from] StoreError),
}

impl Identity {
    /// Certifies a public key of a person's. The key need not be known here: whoever holds it works as the person.
    ///
    /// # Errors
    /// Why not.
    pub async fn certify(
        &self,
        authorities: &Certificates,
        who: &User,
        text: &str,
        visitor: &Visitor,
    ) -> Result<Certificate, CertifyError> {
        let key = pasted(text)?;
        let change = self.change_by(who, visitor);
        let certificate = authorities.issue(&key.key, (who.id, &who.name), change.at)?;
        let detail = super::certificates::facts(&certificate, Some(visitor.address));
        // The row comes first: a certificate that is not in the record is not handed out.
        self.inner.store.note(&change, "certificate.issued", Some(true), detail).await?;
        info!(
            user.name = %who.name,
            certificate.serial = certificate.serial(),
            key.fingerprint = key.fingerprint,
            "certificate issued"
        );
        Ok(certificate)
    }
}
