//! Signing in and out on the web.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::info;

use super::providers::Providers;
use super::renewal::is_admitted;
use super::{Identity, ProviderError};
use crate::domain::ids::{LoginId, ProviderAlias};
use crate::domain::network::place;
use crate::domain::user::User;
use crate::store::StoreError;
use crate::store::logins::{NewLogin, SignIn};
use crate::store::people::Change;

/// How long somebody may take at the provider.
const SIGN_IN: Duration = Duration::from_secs(10 * 60);
/// The longest a web login lives, however often it is used.
const LONGEST_LOGIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why somebody was not signed in. `Display` is for the log; pages have their own words.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no such provider.
    #[error("there is no provider {0}")]
    NoProvider(String),
    /// The way back does not belong to a sign-in of this browser: begun too long ago, used before, or made up.
    #[error("no sign-in of this browser is under way")]
    NotBegun,
    /// The answer comes from another provider than the question went to.
    #[error("the answer names another provider")]
    MixedUp,
    /// The provider sent the person back without a code.
    #[error("the provider answered {0}")]
    Declined(String),
    /// The provider does not vouch.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The person is in none of the groups that may sign in.
    #[error("{0} is in no group that may sign in")]
    NotAdmitted(String),
    /// Too many sign-ins were begun from one place; the next may be after this time.
    #[error("too many sign-ins were begun from there")]
    TooMany(Duration),
    /// Postgres is away.
    #[error("the sign-in could not be written down")]
    Store(#[from] StoreError),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

/// A browser that asks for something.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Where it comes from.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: String,
}

/// A provider to choose.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Its alias, for the address.
    pub alias: ProviderAlias,
    /// What people call it.
    pub name: String,
}

/// A sign-in that was begun.
pub struct Begun {
    /// Where the browser goes.
    pub url: Url,
    /// What the browser keeps and shows when it comes back.
    pub browser: SecretString,
}

/// What a provider sends a browser back with.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Answer {
    /// The code.
    pub code: Option<String>,
    /// What we sent.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

/// Somebody who has just signed in.
pub struct SignedIn {
    /// The cookie of the login.
    pub cookie: SecretString,
    /// The page that they wanted.
    pub return_to: String,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct SignedInUser {
    /// The login.
    pub login: LoginId,
    /// The person.
    pub user: Arc<User>,
}

impl Identity {
    /// The providers to choose from.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let all = self.inner.providers.iter().flat_map(Providers::all);
        all.map(|provider| Choice { alias: provider.alias.clone(), name: provider.name.clone() }).collect()
    }

    /// Begins a sign-in; `return_to` is the page that the person wanted.
    ///
    /// # Errors
    /// When there is no such provider, it cannot be asked, or too many sign-ins were begun from there.
    pub async fn begin_sign_in(
        &self,
        alias: &str,
        return_to: &str,
        visitor: &Visitor,
    ) -> Result<Begun, SignInError> {
        let inner = &self.inner;
        let (providers, provider) = self.provider(alias)?;
        inner
            .sign_ins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(place(visitor.address), inner.clock.elapsed())
            .map_err(SignInError::TooMany)?;
        let wanted = local_path(return_to);
        if wanted != return_to && !return_to.is_empty() {
            self.stranger(return_to, "the page to return to is on another site", visitor).await?;
        }
        let departure = providers.depart(provider).await?;
        let browser = random()?;
        let sign_in = SignIn {
            provider: provider.alias.to_string(),
            nonce: departure.nonce,
            verifier: departure.verifier,
            return_to: wanted.to_owned(),
        };
        let keys = (hash(&departure.state), hash(&browser));
        let now = inner.clock.now();
        inner.store.begin_sign_in(keys, &sign_in, &inner.sealing, (now, now - SIGN_IN)).await?;
        Ok(Begun { url: departure.url, browser })
    }

    /// Ends a sign-in with what the provider sent the browser back with; `browser` is empty if the browser kept nothing.
    /// A refusal is an audit row.
    ///
    /// # Errors
    /// Why the person is not signed in.
    pub async fn complete_sign_in(
        &self,
        alias: &str,
        answer: Answer,
        browser: &SecretString,
        visitor: &Visitor,
    ) -> Result<SignedIn, SignInError> {
        let signed_in = self.arrive(alias, answer, browser, visitor).await;
        if let Err(error) = &signed_in
            && !matches!(error, SignInError::Store(_))
        {
            self.refused(alias, error, visitor).await?;
        }
        signed_in
    }

