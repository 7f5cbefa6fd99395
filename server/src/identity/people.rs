//! The users in force, by key and by row: from the configuration file and from sign-ins.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use time::OffsetDateTime;
use tracing::warn;

use super::directory::{Directory, Entry};
use crate::config::people::LOCAL;
use crate::config::{self, ConfiguredUser, Domain};
use crate::domain::grant::HeldGrant;
use crate::domain::ids::{DomainAlias, UserId, UserName};
use crate::domain::ownership::{Claims, NoProfile, Ownership, Person, SsoUsers, assign};
use crate::domain::ports::Clock;
use crate::domain::user::{Profile, Roles, User, Users};
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
        Self { by_key, by_id: Arc::new(by_id), directory }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::macros::datetime;

    use super::*;
    use crate::domain::grant::Grant;
    use crate::domain::ids::{GrantId, KeyId};
    use crate::domain::ownership::Rule;
    use crate::domain::user::{Role, Standing};

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti laptop";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ desk";
    const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

    fn listed(name: &str, keys: &[&str]) -> (UserId, ConfiguredUser) {
        let person = ConfiguredUser {
            name: name.parse().unwrap(),
            subject: name.to_owned(),
            keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
            groups: BTreeSet::new(),
            profiles: BTreeSet::new(),
            role: Role::User,
            suspended: false,
        };
        (UserId::generate(), person)
    }

    fn known(name: &str) -> KnownPerson {
        KnownPerson {
            id: UserId::generate(),
            provider: "okta".to_owned(),
            subject: name.to_owned(),
            name: name.to_owned(),
            email: None,
            groups: vec!["ml".to_owned(), "a\nb".to_owned()],
            standing: Standing::Until(NOW),
        }
    }

    fn key(user: UserId, public_key: &str, expires_at: Option<OffsetDateTime>) -> KnownKey {
        KnownKey {
            id: KeyId::generate(),
            user,
            public_key: public_key.to_owned(),
            fingerprint: String::new(),
            name: String::new(),
            added_at: NOW,
            added_from: String::new(),
            expires_at,
        }
    }

    fn rows(known: Vec<KnownPerson>, keys: Vec<KnownKey>) -> Rows {
        Rows { known, keys, ..Rows::default() }
    }

    fn none() -> Rows {
        Rows::default()
    }

    fn offered(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[test]
    fn a_key_finds_its_user_whatever_its_comment() {
        let people =
            People::of(&[listed("alice", &[ONE]), listed("bo", &[TWO])], (&Roles::default(), &[]), &none());
        let alice = people.by_key(&offered(ONE.trim_end_matches(" laptop")), NOW).unwrap();
        assert_eq!(alice.name.as_str(), "alice");
        assert_eq!(people.by_id(alice.id).unwrap(), alice);
    }

    #[test]
    fn an_unlisted_key_finds_nobody() {
        let people = People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &none());
        assert_eq!(people.by_key(&offered(TWO), NOW), None);
    }

    #[test]
    fn an_added_key_counts_until_it_lapses_and_groups_carry_their_provider() {
        let anna = known("anna");
        let keys = vec![key(anna.id, ONE, Some(NOW))];
        let roles = Roles { admin: ["okta/ml".parse().unwrap()].into(), ..Roles::default() };
        let people = People::of(&[], (&roles, &[]), &rows(vec![anna], keys));
        let user = people.by_key(&offered(ONE), NOW - time::Duration::SECOND).unwrap();
        assert_eq!(user.role, Role::Admin);
        assert_eq!(user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["okta/ml"]);
        assert_eq!(people.by_key(&offered(ONE), NOW), None);
        assert_eq!(people.owner(&offered(ONE)).unwrap().id, user.id, "who is in stays in");
    }

    #[test]
    fn a_rule_gives_profiles_to_people_of_its_provider_and_never_what_the_file_gave_away() {
        let rule =
            Ownership { provider: "okta".parse().unwrap(), profile: Rule::Named("{name}".parse().unwrap()) };
        let rules = [("main".parse().unwrap(), rule)];
        let (anna, bo) = (known("anna"), known("bo"));
        let mut alice = listed("alice", &[]);
        alice.1.profiles = ["main/bo".parse().unwrap()].into();
        let ids = [anna.id, bo.id];
        let people = People::of(&[alice], (&Roles::default(), &rules), &rows(vec![anna, bo], vec![]));
        let profiles = ids
            .map(|id| people.by_id(id).unwrap().profiles.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(profiles, [vec!["main/anna".to_owned()], vec![]]);
    }

    #[test]
    fn the_files_word_about_a_key_stands() {
        let anna = known("anna");
        let keys = vec![key(anna.id, ONE, None)];
        let people =
            People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &rows(vec![anna], keys));
        assert_eq!(people.by_key(&offered(ONE), NOW).unwrap().name.as_str(), "alice");
    }

    #[test]
    fn suspensions_and_grants_are_those_of_the_row_and_the_files_word_stays() {
        let (anna, alice) = (known("anna"), listed("alice", &[ONE]));
        let mut carl = listed("carl", &[]);
        carl.1.suspended = true;
        let grant = Grant {
            domain: "main".parse().unwrap(),
            space: "demo".parse().unwrap(),
            until: NOW,
            reason: "on call".to_owned(),
        };
        let held = HeldGrant { id: GrantId::generate(), grant };
        let suspension = Suspension { at: NOW, by: "ada".to_owned(), reason: "laptop lost".to_owned() };
        let (anna_id, alice_id, carl_id) = (anna.id, alice.0, carl.0);
        let rows = Rows {
            suspended: [(alice_id, suspension.clone())].into(),
            grants: [anna_id, alice_id].map(|id| (id, vec![held.clone()])).into(),
            ..rows(vec![anna], vec![key(anna_id, TWO, None)])
        };
        let people = People::of(&[alice, carl], (&Roles::default(), &[]), &rows);
        let seen = |id| people.by_id(id).map(|user| (user.suspended, user.grants.len())).unwrap();
        assert_eq!([seen(anna_id), seen(alice_id), seen(carl_id)], [(false, 1), (true, 1), (true, 0)]);
        let directory = people.directory();
        let shown = |entry: &Entry| (entry.written(), entry.listed_keys.len(), entry.added_keys);
        let all: Vec<_> = directory.entries().iter().map(shown).collect();
        let expected = [("local/alice", 1, 0), ("okta/anna", 0, 1), ("local/carl", 0, 0)];
        assert_eq!(all, expected.map(|(name, listed, added)| (name.to_owned(), listed, added)));
        assert_eq!(directory.entry(alice_id).unwrap().suspension, Some(suspension));
        assert_eq!(directory.entry(carl_id).unwrap().suspension, None, "the file's suspension has no row");
    }
}
