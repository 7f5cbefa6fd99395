//! What the gateway writes down: changes of the record, each with its time and replica.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

use crate::domain::audit::AuditEvent;
use crate::domain::ids::{AuditId, ReplicaId};
use crate::domain::ports::Clock;
use crate::domain::record::Change;
use crate::store::record::Recorder;

/// Takes changes and returns once they are safe.
type Sink = Arc<dyn Fn(Vec<Change>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The way to the record. Cheap to clone.
#[derive(Clone)]
pub(super) struct Journal {
    replica: ReplicaId,
    clock: Arc<dyn Clock>,
    sink: Sink,
    /// The process's tasks.
    tracker: TaskTracker,
    /// Of them, the writes that nobody waits for, because their cause was dropped. A drain waits for these.
    writes: TaskTracker,
}

impl Journal {
    pub(super) fn new(
        replica: ReplicaId,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        tracker: TaskTracker,
    ) -> Self {
        let sink: Sink = Arc::new(move |changes| {
            let recorder = recorder.clone();
            Box::pin(async move { recorder.record(changes).await })
        });
        Self { replica, clock, sink, tracker, writes: TaskTracker::new() }
    }

    #[cfg(test)]
    pub(super) fn into(sink: Sink, clock: Arc<dyn Clock>) -> Self {
        let (replica, tracker) = (ReplicaId::generate(), TaskTracker::new());
        Self { replica, clock, sink, tracker, writes: TaskTracker::new() }
    }

    pub(super) const fn replica(&self) -> ReplicaId {
        self.replica
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// An audit row, not yet written.
    pub(super) fn row(&self, event: AuditEvent) -> (AuditId, Change) {
        let audit = AuditId::generate();
        let change = Change::Audit {
            audit: audit.uuid(),
            at: self.now(),
            replica: self.replica.uuid(),
            actor: event.actor.map(|id| id.uuid()),
            actor_name: event.actor_name,
            space: event.space.map(|id| id.uuid()),
            session: event.session.map(|id| id.uuid()),
            connection: event.connection.map(|id| id.uuid()),
            kind: event.kind.to_owned(),
            allowed: event.allowed,
            detail: event.detail,
        };
        (audit, change)
    }

    /// Writes an audit row.
    pub(super) async fn audit(&self, event: AuditEvent) -> AuditId {
        let (audit, change) = self.row(event);
        self.record(vec![change]).await;
        audit
    }

    /// Writes changes, in order.
    pub(super) async fn record(&self, changes: Vec<Change>) {
        (self.sink)(changes).await;
    }

    /// Does work that writes, from where nothing can be waited for: a `Drop`.
    pub(super) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.writes.track_future(work));
    }

    /// Waits for the writes that nobody waits for.
    pub(super) async fn settled(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}
