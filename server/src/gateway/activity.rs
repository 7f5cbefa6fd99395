//! Signs of people at work, as they pass by: keys, shells, and traffic above an editor's heartbeat.
//!
//! Where bytes pass only a number is stored; one task for the whole gateway makes signs of the numbers and writes them
//! down. What was learnt of a person's editor in a space outlives the session, so that a laptop that wakes up and
//! reconnects is not taken for somebody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tracing::warn;

use super::Gateway;
use super::lock::lock;
use crate::domain::idle::{Heartbeat, Sign};
use crate::domain::ids::{SpaceId, UserId};
use crate::domain::ports::Clock;
use crate::domain::record::ChannelKind;
use crate::store::StoreError;
use crate::store::signs::NewSign;

/// Between two looks at what is new.
const TICK: Duration = Duration::from_secs(1);
/// A sign that goes on is written so often. The first after a pause is written at the next tick.
const WRITE_EVERY: time::Duration = time::Duration::seconds(10);
/// How often Studio's own idle shutdown is told of a person who goes on working, as AWS's toolkit does.
const TELL_EVERY: time::Duration = time::Duration::seconds(60);
/// A person whose last sign is younger is at work now.
const AT_WORK: time::Duration = time::Duration::seconds(3);
/// What was learnt of an editor is kept for so long after the last session.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The signs that are kept, in the order of [`Track::at_ms`].
const SIGNS: [Sign; 5] = [Sign::Keys, Sign::Opened, Sign::Sent, Sign::Received, Sign::Screen];

/// What one person does in one space.
#[derive(Default)]
pub(super) struct Track {
    /// The newest time of each of [`SIGNS`], in milliseconds of the Unix epoch; 0 for never.
    at_ms: [AtomicI64; 5],
    /// Bytes of other channels than terminals, towards the space and from it, since the last window.
    moved: [AtomicU64; 2],
    /// Channels that are open and whose bytes are added up.
    open: Arc<AtomicUsize>,
}

/// How the bytes of one channel count.
pub(super) enum Way {
    /// Each is a key or a line on a screen.
    Terminal,
    /// Added up, beside an editor's heartbeat. The channel counts as open for as long as this lives.
    Sum { _open: Open },
    /// Not at all: a person's agent answers by itself.
    Not,
}

/// One more channel is open.
pub(super) struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is remembered of a track beside what passes by.
#[derive(Default)]
struct Memory {
    track: Arc<Track>,
    heartbeats: [Heartbeat; 2],
    written_ms: [i64; 5],
    /// When Studio's own idle shutdown was told last.
    told_ms: i64,
    used: Duration,
}

/// Everybody's tracks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Activity {
    all: Arc<Mutex<HashMap<(SpaceId, UserId), Memory>>>,
    clock: Arc<dyn Clock>,
    window: Duration,
}

impl Track {
    fn seen(&self, sign: Sign, now: OffsetDateTime) {
        for (kept, at) in SIGNS.iter().zip(&self.at_ms) {
            if *kept == sign {
                at.store(millis(now), Ordering::Relaxed);
            }
        }
    }

    /// A channel was opened. Only what an editor does not open by itself counts.
    pub(super) fn opened(&self, kind: ChannelKind, pty: bool, now: OffsetDateTime) -> Way {
        if pty || kind == ChannelKind::Sftp {
            self.seen(Sign::Opened, now);
        }
        match kind {
            _ if pty => Way::Terminal,
            ChannelKind::Agent => Way::Not,
            _ => {
                self.open.fetch_add(1, Ordering::Relaxed);
                Way::Sum { _open: Open(Arc::clone(&self.open)) }
            }
        }
    }

    /// Bytes go towards the space.
    pub(super) fn sent(&self, way: &Way, bytes: u64, now: OffsetDateTime) {
        self.passed(way, Sign::Keys, 0, bytes, now);
    }

    /// Bytes came from the space.
    pub(super) fn received(&self, way: &Way, bytes: u64, now: OffsetDateTime) {
        self.passed(way, Sign::Screen, 1, bytes, now);
    }

