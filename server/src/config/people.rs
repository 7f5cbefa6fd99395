//! People and what they may reach, as far as the file says it. Both are read again on demand.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use russh::keys::HashAlg;
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::domains::Domain;
use super::fault::Faults;
use super::reader::Section;
use crate::domain::access::{AccessPolicy, Denial, Membership};
use crate::domain::grant::{Grant, ListedGrant};
use crate::domain::ids::{
    DomainAlias, GroupName, MalformedName, ProviderAlias, UserId, UserName, UserProfileName,
};
use crate::domain::ownership::{Claims, NoProfile, Person, SsoUsers, assign};
use crate::domain::user::{Profile, Role, Roles, Standing, User};

/// RSA keys below this many bits are refused.
const RSA_BITS: u32 = 3072;

/// The longest bound of a grant's time that may be configured.
const SECONDS_OF_A_YEAR: u64 = 366 * 86_400;

/// What the people of the file have as their provider.
pub(crate) const LOCAL: &str = "local";

/// A person whom the file names. The store gives them their row.
#[derive(Debug, Clone)]
pub struct ConfiguredUser {
    /// What logs and terminals call them.
    pub name: UserName,
    /// What the row is found by: stays when the name changes.
    pub subject: String,
    /// The keys that prove who they are.
    pub keys: Vec<UserKey>,
    /// Their groups.
    pub groups: BTreeSet<GroupName>,
    /// The SageMaker user profiles that are theirs.
    pub profiles: BTreeSet<Profile>,
    /// What else they may do.
    pub role: Role,
    /// Whether they are suspended.
    pub suspended: bool,
}

impl ConfiguredUser {
    /// The user, once their row is known.
    #[must_use]
    pub fn with_id(&self, id: UserId) -> User {
        User {
            id,
            name: self.name.clone(),
            subject: self.subject.clone(),
            groups: self.groups.clone(),
            profiles: self.profiles.clone(),
            grants: Vec::new(),
            role: self.role,
            suspended: self.suspended,
            standing: Standing::Configured,
        }
    }
}

