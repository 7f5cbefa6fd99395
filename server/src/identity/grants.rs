//! Granting a space to a person for a time: what is asked is checked, bounded, and written down.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::json;
use tracing::info;

use super::directory::{Directory, NobodyFound};
use super::{Identity, Visitor};
use crate::domain::grant::{Reason, Term, TooLong};
use crate::domain::ids::{DomainAlias, GrantId};
use crate::domain::names::{Target, Unresolved, resolve};
use crate::domain::space::Space;
use crate::domain::user::User;
use crate::store::grants::{GrantEnd, NewGrant, RunningGrant};
use crate::store::people::Change;
use crate::store::{Store, StoreError};

/// A grant as somebody asks for it, in their words.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// Whom.
    pub user: &'a str,
    /// `SPACE`, `SPACE.DOMAIN` or an ARN.
    pub space: &'a str,
    /// How long it runs: `3d`.
    pub lasts: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Why nothing was granted. `Display` is what the asker reads.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// No single person is meant.
    #[error(transparent)]
    Person(#[from] NobodyFound),
    /// No single space is meant.
    #[error("{0}")]
    Space(String),
    /// The time is none.
    #[error("{0}")]
    Term(&'static str),
    /// The time is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// There is no reason.
    #[error("{0}")]
    Reason(&'static str),
    /// Postgres is away.
    #[error("the grant could not be written down: {0}")]
    Store(#[from] StoreError),
}

/// A grant that was made.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The row.
    pub id: GrantId,
    /// Whom, as `PROVIDER/NAME`.
    pub person: String,
    /// What, as `SPACE.DOMAIN`.
    pub space: String,
    /// Until when.
    pub until: time::OffsetDateTime,
}

/// The one space of these domains that a text names, whoever may open it.
///
/// # Errors
/// With what to write instead.
pub fn find_space<'a>(text: &str, spaces: &'a [Space]) -> Result<&'a Space, String> {
    let target: Target = text.trim().parse().map_err(|error| format!("{error}"))?;
    resolve(&target, spaces).map_err(|unresolved| match unresolved {
        Unresolved::Unknown { near } if near.is_empty() => format!("there is no space {:?}", text.trim()),
        Unresolved::Unknown { near } => {
            format!("there is no space {:?}; near: {}", text.trim(), near.join(", "))
        }
        Unresolved::Ambiguous { choices } => {
            format!("{:?} names several spaces: write {}", text.trim(), choices.join(" or "))
        }
    })
}

/// The spaces of the configured domains, as the newest listings showed them.
///
/// # Errors
/// When Postgres is away.
pub async fn spaces_of(store: &Store, domains: &[DomainAlias]) -> Result<Vec<Space>, StoreError> {
    let mut spaces = store.known_spaces().await?;
    spaces.retain(|space| domains.contains(&space.domain));
    Ok(spaces)
}

/// Grants what is asked, if it holds. One that would run for too long is an audit row.
///
/// # Errors
/// Why not.
pub async fn grant(
    (store, directory): (&Store, &Directory),
    (domains, longest): (&[DomainAlias], Duration),
    asked: &Asked<'_>,
    change: &Change,
) -> Result<Granted, GrantError> {
    let person = directory.find(asked.user)?;
    let spaces = spaces_of(store, domains).await?;
    let space = find_space(asked.space, &spaces).map_err(GrantError::Space)?;
    let reason: Reason = asked.reason.parse().map_err(GrantError::Reason)?;
    let term: Term = asked.lasts.parse().map_err(GrantError::Term)?;
    let lasts = match term.within(longest) {
        Ok(lasts) => lasts,
        Err(error) => {
            let detail = json!({
                "user": person.user.id.to_string(), "space": space.name().as_str(),
                "domain": space.domain.as_str(), "because": error.to_string(),
            });
            store.note(change, "grant.refused", Some(false), detail).await?;
            return Err(error.into());
        }
    };
    let new = NewGrant {
        user: person.user.id,
        domain: &space.domain,
        space: space.name(),
        until: change.at + lasts,
        reason: &reason,
    };
    let id = store.add_grant(&new, change).await?;
    let space = format!("{}.{}", space.name(), space.domain);
    Ok(Granted { id, person: person.written(), space, until: new.until })
}

impl Identity {
    /// How long a grant may run.
    #[must_use]
    pub fn longest_grant(&self) -> Duration {
        self.inner.listed.lock().unwrap_or_else(PoisonError::into_inner).longest_grant
    }

    /// The spaces that can be granted, as `SPACE.DOMAIN`.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn grantable(&self) -> Result<Vec<String>, StoreError> {
        let spaces = spaces_of(&self.inner.store, &self.inner.domains).await?;
        Ok(spaces.iter().map(|space| format!("{}.{}", space.name(), space.domain)).collect())
    }

    /// The grants that run.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn running_grants(&self) -> Result<Vec<RunningGrant>, StoreError> {
        self.inner.store.running_grants(self.inner.clock.now()).await
    }

    /// Grants what an admin asks for.
    ///
    /// # Errors
    /// Why not.
    pub async fn grant(
        &self,
        admin: &User,
        asked: &Asked<'_>,
        visitor: &Visitor,
    ) -> Result<Granted, GrantError> {
        let inner = &self.inner;
        let (directory, longest) = (self.directory(), self.longest_grant());
        let change = self.change_by(admin, visitor);
        let granted = grant((&inner.store, &directory), (&inner.domains, longest), asked, &change).await?;
        info!(grant.id = %granted.id, user.name = granted.person, space.name = granted.space, by = %admin.name, "granted");
        self.read().await?;
        Ok(granted)
    }

    /// Ends a grant that runs. Answers whether there was one.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn end_grant(&self, admin: &User, id: GrantId, visitor: &Visitor) -> Result<bool, StoreError> {
        let change = self.change_by(admin, visitor);
        let ended = self.inner.store.end_grant(&id.to_string(), &change).await?;
        let ended = matches!(ended, GrantEnd::Ended(_));
        if ended {
            info!(grant.id = %id, by = %admin.name, "grant ended");
            self.read().await?;
        }
        Ok(ended)
    }
}
