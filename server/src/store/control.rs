//! Messages between replicas, by `NOTIFY`.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ids::{MessageId, ReplicaId, SessionId, UserName};
use crate::domain::ports::Clock;
use crate::domain::space_news::SpaceNotice;

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
    EndSession(EndWish),
    /// Show this message in the terminals of its session, if it is still to be had.
    ShowMessage(MessageId),
    /// Tell whoever is in a space.
    Space(SpaceNotice),
}

/// A session that somebody wants ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndWish {
    /// Which.
    pub session: SessionId,
    /// Who asked.
    pub by: UserName,
    /// Why, in their words.
    pub reason: String,
}

impl EndWish {
    /// From a row or a message; nothing if the name is none that this release takes.
    pub(super) fn read(session: Uuid, by: &str, reason: String) -> Option<Self> {
        Some(Self { session: session.into(), by: by.parse().ok()?, reason })
    }
}

/// What a notification carries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub(super) enum Message {
    /// To the replica that serves the session.
    EndSession { replica: Uuid, session: Uuid, by: String, reason: String },
    /// To the replica that serves the session: its terminals have a message to show.
    Show { replica: Uuid, message: Uuid },
    /// To all of them.
    Space(SpaceNotice),
}

impl Message {
    pub(super) fn payload(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl Store {
    /// Tells every replica what becomes of a space. It is said once: a replica that does not listen at the moment does
    /// not hear it.
    ///
    /// # Errors
    /// When it could not be said.
    pub async fn tell_of_space(&self, notice: SpaceNotice) -> Result<(), StoreError> {
        let payload = Message::Space(notice).payload();
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, payload).execute(&self.pool).await?;
        Ok(())
    }

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
    /// Found but not handed out; of ends and of messages no more than this replica's sessions may have, and one.
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
        let Some(listener) = &mut self.listener else { return self.connect().await };
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

    /// Begins to listen, and looks up what was asked before.
    pub(super) async fn connect(&mut self) -> Result<(), StoreError> {
        let mut listener = PgListener::connect_with(&self.store.pool).await?;
        // Reconnecting is done here, so that nothing asked in between is missed.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        self.sweep().await?;
        self.listener = Some(listener);
        info!("listening for control messages");
        Ok(())
    }

    /// Looks up what is asked of this replica and has not been handed out.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let pending = self.store.pending_ends(self.replica).await?;
        let asked: HashSet<SessionId> = pending.iter().map(|wish| wish.session).collect();
        self.told.retain(|session| asked.contains(session));
        for wish in pending {
            self.end(wish);
        }
        // Whoever is second to take one finds it taken.
        let messages = self.store.pending_messages(self.replica).await?;
        self.queue.extend(messages.into_iter().map(Control::ShowMessage));
        Ok(())
    }

    fn take(&mut self, payload: &str) {
        match serde_json::from_str(payload) {
            Ok(Message::EndSession { replica, session, by, reason }) => {
                if replica == self.replica.uuid()
                    && let Some(wish) = EndWish::read(session, &by, reason)
                {
                    self.end(wish);
                }
            }
            Ok(Message::Show { replica, message }) => {
                if replica == self.replica.uuid() {
                    self.queue.push_back(Control::ShowMessage(message.into()));
                }
            }
            Ok(Message::Space(notice)) => self.queue.push_back(Control::Space(notice)),
            Err(error) => debug!(%error, "a control message that this release does not know"),
        }
    }

    fn end(&mut self, wish: EndWish) {
        if self.told.insert(wish.session) {
            self.queue.push_back(Control::EndSession(wish));
        }
    }
}
