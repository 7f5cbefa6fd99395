//! Starts under the lock of the space.

use std::error::Error;
use std::time::Duration;

use tracing::warn;

use super::Starter;
use crate::domain::ports::AwsError;
use crate::domain::space::Space;
use crate::gateway::clock::within;
use crate::gateway::errors::OpenError;
use crate::gateway::space_lock::{LOCK_S, SpaceLock};

/// The longest that Postgres may take to answer; after it, it counts as away.
const ANSWER: Duration = Duration::from_secs(5);

impl Starter {
    /// Does something while nobody stops the space. Without Postgres nobody does, and there are no locks.
    pub(super) async fn locked<T>(
        &self,
        space: &Space,
        work: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        let Some(store) = &self.locks else { return work.await };
        let lock = SpaceLock::of(store, space.id);
        let begun = self.clock.elapsed();
        while !self.take(&lock).await {
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
                    self.take(&lock).await;
                }
            }
        };
        if let Some(Err(error)) = within(&*self.clock, ANSWER, lock.release()).await {
            warn!(space.name = %space.name(), error = &error as &dyn Error, "a lock lapses by itself");
        }
        done
    }

    /// Takes or renews the lock; `false`: somebody else has it. Where that cannot be told nobody has.
    async fn take(&self, lock: &SpaceLock) -> bool {
        within(&*self.clock, ANSWER, lock.take()).await.is_none_or(|held| held.unwrap_or(true))
    }
}
