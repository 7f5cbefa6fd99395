//! What other replicas and admins have to say: ends that are asked for, messages, and what becomes of spaces.

use std::sync::Arc;

use tracing::info;

use super::Gateway;
use super::sessions::Sessions;
use crate::domain::ending::EndReason;
use crate::domain::space_news::SpaceNotice;
use crate::store::control::{Control, EndWish};

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
            Control::EndSession(EndWish { session, by, reason }) => {
                if let Some(live) = self.inner.sessions.get(session) {
                    info!(session.id = %session, by = %by, "an admin ends a session");
                    live.end(EndReason::EndedByAdmin { by, reason });
                }
            }
            Control::ShowMessage(id) => {
                let gateway = self.clone();
                self.inner.tracker.spawn(async move { gateway.show_message(id).await });
            }
            Control::Space(notice) => tell_space(&self.inner.sessions, &notice),
        }
    }
}

/// Hands news to every session in a space. Whoever is slow to read it finds the newest only.
fn tell_space(sessions: &Sessions, notice: &SpaceNotice) {
    let there = sessions.all().into_iter().filter(|live| live.space.id == notice.space());
    for live in there {
        live.news.send_replace(Some(notice.news.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::idle::{Calm, Trigger};
    use crate::domain::ids::{SessionId, UserId};
    use crate::domain::record::Mode;
    use crate::domain::space_news::SpaceNews;
    use crate::gateway::fakes::{self, PausedClock};

    #[tokio::test(start_paused = true)]
    async fn only_those_in_the_space_are_told_and_who_does_not_read_holds_nobody_up() {
        let clock = PausedClock::start();
        let (journal, _written) = fakes::journal(&clock);
        let sessions = fakes::sessions(journal, &clock);
        let (lab, other) = (fakes::space("lab", "own", "alice"), fakes::space("other", "own", "alice"));
        let enter = |space: &crate::domain::space::Space| {
            let (id, user) = (SessionId::generate(), UserId::generate());
            sessions.enter(id, user, space.clone(), Mode::Session, fakes::connection(), None)
        };
        let (first, second, elsewhere) = (enter(&lab), enter(&lab), enter(&other));
        let mut reads = first.news.subscribe();
        let newest = SpaceNews::Stopping(Trigger::Person { by: "bo".to_owned() });
        for news in [SpaceNews::StaysUp(Calm::Policy), newest.clone()] {
            tell_space(&sessions, &SpaceNotice::new(lab.id, news));
        }
        assert!(reads.has_changed().unwrap());
        assert_eq!(reads.borrow_and_update().as_ref(), Some(&newest));
        assert!(!reads.has_changed().unwrap(), "what it missed is gone");
        assert_eq!(second.news.borrow().as_ref(), Some(&newest));
        assert_eq!(elsewhere.news.borrow().as_ref(), None);
    }
}
