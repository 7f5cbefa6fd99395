//! Looks that are kept: to try policies on the past.

use time::OffsetDateTime;

use super::understood;
use crate::domain::idle::Evidence;
use crate::domain::ids::{DomainAlias, RunId};
use crate::store::{Store, StoreError};

/// Looks that are read at once.
const PAGE: i64 = 500;

/// A walk over the looks of one run, the oldest first.
pub struct Looks<'a> {
    store: &'a Store,
    run: RunId,
    /// The last look that was read, or from when on they are wanted.
    after: OffsetDateTime,
    first: bool,
}

impl Store {
    /// The runs with looks since a time, and when each was gone, the oldest first; of one domain and one space by name,
    /// or of all.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn looked_at(
        &self,
        since: OffsetDateTime,
        domain: Option<&DomainAlias>,
        space: Option<&str>,
    ) -> Result<Vec<(RunId, Option<OffsetDateTime>)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT r.id, r.ended_at FROM runs r JOIN spaces s ON s.id = r.space_id
             WHERE ($2::text IS NULL OR s.domain = $2) AND ($3::text IS NULL OR s.name = $3)
               AND (r.ended_at IS NULL OR r.ended_at >= $1)
               AND EXISTS (SELECT FROM looks l WHERE l.run_id = r.id AND l.at >= $1)
             ORDER BY r.began_at, r.id",
            since,
            domain.map(DomainAlias::as_str),
            space,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id.into(), row.ended_at)).collect())
    }

    /// The looks at a run since a time, a page at a time.
    #[must_use]
    pub const fn looks(&self, run: RunId, since: OffsetDateTime) -> Looks<'_> {
        Looks { store: self, run, after: since, first: true }
    }
}

impl Looks<'_> {
    /// The next looks; none when all have been read. What another release wrote in a way that this one does not know
    /// is left out, with a word in the log.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Evidence>>, StoreError> {
        let rows = sqlx::query!(
            "SELECT at, evidence FROM looks WHERE run_id = $1 AND (at > $2 OR $3 AND at = $2)
             ORDER BY at LIMIT $4",
            self.run.uuid(),
            self.after,
            self.first,
            PAGE,
        )
        .fetch_all(&self.store.pool)
        .await?;
        let Some(last) = rows.last() else { return Ok(None) };
        (self.after, self.first) = (last.at, false);
        Ok(Some(rows.into_iter().filter_map(|row| understood(self.run, row.evidence)).collect()))
    }
}
