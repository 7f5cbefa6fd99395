//! Messages between replicas, by `NOTIFY`.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ids::{ReplicaId, SessionId, UserName};
use crate::domain::ports::Clock;

/// The channel that all replicas listen on.
pub(super) const CHANNEL: &str = "spaceport_control";
/// How often requests are looked up even though no message came: a connection can die without a word.
const SWEEP: Duration = Duration::from_secs(30);
/// The first pause after a lost connection; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A message to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// End this session.
    EndSession {
        /// Which.
        session: SessionId,
        /// Who asked.
        by: UserName,
        /// Why, in their words.
        reason: String,
    },
}

impl Control {
    /// From a row or a message; nothing if the name is none that this release takes.
    pub(super) fn end_session(session: Uuid, by: &str, reason: String) -> Option<Self> {
        Some(Self::EndSession { session: session.into(), by: by.parse().ok()?, reason })
    }
}

/// What a notification carries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub(super) enum Message {
    /// To the replica that serves the session.
    EndSession { replica: Uuid, session: Uuid, by: String, reason: String },
}

impl Message {
    pub(super) fn payload(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl Store {
    /// Listens for messages to a replica.
    #[must_use]
    pub fn listen(&self, replica: ReplicaId, clock: Arc<dyn Clock>) -> Controls {
        Controls {
            store: self.clone(),
            replica,
            clock,
            listener: None,
            queue: VecDeque::new(),
            told: HashSet::new(),
            pause: FIRST_PAUSE,
        }
    }
}

/// The messages to one replica. Connects by itself, again and again, and after each connecting looks up what was
/// asked meanwhile.
pub struct Controls {
    store: Store,
    replica: ReplicaId,
    clock: Arc<dyn Clock>,
    listener: Option<PgListener>,
    /// Found but not handed out; no longer than this replica's sessions are many.
    queue: VecDeque<Control>,
    /// Sessions whose end has been handed out and that have not ended.
    told: HashSet<SessionId>,
    pause: Duration,
}

impl Controls {
    /// The next message; never ends. Dropped halfway, it loses no message, but begins to connect anew: keep it
    /// waiting rather than call it in turns with something frequent.
    pub async fn next(&mut self) -> Control {
        loop {
            if let Some(control) = self.queue.pop_front() {
                return control;
            }
            match self.wait().await {
                Ok(()) => self.pause = FIRST_PAUSE,
                Err(error) => {
                    if self.listener.take().is_some() || self.pause == FIRST_PAUSE {
                        warn!(error = &error as &dyn std::error::Error, "not listening for control messages");
                    }
                    let pause = self.pause;
                    self.pause = LONGEST_PAUSE.min(pause * 2);
                    self.clock.sleep(pause).await;
                }
            }
        }
    }

    /// Connects if need be, then waits for a message or until it is time to look for missed ones.
    async fn wait(&mut self) -> Result<(), StoreError> {
        let Some(listener) = &mut self.listener else {
            let mut listener = PgListener::connect_with(&self.store.pool).await?;
            // Reconnecting is done here, so that nothing asked in between is missed.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            self.sweep().await?;
            self.listener = Some(listener);
            info!("listening for control messages");
            return Ok(());
        };
        let received = tokio::select! {
            received = listener.try_recv() => received?,
            () = self.clock.sleep(SWEEP) => return self.sweep().await,
        };
        match received {
            Some(notification) => self.take(notification.payload()),
            None => self.listener = None,
        }
        Ok(())
    }

    /// Looks up what is asked of this replica and has not been handed out.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let pending = self.store.pending_ends(self.replica).await?;
        let asked: HashSet<SessionId> =
            pending.iter().map(|Control::EndSession { session, .. }| *session).collect();
        self.told.retain(|session| asked.contains(session));
        for control in pending {
            self.hand_out(control);
        }
        Ok(())
    }

    fn take(&mut self, payload: &str) {
        match serde_json::from_str(payload) {
            Ok(Message::EndSession { replica, session, by, reason }) => {
                if replica == self.replica.uuid()
                    && let Some(control) = Control::end_session(session, &by, reason)
                {
                    self.hand_out(control);
                }
            }
            Err(error) => debug!(%error, "a control message that this release does not know"),
        }
    }

    fn hand_out(&mut self, control: Control) {
        let Control::EndSession { session, .. } = &control;
        if self.told.insert(*session) {
            self.queue.push_back(control);
        }
    }
}
