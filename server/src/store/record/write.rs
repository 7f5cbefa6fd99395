//! The recorder's transactions.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Acquire;

use crate::domain::record::{Change, SessionStart};
use crate::store::apply::{Applied, apply, session_began};
use crate::store::{Store, StoreError};

/// A change that Postgres will never take, and why.
#[derive(Debug)]
pub(in crate::store) struct Refused<'a> {
    pub(in crate::store) change: &'a Change,
    pub(in crate::store) reason: String,
}

impl<'a> Refused<'a> {
    fn no_session(change: &'a Change) -> Self {
        Self { change, reason: "it ends a session that does not exist".to_owned() }
    }
}

impl Store {
    /// Writes a session's first row and an audit row, both or none. From the time when `committing` is set, only an
    /// answer tells which.
    pub(in crate::store) async fn write_session(
        &self,
        start: &SessionStart,
        audit: &Change,
        committing: &AtomicBool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        session_began(start).execute(&mut *tx).await?;
        apply(&mut tx, audit).await?;
        committing.store(true, Ordering::Relaxed);
        tx.commit().await?;
        Ok(())
    }

    /// Writes changes in one transaction. The ends of sessions that do not exist are left out and answered.
    pub(in crate::store) async fn write_changes<'a>(
        &self,
        changes: &'a [Change],
    ) -> Result<Vec<Refused<'a>>, StoreError> {
        let mut refused = Vec::new();
        let mut tx = self.pool.begin().await?;
        for change in changes {
            if apply(&mut tx, change).await? == Applied::NoSession {
                refused.push(Refused::no_session(change));
            }
        }
        tx.commit().await?;
        Ok(refused)
    }

    /// The same with a savepoint for each change, so that one that Postgres refuses takes no other with it.
    pub(in crate::store) async fn write_changes_apart<'a>(
        &self,
        changes: &'a [Change],
    ) -> Result<Vec<Refused<'a>>, StoreError> {
        let mut refused = Vec::new();
        let mut tx = self.pool.begin().await?;
        for change in changes {
            let mut savepoint = tx.begin().await?;
            match apply(&mut savepoint, change).await {
                Ok(applied) => {
                    savepoint.commit().await?;
                    if applied == Applied::NoSession {
                        refused.push(Refused::no_session(change));
                    }
                }
                Err(error) if error.blames_data() => {
                    savepoint.rollback().await?;
                    refused.push(Refused { change, reason: error.detail() });
                }
                Err(error) => return Err(error),
            }
        }
        tx.commit().await?;
        Ok(refused)
    }

    /// Whether Postgres answers.
    pub(in crate::store) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("SELECT 1 AS one").fetch_one(&self.pool).await?;
        Ok(())
    }
}
