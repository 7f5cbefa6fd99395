//! Jobs that one replica does for all: whose turn it is.

use std::error::Error;

use tracing::warn;

use crate::domain::ids::ReplicaId;
use crate::store::Store;

/// This replica's claim to a job.
pub struct Leadership {
    store: Store,
    name: String,
    replica: ReplicaId,
    for_s: u32,
}

impl Leadership {
    /// A claim to the job of this name, which lasts so long after each time that it is held.
    #[must_use]
    pub fn new(store: Store, name: impl Into<String>, replica: ReplicaId, for_s: u32) -> Self {
        Self { store, name: name.into(), replica, for_s }
    }

    /// Takes or renews the job, and tells whether it is ours: until `for_s` from now. Not while Postgres is away.
    pub async fn held(&self) -> bool {
        match self.store.hold_job(&self.name, self.replica, self.for_s).await {
            Ok(held) => held,
            Err(error) => {
                warn!(job = self.name, error = &error as &dyn Error, "whose job it is cannot be told");
                false
            }
        }
    }

    /// Leaves the job to others at once.
    pub async fn release(&self) {
        if let Err(error) = self.store.release_job(&self.name, self.replica).await {
            warn!(
                job = self.name,
                error = &error as &dyn Error,
                "the job could not be given up: it will lapse"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails here fails the test")]
mod tests {
    use super::*;
    use crate::store::testing::TestDatabase;

    #[tokio::test]
    async fn one_at_a_time_leads() {
        let database = TestDatabase::new().await;
        let claim = |for_s| Leadership::new(database.store.clone(), "judge", ReplicaId::generate(), for_s);
        let (ours, theirs) = (claim(60), claim(60));
        assert!(ours.held().await);
        assert!(ours.held().await, "it is renewed");
        assert!(!theirs.held().await);
        theirs.release().await;
        assert!(!theirs.held().await, "only who holds it gives it up");
        ours.release().await;
        assert!(theirs.held().await);
        assert!(!ours.held().await);
    }

    #[tokio::test]
    async fn a_job_that_is_not_renewed_lapses() {
        let database = TestDatabase::new().await;
        let dead = Leadership::new(database.store.clone(), "judge", ReplicaId::generate(), 0);
        let next = Leadership::new(database.store.clone(), "judge", ReplicaId::generate(), 60);
        assert!(dead.held().await);
        assert!(next.held().await);
        assert!(!dead.held().await);
    }
}
