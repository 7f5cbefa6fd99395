//! Tokens for the API: made by people who are signed in, shown once, and good for what their scopes say as long as
//! somebody vouches for the person.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;
use tracing::{info, warn};

use super::sign_in::{hash, random};
use super::{Identity, Visitor};
use crate::domain::access::{self, Because};
use crate::domain::grant::Term;
use crate::domain::ids::TokenId;
use crate::domain::scope::Scope;
use crate::domain::user::User;
use crate::store::StoreError;
use crate::store::api::{LiveToken, NewToken};

/// What every token begins with, so that whoever finds one knows what it is.
const PREFIX: &str = "spaceport_";
/// The longest name of a token, in characters.
const LONGEST_NAME: usize = 60;
/// Tokens that one person may have.
const MOST_TOKENS: u32 = 50;

/// Why a token was not made. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum MakeTokenError {
    /// It has no name.
    #[error("Write a name, so that you know later what the token is for.")]
    NoName,
    /// It may do nothing.
    #[error("Choose what the token may do.")]
    NoScope,
    /// It may do more than the person.
    #[error("You cannot give a token {0}: your role does not have it.")]
    NotYours(Scope),
    /// The time is none.
    #[error("Write how long the token counts, such as 30d.")]
    Term,
    /// The time is too long.
    #[error("A token counts for at most {0} here.")]
    TooLong(Term),
    /// The person has too many.
    #[error("You have {MOST_TOKENS} tokens. Revoke one first.")]
    TooMany,
    /// The system gives no random bytes.
    #[error("The token could not be made. Try again in a minute.")]
    Random,
    /// Postgres is away.
    #[error("The token could not be written down. Try again in a minute.")]
    Store(#[from] StoreError),
}

/// A token that somebody wants.
#[derive(Debug, Clone)]
pub struct WantedToken<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// How long it counts: `30d`.
    pub lasts: &'a str,
}

/// A token as its owner sees it.
#[derive(Debug, Clone)]
pub struct MyToken {
    /// The token.
    pub id: TokenId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Since when it counts.
    pub made_at: OffsetDateTime,
    /// Until when.
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute, and from where.
    pub used: Option<(OffsetDateTime, String)>,
}

/// Whom a token belongs to.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The person, as known now.
    pub user: Arc<User>,
    /// The token.
    pub token: MyToken,
}

/// Why a token lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum NoBearer {
    /// It is none, or no longer.
    #[error("it is unknown, has expired or was revoked")]
    Unknown,
    /// Nobody vouches for its person.
    #[error("its person may not come in")]
    NoStanding(Because),
    /// There were too many requests; the next may be after this time.
    #[error("too many requests")]
    TooMany(Duration),
    /// Postgres is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LiveToken> for MyToken {
    fn from(token: LiveToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            // A scope that this release does not know allows nothing.
            scopes: token.scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
            made_at: token.made_at,
            expires_at: token.expires_at,
            used: token.used,
        }
    }
}

impl Identity {
    /// The tokens of a person that count, the newest first.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn tokens_of(&self, who: &User) -> Result<Vec<MyToken>, StoreError> {
        let tokens = self.inner.store.tokens(who.id, self.inner.clock.now()).await?;
        Ok(tokens.into_iter().map(MyToken::from).collect())
    }

    /// How long a token may count.
    #[must_use]
    pub fn longest_token(&self) -> Duration {
        self.inner.longest_token
    }

    /// Makes a token. This is the only time that anybody sees it.
    ///
    /// # Errors
    /// Why it is not made.
    pub async fn make_token(
        &self,
        who: &User,
        wanted: &WantedToken<'_>,
        visitor: &Visitor,
    ) -> Result<(TokenId, SecretString), MakeTokenError> {
        let name = wanted.name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect::<String>();
        let name = name.trim();
        if name.is_empty() {
            return Err(MakeTokenError::NoName);
        }
        if wanted.scopes.is_empty() {
            return Err(MakeTokenError::NoScope);
        }
        if let Some(scope) = wanted.scopes.iter().find(|scope| who.role < scope.role()) {
            return Err(MakeTokenError::NotYours(*scope));
        }
        let longest = self.longest_token();
        let term: Term = wanted.lasts.parse().map_err(|_| MakeTokenError::Term)?;
        let lasts = term.within(longest).map_err(|_| MakeTokenError::TooLong(Term::of(longest)))?;
        let random = random().map_err(|_| MakeTokenError::Random)?;
        let token = SecretString::from(format!("{PREFIX}{}", random.expose_secret()));
        let scopes: Vec<String> = wanted.scopes.iter().map(Scope::to_string).collect();
        let change = self.change_by(who, visitor);
        let new = NewToken {
            user: who.id,
            digest: hash(&token),
            name,
            scopes: &scopes,
            expires_at: change.at + lasts,
        };
        let id = self.inner.store.add_token(&new, MOST_TOKENS, &change).await?;
        let id = id.ok_or(MakeTokenError::TooMany)?;
        info!(user.name = %who.name, token.id = %id, "token made");
        Ok((id, token))
    }

    /// Revokes a token of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn revoke_token(
        &self,
        who: &User,
        token: TokenId,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        let revoked = self.inner.store.revoke_token(who.id, token, &self.change_by(who, visitor)).await?;
        if revoked {
            info!(user.name = %who.name, token.id = %token, "token revoked");
        }
        Ok(revoked)
    }

    /// Whom a token belongs to. If the person's login has lapsed, their provider is asked once more: a program may work
    /// on for somebody who has gone home, and for nobody who has left.
    ///
    /// # Errors
    /// Why nobody is let in.
    pub async fn bearer(&self, token: &SecretString, visitor: &Visitor) -> Result<Bearer, NoBearer> {
        let inner = &self.inner;
        if !token.expose_secret().starts_with(PREFIX) {
            return Err(NoBearer::Unknown);
        }
        let found = inner.store.token(hash(token), visitor.address, inner.clock.now()).await?;
        let found = found.ok_or(NoBearer::Unknown)?;
        inner
            .api_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(found.user, inner.clock.elapsed())
            .map_err(NoBearer::TooMany)?;
        let user = self.user(found.user).ok_or(NoBearer::Unknown)?;
        let user = match access::stands(&user, inner.clock.now()) {
            Err(Because::LoginLapsed(_)) => self.renewed(&user).await?,
            _ => user,
        };
        access::stands(&user, inner.clock.now()).map_err(NoBearer::NoStanding)?;
        Ok(Bearer { user, token: found.into() })
    }

    /// The person after their provider was asked again, if it can be.
    async fn renewed(&self, user: &Arc<User>) -> Result<Arc<User>, StoreError> {
        // It goes on if whoever asks is gone: a provider's new refresh token must not get lost on the way.
        let (identity, user) = (self.clone(), Arc::clone(user));
        let renewing = async move {
            let Some((renewal, _)) =
                identity.inner.store.renewal_of(user.id, &identity.inner.sealing).await?
            else {
                return Ok(user);
            };
            // Whoever had the lock before may have renewed it.
            identity.read().await?;
            let now = identity.user(user.id).unwrap_or(user);
            if access::stands(&now, identity.inner.clock.now()).is_ok() {
                return Ok(now);
            }
            identity.settle(renewal).await?;
            Ok(identity.user(now.id).unwrap_or(now))
        };
        self.inner.tasks.spawn(renewing).await.unwrap_or_else(|error| {
            warn!(%error, "a login was not renewed");
            Err(StoreError::too_slow())
        })
    }
}
