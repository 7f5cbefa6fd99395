//! What a person answers on the page of an approval.

use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;
use tracing::{info, warn};

use super::keys;
use crate::config::UserKey;
use crate::domain::access::stands;
use crate::domain::approval::{ApprovalId, ApprovalState, Elsewhere, LIFE, TO_SIGN, WRONG_CODES};
use crate::domain::network::place;
use crate::identity::{Identity, SignedInUser, Visitor};
use crate::store::StoreError;
use crate::store::approvals::{Answering, Approval};

/// Wrong codes that one person may type in [`GUESSES_WITHIN`], whatever the approvals.
const GUESSES: i64 = 15;
/// See [`GUESSES`].
const GUESSES_WITHIN: Duration = Duration::from_secs(10 * 60);

/// An approval as its page shows it.
#[derive(Debug, Clone)]
pub struct Question {
    /// The approval.
    pub id: ApprovalId,
    /// Where it stands now.
    pub state: ApprovalState,
    /// The login name that the client gave.
    pub login: String,
    /// The key's type and fingerprint; none for a client that has none.
    pub key: Option<(String, String)>,
    /// Where the client connects from.
    pub address: IpAddr,
    /// Its version line.
    pub client_version: String,
    /// When this was looked at.
    pub seen_at: OffsetDateTime,
    /// When it asked.
    pub asked_at: OffsetDateTime,
    /// Until when it can be answered.
    pub expires_at: OffsetDateTime,
    /// Whether the browser is somewhere else.
    pub elsewhere: bool,
    /// Whether somebody somewhere else may approve at all.
    pub elsewhere_allowed: bool,
    /// Until when the key counts, once approved.
    pub trusted_until: Option<OffsetDateTime>,
    /// Whether it was this person who answered.
    pub mine: bool,
}

/// What a person says on the page.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The code, as typed.
    pub code: &'a str,
    /// For how long the key is to count.
    pub lasting: Duration,
    /// Whether they ticked that they know why the addresses differ.
    pub sure: bool,
}

/// Why an approval was not given. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// It is not there to be answered.
    #[error("This request is over. Connect again for a new code.")]
    Over,
    /// Somebody typed too many wrong codes of late.
    #[error("You typed too many wrong codes. Wait ten minutes, and connect again for a new one.")]
    TooManyGuesses,
    /// Nobody vouches for the person any more.
    #[error("Your login no longer counts. Sign in again.")]
    NoStanding,
    /// From another address, where that is forbidden.
    #[error(
        "The terminal and this browser have different addresses, and an admin has forbidden such approvals. Open this page on the machine, or the network, where ssh runs."
    )]
    ElsewhereRefused,
    /// From another address, without the tick.
    #[error("The terminal and this browser have different addresses. Tick the box only if you know why.")]
    NotSure,
    /// A time that the page does not offer.
    #[error("Choose how long the key counts.")]
    NoChoice,
    /// It is somebody else's key.
    #[error("That key belongs to somebody else. Make a new one: ssh-keygen -t ed25519")]
    SomebodyElses,
    /// The person has too many keys.
    #[error("You have {} keys. Remove one first.", keys::MOST_KEYS)]
    TooManyKeys,
    /// Another code; so many more may be tried.
    #[error("That is not the code in your terminal. {}", tries(*.0))]
    WrongCode(u32),
    /// Postgres is away.
    #[error("The answer could not be written down. Try again in a minute.")]
    Store(#[from] StoreError),
}

/// What the page asks.
impl Identity {
    /// For how long a key may be trusted: what the page offers, the shortest first, and what it proposes.
    #[must_use]
    pub fn approval_choices(&self) -> (Vec<Duration>, Duration) {
        let settings = self.inner.approvals.as_ref().map(|approvals| &approvals.settings);
        settings.map_or_else(|| (Vec::new(), LIFE), |settings| (settings.choices(), settings.usual))
    }

