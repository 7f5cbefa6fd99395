//! The lock of a space, over all replicas: nobody asks for its app while somebody else deletes it.

use crate::domain::ids::{ReplicaId, SpaceId};
use crate::store::{Store, StoreError};

/// How long the lock holds unless it is renewed: longer than a last check and a `DeleteApp` may take together.
pub(super) const LOCK_S: u32 = 60;

/// The lock of a space in one holder's hands.
pub(super) struct SpaceLock {
    store: Store,
    name: String,
    /// Each is a holder of its own: two of one replica exclude each other too.
    holder: ReplicaId,
}

impl SpaceLock {
    /// Not taken yet.
    pub(super) fn of(store: &Store, space: SpaceId) -> Self {
        Self { store: store.clone(), name: format!("space/{space}"), holder: ReplicaId::generate() }
    }

    /// Takes or renews it; `false`: somebody else has it.
    pub(super) async fn take(&self) -> Result<bool, StoreError> {
        self.store.hold_job(&self.name, self.holder, LOCK_S).await
    }

    /// Leaves it to others.
    pub(super) async fn release(&self) -> Result<(), StoreError> {
        self.store.release_job(&self.name, self.holder).await
    }
}
