//! From an audit event to the change that writes its row. Looking for rows is in [`search`].

pub mod search;

use time::OffsetDateTime;

use super::apply::apply;
use super::{Store, StoreError};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{AuditId, ConnectionId, ReplicaId, SessionId, SpaceId, UserId};
use crate::domain::record::Change;

/// The change that writes an event's row, with the id, time and replica that it lacks.
#[must_use]
pub fn audit_change(id: AuditId, at: OffsetDateTime, replica: ReplicaId, event: AuditEvent) -> Change {
    Change::Audit {
        audit: id.uuid(),
        at,
        replica: replica.uuid(),
        actor: event.actor.map(UserId::uuid),
        actor_name: event.actor_name,
        space: event.space.map(SpaceId::uuid),
        session: event.session.map(SessionId::uuid),
        connection: event.connection.map(ConnectionId::uuid),
        kind: event.kind.to_owned(),
        allowed: event.allowed,
        detail: event.detail,
    }
}

impl Store {
    /// Writes one audit row outside of any session, as commands of operators do.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn write_audit(&self, change: &Change) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        apply(&mut connection, change).await?;
        Ok(())
    }
}
