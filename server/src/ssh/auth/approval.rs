//! The dialogue in which a client whose key is unknown waits for a person to approve it in a browser.
//!
//! A key is bound only if it has signed on this very connection, and it must have done so before anybody is asked: once
//! OpenSSH has tried its keys in vain it does not come back to them, not even after a partial success. So the first
//! unknown key is asked to sign, and that is the one that the person sees.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use tracing::warn;

use super::{Login, Proof, fingerprint};
use crate::config::people::strong_enough;
use crate::domain::approval::{ApprovalState, LIFE, TO_SIGN};
use crate::domain::user::User;
use crate::identity::certificates::Permits;
use crate::identity::{Asked, Asker, NotBound, Progress};
use crate::ssh::admission::Place;
use crate::ssh::client::Credential;
use crate::ssh::connection::UNKNOWN_KEY;
use crate::ssh::messages::{self, Message};

/// How long an answer is looked for after Enter was pressed, before the client is asked again.
const WAIT: Duration = Duration::from_secs(20);
/// How often.
const LOOK: Duration = Duration::from_secs(1);
/// Beyond the life of an approval: the last question, its answer, and a moment.
const MARGIN: Duration = Duration::from_secs(30);
/// The longest that an approval may keep a connection waiting that has not logged in.
pub(in crate::ssh) const LONGEST: Duration =
    Duration::from_secs(LIFE.as_secs() + TO_SIGN.as_secs() + MARGIN.as_secs());

/// Where the dialogue stands.
pub(super) enum Stage {
    /// Nobody has been asked.
    Fresh,
    /// A person is asked.
    Asked(Box<Pending>),
    /// The client was told how it ended, and what follows once it has shown that.
    Told(After),
    /// There is nothing more to say.
    Over,
}

/// What follows some words.
pub(super) enum After {
    Refused,
    Admitted,
}

/// An approval that this connection waits for.
pub(super) struct Pending {
    asked: Asked,
    login: String,
    _place: Place,
}

impl Login {
    /// The dialogue, from its start or with the client's answer.
    pub(in crate::ssh) async fn dialogue(&mut self, login: &str, answered: bool) -> Auth {
        match (std::mem::replace(&mut self.stage, Stage::Over), answered) {
            (Stage::Fresh, false) => match self.ask(login).await {
                Some(pending) => self.prompt(pending, false),
                None => self.tell(&self.words(), After::Refused),
            },
            (Stage::Asked(pending), true) if pending.login == login => self.look(pending).await,
            (Stage::Asked(pending), false) if pending.login == login => self.prompt(pending, false),
            (Stage::Told(after), true) => self.proceed(after),
            (_, true) => no_more_dialogue(),
            (_, false) => self.tell(&self.words(), After::Refused),
        }
    }

    /// Whether an unknown key is worth a signature, since a person may approve it.
    pub(super) fn could_be_approved(&self, key: &PublicKey) -> bool {
        self.signed.is_none() && self.shared.identity.approves() && strong_enough(key.key_data()).is_ok()
    }

    /// Asks for an approval, if one could help and there is room for one more.
    async fn ask(&self, login: &str) -> Option<Box<Pending>> {
        let shared = &self.shared;
        let identity = &shared.identity;
        let unknown = matches!(self.attempts.last(), (_, UNKNOWN_KEY | ""));
        let could_help = self.signed.is_some() || identity.approves_without_key();
        if !unknown || !could_help || !identity.approves() {
            return None;
        }
        let place = shared.approvals.admit(self.address, shared.clock.elapsed())?;
        let shown = messages::clean(login);
        let version = self.greeting.line();
        match identity.ask_approval(&self.asker(&shown, &version)).await {
            Ok(asked) => {
                let asked = asked?;
                self.attempts.wait_for(asked.id.clone(), shared.clock.elapsed() + LONGEST);
                Some(Box::new(Pending { asked, login: login.to_owned(), _place: place }))
            }
            Err(error) => {
                warn!(connection.id = %self.id, %error, "no approval could be asked for");
                None
            }
        }
    }

