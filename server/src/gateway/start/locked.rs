//! The lock of a space: nobody asks for its app while somebody else deletes it.

use std::error::Error;
use std::time::Duration;

use tracing::warn;

use super::Starter;
use crate::domain::ids::ReplicaId;
use crate::domain::ports::AwsError;
use crate::domain::space::Space;
use crate::gateway::clock::within;
use crate::gateway::errors::OpenError;
use crate::gateway::idle::lock_name;
use crate::store::Store;

/// How long the lock holds unless it is renewed.
const LOCK_S: u32 = 60;
/// The longest that Postgres may take to answer; after it, it counts as away.
const ANSWER: Duration = Duration::from_secs(5);

/// The lock in one start's hands.
struct Lock<'a> {
    starter: &'a Starter,
    store: &'a Store,
    name: String,
    holder: ReplicaId,
}

impl Starter {
    /// Does something while nobody stops the space. Without Postgres nobody does, and there are no locks.
    pub(super) async fn locked<T>(
        &self,
        space: &Space,
        work: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        let Some(store) = &self.locks else { return work.await };
        let lock = Lock { starter: self, store, name: lock_name(space.id), holder: ReplicaId::generate() };
        let begun = self.clock.elapsed();
        while !lock.take().await {
            if self.clock.elapsed().saturating_sub(begun) >= self.limits.change_timeout {
                return Err(OpenError::Aws(AwsError::InUse("it is being stopped".to_owned())));
            }
            self.clock.sleep(self.limits.poll_every).await;
        }
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = self.clock.sleep(Duration::from_secs(u64::from(LOCK_S / 3))) => {
                    lock.take().await;
                }
            }
        };
        lock.release().await;
        done
    }
}

impl Lock<'_> {
    /// Takes or renews it; `false`: somebody else has it. Where that cannot be told nobody has.
    async fn take(&self) -> bool {
        let held = self.store.hold_job(&self.name, self.holder, LOCK_S);
        within(&*self.starter.clock, ANSWER, held).await.is_none_or(|held| held.unwrap_or(true))
    }

    async fn release(&self) {
        let released = self.store.release_job(&self.name, self.holder);
        if let Some(Err(error)) = within(&*self.starter.clock, ANSWER, released).await {
            warn!(lock = self.name, error = &error as &dyn Error, "a lock lapses by itself");
        }
    }
}
