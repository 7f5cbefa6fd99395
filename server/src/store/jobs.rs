//! Jobs that one replica does at a time: a lease for each, on Postgres's clock.

use super::{Store, StoreError};
use crate::domain::ids::ReplicaId;

impl Store {
    /// Takes a job that nobody holds, or renews it; it is then this replica's for `for_s`. `false`: another's.
    ///
    /// # Errors
    /// When it could not be written; whose the job is is then unknown.
    pub async fn hold_job(&self, name: &str, replica: ReplicaId, for_s: u32) -> Result<bool, StoreError> {
        let held = sqlx::query!(
            "INSERT INTO job_leases AS j (name, replica_id, until)
             VALUES ($1, $2, now() + make_interval(secs => $3))
             ON CONFLICT (name) DO UPDATE SET replica_id = excluded.replica_id, until = excluded.until
             WHERE j.replica_id = excluded.replica_id OR j.until < now()",
            name,
            replica.uuid(),
            f64::from(for_s),
        )
        .execute(&self.pool)
        .await?;
        Ok(held.rows_affected() > 0)
    }

    /// Gives a job up, so that another need not wait. One that is another's stays theirs.
    ///
    /// # Errors
    /// When it could not be written: then it lapses.
    pub async fn release_job(&self, name: &str, replica: ReplicaId) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM job_leases WHERE name = $1 AND replica_id = $2", name, replica.uuid())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