    fn asker<'a>(&'a self, login: &'a str, client_version: &'a str) -> Asker<'a> {
        Asker { connection: self.id, address: self.address, client_version, login, key: self.signed.as_ref() }
    }

    /// What the person sees, and the one question. Where ssh is asked through a window, that shows nothing but the
    /// question, so it says everything that matters once more.
    fn prompt(&mut self, pending: Box<Pending>, again: bool) -> Auth {
        let left = pending.asked.expires_at - self.shared.clock.now();
        let left = left.whole_seconds().try_into().unwrap_or_default();
        let asked = &pending.asked;
        let words = if again {
            messages::not_yet_approved(left)
        } else {
            let key = self.signed.as_ref().map(fingerprint);
            messages::approve(&asked.url, &asked.code, key.as_deref(), left)
        };
        let question = messages::approve_question(&asked.url, &asked.code);
        self.stage = Stage::Asked(pending);
        Auth::Partial {
            name: "".into(),
            instructions: words.render("\n").into(),
            prompts: vec![(question.into(), true)].into(),
        }
    }

    /// Enter was pressed.
    async fn look(&mut self, pending: Box<Pending>) -> Auth {
        match self.answer_to(&pending).await {
            Progress::Pending if self.shared.clock.now() < pending.asked.expires_at => {
                self.prompt(pending, true)
            }
            Progress::Pending | Progress::Over => {
                self.end(&pending).await;
                self.tell(&messages::nobody_approved(), After::Refused)
            }
            Progress::Denied => self.tell(&messages::approval_denied(), After::Refused),
            Progress::Void => self.tell(&messages::approval_void(), After::Refused),
            Progress::Approved(approver, until) => {
                let words = messages::approved(approver.name.as_str(), self.signed.as_ref().map(|_| until));
                match self.bind(&pending, &approver).await {
                    Ok(()) => self.tell(&words, After::Admitted),
                    Err(error) => self.tell(&messages::not_bound(why(error)), After::Refused),
                }
            }
        }
    }

    /// The answer, waited for until [`WAIT`] or the approval's own time is over.
    async fn answer_to(&self, pending: &Pending) -> Progress {
        let shared = &self.shared;
        let patience = shared.clock.elapsed() + WAIT;
        loop {
            // While Postgres is away nobody can have answered.
            let progress = shared.identity.approval_progress(&pending.asked.id).await;
            let progress = progress.unwrap_or(Progress::Pending);
            let waits = matches!(progress, Progress::Pending)
                && shared.clock.elapsed() < patience
                && shared.clock.now() < pending.asked.expires_at;
            if !waits {
                return progress;
            }
            shared.clock.sleep(LOOK).await;
        }
    }

    /// The key becomes the approver's, and this connection is theirs.
    async fn bind(&mut self, pending: &Pending, approver: &Arc<User>) -> Result<(), NotBound> {
        let shown = messages::clean(&pending.login);
        let asker = self.asker(&shown, "");
        let user = self.shared.identity.use_approval(&pending.asked, &asker, approver).await?;
        self.attempts.settled();
        let key = self.signed.clone();
        self.proven = Some(Proof {
            user,
            fingerprint: key.as_ref().map_or_else(|| format!("approval {}", pending.asked.id), fingerprint),
            credential: key.map_or(Credential::Approval, Credential::Key),
            permits: Permits::ALL,
            login: pending.login.clone(),
        });
        Ok(())
    }

    async fn end(&self, pending: &Pending) {
        let identity = &self.shared.identity;
        let because = "nobody answered in time";
        let ended =
            identity.end_approval(&pending.asked.id, self.address, ApprovalState::Expired, because).await;
        match ended {
            Ok(()) => self.attempts.settled(),
            Err(error) => {
                warn!(connection.id = %self.id, %error, "the end of an approval was not written down")
            }
        }
    }

    /// Words that ask nothing. Clients show them and answer at once.
    fn tell(&mut self, words: &Message, after: After) -> Auth {
        self.stage = Stage::Told(after);
        Auth::Partial { name: "".into(), instructions: words.render("\n").into(), prompts: Vec::new().into() }
    }

    fn proceed(&mut self, after: After) -> Auth {
        match after {
            After::Refused => no_more_dialogue(),
            // Standing may have gone while the client took its time.
            After::Admitted => match &self.proven {
                Some(proof) if self.standing(&proof.user).is_ok() => Auth::Accept,
                Some(_) | None => no_more_dialogue(),
            },
        }
    }
}

/// Without the dialogue among the methods, clients do not come back to it.
fn no_more_dialogue() -> Auth {
    let methods = MethodSet::from(&[MethodKind::PublicKey][..]);
    Auth::Reject { proceed_with_methods: Some(methods), partial_success: false }
}

/// Why somebody who was approved is not let in, as terminals have it.
const fn why(error: NotBound) -> &'static str {
    match error {
        NotBound::NotApproved => "the approval is over",
        NotBound::SomebodyElses => "the key is somebody else's",
        NotBound::NoStanding => "the approver's login no longer counts",
        NotBound::Away => "the database does not answer",
    }
}
