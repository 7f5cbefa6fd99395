//! What a certificate is worth at a time, from an address. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use time::OffsetDateTime;

use crate::config::people::strong_enough;
use crate::config::{self, Principals};
use crate::domain::ids::{UserId, UserName};
use crate::domain::network::Network;
use crate::domain::user::User;

/// What logs call the gateway's own authority.
const OWN: &str = "spaceport";
/// The critical option that lists the networks from which a certificate is valid.
const SOURCE_ADDRESS: &str = "source-address";
/// The critical option that names the one command that may run.
const FORCE_COMMAND: &str = "force-command";

/// Why a certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub enum Reason {
    /// It is signed by nobody who is trusted.
    UnknownAuthority,
    /// It certifies a host.
    HostCertificate,
    /// It is signed in a way that proves too little, such as with SHA-1.
    SignatureAlgorithm,
    /// The authority did not sign this.
    Signature,
    /// The certified key is of a kind or a size that is not taken.
    WeakKey,
    /// Its serial, or the certified key, is on the list of those revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It restricts the person to one command, which a gateway cannot see to.
    ForceCommand,
    /// It has a critical option that is not known here.
    CriticalOption,
    /// It is not valid from this address.
    SourceAddress,
    /// It names nobody, which would make it good for everybody.
    NoPrincipals,
    /// None of its principals is a person known here.
    WrongPrincipal,
    /// Its principals are several persons.
    SeveralPersons,
}

impl Reason {
    /// The words for logs and audit rows.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "certificate of an unknown authority",
            Self::HostCertificate => "host certificate",
            Self::SignatureAlgorithm => "certificate signed with an unsupported algorithm",
            Self::Signature => "certificate with a wrong signature",
            Self::WeakKey => "certificate for a key that is not accepted",
            Self::Revoked => "certificate revoked",
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::ForceCommand => "certificate with force-command",
            Self::CriticalOption => "certificate with an unknown critical option",
            Self::SourceAddress => "certificate not valid from this address",
            Self::NoPrincipals => "certificate without principals",
            Self::WrongPrincipal => "certificate for no known person",
            Self::SeveralPersons => "certificate for several persons",
        }
    }
}

/// Whom a principal claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The user with this row: only the gateway's own authority says so.
    Id(UserId),
    /// The user with this name.
    Name(UserName),
    /// The user with this e-mail address, in any case of letters.
    Email(UserName),
}

/// What the holder of a certificate may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permits {
    /// A terminal.
    pub pty: bool,
    /// Forwards, and with them jumps.
    pub forwarding: bool,
    /// The use of the person's agent.
    pub agent: bool,
}

impl Permits {
    /// What a key without a certificate may ask for.
    pub const ALL: Self = Self { pty: true, forwarding: true, agent: true };
}

/// A certificate that is taken.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Whose it is.
    pub user: Arc<User>,
    /// Who signed it, as logs say it.
    pub authority: String,
    /// What it allows.
    pub permits: Permits,
}

/// An authority in force.
struct Authority<'a> {
    name: &'a str,
    /// Nothing for the gateway's own, whose principals are rows.
    principals: Option<&'a Principals>,
    revoked: &'a BTreeSet<u64>,
}

/// See [`Certificates::check`](super::Certificates::check).
pub(super) fn check(
    own: Option<&PublicKey>,
    settings: &config::Certificates,
    certificate: &Certificate,
    now: OffsetDateTime,
    address: IpAddr,
    find: impl Fn(&Claim) -> Option<Arc<User>>,
) -> Result<Accepted, Reason> {
    if !certificate.cert_type().is_user() {
        return Err(Reason::HostCertificate);
    }
    let authority = authority(own, settings, certificate.signature_key()).ok_or(Reason::UnknownAuthority)?;
    signed(certificate)?;
    let fingerprint = certificate.public_key().fingerprint(HashAlg::Sha256).to_string();
    if authority.revoked.contains(&certificate.serial()) || settings.revoked_keys.contains(&fingerprint) {
        return Err(Reason::Revoked);
    }
    if strong_enough(certificate.public_key()).is_err() {
        return Err(Reason::WeakKey);
    }
    within_its_time(certificate, now)?;
    options(certificate, address)?;
    let user = person(certificate, &authority, find)?;
    let may = |extension: &str| certificate.extensions().contains_key(extension);
    let permits = Permits {
        pty: may("permit-pty"),
        forwarding: may("permit-port-forwarding"),
        agent: may("permit-agent-forwarding"),
    };
    Ok(Accepted { user, authority: authority.name.to_owned(), permits })
}

