//! The users in force, by key and by row: from the configuration file and from sign-ins.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use time::OffsetDateTime;
use tracing::warn;

use crate::config::ConfiguredUser;
use crate::config::people::LOCAL;
use crate::domain::ids::{DomainAlias, UserId, UserName};
use crate::domain::ownership::{Claims, NoProfile, Ownership, Person, assign};
use crate::domain::user::{Profile, Roles, User, Users};
use crate::store::people::{KnownKey, KnownPerson};

/// The users in force. A key belongs to one person: the configuration and the store see to that.
#[derive(Debug, Default)]
pub(super) struct People {
    by_key: HashMap<KeyData, Held>,
    by_id: Arc<Users>,
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
        known: &[KnownPerson],
        keys: &[KnownKey],
    ) -> Self {
        let mut by_id = Users::new();
        let mut profiles = profiles(listed, ownership, known);
        for person in known {
            if let Some(mut user) = user(person, roles) {
                user.profiles = profiles.remove(&person.id).unwrap_or_default();
                by_id.insert(person.id, Arc::new(user));
            }
        }
        for (id, person) in listed {
            by_id.insert(*id, Arc::new(person.with_id(*id)));
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
        Self { by_key, by_id: Arc::new(by_id) }
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
        suspended: false,
        standing: person.standing,
    })
}

/// The user profiles that the domains' rules give to people of providers. The file's people are looked at too, so that
/// nobody gets what is theirs; their own they have from the file.
fn profiles(
    listed: &[(UserId, ConfiguredUser)],
    ownership: &[(DomainAlias, Ownership)],
    known: &[KnownPerson],
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
    for (domain, rule) in ownership {
        for ((id, claims, _), given) in everybody.iter().zip(assign(rule, domain, &people)) {
            match given {
                Ok(profile) => {
                    found.entry(*id).or_default().insert(profile);
                }
                Err(NoProfile::OtherProvider | NoProfile::Written) => {}
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
    use crate::domain::ids::KeyId;
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

    fn offered(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[test]
    fn a_key_finds_its_user_whatever_its_comment() {
        let people =
            People::of(&[listed("alice", &[ONE]), listed("bo", &[TWO])], (&Roles::default(), &[]), &[], &[]);
        let alice = people.by_key(&offered(ONE.trim_end_matches(" laptop")), NOW).unwrap();
        assert_eq!(alice.name.as_str(), "alice");
        assert_eq!(people.by_id(alice.id).unwrap(), alice);
    }

    #[test]
    fn an_unlisted_key_finds_nobody() {
        let people = People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &[], &[]);
        assert_eq!(people.by_key(&offered(TWO), NOW), None);
    }

    #[test]
    fn an_added_key_counts_until_it_lapses_and_groups_carry_their_provider() {
        let anna = known("anna");
        let keys = [key(anna.id, ONE, Some(NOW))];
        let roles = Roles { admin: ["okta/ml".parse().unwrap()].into(), ..Roles::default() };
        let people = People::of(&[], (&roles, &[]), &[anna], &keys);
        let user = people.by_key(&offered(ONE), NOW - time::Duration::SECOND).unwrap();
        assert_eq!(user.role, Role::Admin);
        assert_eq!(user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["okta/ml"]);
        assert_eq!(people.by_key(&offered(ONE), NOW), None);
        assert_eq!(people.owner(&offered(ONE)).unwrap().id, user.id, "who is in stays in");
    }

    #[test]
    fn a_rule_gives_profiles_to_people_of_its_provider_and_never_what_the_file_gave_away() {
        let rule = Ownership { provider: "okta".parse().unwrap(), profile: "{name}".parse().unwrap() };
        let rules = [("main".parse().unwrap(), rule)];
        let (anna, bo) = (known("anna"), known("bo"));
        let mut alice = listed("alice", &[]);
        alice.1.profiles = ["main/bo".parse().unwrap()].into();
        let ids = [anna.id, bo.id];
        let people = People::of(&[alice], (&Roles::default(), &rules), &[anna, bo], &[]);
        let profiles = ids
            .map(|id| people.by_id(id).unwrap().profiles.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(profiles, [vec!["main/anna".to_owned()], vec![]]);
    }

    #[test]
    fn the_files_word_about_a_key_stands() {
        let anna = known("anna");
        let keys = [key(anna.id, ONE, None)];
        let people = People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &[anna], &keys);
        assert_eq!(people.by_key(&offered(ONE), NOW).unwrap().name.as_str(), "alice");
    }
}
