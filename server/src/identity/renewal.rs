//! Standing, kept or withdrawn: providers are asked again about people who are connected.

use tracing::{info, warn};

use super::{Identity, ProviderError};
use crate::config::Provider;
use crate::domain::user::Withdrawal;
use crate::domain::vouched::Vouched;
use crate::store::StoreError;
use crate::store::logins::{Renewal, Tokens};
use crate::store::people::Change;

/// How often it is looked whether a login is due.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// What came of asking a provider about a login.
pub(super) enum Settled {
    /// It vouches for the person again.
    Renewed(Tokens),
    /// Its word is withdrawn.
    Withdrawn,
    /// It could not be asked.
    Postponed,
}

/// Whether the groups of a person allow signing in.
pub(super) fn is_admitted(provider: &Provider, vouched: &Vouched) -> bool {
    provider.required_groups.is_empty() || !provider.required_groups.is_disjoint(&vouched.groups)
}

impl Identity {
    pub(super) async fn keep_renewing(&self) {
        if self.inner.providers.is_none() {
            return std::future::pending().await;
        }
        loop {
            match self.renew_one().await {
                Ok(true) => {}
                Ok(false) => self.inner.clock.sleep(LOOK).await,
                Err(error) => {
                    // Postgres is away, which others say: standing is as it was, up to the login's age.
                    tracing::debug!(error = error.detail(), "logins are not renewed");
                    self.inner.clock.sleep(LOOK * 5).await;
                }
            }
        }
    }

    /// Renews one login that is due. Answers whether there was one.
    async fn renew_one(&self) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let before = inner.clock.now() - inner.renew_every;
        let Some(renewal) = inner.store.due_renewal(before, &inner.sealing).await? else { return Ok(false) };
        self.settle(renewal).await?;
        Ok(true)
    }

    /// Asks the provider about a login, and writes down what it says.
    pub(super) async fn settle(&self, renewal: Renewal) -> Result<Settled, StoreError> {
        let inner = &self.inner;
        let providers = inner.providers.as_ref();
        let Some((providers, provider)) =
            providers.and_then(|all| Some((all, all.settings(&renewal.provider)?)))
        else {
            // The provider was taken out of the configuration: its word counts up to the login's age.
            renewal.postponed(inner.clock.now()).await?;
            return Ok(Settled::Postponed);
        };
        let answer = providers.renew(provider, &renewal.subject, &renewal.refresh_token).await;
        let now = inner.clock.now();
        let settled = match answer {
            Ok((vouched, tokens)) if is_admitted(provider, &vouched) => {
                renewal.renewed(&vouched, now + provider.login_age, &tokens, &inner.sealing, now).await?;
                Settled::Renewed(tokens)
            }
            Ok((vouched, _)) => {
                self.withdraw(renewal, vouched.name.as_str(), Withdrawal::LeftGroup).await?;
                Settled::Withdrawn
            }
            Err(error @ ProviderError::Refused(..)) => {
                warn!(%error, "a login was not renewed");
                let subject = renewal.subject.clone();
                self.withdraw(renewal, &subject, Withdrawal::Refused).await?;
                Settled::Withdrawn
            }
            Err(error) => {
                warn!(%error, "a login could not be renewed; its age decides");
                renewal.postponed(now).await?;
                Settled::Postponed
            }
        };
        self.read().await?;
        Ok(settled)
    }

    async fn withdraw(&self, renewal: Renewal, called: &str, why: Withdrawal) -> Result<(), StoreError> {
        info!(
            user.subject = renewal.subject,
            provider = renewal.provider,
            why = why.code(),
            "standing ended"
        );
        let change = Change {
            replica: self.inner.replica,
            actor: None,
            called: called.to_owned(),
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            at: self.inner.clock.now(),
        };
        renewal.withdrawn(why, &change).await
    }
}