    /// An approval as a person's page shows it.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn approval(
        &self,
        who: &SignedInUser,
        id: &ApprovalId,
        visitor: &Visitor,
    ) -> Result<Option<Question>, StoreError> {
        let Some(approvals) = &self.inner.approvals else { return Ok(None) };
        let approval = self.inner.store.approval(id).await?;
        Ok(approval.map(|approval| Question {
            id: id.clone(),
            state: self.state(&approval),
            seen_at: self.inner.clock.now(),
            elsewhere: is_elsewhere(&approval, visitor),
            elsewhere_allowed: approvals.settings.elsewhere == Elsewhere::Confirm,
            mine: approval.decided_by == Some(who.user.id),
            key: approval.fingerprint.map(|fingerprint| {
                let line = approval.public_key.unwrap_or_default();
                let kind = line.parse().map(|key: UserKey| keys::kind(&key.key));
                (kind.unwrap_or_default(), fingerprint)
            }),
            login: approval.login,
            address: approval.address,
            client_version: approval.client_version,
            asked_at: approval.asked_at,
            expires_at: approval.expires_at,
            trusted_until: approval.trusted_until,
        }))
    }

    /// Approves. Every answer, of whatever kind, is an audit row.
    ///
    /// # Errors
    /// Why nothing was approved.
    pub async fn approve(
        &self,
        who: &SignedInUser,
        id: &ApprovalId,
        answer: &Answered<'_>,
        visitor: &Visitor,
    ) -> Result<(), ApproveError> {
        let approved = self.answer(who, id, answer, visitor).await;
        match &approved {
            Ok(()) => info!(approval.id = %id, user.name = %who.user.name, "approved"),
            Err(error) => warn!(
                approval.id = %id,
                user.name = %who.user.name,
                client.address = %visitor.address,
                %error,
                "not approved"
            ),
        }
        approved
    }

    async fn answer(
        &self,
        who: &SignedInUser,
        id: &ApprovalId,
        answer: &Answered<'_>,
        visitor: &Visitor,
    ) -> Result<(), ApproveError> {
        let inner = &self.inner;
        let approvals = inner.approvals.as_ref().ok_or(ApproveError::Over)?;
        let change = self.change_by(&who.user, visitor);
        let guesses = inner.store.wrong_codes(who.user.id, change.at - GUESSES_WITHIN).await?;
        let has_keys = self.keys_of(&who.user).await?.len();
        let answering = inner.store.answer_approval(id).await?.ok_or(ApproveError::Over)?;
        if let Err(refused) = self.may_answer(who, &answering, answer, visitor, (guesses, has_keys)) {
            answering.refuse(refused.because(), &change).await?;
            return Err(refused);
        }
        if !approvals.is_right(id, &answering.approval, answer.code) {
            return Err(ApproveError::WrongCode(answering.wrong_code(WRONG_CODES, &change).await?));
        }
        let elsewhere = is_elsewhere(&answering.approval, visitor);
        let until = change.at + answer.lasting;
        Ok(answering.approve(until, change.at + TO_SIGN, elsewhere, &change).await?)
    }

    /// Everything but the code, which is looked at last: nobody learns anything about it by being refused.
    fn may_answer(
        &self,
        who: &SignedInUser,
        answering: &Answering,
        answer: &Answered<'_>,
        visitor: &Visitor,
        (guesses, has_keys): (i64, usize),
    ) -> Result<(), ApproveError> {
        let approval = &answering.approval;
        let approvals = self.inner.approvals.as_ref().ok_or(ApproveError::Over)?;
        if stands(&who.user, self.inner.clock.now()).is_err() {
            return Err(ApproveError::NoStanding);
        }
        if self.state(approval) != ApprovalState::Pending {
            return Err(ApproveError::Over);
        }
        if guesses >= GUESSES {
            return Err(ApproveError::TooManyGuesses);
        }
        if is_elsewhere(approval, visitor) {
            if approvals.settings.elsewhere == Elsewhere::Refuse {
                return Err(ApproveError::ElsewhereRefused);
            }
            if !answer.sure {
                return Err(ApproveError::NotSure);
            }
        }
        if !approvals.settings.choices().contains(&answer.lasting) {
            return Err(ApproveError::NoChoice);
        }
        if let Some(line) = &approval.public_key {
            let key = line.parse::<UserKey>().map_err(|_| ApproveError::Over)?;
            if self.is_anothers(&key.key, &who.user) {
                return Err(ApproveError::SomebodyElses);
            }
            if has_keys >= keys::MOST_KEYS {
                return Err(ApproveError::TooManyKeys);
            }
        }
        Ok(())
    }

    /// Denies: who did not ask needs no code for that. Answers whether there was something to deny.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn deny(
        &self,
        who: &SignedInUser,
        id: &ApprovalId,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        let change = self.change_by(&who.user, visitor);
        let Some(answering) = self.inner.store.answer_approval(id).await? else { return Ok(false) };
        if self.state(&answering.approval) != ApprovalState::Pending {
            answering.refuse(ApproveError::Over.because(), &change).await?;
            return Ok(false);
        }
        warn!(
            approval.id = %id,
            user.name = %who.user.name,
            client.address = %answering.approval.address,
            "an approval was denied: somebody may be phishing"
        );
        answering.deny(&change).await?;
        Ok(true)
    }
}

impl ApproveError {
    /// The word for the audit row.
    const fn because(&self) -> &'static str {
        match self {
            Self::Over => "it is over",
            Self::TooManyGuesses => "too many wrong codes",
            Self::NoStanding => "the approver has no standing",
            Self::ElsewhereRefused => "from another address, which is forbidden",
            Self::NotSure => "from another address, without the tick",
            Self::NoChoice => "for a time that is not offered",
            Self::SomebodyElses => "the key is somebody else's",
            Self::TooManyKeys => "too many keys",
            Self::WrongCode(_) => "wrong code",
            Self::Store(_) => "it could not be written down",
        }
    }
}

/// Whether a browser is somewhere else than the SSH client.
fn is_elsewhere(approval: &Approval, visitor: &Visitor) -> bool {
    place(approval.address) != place(visitor.address)
}

fn tries(left: u32) -> String {
    match left {
        0 => "This request no longer counts. Connect again for a new code.".to_owned(),
        1 => "One more try.".to_owned(),
        left => format!("{left} more tries."),
    }
}
