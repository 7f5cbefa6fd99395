//! What people become AWS roles with: their groups, and where a domain wants it the ID token of their newest login.
//! It is decrypted when it is asked for, renewed when it is about to end, and kept nowhere.

use std::collections::BTreeSet;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tracing::warn;

use super::Identity;
use super::providers::payload;
use super::renewal::Settled;
use crate::domain::ids::{GroupName, UserId};
use crate::domain::ports::UserCredentials;
use crate::domain::role::NoToken;
use crate::domain::user::Standing;
use crate::store::StoreError;

/// A token that ends sooner might be over by the time that AWS looks at it.
const MARGIN: Duration = Duration::seconds(30);

#[async_trait]
impl UserCredentials for Identity {
    fn groups(&self, user: UserId) -> BTreeSet<GroupName> {
        self.user(user).map(|user| user.groups.clone()).unwrap_or_default()
    }

    async fn id_token(&self, user: UserId, refused: Option<&SecretString>) -> Result<SecretString, NoToken> {
        let person = self.user(user).ok_or(NoToken::Lapsed)?;
        if person.standing == Standing::Configured {
            return Err(NoToken::NotSignedIn);
        }
        let kept = self.inner.store.id_token(user, &self.inner.sealing).await.map_err(unreadable)?;
        match kept.filter(|kept| self.is_good(kept, refused)) {
            Some(token) => Ok(token),
            None => {
                // It goes on if whoever asks is gone: a provider's new refresh token must not get lost on the way.
                let (identity, refused) = (self.clone(), refused.cloned());
                let renewing = async move { identity.renewed_token(user, refused.as_ref()).await };
                self.inner.tasks.spawn(renewing).await.unwrap_or(Err(NoToken::Unreadable))
            }
        }
    }
}

impl Identity {
    async fn renewed_token(
        &self,
        user: UserId,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, NoToken> {
        let locked = self.inner.store.renewal_of(user, &self.inner.sealing).await.map_err(unreadable)?;
        let (renewal, kept) = locked.ok_or(NoToken::Lapsed)?;
        // Whoever had the lock before may have renewed it.
        if self.is_good(&kept, refused) {
            return Ok(kept);
        }
        match self.settle(renewal).await.map_err(unreadable)? {
            // A provider need not give a new one when it renews a login.
            Settled::Renewed(tokens) => {
                Some(tokens.id_token).filter(|token| self.is_good(token, refused)).ok_or(NoToken::Lapsed)
            }
            Settled::Withdrawn => Err(NoToken::Lapsed),
            Settled::Postponed => Err(NoToken::ProviderAway),
        }
    }

    fn is_good(&self, token: &SecretString, refused: Option<&SecretString>) -> bool {
        let same = refused.is_some_and(|refused| refused.expose_secret() == token.expose_secret());
        !same && ends_after(token, self.inner.clock.now() + MARGIN)
    }
}

/// Whether a token that a provider gave us holds until after this time.
fn ends_after(token: &SecretString, at: OffsetDateTime) -> bool {
    let end = payload(token.expose_secret()).and_then(|claims| claims.get("exp").and_then(Value::as_f64));
    end.is_some_and(|end| end > at.unix_timestamp() as f64)
}

fn unreadable(error: StoreError) -> NoToken {
    warn!(error = error.detail(), "an ID token cannot be read");
    NoToken::Unreadable
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_token_is_good_until_its_end_and_one_without_an_end_never_is() {
        let now = datetime!(2026-11-26 12:00 UTC);
        let token = |claims: String| SecretString::from(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
        let ending = |seconds: i64| token(format!("{{\"exp\":{}}}", now.unix_timestamp() + seconds));
        assert!(ends_after(&ending(1), now));
        assert!(!ends_after(&ending(0), now));
        assert!(!ends_after(&token("{}".to_owned()), now));
        assert!(!ends_after(&SecretString::from(""), now));
    }
}
