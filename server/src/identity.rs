//! Who people are: users, their keys and their groups.
//!
//! For now everybody is listed in the configuration file; sign-in by OIDC comes behind the same interface.
//! What is *not* here: what a person may do with a space (`domain::access`), and SSH itself (`ssh`).

pub mod certificates;
mod people;

use std::sync::Arc;

use russh::keys::PublicKey;
use time::OffsetDateTime;
use tokio::sync::watch;

use self::certificates::Claim;
use self::people::People;
use crate::config::ConfiguredUser;
use crate::domain::ids::UserId;
use crate::domain::user::User;
use crate::store::{Store, StoreError};

/// Why the list of users could not be taken over. The one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The rows of the users could not be made.
    #[error("the users' rows could not be written")]
    Store(#[from] StoreError),
}

/// The people that the gateway knows. Cheap to clone; every clone sees a reload at once.
#[derive(Clone)]
pub struct Identity {
    store: Store,
    people: Arc<watch::Sender<Arc<People>>>,
}

impl Identity {
    /// Takes over the list of users; each gets a row.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn start(
        store: Store,
        listed: &[ConfiguredUser],
        now: OffsetDateTime,
    ) -> Result<Self, IdentityError> {
        let people = with_rows(&store, listed, now).await?;
        Ok(Self { store, people: Arc::new(watch::Sender::new(Arc::new(people))) })
    }

    /// Takes over a changed list. Connections of people and keys that are gone end by themselves.
    ///
    /// # Errors
    /// When Postgres is away; then nothing changes.
    pub async fn reload(&self, listed: &[ConfiguredUser], now: OffsetDateTime) -> Result<(), IdentityError> {
        let people = with_rows(&self.store, listed, now).await?;
        self.people.send_replace(Arc::new(people));
        Ok(())
    }

    /// Whose key this is. Ask again after a signature was verified: a key alone proves nothing.
    #[must_use]
    pub fn user_for_key(&self, key: &PublicKey) -> Option<Arc<User>> {
        self.people.borrow().by_key(key)
    }

    /// The user with this row, as the list has them now.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.people.borrow().by_id(id)
    }

    /// Whom a certificate's principal claims to be.
    #[must_use]
    pub fn claimed(&self, claim: &Claim) -> Option<Arc<User>> {
        let people = self.people.borrow();
        match claim {
            Claim::Id(id) => people.by_id(*id),
            Claim::Name(name) => people.named(|known| known == name),
            Claim::Email(name) => people.named(|known| known.as_str().eq_ignore_ascii_case(name.as_str())),
        }
    }

    /// Tells of every later change of the list.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.people.subscribe())
    }
}

/// Tells when the list of users has changed.
pub struct Changes(watch::Receiver<Arc<People>>);

impl Changes {
    /// Completes at the next change; never once nobody can make one. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Finds or makes the row of each user.
async fn with_rows(
    store: &Store,
    listed: &[ConfiguredUser],
    now: OffsetDateTime,
) -> Result<People, IdentityError> {
    let mut people = People::default();
    for person in listed {
        let id = store.ensure_user(&person.subject, &person.name, now).await?;
        people.add(id, person);
    }
    Ok(people)
}