    fn passed(&self, way: &Way, sign: Sign, direction: usize, bytes: u64, now: OffsetDateTime) {
        match (way, self.moved.get(direction)) {
            (Way::Terminal, _) => self.seen(sign, now),
            (Way::Sum { .. }, Some(moved)) => {
                moved.fetch_add(bytes, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Activity {
    pub(super) fn new(clock: Arc<dyn Clock>, window: Duration) -> Self {
        Self { all: Arc::default(), clock, window }
    }

    /// The track of a person in a space.
    pub(super) fn track(&self, space: SpaceId, user: UserId) -> Arc<Track> {
        let mut all = lock(&self.all);
        let memory = all.entry((space, user)).or_default();
        memory.used = self.clock.elapsed();
        Arc::clone(&memory.track)
    }

    /// A window is over: whoever moved more than their editor's heartbeat was at work.
    fn window(&self) {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let mut all = lock(&self.all);
        for memory in all.values_mut() {
            // While nothing is open nothing is learnt: silence between two sessions is no editor's.
            let open = memory.track.open.load(Ordering::Relaxed) > 0;
            let signs = [Sign::Sent, Sign::Received];
            for ((moved, heartbeat), sign) in memory.track.moved.iter().zip(&mut memory.heartbeats).zip(signs)
            {
                let bytes = moved.swap(0, Ordering::Relaxed);
                if (open || bytes > 0) && heartbeat.window(bytes) {
                    memory.track.seen(sign, now);
                }
            }
            // Held by nobody but this map: no session is left.
            if Arc::strong_count(&memory.track) > 1 {
                memory.used = elapsed;
            }
        }
        all.retain(|_, memory| elapsed.saturating_sub(memory.used) < REMEMBERED);
    }

    /// What is to be written now; at the end everything that is not written yet.
    fn news(&self, last: bool) -> Vec<NewSign> {
        let now_ms = millis(self.clock.now());
        let every = i64::try_from(WRITE_EVERY.whole_milliseconds()).unwrap_or(i64::MAX);
        let mut news = Vec::new();
        for (&(space, user), memory) in &*lock(&self.all) {
            for ((sign, at), written) in SIGNS.iter().zip(&memory.track.at_ms).zip(&memory.written_ms) {
                let at_ms = at.load(Ordering::Relaxed);
                // After the clock was put back, what was written lies ahead: then a newer sign is one that differs.
                if at_ms != 0 && at_ms != *written && (last || (now_ms - written).abs() >= every) {
                    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
                    news.extend(at.ok().map(|at| NewSign { space, user, sign: *sign, at }));
                }
            }
        }
        news
    }

    /// Who is at work just now, where. Each is named once in [`TELL_EVERY`], for as long as they go on.
    fn at_work(&self) -> Vec<(SpaceId, UserId)> {
        let now_ms = millis(self.clock.now());
        let within =
            |at_ms: i64, span: time::Duration| i128::from((now_ms - at_ms).abs()) < span.whole_milliseconds();
        let mut found = Vec::new();
        for (&whose, memory) in &mut *lock(&self.all) {
            let at_work = SIGNS
                .iter()
                .zip(&memory.track.at_ms)
                .any(|(sign, at)| sign.from_outside() && within(at.load(Ordering::Relaxed), AT_WORK));
            if at_work && !within(memory.told_ms, TELL_EVERY) {
                memory.told_ms = now_ms;
                found.push(whose);
            }
        }
        found
    }

    fn written(&self, news: &[NewSign]) {
        let mut all = lock(&self.all);
        for new in news {
            let Some(memory) = all.get_mut(&(new.space, new.user)) else { continue };
            for (sign, written) in SIGNS.iter().zip(&mut memory.written_ms) {
                if *sign == new.sign {
                    *written = millis(new.at);
                }
            }
        }
    }
}

fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

impl Gateway {
    /// Makes signs of what passes by and writes them down, until the gateway stops.
    pub(super) async fn run_activity(&self) {
        let (activity, clock) = (&self.inner.activity, &self.inner.clock);
        let (mut window, mut well) = (clock.elapsed(), true);
        while !self.inner.stop.is_cancelled() {
            tokio::select! {
                () = self.inner.stop.cancelled() => {}
                () = clock.sleep(TICK.min(activity.window)) => {}
            }
            if clock.elapsed().saturating_sub(window) >= activity.window {
                window = clock.elapsed();
                activity.window();
            }
            for (space, user) in activity.at_work() {
                let gateway = self.clone();
                self.inner.tracker.spawn(async move { gateway.still_here(space, user).await });
            }
            let done = self.write_signs(self.inner.stop.is_cancelled()).await;
            if let (Err(error), true) = (&done, well) {
                // Later it is written with the newest times.
                warn!(error = error as &dyn std::error::Error, "signs of activity cannot be written");
            }
            well = done.is_ok();
        }
    }

    async fn write_signs(&self, last: bool) -> Result<(), StoreError> {
        let news = self.inner.activity.news(last);
        if !news.is_empty() {
            self.inner.store.write_signs(&news).await?;
            self.inner.activity.written(&news);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fakes::PausedClock;

    fn scene() -> (Activity, Arc<Track>, PausedClock) {
        let clock = PausedClock::start();
        let activity = Activity::new(Arc::new(clock), Duration::from_secs(10));
        let track = activity.track(SpaceId::generate(), UserId::generate());
        (activity, track, clock)
    }

    fn written(activity: &Activity) -> Vec<Sign> {
        let news = activity.news(false);
        activity.written(&news);
        news.into_iter().map(|new| new.sign).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_key_is_written_at_once_and_a_stream_of_them_every_ten_seconds() {
        let (activity, track, clock) = scene();
        assert_eq!(written(&activity), []);
        let mut writes = 0;
        let keys = track.opened(ChannelKind::Shell, true, clock.now());
        assert_eq!(written(&activity), [Sign::Opened]);
        for second in 0..30 {
            track.sent(&keys, 1, clock.now());
            let news = written(&activity);
            assert!(second > 0 || news == [Sign::Keys]);
            writes += news.len();
            clock.sleep(TICK).await;
        }
        assert_eq!(writes, 3);
        clock.sleep(Duration::from_secs(9)).await;
        assert_eq!(written(&activity), [Sign::Keys], "the last one is not forgotten");
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(written(&activity), []);
    }

    #[tokio::test(start_paused = true)]
    async fn studio_is_told_once_a_minute_while_a_person_works_and_never_otherwise() {
        let (activity, track, clock) = scene();
        let keys = track.opened(ChannelKind::Shell, true, clock.now());
        let forward = track.opened(ChannelKind::Forward, false, clock.now());
        let mut told = Vec::new();
        for second in 0..400 {
            // They type for three minutes; what runs in their terminal goes on by itself, and so does their editor.
            if second < 180 {
                track.sent(&keys, 1, clock.now());
            }
            track.received(&keys, 100, clock.now());
            track.sent(&forward, 300, clock.now());
            if second % 10 == 9 {
                activity.window();
            }
            told.extend(activity.at_work().iter().map(|_| second));
            clock.sleep(TICK).await;
        }
        assert_eq!(told, [0, 60, 120, 180]);
        track.sent(&keys, 1, clock.now());
        assert_eq!(activity.at_work().len(), 1, "the first key after a pause");
    }

    #[tokio::test(start_paused = true)]
    async fn only_shells_and_sftp_count_by_being_opened() {
        let (activity, track, clock) = scene();
        for kind in [ChannelKind::Exec, ChannelKind::Forward, ChannelKind::Jump, ChannelKind::Agent] {
            drop(track.opened(kind, false, clock.now()));
        }
        assert_eq!(written(&activity), []);
        drop(track.opened(ChannelKind::Sftp, false, clock.now()));
        assert_eq!(written(&activity), [Sign::Opened]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_editor_that_only_beats_leaves_no_sign_even_when_it_reconnects() {
        let (activity, track, clock) = scene();
        for _ in 0..3 {
            let way = track.opened(ChannelKind::Forward, false, clock.now());
            for turn in 0..70 {
                track.sent(&way, 4_000 + turn % 7 * 100, clock.now());
                track.received(&way, 6_000 - turn % 5 * 100, clock.now());
                clock.sleep(activity.window).await;
                activity.window();
            }
            drop(way);
            // The laptop sleeps.
            for _ in 0..120 {
                clock.sleep(activity.window).await;
                activity.window();
            }
        }
        assert_eq!(written(&activity), []);
        let way = track.opened(ChannelKind::Forward, false, clock.now());
        for _ in 0..3 {
            track.sent(&way, 60_000, clock.now());
            clock.sleep(activity.window).await;
            activity.window();
        }
        assert_eq!(written(&activity), [Sign::Sent], "a person at work beside it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learnt_is_forgotten_an_hour_after_the_last_session() {
        let (activity, track, clock) = scene();
        activity.window();
        drop(track);
        clock.sleep(REMEMBERED / 2).await;
        activity.window();
        assert_eq!(lock(&activity.all).len(), 1);
        clock.sleep(REMEMBERED).await;
        activity.window();
        assert_eq!(lock(&activity.all).len(), 0);
    }
}
