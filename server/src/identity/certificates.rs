//! OpenSSH user certificates: the gateway's own authority, and what a certificate is worth.
//!
//! russh checks that the client holds the certified key and, by the system's clock, that the certificate has not
//! expired. Everything else is checked here. What is *not* here: whether the person may log in (`ssh`).

mod check;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, ssh_key};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub use self::check::{Accepted, Claim, Permits, Reason};
use crate::config;
use crate::config::people::strong_enough;
use crate::domain::ids::{UserId, UserName};
use crate::domain::user::User;

/// What the certificates that the gateway issues allow; X11 is not among it.
const EXTENSIONS: [&str; 3] = ["permit-agent-forwarding", "permit-port-forwarding", "permit-pty"];

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The configuration switches the gateway's own authority off.
    #[error("the gateway issues no certificates: ssh.certificates.own_ca is off")]
    Off,
    /// The key is of a kind or a size that is not taken.
    #[error("this key is not certified: {0}")]
    Key(String),
    /// The time is before 1970, or the key could not sign.
    #[error("the certificate could not be made")]
    Made(#[from] ssh_key::Error),
}

/// The authorities whose certificates are taken. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    own: Option<Arc<PrivateKey>>,
    settings: Arc<config::Certificates>,
}

impl Certificates {
    /// With the key of the gateway's own authority, if it is one.
    #[must_use]
    pub fn new(own: Option<PrivateKey>, settings: config::Certificates) -> Self {
        Self { own: own.map(Arc::new), settings: Arc::new(settings) }
    }

    /// Whether any certificate is taken.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.own.is_some() || !self.settings.trusted.is_empty()
    }

    /// The public key of the gateway's own authority.
    #[must_use]
    pub fn own_key(&self) -> Option<&PublicKey> {
        self.own.as_deref().map(PrivateKey::public_key)
    }

    /// How long a certificate lasts that the gateway issues.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.settings.lifetime
    }

    /// Whose certificate this is and what it allows. `find` says who a claim is about.
    ///
    /// # Errors
    /// With the one reason for which it is not taken.
    pub fn check(
        &self,
        certificate: &Certificate,
        now: OffsetDateTime,
        address: IpAddr,
        find: impl Fn(&Claim) -> Option<Arc<User>>,
    ) -> Result<Accepted, Reason> {
        check::check(self.own_key(), &self.settings, certificate, now, address, find)
    }

    /// Certifies a person's key with the gateway's own authority.
    ///
    /// # Errors
    /// When there is no such authority, or the key is none that is taken.
    pub fn issue(
        &self,
        key: &PublicKey,
        user: (UserId, &UserName),
        now: OffsetDateTime,
    ) -> Result<Certificate, IssueError> {
        let authority = self.own.as_deref().ok_or(IssueError::Off)?;
        strong_enough(key.key_data()).map_err(IssueError::Key)?;
        let from = seconds(now - self.settings.clock_skew)?;
        let until = seconds(now + self.settings.lifetime)?;
        let nonce: [u8; 32] = rand::random();
        let mut builder = Builder::new(nonce, key.key_data().clone(), from, until)?;
        builder
            .serial(rand::random::<u64>() >> 1)?
            .cert_type(CertType::User)?
            .key_id(user.1.as_str())?
            .valid_principal(user.0.to_string())?
            .comment(key.comment().as_str_lossy())?;
        for extension in EXTENSIONS {
            builder.extension(extension, "")?;
        }
        Ok(builder.sign(authority)?)
    }
}

/// What an audit row says of a certificate that was issued.
#[must_use]
pub fn facts(certificate: &Certificate, address: Option<IpAddr>) -> Value {
    json!({
        "serial": certificate.serial().to_string(),
        "key": certificate.public_key().fingerprint(HashAlg::Sha256).to_string(),
        "valid_before": certificate.valid_before(),
        "address": address,
    })
}

fn seconds(at: OffsetDateTime) -> Result<u64, ssh_key::Error> {
    u64::try_from(at.unix_timestamp()).map_err(|_| ssh_key::Error::Time)
}
