//! The recorder: changes go to Postgres, or into a spool on disk while it is away.
//!
//! While the spool holds anything, every change goes through it, so that changes land in the order in which they
//! were handed over. A change that Postgres refuses for what it is (a session that does not exist, say) is set aside
//! with the reason: it must not keep the others from landing.

mod write;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::spool::line::{decode, encode};
use super::spool::{Chunk, NotTaken, Spool, SpoolError, Weight};
use super::{Store, StoreError};
use crate::domain::ending::EndReason;
use crate::domain::ids::AuditId;
use crate::domain::ports::Clock;
use crate::domain::record::{Change, SessionStart};
use crate::telemetry::metrics::{CHANGES_DROPPED, CHANGES_SET_ASIDE, DATABASE_UP, SPOOL_BYTES};
use write::Refused;

/// The spool's size where nothing else is configured: some hundred thousand changes.
pub const DEFAULT_SPOOL_BYTES: u64 = 64 << 20;
/// How long Postgres may take for a change before it counts as away.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take for a chunk of the spool, which nobody waits for.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(15);
/// The first pause between tries to replay; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between tries to replay.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Postgres is away, and this row may not wait.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("Postgres is away")]
pub struct RecordAway;

/// Writes the record. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    spool: Spool,
    clock: Arc<dyn Clock>,
    up: watch::Sender<bool>,
    /// Wakes the replay: something was spooled, or Postgres did not answer.
    work: Notify,
    dropped: AtomicU64,
}

