//! Seals the audit log every few seconds, and logs the end of its chain, so that a cut shows against the log.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::domain::chain::Head;
use crate::domain::ports::Clock;
use crate::store::chain::{ChainKey, HeadRow, Pass, SealError};
use crate::store::{Store, StoreError};

/// How often new rows are looked for.
const EVERY: Duration = Duration::from_secs(2);
/// Rows in one transaction, and so in memory.
const BATCH: u16 = 500;
/// How long a batch may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often the chain's end is logged while it moves.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How long the last sealing may hold the end of the process.
const LAST: Duration = Duration::from_secs(3);
/// How long to wait for another sealer at the end.
const NEIGHBOUR: Duration = Duration::from_millis(100);

/// The job that seals the audit log. Every replica has one; they take turns.
pub struct SealJob {
    store: Store,
    clock: Arc<dyn Clock>,
    key: ChainKey,
    /// Where the chain ended at the last look.
    seen: Option<HeadRow>,
    logged: Option<(Head, Duration)>,
    well: bool,
}

impl SealJob {
    /// A job that has not sealed anything.
    #[must_use]
    pub const fn new(store: Store, clock: Arc<dyn Clock>, key: ChainKey) -> Self {
        Self { store, clock, key, seen: None, logged: None, well: true }
    }

    /// Seals until it is stopped, then once more. To be stopped when the last row is written.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more =
                matches!(self.pass().await, Some(Pass::Done { rows, .. }) if rows >= usize::from(BATCH));
            self.log_head(false);
            if !more {
                tokio::select! {
                    () = self.clock.sleep(EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        let clock = Arc::clone(&self.clock);
        tokio::select! {
            () = self.finish() => {}
            () = clock.sleep(LAST) => warn!("the newest audit rows are not sealed yet: the next start does it"),
        }
        self.log_head(true);
    }

    /// Seals what is left.
    async fn finish(&mut self) {
        loop {
            match self.pass().await {
                Some(Pass::Busy) => self.clock.sleep(NEIGHBOUR).await,
                Some(Pass::Done { rows, .. }) if rows >= usize::from(BATCH) => {}
                _ => return,
            }
        }
    }

    /// One batch; nothing if it failed.
    async fn pass(&mut self) -> Option<Pass> {
        let sealing = self.store.seal_audit(&self.key, BATCH);
        let done = tokio::select! {
            done = sealing => done,
            () = self.clock.sleep(TIMEOUT) => Err(StoreError::too_slow().into()),
        };
        match done {
            Ok(pass) => {
                if let Pass::Done { head, .. } = &pass {
                    self.see(head.clone());
                }
                if !std::mem::replace(&mut self.well, true) {
                    info!("the audit log is sealed again");
                }
                Some(pass)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn see(&mut self, head: HeadRow) {
        if let Some(seen) = &self.seen
            && (head.head.seq < seen.head.seq
                || head.head.seq == seen.head.seq && head.head.mac != seen.head.mac)
        {
            error!(
                audit.head = %head.head,
                audit.head_before = %seen.head,
                "the audit log's chain is not the one that was here before: run `spaceport audit verify --head` with \
                 the one before"
            );
        }
        self.seen = Some(head);
    }

    /// Once, until it is well again.
    fn failed(&mut self, failure: &SealError) {
        if !std::mem::replace(&mut self.well, false) {
            return;
        }
        let failure_source = failure as &dyn Error;
        match failure {
            SealError::Store(StoreError::Away(_)) => {
                warn!(error = failure_source, "the audit log is not sealed while Postgres is away");
            }
            _ => error!(error = failure_source, "the audit log is not sealed"),
        }
    }

    /// Logs the chain's end if it moved, and not too often, unless it is the last time.
    fn log_head(&mut self, last: bool) {
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.head != Head::START) else { return };
        let now = self.clock.elapsed();
        let due = self
            .logged
            .is_none_or(|(head, at)| head != seen.head && (last || now.saturating_sub(at) >= LOG_EVERY));
        if due {
            info!(audit.head = %seen.head, audit.sealed_at = %seen.at, "the audit log is sealed up to here");
            self.logged = Some((seen.head, now));
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what fails here fails the test, and it may spawn"
)]
mod tests {
    use super::*;
    use crate::store::secrets::SealingKey;
    use crate::store::testing::{HandClock, Proxy, TestDatabase, until};

    async fn key(store: &Store) -> ChainKey {
        store.chain_key(&SealingKey::new(&[7; 32]).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn rows_are_sealed_within_five_seconds_and_the_last_ones_at_the_end() {
        let database = TestDatabase::new().await;
        let (clock, stop) = (Arc::new(HandClock::default()), CancellationToken::new());
        let key = key(&database.store).await;
        let running =
            tokio::spawn(SealJob::new(database.store.clone(), clock.clone(), key).run(stop.clone()));
        for sealed in [1, 2] {
            database.audit_rows(1).await;
            until(&clock, "the row is sealed", async || database.sealed_rows().await == sealed).await;
        }
        assert!(EVERY * 2 < Duration::from_secs(5));
        // More than a batch, and the clock stands still.
        database.audit_rows(2 * i32::from(BATCH) + 1).await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(database.sealed_rows().await, 2 + 2 * i64::from(BATCH) + 1);
    }

    #[tokio::test]
    async fn sealing_goes_on_when_postgres_is_back() {
        let database = TestDatabase::new().await;
        let mut proxy = Proxy::to(&database.url);
        let (clock, stop) = (Arc::new(HandClock::default()), CancellationToken::new());
        let store = Store::connect(proxy.url()).unwrap();
        let key = key(&database.store).await;
        let mut job = SealJob::new(store.clone(), clock.clone(), key);
        assert!(matches!(job.pass().await, Some(Pass::Done { rows: 0, .. })));
        proxy.cut().await;
        database.audit_rows(1).await;
        for _ in 0..2 {
            assert!(job.pass().await.is_none());
            assert!(!job.well);
        }
        proxy.mend();
        let running = tokio::spawn(job.run(stop.clone()));
        until(&clock, "the row is sealed", async || database.sealed_rows().await == 1).await;
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn the_chains_end_is_logged_when_it_moved_and_at_most_once_a_minute() {
        let database = TestDatabase::new().await;
        let clock = Arc::new(HandClock::default());
        let key = key(&database.store).await;
        let mut job = SealJob::new(database.store.clone(), clock.clone(), key);
        let mut logged = Vec::new();
        let steps = [
            (0, 0, false),
            (1, 0, false),
            (1, 59, false),
            (0, 1, false),
            (0, 61, false),
            (1, 0, false),
            (1, 59, false),
            (0, 0, true),
        ];
        for (rows, seconds, last) in steps {
            database.audit_rows(rows).await;
            clock.advance(Duration::from_secs(seconds));
            job.pass().await;
            job.log_head(last);
            logged.push(job.logged.map_or(0, |(head, _)| head.seq));
        }
        assert_eq!(logged, [0, 1, 1, 2, 2, 3, 3, 4]);
    }
}
