//! Keeping people out and letting them in again, by admins who are signed in.

use tracing::info;

use super::{Identity, Visitor};
use crate::domain::grant::Reason;
use crate::domain::ids::UserId;
use crate::domain::user::User;
use crate::store::StoreError;

impl Identity {
    /// Keeps a person out: what is live of theirs ends. Answers whether they were not kept out before.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn suspend(
        &self,
        admin: &User,
        person: UserId,
        reason: &Reason,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        let changed = self.inner.store.suspend(person, reason, &self.change_by(admin, visitor)).await?;
        if changed {
            info!(user.id = %person, by = %admin.name, "suspended");
            self.read().await?;
        }
        Ok(changed)
    }

    /// Lets a person in again. Answers whether an admin had kept them out.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn resume(&self, admin: &User, person: UserId, visitor: &Visitor) -> Result<bool, StoreError> {
        let changed = self.inner.store.resume(person, &self.change_by(admin, visitor)).await?;
        if changed {
            info!(user.id = %person, by = %admin.name, "resumed");
            self.read().await?;
        }
        Ok(changed)
    }
}