impl Recorder {
    /// A recorder with its spool in this directory; what an earlier process left there is replayed first. Nothing is
    /// replayed unless [`replay`](Self::replay) runs.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process has it.
    pub fn open(
        store: Store,
        spool: &Path,
        spool_bytes: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpoolError> {
        let spool = Spool::open(spool, spool_bytes)?;
        let inner = Inner {
            store,
            spool,
            clock,
            up: watch::Sender::new(true),
            work: Notify::new(),
            dropped: AtomicU64::new(0),
        };
        if !inner.spool.is_empty() {
            info!(spool.bytes = inner.spool.left(), "an earlier process left changes in the spool");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes a session's first row with its audit row; this one may not be spooled.
    ///
    /// # Errors
    /// When it could not be written: then nothing may be opened.
    pub async fn begin(&self, start: SessionStart, audit: Change) -> Result<(), RecordAway> {
        let committing = AtomicBool::new(false);
        let writing = self.inner.store.write_session(&start, &audit, &committing);
        let Err(error) = self.in_time(TIMEOUT, writing).await else { return Ok(()) };
        warn!(error = &error as &dyn Error, session.id = %start.session, "a session's beginning was not recorded");
        if committing.into_inner() {
            // The answer was lost, so the row may be there: it must not look live for good.
            self.record(vec![never_opened(&start, self.inner.clock.now())]).await;
        }
        Err(RecordAway)
    }

    /// Writes changes in order, all or none: returns once they are in Postgres or fsynced in the spool. Does not
    /// wait longer than a few seconds for Postgres. Dropped halfway, it may have written them or not.
    pub async fn record(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if self.inner.spool.is_empty() {
            match self.write(TIMEOUT, &changes).await {
                Ok(()) => return,
                Err(error) => {
                    warn!(error = &error as &dyn Error, "Postgres did not take a change: it is spooled");
                }
            }
        }
        self.spool(changes).await;
    }

    /// Whether Postgres answered last time.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.inner.up.borrow()
    }

    /// How many changes have been dropped because the spool was full or its disk failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    /// Bytes of changes that wait in the spool for Postgres.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.inner.spool.left()
    }

    /// Replays the spool whenever it holds something, until it is stopped; then once more, as far as Postgres
    /// takes it. To be stopped after the last [`record`](Self::record).
    pub async fn replay(self, stop: CancellationToken) {
        loop {
            if !self.catch_up(&stop).await {
                break;
            }
            tokio::select! {
                () = self.inner.work.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        while let Ok(true) = self.replay_chunk().await {}
        let left = self.inner.spool.left();
        if left > 0 {
            warn!(spool.bytes = left, "changes stay in the spool for the next start");
        }
    }

    /// Tries until the spool is empty and Postgres answers. `false`: stopped before.
    async fn catch_up(&self, stop: &CancellationToken) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let caught_up = match self.replay_chunk().await {
                Ok(true) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Ok(false) => self.is_up() || self.in_time(TIMEOUT, self.inner.store.ping()).await.is_ok(),
                Err(()) => false,
            };
            if caught_up {
                return true;
            }
            tokio::select! {
                () = self.inner.clock.sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
                () = stop.cancelled() => return false,
            }
        }
    }

    /// Replays the next part of the spool. `Ok(false)`: there is none.
    async fn replay_chunk(&self) -> Result<bool, ()> {
        let next = self.blocking(|inner| inner.spool.next()).await;
        let Some(chunk) = next.map_err(|error| error!(%error, "the spool cannot be read"))? else {
            return Ok(false);
        };
        let changes = self.decode(&chunk).await;
        self.write(REPLAY_TIMEOUT, &changes).await.map_err(|error| {
            warn!(error = &error as &dyn Error, "Postgres did not take changes from the spool")
        })?;
        let replayed = self.blocking(move |inner| inner.spool.replayed(&chunk)).await;
        if let Err(error) = replayed {
            error!(%error, "the spool's files cannot be changed: its changes will be replayed again");
        }
        let left = self.inner.spool.left();
        metrics::gauge!(SPOOL_BYTES).set(left as f64);
        if left == 0 {
            info!(changes = changes.len(), "the spool has been replayed");
        }
        Ok(true)
    }

    /// The changes of a chunk; lines that are none are set aside.
    async fn decode(&self, chunk: &Chunk) -> Vec<Change> {
        let mut changes = Vec::new();
        for line in chunk.lines.split_inclusive(|byte| *byte == b'\n') {
            match decode(line) {
                Ok(batch) => changes.extend(batch),
                Err(reason) => {
                    error!(error = &reason as &dyn Error, "a line of the spool was set aside");
                    self.set_aside(line.to_vec()).await;
                }
            }
        }
        changes
    }

    /// Writes to Postgres; what it refuses for what it is, is set aside.
    async fn write(&self, time: Duration, changes: &[Change]) -> Result<(), StoreError> {
        let refused = match self.in_time(time, self.inner.store.write_changes(changes)).await {
            Err(error) if error.blames_data() => {
                self.in_time(time, self.inner.store.write_changes_apart(changes)).await?
            }
            other => other?,
        };
        for Refused { change, reason } in refused {
            error!(error = reason, "a change was set aside: Postgres refuses it");
            let line = json!({ "reason": reason, "change": change });
            self.set_aside(format!("{line}\n").into_bytes()).await;
        }
        Ok(())
    }

    async fn set_aside(&self, text: Vec<u8>) {
        metrics::counter!(CHANGES_SET_ASIDE).increment(1);
        if let Err(error) = self.blocking(move |inner| inner.spool.set_aside(&text)).await {
            error!(%error, "and could not be kept");
        }
    }

    /// Puts changes into the spool, or the essential ones of them, or drops them.
    async fn spool(&self, changes: Vec<Change>) {
        let mut lost = changes.len() as u64;
        let mut taken = self.append(&changes, Weight::Ordinary).await;
        if matches!(taken, Err(NotTaken::Full)) {
            let essential: Vec<Change> = changes.into_iter().filter(is_essential).collect();
            if !essential.is_empty() {
                taken = self.append(&essential, Weight::Essential).await;
                if taken.is_ok() {
                    lost -= essential.len() as u64;
                }
            }
        } else if taken.is_ok() {
            lost = 0;
        }
        metrics::gauge!(SPOOL_BYTES).set(self.inner.spool.left() as f64);
        self.inner.work.notify_one();
        if lost > 0 {
            metrics::counter!(CHANGES_DROPPED).increment(lost);
            let before = self.inner.dropped.fetch_add(lost, Ordering::Relaxed);
            let error = taken.err().map(|error| error.to_string());
            error!(
                changes.dropped = lost,
                changes.dropped_so_far = before + lost,
                error,
                "changes were dropped"
            );
        }
    }

    async fn append(&self, changes: &[Change], weight: Weight) -> Result<(), NotTaken> {
        let disk = |error| NotTaken::Disk(Arc::new(error));
        let line = encode(changes).map_err(|error| disk(error.into()))?;
        self.blocking(move |inner| Ok(inner.spool.append(&line, weight))).await.map_err(disk)?
    }

    /// Runs disk work where it may block. It goes on even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_else(|e| Err(e.into()))
    }

    /// Asks Postgres, and notes whether it answered.
    async fn in_time<T>(
        &self,
        time: Duration,
        asking: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(time, asking).await.unwrap_or(Err(StoreError::too_slow()));
        let up = !matches!(answer, Err(StoreError::Away(_)));
        self.inner.up.send_replace(up);
        metrics::gauge!(DATABASE_UP).set(if up { 1.0 } else { 0.0 });
        if !up {
            self.inner.work.notify_one();
        }
        answer
    }
}

/// The end of a session that may have a row and was not opened.
fn never_opened(start: &SessionStart, at: OffsetDateTime) -> Change {
    let reason = EndReason::NotOpened("record_away");
    Change::SessionEnded {
        session: start.session,
        at,
        code: reason.code().to_owned(),
        reason: reason.to_string(),
        bytes_in: 0,
        bytes_out: 0,
        audit: AuditId::generate().uuid(),
    }
}

/// What the last tenth of the spool is kept for.
const fn is_essential(change: &Change) -> bool {
    matches!(change, Change::SessionEnded { .. } | Change::Audit { .. })
}