    async fn arrive(
        &self,
        alias: &str,
        answer: Answer,
        browser: &SecretString,
        visitor: &Visitor,
    ) -> Result<SignedIn, SignInError> {
        let inner = &self.inner;
        let (providers, provider) = self.provider(alias)?;
        let state = SecretString::from(answer.state.unwrap_or_default());
        let now = inner.clock.now();
        let keys = (hash(&state), hash(browser));
        let sign_in = inner.store.take_sign_in(keys, &inner.sealing, now - SIGN_IN).await?;
        let sign_in = sign_in.ok_or(SignInError::NotBegun)?;
        let other_issuer = answer.iss.is_some_and(|issuer| issuer != provider.issuer.as_str());
        if sign_in.provider != provider.alias.as_str() || other_issuer {
            return Err(SignInError::MixedUp);
        }
        let Some(code) = answer.code else {
            return Err(SignInError::Declined(answer.error.unwrap_or_else(|| "no code".to_owned())));
        };
        let (vouched, tokens) = providers.arrive(provider, code, &sign_in.verifier, &sign_in.nonce).await?;
        if !is_admitted(provider, &vouched) {
            return Err(SignInError::NotAdmitted(vouched.name.to_string()));
        }
        let cookie = random()?;
        let login = NewLogin {
            cookie: hash(&cookie),
            ends_at: now + LONGEST_LOGIN.min(provider.login_age),
            user_agent: &visitor.user_agent,
            tokens,
        };
        let change = self.change(visitor);
        inner.store.sign_in(&vouched, now + provider.login_age, &login, &inner.sealing, &change).await?;
        info!(user.name = %vouched.name, provider = alias, client.address = %visitor.address, "signed in");
        self.read().await?;
        Ok(SignedIn { cookie, return_to: sign_in.return_to })
    }

    /// Who a cookie belongs to.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn signed_in(&self, cookie: &SecretString) -> Result<Option<SignedInUser>, StoreError> {
        let now = self.inner.clock.now();
        let login = self.inner.store.login(hash(cookie), now, now - self.inner.idle).await?;
        Ok(login.and_then(|login| Some(SignedInUser { login: login.id, user: self.user(login.user)? })))
    }

    /// Whether somebody who signed in still is: the person as they are now, nothing once the login is over. To ask is not
    /// to use the login, so that a page which stays open keeps nobody signed in.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn still_signed_in(&self, who: &SignedInUser) -> Result<Option<Arc<User>>, StoreError> {
        let now = self.inner.clock.now();
        let lives = self.inner.store.login_lives(who.login, now, now - self.inner.idle).await?;
        Ok(self.user(who.user.id).filter(|_| lives))
    }

    /// Ends a login. Gives the address at which the provider signs the person out as well, if it has one.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn sign_out(&self, who: &SignedInUser, visitor: &Visitor) -> Result<Option<Url>, StoreError> {
        let change = self.change_by(&who.user, visitor);
        let Some(token) = self.inner.store.sign_out(who.login, &self.inner.sealing, &change).await? else {
            return Ok(None);
        };
        let Some(providers) = &self.inner.providers else { return Ok(None) };
        let Some(provider) = payload_provider(providers, &token) else { return Ok(None) };
        Ok(providers.farewell(provider, &token).await)
    }

    fn provider(&self, alias: &str) -> Result<(&Providers, &crate::config::Provider), SignInError> {
        let providers = self.inner.providers.as_ref();
        providers
            .and_then(|all| Some((all, all.settings(alias)?)))
            .ok_or_else(|| SignInError::NoProvider(alias.chars().take(40).collect()))
    }

    pub(super) fn change(&self, visitor: &Visitor) -> Change {
        self.change_at(visitor.address)
    }

    /// A change by somebody who is known by their address only.
    pub(super) fn change_at(&self, address: IpAddr) -> Change {
        Change {
            replica: self.inner.replica,
            actor: None,
            called: address.to_string(),
            address,
            at: self.inner.clock.now(),
        }
    }

    /// A change by somebody who is signed in.
    pub(super) fn change_by(&self, who: &User, visitor: &Visitor) -> Change {
        self.change_of(who, visitor.address)
    }

    /// A change by a person at an address.
    pub(super) fn change_of(&self, user: &User, address: IpAddr) -> Change {
        Change { actor: Some(user.id), called: user.name.to_string(), ..self.change_at(address) }
    }
}

/// The provider that issued an ID token of ours.
fn payload_provider<'a>(
    providers: &'a Providers,
    token: &SecretString,
) -> Option<&'a crate::config::Provider> {
    let claims = super::providers::payload(token.expose_secret())?;
    let issuer = claims.get("iss")?.as_str()?;
    providers.all().find(|provider| provider.issuer.as_str() == issuer)
}

/// A path on this site, or the first page: never another site's address.
fn local_path(path: &str) -> &str {
    let plain = path.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if plain && path.starts_with('/') && !path.starts_with("//") { path } else { "/" }
}

pub(super) fn random() -> Result<SecretString, SignInError> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|error| SignInError::Random(error.to_string()))?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

pub(super) fn hash(secret: &SecretString) -> [u8; 32] {
    let digest = digest(&SHA256, secret.expose_secret().as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(local_path("/keys?add=1"), "/keys?add=1");
        for bad in ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb", "/\tb"]
        {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
    }
}
