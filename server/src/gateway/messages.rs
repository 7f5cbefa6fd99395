//! Messages of admins, shown in the terminals of a session of this replica.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tracing::{info, warn};

use super::Gateway;
use super::sessions::Live;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::MessageId;
use crate::domain::ports::Clock;
use crate::store::messages::TakenMessage;

/// Messages that may wait for a terminal that shows nothing: more than a session gets in a minute.
pub(super) const WAITING: usize = 16;
/// How long terminals may take to show a message before those that have are counted.
const SHOWING: Duration = Duration::from_secs(2);

/// A message that a terminal is to show.
#[derive(Debug)]
pub struct Said {
    /// Who wrote it.
    pub by: String,
    /// What.
    pub text: String,
    /// How many terminals have shown it.
    shown: watch::Sender<u32>,
}

impl Said {
    /// A terminal has shown it.
    pub fn shown(&self) {
        self.shown.send_modify(|terminals| *terminals += 1);
    }
}

/// What is said to one terminal. While there is one, the terminal counts.
pub struct Ear(broadcast::Receiver<Arc<Said>>);

impl Ear {
    /// The next message; nothing once the session is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Said>> {
        loop {
            match self.0.recv().await {
                Ok(said) => return Some(said),
                // It showed nothing for so long that the oldest are gone; nobody was told that they were shown.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Live {
    /// Listens for a terminal.
    pub(super) fn ear(&self) -> Ear {
        Ear(self.said.subscribe())
    }

    /// Has every terminal show something. Answers how many have, and how many more are to.
    async fn say(&self, message: TakenMessage, clock: &dyn Clock) -> (u32, u32) {
        let (shown, mut count) = watch::channel(0);
        let said = Arc::new(Said { by: message.by, text: message.text, shown });
        let terminals = self.said.send(said).unwrap_or(0);
        let terminals = u32::try_from(terminals).unwrap_or(u32::MAX);
        tokio::select! {
            _ = count.wait_for(|shown| *shown >= terminals) => {}
            () = clock.sleep(SHOWING) => {}
        }
        let shown = *count.borrow();
        (shown, terminals.saturating_sub(shown))
    }
}

impl Gateway {
    /// Shows a message, if it is still to be had, and answers in how many terminals.
    pub(super) async fn show_message(&self, id: MessageId) {
        let (store, journal) = (&self.inner.store, &self.inner.journal);
        let taken = match store.take_message(id, journal.replica()).await {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(error) => {
                warn!(error = error.detail(), "a message was not taken");
                return;
            }
        };
        let (session, by, text) = (taken.session, taken.by.clone(), taken.text.clone());
        let live = self.inner.sessions.get(session);
        let (shown, waiting) = match &live {
            Some(live) => live.say(taken, &*self.inner.clock).await,
            None => (0, 0),
        };
        info!(session.id = %session, by, terminals = shown, waiting, "an admin writes to a session");
        let event = AuditEvent::messaged(&by, session, &text, (shown, waiting));
        let event = match &live {
            Some(live) => {
                AuditEvent { space: Some(live.space.id), ..event }.within(None, Some(live.connection.id))
            }
            None => event,
        };
        // On record first: the record outlives an outage of Postgres, the answer need not.
        journal.audit(event).await;
        if let Err(error) = store.answer_message(id, shown, waiting).await {
            warn!(error = error.detail(), "whoever sent a message is not told that it was shown");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{SessionId, UserId};
    use crate::domain::record::Mode;
    use crate::gateway::fakes::{self, PausedClock};

    fn message(text: &str) -> TakenMessage {
        TakenMessage { session: SessionId::generate(), by: "ada".to_owned(), text: text.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_show_it_are_counted_and_one_that_takes_nothing_holds_nobody_up_for_long() {
        let clock = PausedClock::start();
        let (journal, _) = fakes::journal(&clock);
        let sessions = fakes::sessions(journal, &clock);
        let (id, user, space) =
            (SessionId::generate(), UserId::generate(), fakes::space("lab", "own", "alice"));
        let live = sessions.enter(id, user, space, Mode::Session, fakes::connection(), None);
        assert_eq!(live.say(message("nobody is there"), &clock).await, (0, 0));
        assert_eq!(clock.elapsed(), Duration::ZERO, "nobody is waited for");

        let (mut first, mut stuck) = (live.ear(), live.ear());
        let reading = async {
            let said = first.next().await.unwrap();
            assert_eq!((said.by.as_str(), said.text.as_str()), ("ada", "hello"));
            said.shown();
            std::future::pending::<()>().await;
        };
        let counted = tokio::select! {
            counted = live.say(message("hello"), &clock) => counted,
            () = reading => unreachable!("it goes on"),
        };
        assert_eq!((counted, clock.elapsed()), ((1, 1), SHOWING));
        assert_eq!(stuck.next().await.unwrap().text, "hello", "it has it once it takes something");
        for n in 0..=WAITING {
            live.said
                .send(Arc::new(Said { by: String::new(), text: n.to_string(), shown: watch::Sender::new(0) }))
                .unwrap();
        }
        assert_eq!(stuck.next().await.unwrap().text, "1", "what waited for too long is gone");
        drop((first, stuck));
        assert_eq!(live.say(message("they have left"), &clock).await, (0, 0));
    }
}
