//! The beginning of a session: the policy's answer and the first row, in one write, before anything is opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::clock::within;
use super::errors::OpenError;
use super::session::Session;
use super::sessions::Live;
use super::standing::Question;
use super::want::{Connection, printable};
use super::{Gateway, Inner};
use crate::domain::access::{Action, Because};
use crate::domain::audit::AuditEvent;
use crate::domain::ending::EndReason;
use crate::domain::ids::{AuditId, SessionId, UserId};
use crate::domain::record::{Change, Mode, SessionStart};
use crate::domain::space::Space;
use crate::domain::user::User;

/// The longest that the first row may take; after it, Postgres counts as away.
const RECORD_LIMIT: Duration = Duration::from_secs(10);

impl Gateway {
    /// Begins a session: decides, writes its row, and registers it for ending.
    ///
    /// # Errors
    /// When the policy says no, Postgres is away, or the gateway drains.
    pub async fn begin(
        &self,
        user: &Arc<User>,
        space: &Space,
        mode: Mode,
        connection: &Connection,
    ) -> Result<Session, OpenError> {
        if !self.accepting() {
            return Err(OpenError::Draining);
        }
        let id = SessionId::generate();
        let action = match mode {
            Mode::Session => Action::Open,
            Mode::Jump => Action::Jump,
        };
        let question = Question { user, space, action, session: Some(id), connection: Some(connection.id) };
        let (answer, event) = self.inner.standing.ask(&question);
        if let Err(because) = answer {
            // No session row will exist for the audit row to belong to.
            let audit = self.inner.journal.audit(AuditEvent { session: None, ..event }).await;
            return Err(OpenError::Denied { because, audit });
        }
        let (_, audit) = self.inner.journal.row(event);
        let start = self.first_row(id, user, space, mode, connection);
        let (gateway, user) = (self.clone(), user.id);
        let (space, connection) = (space.clone(), connection.clone());
        // A task of its own: a client that leaves meanwhile must not leave a session without an end on record.
        let begun = self.inner.tracker.spawn(async move {
            gateway.write_first(start, audit).await?;
            gateway.enter(id, user, space, mode, connection).await
        });
        begun.await.unwrap_or(Err(OpenError::Draining))
    }

    async fn write_first(&self, start: SessionStart, audit: Change) -> Result<(), OpenError> {
        let written = self.inner.recorder.begin(start, audit);
        match within(&*self.inner.clock, RECORD_LIMIT, written).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => {
                warn!("no session: Postgres is away");
                Err(OpenError::RecordAway)
            }
        }
    }

    async fn enter(
        &self,
        id: SessionId,
        user: UserId,
        space: Space,
        mode: Mode,
        connection: Connection,
    ) -> Result<Session, OpenError> {
        info!(session.id = %id, connection.id = %connection.id, space.name = %space.name(), mode = mode.as_str(), "session begins");
        let notice = self.inner.notice.borrow().clone();
        let live = self.inner.sessions.enter(id, user, space, mode, connection, notice);
        if self.accepting() {
            return Ok(Session::new(Arc::clone(&self.inner), live));
        }
        // A drain began meanwhile, and may have counted the sessions already.
        live.close(EndReason::NotOpened(OpenError::Draining.code())).await;
        Err(OpenError::Draining)
    }

    fn first_row(
        &self,
        id: SessionId,
        user: &User,
        space: &Space,
        mode: Mode,
        connection: &Connection,
    ) -> SessionStart {
        SessionStart {
            session: id.uuid(),
            replica: self.inner.journal.replica().uuid(),
            user: user.id.uuid(),
            space: space.id.uuid(),
            connection: connection.id.uuid(),
            mode,
            client_address: connection.address,
            client_version: printable(&connection.client_version),
            key_fingerprint: connection.key_fingerprint.clone(),
            at: connection.authenticated_at,
        }
    }

    /// Writes the audit row of a refusal that happened outside: an unknown key, a malformed name.
    pub async fn audit(&self, event: AuditEvent) -> AuditId {
        self.inner.journal.audit(event).await
    }

    /// Whether new connections are taken.
    #[must_use]
    pub fn accepting(&self) -> bool {
        !self.inner.draining.load(Ordering::Acquire) && !self.inner.stop.is_cancelled()
    }
}

impl Inner {
    /// Writes down that somebody who was in may no longer.
    pub(super) async fn audit_lost_right(&self, live: &Live, action: Action, because: &Because) -> AuditId {
        let event = match self.standing.user(live.user) {
            Some(user) => AuditEvent::decided((user.id, &user.name), live.space.id, action, false, because),
            None => AuditEvent {
                space: Some(live.space.id),
                ..AuditEvent::refused(
                    None,
                    &live.user.to_string(),
                    "access.denied",
                    serde_json::json!({ "action": action.to_string(), "because": because.to_string() }),
                )
            },
        };
        self.journal.audit(event.within(Some(live.id), Some(live.connection.id))).await
    }
}
