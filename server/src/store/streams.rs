//! The budget of streams over all replicas.

use super::{Store, StoreError};
use crate::domain::actor::PROBE;
use crate::domain::ids::SpaceId;
use crate::domain::streams::StreamUse;

impl Store {
    /// A space's streams over all replicas; those of crashed replicas count as doubtful for `doubtful_s`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn stream_use(&self, space: SpaceId, doubtful_s: u32) -> Result<StreamUse, StoreError> {
        // An open stream whose replica's lease has lapsed is doubtful even before its row has been closed.
        let rows = sqlx::query!(
            r#"SELECT coalesce(u.name, $3) AS "name!", count(*) FILTER (WHERE alive) AS "live!", count(*) FILTER (WHERE NOT alive) AS "doubtful!"
               FROM (SELECT t.user_id,
                            t.ended_at IS NULL
                            AND now() < r.renewed_at + make_interval(secs => r.lease_s) AS alive
                     FROM streams t JOIN replicas r ON r.id = t.replica_id
                     WHERE t.space_id = $1 AND t.forgotten_at IS NULL
                       AND (t.ended_at IS NULL
                            OR t.crashed AND t.ended_at > now() - make_interval(secs => $2::bigint))) AS ours
               LEFT JOIN users u ON u.id = ours.user_id
               GROUP BY u.id, u.name ORDER BY 1"#,
            space.uuid(),
            i64::from(doubtful_s),
            PROBE,
        )
        .fetch_all(&self.pool)
        .await?;
        let size = |n: i64| usize::try_from(n).unwrap_or_default();
        Ok(StreamUse {
            doubtful: rows.iter().map(|row| size(row.doubtful)).sum(),
            live: rows.into_iter().map(|row| (row.name, size(row.live))).filter(|(_, n)| *n > 0).collect(),
        })
    }

    /// A StartSession succeeded where doubtful streams stood in the way of the tenth: they are gone.
    ///
    /// # Errors
    /// When that could not be written.
    pub async fn forget_doubtful(&self, space: SpaceId) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE streams t SET forgotten_at = now()
             FROM replicas r
             WHERE r.id = t.replica_id AND t.space_id = $1 AND t.forgotten_at IS NULL
               AND (t.crashed
                    OR t.ended_at IS NULL AND r.renewed_at + make_interval(secs => r.lease_s) <= now())",
            space.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
