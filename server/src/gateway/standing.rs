//! The policy as it stands now: what is decided, about whom, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::journal::Journal;
use crate::domain::access::{self, AccessPolicy, Action, Authorized, Because};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{AuditId, ConnectionId, SessionId, UserId};
use crate::domain::space::Space;
use crate::domain::user::{Standing as Vouched, User, Users};

/// The access policy and the people it is about, both as of now.
#[derive(Clone)]
pub(super) struct Standing {
    policy: watch::Receiver<Arc<AccessPolicy>>,
    users: watch::Receiver<Arc<Users>>,
    journal: Journal,
}

/// A question to the policy, with what its audit row is tied to.
pub(super) struct Question<'a> {
    pub(super) user: &'a User,
    pub(super) space: &'a Space,
    pub(super) action: Action,
    pub(super) session: Option<SessionId>,
    pub(super) connection: Option<ConnectionId>,
}

impl Standing {
    pub(super) const fn new(
        policy: watch::Receiver<Arc<AccessPolicy>>,
        users: watch::Receiver<Arc<Users>>,
        journal: Journal,
    ) -> Self {
        Self { policy, users, journal }
    }

    pub(super) fn policy(&self) -> Arc<AccessPolicy> {
        Arc::clone(&self.policy.borrow())
    }

    /// The user as known now; their name and groups may have changed since they came.
    pub(super) fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.users.borrow().get(&id).cloned()
    }

    /// Asks again about somebody who came in earlier. Nothing is written.
    pub(super) fn still(
        &self,
        user: UserId,
        space: &Space,
        action: Action,
    ) -> Result<(Arc<User>, Authorized), Because> {
        let user = self.user(user).ok_or(Because::NoLongerAUser)?;
        let yes = access::authorize(&self.policy(), &user, space, action, self.journal.now())?;
        Ok((user, yes))
    }

    /// Asks, and answers with the audit row that says so, not yet written.
    pub(super) fn ask(&self, question: &Question<'_>) -> (Result<Authorized, Because>, AuditEvent) {
        let Question { user, space, action, session, connection } = question;
        let answer = access::authorize(&self.policy(), user, space, *action, self.journal.now());
        let because = match &answer {
            Ok(yes) => yes.because(),
            Err(because) => because,
        };
        let event = AuditEvent::decided((user.id, &user.name), space.id, *action, answer.is_ok(), because)
            .within(*session, *connection);
        (answer, event)
    }

    /// Asks, and writes the answer down.
    pub(super) async fn decide(
        &self,
        question: Question<'_>,
    ) -> Result<(Authorized, AuditId), (Because, AuditId)> {
        let (answer, event) = self.ask(&question);
        let audit = self.journal.audit(event).await;
        match answer {
            Ok(yes) => Ok((yes, audit)),
            Err(because) => Err((because, audit)),
        }
    }

    /// How long it is until the next right of anybody runs out by time alone.
    pub(super) fn next_lapse(&self) -> Option<Duration> {
        let (policy, users, now) = (self.policy(), self.users.borrow(), self.journal.now());
        let held = users.values().flat_map(|user| user.grants.iter().map(|held| held.grant.until));
        let listed = policy.grants.iter().map(|listed| listed.grant.until);
        let logins = users.values().filter_map(|user| match user.standing {
            Vouched::Until(until) => Some(until),
            Vouched::Configured | Vouched::Withdrawn { .. } => None,
        });
        let next = held.chain(listed).chain(logins).filter(|until| now < *until).min()?;
        Some((next - now).unsigned_abs())
    }

    /// Completes when the policy or a person changed since this was called last on this copy. Never, once their
    /// owners are gone: then the timer is what is left.
    pub(super) async fn changed(&mut self) {
        let (policy, users) = (&mut self.policy, &mut self.users);
        let policy = async {
            if policy.changed().await.is_err() {
                std::future::pending::<()>().await
            }
        };
        let users = async {
            if users.changed().await.is_err() {
                std::future::pending::<()>().await
            }
        };
        tokio::select! { () = policy => {}, () = users => {} }
    }
}
