//! What a person answers: the row is locked meanwhile.

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

use super::{Approval, about, locked, shown, with};
use crate::domain::approval::ApprovalId;
use crate::domain::ids::UserId;
use crate::store::people::{Change, audit};
use crate::store::{Store, StoreError};

/// An approval that is being answered: its row is locked until this is finished or dropped.
pub struct Answering {
    tx: Transaction<'static, Postgres>,
    id: ApprovalId,
    /// The row.
    pub approval: Approval,
}

impl Store {
    /// An approval for somebody who answers it. Whoever else answers waits, so that guesses come one by one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn answer_approval(&self, id: &ApprovalId) -> Result<Option<Answering>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = locked(&mut tx, id).await?;
        Ok(row.map(|row| Answering { tx, id: id.clone(), approval: row.into() }))
    }

    /// How many wrong codes a person has typed since then, for whatever approval.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn wrong_codes(&self, user: UserId, since: OffsetDateTime) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM audit
               WHERE actor_id = $1 AND at > $2 AND kind = 'approval.wrong_code'"#,
            user.uuid(),
            since,
        );
        Ok(count.fetch_one(&self.pool).await?)
    }
}

impl Answering {
    /// Approved: the client may sign until `sign_until`, and its key counts until `trusted_until`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn approve(
        mut self,
        trusted_until: OffsetDateTime,
        sign_until: OffsetDateTime,
        elsewhere: bool,
        change: &Change,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE approvals
             SET state = 'approved', decided_by = $2, decided_at = $3, trusted_until = $4,
                 expires_at = greatest(expires_at, $5)
             WHERE id = $1",
            self.id.as_str(),
            change.actor.map(UserId::uuid),
            change.at,
            trusted_until,
            sign_until,
        )
        .execute(&mut *self.tx)
        .await?;
        let detail = self.answered(change);
        let detail = with(detail, "until", json!(shown(Some(trusted_until))));
        let detail = with(detail, "elsewhere", json!(elsewhere));
        audit(&mut self.tx, change, "approval.granted", Some(true), detail).await?;
        self.tx.commit().await?;
        Ok(())
    }

    /// Denied: the client is refused.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn deny(mut self, change: &Change) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE approvals SET state = 'denied', decided_by = $2, decided_at = $3 WHERE id = $1",
            self.id.as_str(),
            change.actor.map(UserId::uuid),
            change.at,
        )
        .execute(&mut *self.tx)
        .await?;
        let detail = self.answered(change);
        audit(&mut self.tx, change, "approval.denied", Some(false), detail).await?;
        self.tx.commit().await?;
        Ok(())
    }

    /// A wrong code was typed; after `most` of them nothing can be approved any more. Answers how many are left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn wrong_code(mut self, most: u32, change: &Change) -> Result<u32, StoreError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let wrong = sqlx::query_scalar!(
            "UPDATE approvals
             SET wrong_codes = wrong_codes + 1,
                 state = CASE WHEN wrong_codes + 1 >= $2 THEN 'void' ELSE state END
             WHERE id = $1 RETURNING wrong_codes",
            self.id.as_str(),
            most,
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let left = u32::try_from(most.saturating_sub(wrong)).unwrap_or_default();
        let detail = with(self.answered(change), "left", json!(left));
        audit(&mut self.tx, change, "approval.wrong_code", Some(false), detail).await?;
        self.tx.commit().await?;
        Ok(left)
    }

    /// An answer that changes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn refuse(mut self, because: &str, change: &Change) -> Result<(), StoreError> {
        let detail = with(self.answered(change), "because", json!(because));
        audit(&mut self.tx, change, "approval.refused", Some(false), detail).await?;
        self.tx.commit().await?;
        Ok(())
    }

    fn answered(&self, change: &Change) -> Value {
        with(about(&self.id, &self.approval), "answered_from", json!(change.address))
    }
}
