//! Draining: nobody new, everybody told, and the rest ended at the deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::info;

use super::Gateway;
use super::clock::within;
use super::sessions::{GOODBYE, Sessions};
use super::want::Notice;
use crate::domain::ending::EndReason;
use crate::domain::ports::Clock;
use crate::telemetry::metrics as names;

/// When everybody is told for the last time.
const LAST_WORD: Duration = Duration::from_secs(60);
/// How long rows may take to be written once everything has ended.
const WRITING: Duration = Duration::from_secs(10);

impl Gateway {
    /// Takes nobody new, tells every session when it ends, and ends what is left after `grace`. Returns once all is
    /// closed and written, for which it takes at most half a minute more.
    pub async fn drain(&self, grace: Duration) {
        let inner = &self.inner;
        inner.draining.store(true, Ordering::Release);
        metrics::gauge!(names::DRAINING).set(1);
        let deadline = inner.clock.now() + grace;
        info!(sessions = inner.sessions.all().len(), grace_s = grace.as_secs(), "draining");
        let tell = |notice: Notice| {
            inner.notice.send_replace(Some(notice.clone()));
            notice
        };
        let first = tell(Notice::Draining(deadline));
        wind_down(&inner.sessions, &*inner.clock, grace, first, || tell(Notice::LastMinute)).await;
        inner.links.close_all().await;
        let _ = within(&*inner.clock, WRITING, inner.journal.settled()).await;
        info!("drained");
    }
}

/// Tells, waits, tells again, waits, ends.
async fn wind_down(
    sessions: &Sessions,
    clock: &dyn Clock,
    grace: Duration,
    first: Notice,
    last: impl Fn() -> Notice,
) {
    tell_all(sessions, &first);
    let until_last_word = grace.saturating_sub(LAST_WORD);
    if within(clock, until_last_word, sessions.empty()).await.is_some() {
        return;
    }
    if grace > LAST_WORD {
        tell_all(sessions, &last());
    }
    if within(clock, grace - until_last_word, sessions.empty()).await.is_some() {
        return;
    }
    for live in sessions.all() {
        live.end(EndReason::Drained);
    }
    // After its goodbye each is cut and written; twice that is for a slow Postgres.
    let _ = within(clock, GOODBYE * 2, sessions.empty()).await;
}

fn tell_all(sessions: &Sessions, notice: &Notice) {
    for live in sessions.all() {
        live.notices.send_replace(Some(notice.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::ids::{SessionId, UserId};
    use crate::domain::record::{Change, Mode};
    use crate::gateway::fakes::{self, PausedClock, Written};
    use crate::gateway::lock::lock;
    use crate::gateway::sessions::Live;

    const GRACE: Duration = Duration::from_secs(300);

    fn scene() -> (Sessions, Arc<Live>, PausedClock, Written) {
        let clock = PausedClock::start();
        let (journal, written) = fakes::journal(&clock);
        let sessions = fakes::sessions(journal, &clock);
        let space = fakes::space("lab", "own", "alice");
        let (id, user) = (SessionId::generate(), UserId::generate());
        let live = sessions.enter(id, user, space, Mode::Session, fakes::connection(), None);
        (sessions, live, clock, written)
    }

    fn codes(written: &Written) -> Vec<String> {
        let of_end = |change: &Change| match change {
            Change::SessionEnded { code, .. } => Some(code.clone()),
            _ => None,
        };
        lock(written).iter().filter_map(of_end).collect()
    }

    async fn drain(sessions: &Sessions, clock: &PausedClock) {
        let first = Notice::Draining(clock.now() + GRACE);
        wind_down(sessions, clock, GRACE, first, || Notice::LastMinute).await;
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_told_twice_and_ended_at_the_deadline() {
        let (sessions, live, clock, written) = scene();
        let told = Mutex::new(Vec::new());
        let mut notices = live.notices.subscribe();
        let listening = async {
            while notices.changed().await.is_ok() {
                lock(&told).push((clock.elapsed().as_secs(), notices.borrow_and_update().clone()));
            }
        };
        let ending = async {
            assert_eq!(live.ended().await, EndReason::Drained);
            assert_eq!(clock.elapsed(), GRACE);
            live.close(EndReason::ClientLeft).await;
        };
        let deadline = clock.now() + GRACE;
        tokio::select! {
            _ = async { tokio::join!(drain(&sessions, &clock), ending) } => {}
            () = listening => {}
        }
        let expected = [(0, Some(Notice::Draining(deadline))), (240, Some(Notice::LastMinute))];
        assert_eq!(*lock(&told), expected);
        assert_eq!(codes(&written), ["drained"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_when_everybody_has_left() {
        let (sessions, live, clock, written) = scene();
        let leave = async {
            clock.sleep(Duration::from_secs(20)).await;
            live.close(EndReason::ClientLeft).await;
        };
        tokio::join!(drain(&sessions, &clock), leave);
        assert_eq!(clock.elapsed().as_secs(), 20);
        assert_eq!(codes(&written), ["client_left"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_heed_its_end_is_cut() {
        let (sessions, live, clock, written) = scene();
        drain(&sessions, &clock).await;
        assert!(live.cut.is_cancelled());
        assert_eq!(clock.elapsed(), GRACE + GOODBYE);
        assert_eq!(codes(&written), ["drained"]);
    }
}
