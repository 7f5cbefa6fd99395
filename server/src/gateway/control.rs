//! Ends that admins ask for, from any replica.

use std::sync::Arc;

use tracing::info;

use super::Gateway;
use crate::domain::ending::EndReason;
use crate::store::control::Control;

impl Gateway {
    /// Listens to the store's messages, until the stop token is cancelled.
    pub(super) async fn run_control(&self) {
        let (replica, clock) = (self.inner.journal.replica(), Arc::clone(&self.inner.clock));
        let mut controls = self.inner.store.listen(replica, clock);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                control = controls.next() => self.obey(control),
            }
        }
    }

    fn obey(&self, control: Control) {
        match control {
            Control::EndSession { session, by, reason } => {
                if let Some(live) = self.inner.sessions.get(session) {
                    info!(session.id = %session, by = %by, "an admin ends a session");
                    live.end(EndReason::EndedByAdmin { by, reason });
                }
            }
        }
    }
}
