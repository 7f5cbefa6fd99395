//! The users in force, by key and by row: from the configuration file and from sign-ins.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use time::OffsetDateTime;
use tracing::warn;

use super::directory::{Directory, Entry};
use crate::config::people::LOCAL;
use crate::config::{self, ConfiguredUser, Domain};
use crate::domain::email::EmailAddress;
use crate::domain::grant::HeldGrant;
use crate::domain::ids::{DomainAlias, UserId, UserName};
use crate::domain::ownership::{Claims, NoProfile, Ownership, Person, SsoUsers, assign};
use crate::domain::ports::Clock;
use crate::domain::user::{Profile, Roles, Standing, User, Users};
use crate::store::people::{KnownKey, KnownPerson};
use crate::store::suspensions::Suspension;
use crate::store::{Store, StoreError};

/// What the store has about people.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) known: Vec<KnownPerson>,
    pub(super) keys: Vec<KnownKey>,
    pub(super) suspended: HashMap<UserId, Suspension>,
    pub(super) grants: HashMap<UserId, Vec<HeldGrant>>,
    pub(super) sso: HashMap<DomainAlias, SsoUsers>,
}

impl Rows {
    /// Reads all of it.
    pub(super) async fn read(store: &Store, now: OffsetDateTime) -> Result<Self, StoreError> {
        let mut grants = HashMap::<UserId, Vec<HeldGrant>>::new();
        for (user, grant) in store.known_grants(now).await? {
            grants.entry(user).or_default().push(grant);
        }
        Ok(Self {
            known: store.known_people().await?,
            keys: store.known_keys().await?,
            suspended: store.suspensions().await?,
            grants,
            sso: store.sso_users().await?,
        })
    }
}

/// The people of the file with their rows, which are made on first sight.
pub(super) async fn with_rows(
    store: &Store,
    people: &config::People,
    clock: &dyn Clock,
) -> Result<Vec<(UserId, ConfiguredUser)>, StoreError> {
    let mut users = Vec::with_capacity(people.users.len());
    for person in &people.users {
        let id = store.ensure_user(&person.subject, &person.name, clock.now()).await?;
        users.push((id, person.clone()));
    }
    Ok(users)
}

/// The domains' rules for whose user profile is whose.
pub(super) fn rules(domains: &[Domain]) -> Vec<(DomainAlias, Ownership)> {
    let rule = |domain: &Domain| Some((domain.alias.clone(), domain.ownership.clone()?));
    domains.iter().filter_map(rule).collect()
}

/// The users in force. A key belongs to one person: the configuration and the store see to that.
#[derive(Debug, Default)]
pub(super) struct People {
    by_key: HashMap<KeyData, Held>,
    by_id: Arc<Users>,
    directory: Arc<Directory>,
    /// Addresses that a provider has verified.
    addresses: HashMap<UserId, EmailAddress>,
}

#[derive(Debug)]
struct Held {
    user: Arc<User>,
    until: Option<OffsetDateTime>,
}

impl People {
    /// Those of the file, with their rows, and those whom a provider vouched for, with the keys that they added. A key
    /// that the file gives to somebody is theirs, whoever added it since.
    pub(super) fn of(
        listed: &[(UserId, ConfiguredUser)],
        (roles, ownership): (&Roles, &[(DomainAlias, Ownership)]),
        rows: &Rows,
    ) -> Self {
        let Rows { known, keys, .. } = rows;
        let mut by_id = Users::new();
        let mut profiles = profiles(listed, ownership, rows);
        for person in known {
            if let Some(mut user) = user(person, roles) {
                user.profiles = profiles.remove(&person.id).unwrap_or_default();
                by_id.insert(person.id, Arc::new(kept(user, rows)));
            }
        }
        for (id, person) in listed {
            by_id.insert(*id, Arc::new(kept(person.with_id(*id), rows)));
        }
        let mut by_key = HashMap::new();
        for key in keys {
            let Some(user) = by_id.get(&key.user) else { continue };
            match PublicKey::from_openssh(&key.public_key) {
                Ok(parsed) => {
                    let held = Held { user: Arc::clone(user), until: key.expires_at };
                    by_key.insert(parsed.key_data().clone(), held);
                }
                Err(error) => warn!(key.fingerprint = key.fingerprint, %error, "a stored key cannot be read"),
            }
        }
        for (id, person) in listed {
            let Some(user) = by_id.get(id) else { continue };
            for key in &person.keys {
                let held = Held { user: Arc::clone(user), until: None };
                by_key.insert(key.key.key_data().clone(), held);
            }
        }
        let directory = Arc::new(directory(listed, rows, &by_id));
        let address = |p: &KnownPerson| Some((p.id, p.email.as_deref()?.parse().ok()?));
        let addresses = known.iter().filter_map(address).collect();
        Self { by_key, by_id: Arc::new(by_id), directory, addresses }
    }

    /// Everybody as admins see them.
    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Until when a key counts, if it counts for a time.
    pub(super) fn key_until(&self, key: &PublicKey) -> Option<OffsetDateTime> {
        self.by_key.get(key.key_data())?.until
    }

