//! The live sessions of this replica: what each is, how it ends, and the row of its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{OnceCell, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::activity::{Activity, Track};
use super::journal::Journal;
use super::lock::lock;
use super::messages::{self, Said};
use super::want::{Connection, Incoming, Notice};
use crate::domain::access::Action;
use crate::domain::ending::EndReason;
use crate::domain::ids::{AuditId, SessionId, UserId};
use crate::domain::ports::Clock;
use crate::domain::record::{Change, Mode};
use crate::domain::space::Space;
use crate::domain::space_news::SpaceNews;
use crate::telemetry::metrics as names;

/// Channels that the space opened and that the client has not taken yet. Each is a task of `ssh`; a burst of a
/// browser's connections through `-R` fits.
const INCOMING: usize = 32;

/// How long a session that was ended may take to say goodbye to its client before its channels are cut.
pub(super) const GOODBYE: Duration = Duration::from_secs(10);

/// A live session: what its handle, its channels and the gateway share.
pub(super) struct Live {
    pub(super) id: SessionId,
    pub(super) user: UserId,
    pub(super) space: Space,
    pub(super) mode: Mode,
    pub(super) connection: Connection,
    /// Where signs of the person at work are kept.
    pub(super) track: Arc<Track>,
    /// Cancelled once its channels must end.
    pub(super) cut: CancellationToken,
    pub(super) notices: watch::Sender<Option<Notice>>,
    /// What becomes of its space.
    pub(super) news: watch::Sender<Option<SpaceNews>>,
    /// What admins write to its terminals.
    pub(super) said: broadcast::Sender<Arc<Said>>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// Streams of jumps.
    jumps: AtomicUsize,
    incoming_taken: Mutex<Option<mpsc::Receiver<Incoming>>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    bytes_written: AtomicU64,
    end: watch::Sender<Option<End>>,
    reached: Mutex<Reached>,
    /// The audit row of the end, fixed so that writing the end twice is writing it once.
    end_audit: AuditId,
    end_written: OnceCell<()>,
    sessions: Sessions,
}

/// Whether a session ever got into its space: a client that leaves because it did not has not just left.
#[derive(Debug, Clone, Copy, Default)]
enum Reached {
    /// Nothing was tried yet.
    #[default]
    Untried,
    /// A channel was open once.
    Open,
    /// Nothing ever opened; the kind of the last refusal.
    Refused(&'static str),
}

/// How and when a session ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) reason: EndReason,
    at: OffsetDateTime,
}

/// All live sessions of this replica. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sessions {
    live: Arc<Mutex<HashMap<SessionId, Arc<Live>>>>,
    count: Arc<watch::Sender<usize>>,
    journal: Journal,
    activity: Activity,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    pub(super) fn new(journal: Journal, activity: Activity, clock: Arc<dyn Clock>) -> Self {
        let count = Arc::new(watch::Sender::new(0));
        Self { live: Arc::default(), count, journal, activity, clock }
    }

    /// Registers a session whose first row is written.
    pub(super) fn enter(
        &self,
        id: SessionId,
        user: UserId,
        space: Space,
        mode: Mode,
        connection: Connection,
        notice: Option<Notice>,
    ) -> Arc<Live> {
        let (incoming, waiting) = mpsc::channel(INCOMING);
        let track = self.activity.track(space.id, user);
        let live = Arc::new(Live {
            id,
            user,
            space,
            mode,
            connection,
            track,
            cut: CancellationToken::new(),
            notices: watch::Sender::new(notice),
            news: watch::Sender::new(None),
            said: broadcast::Sender::new(messages::WAITING),
            incoming,
            jumps: AtomicUsize::new(0),
            incoming_taken: Mutex::new(Some(waiting)),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            end: watch::Sender::new(None),
            reached: Mutex::default(),
            end_audit: AuditId::generate(),
            end_written: OnceCell::new(),
            sessions: self.clone(),
        });
        metrics::gauge!(names::SESSIONS, "mode" => mode.as_str()).increment(1);
        let mut all = lock(&self.live);
        all.insert(id, Arc::clone(&live));
        self.count.send_replace(all.len());
        drop(all);
        live
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Live>> {
        lock(&self.live).get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        lock(&self.live).values().cloned().collect()
    }

    /// Completes when no session is live.
    pub(super) async fn empty(&self) {
        // The sender lives in `self`: it cannot go while this waits.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn leave(&self, id: SessionId) {
        let mut all = lock(&self.live);
        if let Some(live) = all.remove(&id) {
            metrics::gauge!(names::SESSIONS, "mode" => live.mode.as_str()).decrement(1);
        }
        self.count.send_replace(all.len());
    }
}

impl Live {
    /// A jump's stream is open.
    pub(super) fn jump_begins(&self) {
        self.jumps.fetch_add(1, Ordering::Relaxed);
    }

    /// A jump's stream is over. Answers whether it was the last.
    pub(super) fn jump_ends(&self) -> bool {
        self.jumps.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// The action that the policy is asked about for as long as it lives.
    pub(super) const fn action(&self) -> Action {
        match self.mode {
            Mode::Session => Action::Open,
            Mode::Jump => Action::Jump,
        }
    }

    /// A channel opened, or was refused for this kind of reason.
    pub(super) fn tried(&self, refused: Option<&'static str>) {
        let mut reached = lock(&self.reached);
        match (*reached, refused) {
            (Reached::Open, _) => {}
            (_, None) => *reached = Reached::Open,
            (_, Some(code)) => *reached = Reached::Refused(code),
        }
    }

    pub(super) fn take_incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        lock(&self.incoming_taken).take()
    }

