//! Approvals: an SSH client whose key is unknown asks, a person who is signed in on the web answers, and the key that
//! has signed on that very connection becomes theirs for a time.
//!
//! What is *not* here: the dialogue with the client (`ssh`), and the page (`web`).

mod answer;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use russh::keys::PublicKey;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use tracing::{info, warn};

pub use self::answer::{Answered, ApproveError, Question};

use super::{Identity, keys};
use crate::config::{self, PublicUrl};
use crate::domain::access::stands;
use crate::domain::approval::{ApprovalCode, ApprovalId, ApprovalState, LIFE};
use crate::domain::ids::ConnectionId;
use crate::domain::user::User;
use crate::store::approvals::{Approval, Bound, NewApproval};
use crate::store::secrets::SealingKey;
use crate::store::{Store, StoreError};

/// The name under which the key of the codes' digests is kept in the database, the same for every replica.
const SECRET: &str = "approval_code_key";
/// How often another id is tried when one is taken.
const TRIES: u32 = 5;

/// What approvals need beside the store.
pub(super) struct Approvals {
    codes: hmac::Key,
    settings: config::Approval,
    site: PublicUrl,
}

/// An SSH client that asks.
#[derive(Debug)]
pub struct Asker<'a> {
    /// Its connection.
    pub connection: ConnectionId,
    /// Where it connects from.
    pub address: IpAddr,
    /// Its version line.
    pub client_version: &'a str,
    /// The login name.
    pub login: &'a str,
    /// The key that is to be bound; none for a client that has none.
    pub key: Option<&'a PublicKey>,
}

/// An approval that was asked for: what its client is told.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The approval.
    pub id: ApprovalId,
    /// The code, which nobody else learns.
    pub code: ApprovalCode,
    /// The page's address.
    pub url: String,
    /// Until when it can be answered.
    pub expires_at: OffsetDateTime,
}

/// How an approval goes, as its client is told.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Nobody has answered.
    Pending,
    /// Somebody approved; the key is to count until then.
    Approved(Arc<User>, OffsetDateTime),
    /// Somebody denied.
    Denied,
    /// Too many wrong codes.
    Void,
    /// It is over.
    Over,
}

/// Why a client that was approved is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBound {
    /// The approval was not given, was used, or is over.
    #[error("the approval is over")]
    NotApproved,
    /// The key is somebody else's by now.
    #[error("the key is somebody else's")]
    SomebodyElses,
    /// The approver has no standing any more.
    #[error("the approver has no standing")]
    NoStanding,
    /// Postgres is away.
    #[error("the approval could not be written down")]
    Away,
}

impl Approvals {
    /// Nothing where nobody could approve: without pages, without providers, or switched off.
    pub(super) async fn open(
        store: &Store,
        sealing: &SealingKey,
        site: Option<&PublicUrl>,
        settings: &config::Approval,
    ) -> Result<Option<Self>, StoreError> {
        let Some(site) = site.filter(|_| settings.enabled) else { return Ok(None) };
        let secret = store.sealed(SECRET, || rand::random::<[u8; 32]>().to_vec(), sealing).await?;
        let codes = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret());
        Ok(Some(Self { codes, settings: settings.clone(), site: site.clone() }))
    }

    /// A digest that needs the key: eight letters would be found in minutes without.
    fn digest(&self, id: &ApprovalId, code: &ApprovalCode) -> hmac::Tag {
        hmac::sign(&self.codes, format!("{id}:{}", code.letters()).as_bytes())
    }

    fn is_right(&self, id: &ApprovalId, approval: &Approval, typed: &str) -> bool {
        let Some(code) = ApprovalCode::typed(typed) else { return false };
        let said = format!("{id}:{}", code.letters());
        hmac::verify(&self.codes, said.as_bytes(), &approval.code).is_ok()
    }
}

/// What SSH asks.
impl Identity {
    /// Whether clients with unknown keys can be approved.
    #[must_use]
    pub fn approves(&self) -> bool {
        self.inner.approvals.is_some()
    }

    /// Whether clients without any key can be.
    #[must_use]
    pub fn approves_without_key(&self) -> bool {
        self.inner.approvals.as_ref().is_some_and(|approvals| approvals.settings.without_key)
    }