    pub(super) fn by_key(&self, key: &PublicKey, now: OffsetDateTime) -> Option<Arc<User>> {
        let held = self.by_key.get(key.key_data())?;
        held.until.is_none_or(|until| now < until).then(|| Arc::clone(&held.user))
    }

    /// The same, also after the key has lapsed.
    pub(super) fn owner(&self, key: &PublicKey) -> Option<Arc<User>> {
        self.by_key.get(key.key_data()).map(|held| Arc::clone(&held.user))
    }

    pub(super) fn by_id(&self, id: UserId) -> Option<Arc<User>> {
        self.by_id.get(&id).cloned()
    }

    /// Where a person gets mail, if a provider has verified it. Who is suspended or was sent away gets none.
    pub(super) fn address(&self, id: UserId) -> Option<&EmailAddress> {
        let user = self.by_id.get(&id)?;
        let gone = user.suspended || matches!(user.standing, Standing::Withdrawn { .. });
        self.addresses.get(&id).filter(|_| !gone)
    }

    pub(super) fn everybody(&self) -> Arc<Users> {
        Arc::clone(&self.by_id)
    }

    /// The one person whose name is meant; nobody if it could be several.
    pub(super) fn named(&self, is_meant: impl Fn(&UserName) -> bool) -> Option<Arc<User>> {
        let mut meant = self.by_id.values().filter(|user| is_meant(&user.name));
        let user = meant.next()?;
        meant.next().is_none().then(|| user.clone())
    }
}

/// A user with what the store says about them, whoever vouches for them.
fn kept(mut user: User, rows: &Rows) -> User {
    user.suspended |= rows.suspended.contains_key(&user.id);
    user.grants = rows.grants.get(&user.id).cloned().unwrap_or_default();
    user
}

/// Those who are known, with what admins see of them.
fn directory(listed: &[(UserId, ConfiguredUser)], rows: &Rows, by_id: &Users) -> Directory {
    let mut added = HashMap::<UserId, usize>::new();
    for key in &rows.keys {
        *added.entry(key.user).or_default() += 1;
    }
    let entry = |id: UserId, provider: &str, listed_keys| {
        Some(Entry {
            user: Arc::clone(by_id.get(&id)?),
            provider: provider.to_owned(),
            listed_keys,
            added_keys: added.get(&id).copied().unwrap_or_default(),
            suspension: rows.suspended.get(&id).cloned(),
        })
    };
    let of_providers = rows.known.iter().filter_map(|p| entry(p.id, &p.provider, Vec::new()));
    let of_the_file = listed.iter().filter_map(|(id, p)| entry(*id, LOCAL, p.keys.clone()));
    Directory::of(of_providers.chain(of_the_file).collect())
}

/// A person of a provider's as a user. Groups that cannot be written as `provider/group` give no right to anybody.
fn user(person: &KnownPerson, roles: &Roles) -> Option<User> {
    let groups = person.groups.iter().filter_map(|group| format!("{}/{group}", person.provider).parse().ok());
    let groups = groups.collect();
    Some(User {
        id: person.id,
        name: person.name.parse().ok()?,
        subject: person.subject.clone(),
        role: roles.of(&groups),
        groups,
        profiles: Default::default(),
        grants: Vec::new(),
        suspended: false,
        standing: person.standing,
    })
}

/// The user profiles that the domains' rules give to people of providers. The file's people are looked at too, so that
/// nobody gets what is theirs; their own they have from the file.
fn profiles(
    listed: &[(UserId, ConfiguredUser)],
    ownership: &[(DomainAlias, Ownership)],
    Rows { known, sso, .. }: &Rows,
) -> HashMap<UserId, BTreeSet<Profile>> {
    let (nothing, mut found) = (BTreeSet::new(), HashMap::<UserId, BTreeSet<Profile>>::new());
    let of_providers = known.iter().filter_map(|person| {
        let claims = Claims {
            provider: person.provider.parse().ok()?,
            subject: person.subject.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
        };
        Some((person.id, claims, &nothing))
    });
    let of_the_file = listed.iter().filter_map(|(id, person)| {
        let (subject, name) = (person.subject.clone(), person.name.to_string());
        Some((*id, Claims { provider: LOCAL.parse().ok()?, subject, name, email: None }, &person.profiles))
    });
    let everybody: Vec<_> = of_providers.chain(of_the_file).collect();
    let people: Vec<Person<'_>> =
        everybody.iter().map(|(_, claims, written)| Person { claims, written }).collect();
    let none = SsoUsers::new();
    for (domain, rule) in ownership {
        let sso = sso.get(domain).unwrap_or(&none);
        for ((id, claims, _), given) in everybody.iter().zip(assign(rule, domain, sso, &people)) {
            match given {
                Ok(profile) => {
                    found.entry(*id).or_default().insert(profile);
                }
                Err(NoProfile::OtherProvider | NoProfile::Written | NoProfile::NotMade(_)) => {}
                Err(error) => warn!(user.name = claims.name, %domain, %error, "no user profile"),
            }
        }
    }
    found
}
