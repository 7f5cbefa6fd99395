//! Whose certificates are taken from users, and how long those last that the gateway issues.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use toml::Value;

use super::people::UserKey;
use super::reader::Section;
use crate::domain::ids::UserName;

/// `[ssh.certificates]`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// Whether the gateway is a certificate authority itself.
    pub own_ca: bool,
    /// How long a certificate that the gateway issues is valid.
    pub lifetime: Duration,
    /// How far the clocks of replicas may differ: a certificate is valid from that long before it was issued.
    pub clock_skew: Duration,
    /// Serials of the own authority that are no longer taken.
    pub revoked_serials: BTreeSet<u64>,
    /// Fingerprints of keys that no certificate, of whatever authority, makes good.
    pub revoked_keys: BTreeSet<String>,
    /// Outside authorities.
    pub trusted: Vec<TrustedCa>,
}

/// `[[ssh.certificates.trusted]]`: an authority that is not the gateway's.
#[derive(Debug, Clone)]
pub struct TrustedCa {
    /// What logs call it.
    pub name: String,
    /// Its public key.
    pub key: UserKey,
    /// Who a principal is.
    pub principals: Principals,
    /// Serials that are no longer taken.
    pub revoked_serials: BTreeSet<u64>,
}

/// How a principal of an outside authority names a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// It is the user's name.
    Name,
    /// It is the e-mail address by which the user is called, in any case of letters.
    Email,
    /// It is the user's name between these two texts.
    Template(String, String),
    /// A list says it.
    Table(BTreeMap<String, UserName>),
}

/// What a template has where the user's name goes.
const PLACE: &str = "{user}";

impl FromStr for Principals {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "name" => Ok(Self::Name),
            "email" => Ok(Self::Email),
            _ => match text.split_once(PLACE) {
                Some((before, after)) if !after.contains(PLACE) => {
                    Ok(Self::Template(before.to_owned(), after.to_owned()))
                }
                Some(_) | None => Err("it does not say who a principal is"),
            },
        }
    }
}

/// `SHA256:…`.
struct Fingerprint(String);

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match russh::keys::ssh_key::Fingerprint::from_str(text) {
            Ok(fingerprint) if fingerprint.is_sha256() => Ok(Self(fingerprint.to_string())),
            Ok(_) | Err(_) => Err("it is not the fingerprint of a key"),
        }
    }
}

impl Certificates {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let trusted = section.sections("trusted").into_iter().filter_map(read_trusted).collect();
        let settings = Self {
            own_ca: section.flag("own_ca", true),
            lifetime: section.seconds("lifetime_s", 60..=2_592_000, 43_200),
            clock_skew: section.seconds("clock_skew_s", 0..=3_600, 60),
            revoked_serials: serials(&mut section),
            revoked_keys: section
                .list::<Fingerprint>("revoked_keys", "write SHA256:…, as ssh-keygen -l prints it")
                .into_iter()
                .map(|fingerprint| fingerprint.0)
                .collect(),
            trusted,
        };
        for (at, ca) in settings.trusted.iter().enumerate() {
            let others = settings.trusted.iter().take(at);
            if others.into_iter().any(|other| other.key == ca.key || other.name == ca.name) {
                let reason = "another authority has the same name or key";
                section.fault("trusted", Some(&ca.name), reason, "list each authority once");
            }
        }
        section.finish();
        settings
    }
}

fn read_trusted(mut section: Section<'_>) -> Option<TrustedCa> {
    let name = section.required::<String>("name", "write what logs are to call this authority");
    let key = section.required("key", "write the authority's public key, \"ssh-ed25519 AAAA…\"");
    let principals = read_principals(&mut section);
    let revoked_serials = serials(&mut section);
    section.finish();
    Some(TrustedCa { name: name?, key: key?, principals: principals?, revoked_serials })
}

fn read_principals(section: &mut Section<'_>) -> Option<Principals> {
    let instead = "write \"name\", \"email\", a text with {user} in it, or a table { principal = \"user\" }";
    if !section.has("principals") {
        return section.required("principals", instead);
    }
    let value = section.value("principals")?;
    match &value {
        Value::String(text) => match text.parse() {
            Ok(principals) => return Some(principals),
            Err(reason) => section.fault_value("principals", &value, reason, instead),
        },
        Value::Table(table) => {
            let users: Option<BTreeMap<String, UserName>> = table
                .iter()
                .map(|(principal, user)| Some((principal.clone(), user.as_str()?.parse().ok()?)))
                .collect();
            if let Some(users) = users {
                return Some(Principals::Table(users));
            }
            section.fault_value("principals", &value, "a principal leads to no user's name", instead);
        }
        _ => section.fault_value("principals", &value, "it is neither a text nor a table", instead),
    }
    None
}

fn serials(section: &mut Section<'_>) -> BTreeSet<u64> {
    let instead = "write the serial as a text, such as \"4711\": TOML's numbers are too short for some";
    section.list("revoked_serials", instead).into_iter().collect()
}