    /// Asks for an approval. Nothing where there are none.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn ask_approval(&self, asker: &Asker<'_>) -> Result<Option<Asked>, StoreError> {
        let inner = &self.inner;
        let Some(approvals) = &inner.approvals else { return Ok(None) };
        let key = asker.key.and_then(keys::written);
        let now = inner.clock.now();
        let expires_at = now + LIFE;
        let new = NewApproval {
            replica: inner.replica,
            connection: asker.connection,
            login: asker.login,
            key: key.as_ref().map(|(line, fingerprint)| (line.as_str(), fingerprint.as_str())),
            address: asker.address,
            client_version: asker.client_version,
            asked_at: now,
            expires_at,
        };
        for _ in 0..TRIES {
            let (id, code) =
                (ApprovalId::from_random(rand::random()), ApprovalCode::from_random(rand::random()));
            if inner.store.ask_approval(&id, approvals.digest(&id, &code).as_ref(), &new).await? {
                info!(
                    approval.id = %id,
                    connection.id = %asker.connection,
                    client.address = %asker.address,
                    key.fingerprint = key.as_ref().map(|(_, fingerprint)| fingerprint),
                    login = asker.login,
                    "a client asks for an approval"
                );
                let url = approvals.site.page(&format!("/k/{id}"));
                return Ok(Some(Asked { id, code, url, expires_at }));
            }
        }
        Ok(None)
    }

    /// How an approval goes.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn approval_progress(&self, id: &ApprovalId) -> Result<Progress, StoreError> {
        let Some(approval) = self.inner.store.approval(id).await? else { return Ok(Progress::Over) };
        Ok(match self.state(&approval) {
            ApprovalState::Pending => Progress::Pending,
            ApprovalState::Approved => {
                let approver = approval.decided_by.and_then(|id| self.user(id));
                approver
                    .zip(approval.trusted_until)
                    .map_or(Progress::Over, |(user, until)| Progress::Approved(user, until))
            }
            ApprovalState::Denied => Progress::Denied,
            ApprovalState::Void => Progress::Void,
            ApprovalState::Expired | ApprovalState::Left | ApprovalState::Used => Progress::Over,
        })
    }

    /// Uses an approval. If its client has a key, that must have signed on the connection that asked: it becomes the
    /// approver's. Gives the approver.
    ///
    /// # Errors
    /// Why the client is not let in. What was refused is an audit row.
    pub async fn use_approval(
        &self,
        asked: &Asked,
        asker: &Asker<'_>,
        approver: &Arc<User>,
    ) -> Result<Arc<User>, NotBound> {
        let bound = self.bind(asked, asker, approver).await;
        match &bound {
            Ok(user) => info!(
                approval.id = %asked.id,
                connection.id = %asker.connection,
                user.name = %user.name,
                client.address = %asker.address,
                "an approval was used"
            ),
            Err(error) => warn!(
                approval.id = %asked.id,
                connection.id = %asker.connection,
                client.address = %asker.address,
                %error,
                "an approval was not used"
            ),
        }
        bound
    }

    async fn bind(
        &self,
        asked: &Asked,
        asker: &Asker<'_>,
        approver: &Arc<User>,
    ) -> Result<Arc<User>, NotBound> {
        let away = |error: StoreError| {
            warn!(error = error.detail(), "an approval could not be used");
            NotBound::Away
        };
        let change = self.change_of(approver, asker.address);
        // As known now: between the approval and the signature, standing may have gone.
        let user = self.user(approver.id).filter(|user| stands(user, change.at).is_ok());
        let Some(user) = user else {
            let because = NotBound::NoStanding.to_string();
            let ended =
                self.inner.store.end_approval(&asked.id, ApprovalState::Void, &because, &change).await;
            ended.map_err(away)?;
            return Err(NotBound::NoStanding);
        };
        if asker.key.is_some_and(|key| self.is_anothers(key, &user)) {
            let because = NotBound::SomebodyElses.to_string();
            let ended =
                self.inner.store.end_approval(&asked.id, ApprovalState::Void, &because, &change).await;
            ended.map_err(away)?;
            return Err(NotBound::SomebodyElses);
        }
        let name = format!("approved for {}", asker.login);
        let name = keys::shortened(&name);
        match self.inner.store.use_approval(&asked.id, user.id, &name, &change).await.map_err(away)? {
            Bound::Yes => {
                self.read().await.map_err(away)?;
                Ok(user)
            }
            Bound::SomebodyElses => Err(NotBound::SomebodyElses),
            Bound::NotApproved => Err(NotBound::NotApproved),
        }
    }

    /// Ends an approval whose client was not let in.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn end_approval(
        &self,
        id: &ApprovalId,
        address: IpAddr,
        end: ApprovalState,
        because: &str,
    ) -> Result<(), StoreError> {
        self.inner.store.end_approval(id, end, because, &self.change_at(address)).await
    }

    /// Whether a key is somebody else's than this person's.
    fn is_anothers(&self, key: &PublicKey, user: &User) -> bool {
        self.user_for_key(key).is_some_and(|owner| owner.id != user.id)
    }

    fn state(&self, approval: &Approval) -> ApprovalState {
        match approval.state {
            ApprovalState::Pending | ApprovalState::Approved
                if self.inner.clock.now() >= approval.expires_at =>
            {
                ApprovalState::Expired
            }
            state => state,
        }
    }
}