    pub(super) fn moved_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn moved_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }

    /// What it moved, if that is more than when this was asked last.
    pub(super) fn news(&self) -> Option<Change> {
        let (bytes_in, bytes_out) = self.bytes();
        let total = bytes_in.saturating_add(bytes_out);
        let news = self.bytes_written.swap(total, Ordering::Relaxed) != total;
        news.then(|| Change::SessionBytes { session: self.id.uuid(), bytes_in, bytes_out })
    }

    pub(super) fn end_so_far(&self) -> Option<EndReason> {
        self.end.borrow().as_ref().map(|end| end.reason.clone())
    }

    /// Completes once it is ending.
    pub(super) async fn ended(&self) -> EndReason {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.reason.clone(),
            // The sender lives in `self`.
            Ok(None) | Err(_) => EndReason::ClientLeft,
        }
    }

    /// Ends it from the gateway's side: whoever serves the client is told, and has [`GOODBYE`] to pass that on.
    pub(super) fn end(self: &Arc<Self>, reason: EndReason) {
        if !self.decide_end(reason) {
            return;
        }
        let live = Arc::clone(self);
        self.sessions.journal.later(async move {
            tokio::select! {
                () = live.cut.cancelled() => {}
                () = live.sessions.clock.sleep(GOODBYE) => {}
            }
            live.finish().await;
        });
    }

    /// Ends it from the client's side. Returns once the row is written.
    pub(super) async fn close(&self, reason: EndReason) {
        let reached = *lock(&self.reached);
        self.decide_end(match (reason, reached) {
            (EndReason::ClientLeft, Reached::Refused(code)) => EndReason::NotOpened(code),
            (reason, _) => reason,
        });
        self.finish().await;
    }

    /// The same, from where nothing can be waited for.
    pub(super) fn abandon(self: &Arc<Self>) {
        let live = Arc::clone(self);
        if self.end_written.initialized() {
            return;
        }
        self.sessions.journal.later(async move { live.close(EndReason::ClientLeft).await });
    }

    /// The first reason stands.
    fn decide_end(&self, reason: EndReason) -> bool {
        let at = self.sessions.journal.now();
        let first = self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(End { reason, at });
            }
            first
        });
        if first && let Some(reason) = self.end_so_far() {
            info!(session.id = %self.id, space.name = %self.space.name(), reason = %reason, "session ends");
            metrics::counter!(names::SESSIONS_ENDED, "reason" => reason.code()).increment(1);
        }
        first
    }

    /// Cuts the channels and writes the row of the end, once.
    async fn finish(&self) {
        self.cut.cancel();
        self.end_written.get_or_init(|| self.write_end()).await;
        self.sessions.leave(self.id);
    }

    async fn write_end(&self) {
        let Some(End { reason, at }) = self.end.borrow().clone() else { return };
        let (bytes_in, bytes_out) = self.bytes();
        let ended = Change::SessionEnded {
            session: self.id.uuid(),
            at,
            code: reason.code().to_owned(),
            reason: reason.to_string(),
            bytes_in,
            bytes_out,
            audit: self.end_audit.uuid(),
        };
        self.sessions.journal.record(vec![ended]).await;
        debug!(session.id = %self.id, "session ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fakes::{self, PausedClock, Written};

    fn scene() -> (Sessions, Arc<Live>, Written) {
        let clock = PausedClock::start();
        let (journal, written) = fakes::journal(&clock);
        let sessions = fakes::sessions(journal, &clock);
        let space = fakes::space("lab", "own", "alice");
        let (id, user) = (SessionId::generate(), UserId::generate());
        let live = sessions.enter(id, user, space, Mode::Session, fakes::connection(), None);
        (sessions, live, written)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_of_an_end_stands_and_is_written_once() {
        let (sessions, live, written) = scene();
        live.moved_in(3);
        live.moved_out(5);
        live.end(EndReason::SpaceStopped);
        live.end(EndReason::Drained);
        live.close(EndReason::ClientLeft).await;
        live.close(EndReason::ClientLeft).await;
        live.abandon();
        sessions.empty().await;
        live.sessions.journal.settled().await;
        let written = lock(&written);
        let [Change::SessionEnded { code, bytes_in, bytes_out, .. }] = written.as_slice() else {
            unreachable!("one row: {written:?}")
        };
        assert_eq!((code.as_str(), *bytes_in, *bytes_out), ("space_stopped", 3, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_handle_is_dropped_is_written_too() {
        let (sessions, live, written) = scene();
        live.abandon();
        sessions.empty().await;
        assert!(
            matches!(lock(&written).first().unwrap(), Change::SessionEnded { code, .. } if code == "client_left")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_leaves_time_for_a_goodbye_and_then_cuts() {
        let (_, live, _) = scene();
        let begun = live.sessions.clock.elapsed();
        live.end(EndReason::Drained);
        assert_eq!(live.ended().await, EndReason::Drained);
        assert!(!live.cut.is_cancelled());
        live.cut.cancelled().await;
        assert_eq!(live.sessions.clock.elapsed() - begun, GOODBYE);
    }

    #[tokio::test(start_paused = true)]
    async fn only_sessions_that_moved_bytes_are_written_down_meanwhile() {
        let (_, live, _) = scene();
        assert_eq!(live.news(), None);
        live.moved_in(3);
        let session = live.id.uuid();
        assert_eq!(live.news(), Some(Change::SessionBytes { session, bytes_in: 3, bytes_out: 0 }));
        assert_eq!(live.news(), None);
    }
}
