//! The users in force, by key and by row.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use crate::config::ConfiguredUser;
use crate::domain::ids::{UserId, UserName};
use crate::domain::user::User;

/// The users in force. A key belongs to one person: the configuration sees to that.
#[derive(Debug, Default)]
pub(super) struct People {
    by_key: HashMap<KeyData, Arc<User>>,
    by_id: HashMap<UserId, Arc<User>>,
}

impl People {
    pub(super) fn add(&mut self, id: UserId, person: &ConfiguredUser) {
        let user = Arc::new(person.with_id(id));
        for key in &person.keys {
            self.by_key.insert(key.key.key_data().clone(), user.clone());
        }
        self.by_id.insert(id, user);
    }

    pub(super) fn by_key(&self, key: &PublicKey) -> Option<Arc<User>> {
        self.by_key.get(key.key_data()).cloned()
    }

    pub(super) fn by_id(&self, id: UserId) -> Option<Arc<User>> {
        self.by_id.get(&id).cloned()
    }

    /// The one person whose name is meant; nobody if it could be several.
    pub(super) fn named(&self, is_meant: impl Fn(&UserName) -> bool) -> Option<Arc<User>> {
        let mut meant = self.by_id.values().filter(|user| is_meant(&user.name));
        let user = meant.next()?;
        meant.next().is_none().then(|| user.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::user::Role;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti laptop";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ desk";

    fn person(name: &str, keys: &[&str]) -> ConfiguredUser {
        ConfiguredUser {
            name: name.parse().unwrap(),
            subject: name.to_owned(),
            keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
            groups: BTreeSet::new(),
            profiles: BTreeSet::new(),
            role: Role::User,
            suspended: false,
        }
    }

    #[test]
    fn a_key_finds_its_user_whatever_its_comment() {
        let mut people = People::default();
        people.add(UserId::generate(), &person("alice", &[ONE]));
        people.add(UserId::generate(), &person("bo", &[TWO]));
        let offered = PublicKey::from_openssh(ONE.trim_end_matches(" laptop")).unwrap();
        let alice = people.by_key(&offered).unwrap();
        assert_eq!(alice.name.as_str(), "alice");
        assert_eq!(people.by_id(alice.id).unwrap(), alice);
    }

    #[test]
    fn an_unlisted_key_finds_nobody() {
        let mut people = People::default();
        people.add(UserId::generate(), &person("alice", &[ONE]));
        assert_eq!(people.by_key(&PublicKey::from_openssh(TWO).unwrap()), None);
    }
}