fn authority<'a>(
    own: Option<&PublicKey>,
    settings: &'a config::Certificates,
    key: &KeyData,
) -> Option<Authority<'a>> {
    if own.is_some_and(|own| own.key_data() == key) {
        return Some(Authority { name: OWN, principals: None, revoked: &settings.revoked_serials });
    }
    let trusted = settings.trusted.iter().find(|ca| ca.key.key.key_data() == key)?;
    Some(Authority {
        name: &trusted.name,
        principals: Some(&trusted.principals),
        revoked: &trusted.revoked_serials,
    })
}

fn signed(certificate: &Certificate) -> Result<(), Reason> {
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(Reason::SignatureAlgorithm);
    }
    // The library checks a signature only together with a time; one at which the certificate is valid serves.
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(certificate.valid_after(), [&authority]).map_err(|_| {
        // Nothing is ever valid between two times of which the second is not later.
        if certificate.valid_after() < certificate.valid_before() {
            Reason::Signature
        } else {
            Reason::Expired
        }
    })
}

fn within_its_time(certificate: &Certificate, now: OffsetDateTime) -> Result<(), Reason> {
    let now = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    if now < certificate.valid_after() {
        return Err(Reason::NotYetValid);
    }
    if now >= certificate.valid_before() { Err(Reason::Expired) } else { Ok(()) }
}

fn options(certificate: &Certificate, address: IpAddr) -> Result<(), Reason> {
    let options = certificate.critical_options();
    if options.contains_key(FORCE_COMMAND) {
        return Err(Reason::ForceCommand);
    }
    if options.keys().any(|option| option != SOURCE_ADDRESS) {
        return Err(Reason::CriticalOption);
    }
    let Some(networks) = options.get(SOURCE_ADDRESS) else { return Ok(()) };
    // A list with something in it that is no network is not understood, and so not obeyed in part.
    let networks: Result<Vec<Network>, _> = networks.split(',').map(str::parse).collect();
    let within = networks.is_ok_and(|networks| networks.iter().any(|network| network.contains(address)));
    if within { Ok(()) } else { Err(Reason::SourceAddress) }
}

fn person(
    certificate: &Certificate,
    authority: &Authority<'_>,
    find: impl Fn(&Claim) -> Option<Arc<User>>,
) -> Result<Arc<User>, Reason> {
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(Reason::NoPrincipals);
    }
    let claims = principals.iter().filter_map(|principal| claim(principal, authority.principals));
    let mut users = claims.filter_map(|claim| find(&claim));
    let user = users.next().ok_or(Reason::WrongPrincipal)?;
    if users.any(|other| other.id != user.id) { Err(Reason::SeveralPersons) } else { Ok(user) }
}

/// Whom a principal claims to be, by the authority's rule; nothing if the rule makes nothing of it.
fn claim(principal: &str, rule: Option<&Principals>) -> Option<Claim> {
    let Some(rule) = rule else { return principal.parse().ok().map(Claim::Id) };
    match rule {
        Principals::Name => principal.parse().ok().map(Claim::Name),
        Principals::Email => principal.parse().ok().filter(|_| principal.contains('@')).map(Claim::Email),
        Principals::Template(before, after) => {
            let name = principal.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
            name.parse().ok().map(Claim::Name)
        }
        Principals::Table(users) => users.get(principal).cloned().map(Claim::Name),
    }
}
