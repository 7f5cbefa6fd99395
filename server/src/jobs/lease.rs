//! Keeps this replica's lease, and closes the rows of replicas that lost theirs.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::ids::ReplicaId;
use crate::domain::ports::Clock;
use crate::store::{Store, StoreError};

/// A lease's length where nothing else is configured. A crash is noticed after at most this and a third more.
pub const DEFAULT_LEASE_S: u32 = 30;
/// Renewals in the length of a lease: two may fail.
const RENEWALS: u32 = 3;
/// How long a renewal may take. Longer counts as failed, so that a hanging one does not eat the next two.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long giving the lease up may hold the end of the process.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The job that keeps the lease.
pub struct LeaseJob {
    store: Store,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    host: String,
    lease_s: u32,
    up: watch::Sender<bool>,
    /// `Clock::elapsed` of the first success since the last failure.
    contact_since: Option<Duration>,
}

impl LeaseJob {
    /// The job of a replica that is not registered yet.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, replica: ReplicaId, host: &str, lease_s: u32) -> Self {
        let up = watch::Sender::new(false);
        Self { store, clock, replica, host: host.to_owned(), lease_s, up, contact_since: None }
    }

    /// Whether the lease was renewed at the last try.
    #[must_use]
    pub fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Registers the replica. Rows may name it afterwards.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn register(&mut self) -> Result<(), StoreError> {
        self.store.register_replica(self.replica, &self.host, self.lease_s).await?;
        self.succeeded();
        Ok(())
    }

    /// Renews and closes until it is stopped, then gives the lease up. To be stopped when the last row is written.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = Duration::from_secs(self.lease_s.into()) / RENEWALS;
        loop {
            self.turn().await;
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        let released = tokio::time::timeout(RELEASE_TIMEOUT, self.store.release_lease(self.replica)).await;
        if !matches!(released, Ok(Ok(()))) {
            warn!("the lease could not be given up: it will lapse");
        }
    }

    /// One turn: renew, then look after the others.
    async fn turn(&mut self) {
        let renewed =
            tokio::time::timeout(TIMEOUT, self.renew()).await.unwrap_or(Err(StoreError::too_slow()));
        match renewed {
            Ok(()) => self.succeeded(),
            Err(error) => return self.failed(&error),
        }
        let contact = self.contact_since.map_or(Duration::ZERO, |since| self.clock.elapsed() - since);
        match self.store.close_lapsed(contact).await {
            Ok(closed) => {
                for replica in closed {
                    warn!(replica.id = %replica, "a replica's lease lapsed: its open rows were closed");
                }
            }
            Err(error) => warn!(error = &error as &dyn Error, "lapsed leases could not be looked for"),
        }
    }

    async fn renew(&self) -> Result<(), StoreError> {
        if self.store.renew_lease(self.replica).await? {
            return Ok(());
        }
        warn!("the lease had lapsed: registering again");
        self.store.register_replica(self.replica, &self.host, self.lease_s).await
    }

    fn succeeded(&mut self) {
        self.contact_since.get_or_insert(self.clock.elapsed());
        if !self.up.send_replace(true) {
            info!(replica.id = %self.replica, "the lease is held");
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.contact_since = None;
        if self.up.send_replace(false) {
            warn!(error = error as &dyn Error, "the lease could not be renewed");
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
    use crate::store::testing::{HandClock, TestDatabase, until};

    #[tokio::test]
    async fn the_job_keeps_the_lease_and_gives_it_up() {
        let database = TestDatabase::new().await;
        let (clock, stop) = (Arc::new(HandClock::default()), CancellationToken::new());
        let replica = ReplicaId::generate();
        let mut job = LeaseJob::new(database.store.clone(), clock.clone(), replica, "gateway-9", 30);
        let up = job.up();
        assert!(!*up.borrow());
        job.register().await.unwrap();
        assert!(*up.borrow());
        let mut renewed = database.renewed_at(replica).await;
        let running = tokio::spawn(job.run(stop.clone()));
        for _ in 0..3 {
            let before = renewed;
            until(&clock, "it renews", async || {
                renewed = database.renewed_at(replica).await;
                renewed > before
            })
            .await;
        }
        assert!(*up.borrow());
        stop.cancel();
        running.await.unwrap();
        assert!(!database.store.renew_lease(replica).await.unwrap(), "it was given up");
    }
}