/// An OpenSSH public key of a person.
#[derive(Clone, PartialEq, Eq)]
pub struct UserKey {
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`, as OpenSSH prints it.
    pub fingerprint: String,
}

impl FromStr for UserKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = PublicKey::from_openssh(text.trim())
            .map_err(|error| format!("it is not a public key: {error}"))?;
        strong_enough(key.key_data())?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        Ok(Self { key, fingerprint })
    }
}

/// Whether a key is of a kind and a size that is taken from people and authorities, and if not, why.
///
/// # Errors
/// With the reason, for whoever wrote the key down.
pub fn strong_enough(key: &KeyData) -> Result<(), String> {
    match key {
        KeyData::Rsa(rsa) if rsa.key_size() < RSA_BITS => {
            Err(format!("this RSA key has {} bits, and {RSA_BITS} are the least", rsa.key_size()))
        }
        KeyData::Rsa(_)
        | KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        other => Err(format!("{} keys are not accepted", other.algorithm())),
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint)
    }
}

/// Reads `[[users]]`: those that are whole.
pub(super) fn read_users(root: &mut Section<'_>, domains: &[Domain], faults: &Faults) -> Vec<ConfiguredUser> {
    let mut names = HashSet::new();
    let mut subjects = HashSet::new();
    let mut keys: HashMap<String, UserName> = HashMap::new();
    let mut users = Vec::new();
    for section in root.sections("users") {
        let (name_at, subject_at, keys_at) =
            (section.place("name"), section.place("subject"), section.place("keys"));
        let Some(user) = read_user(section, domains) else { continue };
        let name = user.name.as_str();
        if !names.insert(user.name.clone()) {
            faults.add(&name_at, Some(name), "another user has this name", "give each their own");
        }
        if !subjects.insert(user.subject.clone()) {
            let instead = "give each their own";
            faults.add(&subject_at, Some(&user.subject), "another user has this subject", instead);
        }
        for key in &user.keys {
            if let Some(owner) = keys.insert(key.fingerprint.clone(), user.name.clone()) {
                let reason = format!("{owner} has the same key");
                faults.add(&keys_at, Some(&key.fingerprint), reason, "list each key once, with its owner");
            }
        }
        users.push(user);
    }
    users
}

fn read_user(mut section: Section<'_>, domains: &[Domain]) -> Option<ConfiguredUser> {
    let name: Option<UserName> = section.required("name", "write a short name or an e-mail address");
    let subject = section.text("subject", "write the person's identifier");
    let keys = section.list("keys", "write a line such as \"ssh-ed25519 AAAA… anna@laptop\"");
    let groups = section.list("groups", "write PROVIDER/GROUP, such as \"local/research\"");
    let profiles = read_profiles(&mut section, domains);
    let roles = [("user", Role::User), ("auditor", Role::Auditor), ("admin", Role::Admin)];
    let role = section.word("role", &roles, Role::User);
    let suspended = section.flag("suspended", false);
    section.finish();
    let name = name?;
    let subject = subject.unwrap_or_else(|| name.to_string());
    Some(ConfiguredUser {
        name,
        subject,
        keys,
        groups: groups.into_iter().collect(),
        profiles,
        role,
        suspended,
    })
}

/// A profile as the file writes it: `DOMAIN/PROFILE`, or the name alone.
struct WrittenProfile {
    domain: Option<DomainAlias>,
    name: UserProfileName,
}

impl FromStr for WrittenProfile {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        Ok(match text.split_once('/') {
            Some((domain, name)) => Self { domain: Some(domain.parse()?), name: name.parse()? },
            None => Self { domain: None, name: text.parse()? },
        })
    }
}

/// The profiles of a person. A name alone is enough where there is one domain only: in another domain the same name
/// may be another person's.
fn read_profiles(section: &mut Section<'_>, domains: &[Domain]) -> BTreeSet<Profile> {
    let key = "profiles";
    let instead = "write DOMAIN/PROFILE, such as \"research/anna\"";
    let written: Vec<WrittenProfile> = section.list(key, instead);
    let mut profiles = BTreeSet::new();
    for WrittenProfile { domain, name } in written {
        match (domain, domains) {
            (Some(domain), domains) if domains.iter().any(|known| known.alias == domain) => {
                profiles.insert(Profile { domain, name });
            }
            (Some(domain), _) => {
                let value = Profile { domain, name }.to_string();
                let instead = "write the alias of one of [[domains]] before the /";
                section.fault(key, Some(&value), "there is no such domain", instead);
            }
            (None, [only]) => {
                profiles.insert(Profile { domain: only.alias.clone(), name });
            }
            (None, domains) => {
                let choices: Vec<String> =
                    domains.iter().map(|domain| format!("\"{}/{name}\"", domain.alias)).collect();
                let instead = format!("write the profile with its domain: {}", choices.join(" or "));
                section.fault(key, Some(name.as_str()), "it may be another person in each domain", instead);
            }
        }
    }
    profiles
}

/// Gives the people of the file the profiles that the domains' rules find for them.
pub(super) fn give_profiles(users: &mut [ConfiguredUser], domains: &[Domain], faults: &Faults) {
    let Ok(provider) = LOCAL.parse() else { return };
    let claims = |user: &ConfiguredUser| Claims {
        provider: ProviderAlias::clone(&provider),
        subject: user.subject.clone(),
        name: user.name.to_string(),
        email: None,
    };
    let claims: Vec<Claims> = users.iter().map(claims).collect();
    let mut found = Vec::new();
    for domain in domains {
        let Some(rule) = &domain.ownership else { continue };
        let people: Vec<Person<'_>> = users
            .iter()
            .zip(&claims)
            .map(|(user, claims)| Person { claims, written: &user.profiles })
            .collect();
        found.push((domain, assign(rule, &domain.alias, &SsoUsers::new(), &people)));
    }
    for (domain, given) in found {
        for (user, given) in users.iter_mut().zip(given) {
            match given {
                Ok(profile) => {
                    user.profiles.insert(profile);
                }
                Err(NoProfile::OtherProvider | NoProfile::Written) => {}
                Err(error) => {
                    let reason = format!("the rule of {} finds no profile: {error}", domain.alias);
                    let instead = format!("write profiles = [\"{}/PROFILE\"] for this user", domain.alias);
                    faults.add("users", Some(user.name.as_str()), reason, instead);
                }
            }
        }
    }
}

/// Reads `[access]`, against the users and domains that there are: the policy, and how long a grant that admins make
/// may run.
pub(super) fn read_access(
    mut section: Section<'_>,
    users: &[ConfiguredUser],
    domains: &[Domain],
) -> (AccessPolicy, Duration) {
    let policy = AccessPolicy {
        members: section.sections("members").into_iter().filter_map(|s| read_member(s, domains)).collect(),
        grants: section
            .sections("grants")
            .into_iter()
            .filter_map(|s| read_grant(s, users, domains))
            .collect(),
        denials: section
            .sections("denials")
            .into_iter()
            .filter_map(|s| read_denial(s, users, domains))
            .collect(),
        no_jump: section
            .list("no_jump", "write PROVIDER/GROUP, such as \"local/research\"")
            .into_iter()
            .collect(),
        agent_into_shared: section.flag("agent_into_shared", false),
    };
    let longest_grant = section.seconds("longest_grant_s", 60..=SECONDS_OF_A_YEAR, 7 * 86_400);
    section.finish();
    (policy, longest_grant)
}

/// Reads `[roles]`.
pub(super) fn read_roles(mut section: Section<'_>) -> Roles {
    let instead = "write PROVIDER/GROUP, such as \"okta/platform\"";
    let admin = section.list("admin", instead).into_iter().collect();
    let auditor = section.list("auditor", instead).into_iter().collect();
    section.finish();
    Roles { admin, auditor }
}

fn read_member(mut section: Section<'_>, domains: &[Domain]) -> Option<Membership> {
    let domain = known_domain(&mut section, domains);
    let group = section.required("group", "write PROVIDER/GROUP, such as \"local/research\"");
    section.finish();
    Some(Membership { domain: domain?, group: group? })
}

fn read_grant(mut section: Section<'_>, users: &[ConfiguredUser], domains: &[Domain]) -> Option<ListedGrant> {
    let user = known_user(&mut section, users);
    let domain = known_domain(&mut section, domains);
    let space = section.required("space", "write the name of a space");
    let until = section.required::<Moment>("until", "write a time such as 2027-01-31T18:00:00Z");
    let reason = section.required("reason", "write why, for whoever reads the audit log");
    section.finish();
    let grant = Grant { domain: domain?, space: space?, until: until?.0, reason: reason? };
    Some(ListedGrant { user: user?, grant })
}

fn read_denial(mut section: Section<'_>, users: &[ConfiguredUser], domains: &[Domain]) -> Option<Denial> {
    let user = known_user(&mut section, users);
    let had_domain = section.has("domain");
    let domain = if had_domain { known_domain(&mut section, domains) } else { None };
    let key = "space";
    let instead = "write the name of a space, or leave the key out to deny them all";
    let had_space = section.has(key);
    let space = section.parsed(key, instead);
    let reason = section.required("reason", "write why: the person will read it");
    section.finish();
    // What is malformed must not widen the denial to everything; the fault stops the start anyway.
    if had_space && space.is_none() || had_domain && domain.is_none() {
        return None;
    }
    Some(Denial { user: user?, domain, space, reason: reason? })
}

fn known_user(section: &mut Section<'_>, users: &[ConfiguredUser]) -> Option<UserName> {
    let name: UserName = section.required("user", "write the name of a user")?;
    if !users.iter().any(|user| user.name == name) {
        let reason = "there is no such user";
        section.fault("user", Some(name.as_str()), reason, "write the name of one of [[users]]");
        return None;
    }
    Some(name)
}

fn known_domain(section: &mut Section<'_>, domains: &[Domain]) -> Option<DomainAlias> {
    let alias: DomainAlias = section.required("domain", "write the alias of a domain")?;
    if !domains.iter().any(|domain| domain.alias == alias) {
        let reason = "there is no such domain";
        section.fault("domain", Some(alias.as_str()), reason, "write the alias of one of [[domains]]");
        return None;
    }
    Some(alias)
}

/// A moment in RFC 3339.
struct Moment(OffsetDateTime);

impl FromStr for Moment {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339).map(Self)
    }
}
