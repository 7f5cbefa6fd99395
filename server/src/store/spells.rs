//! What the time of runs was: written by whoever judges them, once for each moment.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::cost::SpellKind;
use crate::domain::ids::RunId;

impl Store {
    /// Writes what a run's time was, from where the last call left off up to `until`: unknown up to `known_since`, and
    /// of this kind after it. A spell that goes on is made longer.
    ///
    /// Nothing is ever written twice or taken back: an `until` that is not later than the last call's changes nothing,
    /// and time after the run's end is left out. A run that is not there changes nothing either.
    ///
    /// # Errors
    /// When it could not be written; then nothing was.
    pub async fn judged(
        &self,
        run: RunId,
        known_since: OffsetDateTime,
        until: OffsetDateTime,
        kind: SpellKind,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let found = sqlx::query!(
            "SELECT began_at, ended_at, judged_until FROM runs WHERE id = $1 FOR UPDATE",
            run.uuid(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(found) = found else { return Ok(()) };
        let from = found.judged_until.unwrap_or(found.began_at);
        let until = kept(until).min(found.ended_at.unwrap_or(until));
        if until <= from {
            return Ok(());
        }
        let known = kept(known_since).clamp(from, until);
        lengthen(&mut tx, run.uuid(), (from, known), SpellKind::Unknown).await?;
        lengthen(&mut tx, run.uuid(), (known, until), kind).await?;
        sqlx::query!("UPDATE runs SET judged_until = $2 WHERE id = $1", run.uuid(), until)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A time as Postgres keeps it, to the microsecond.
fn kept(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(at.microsecond() * 1_000).unwrap_or(at)
}

/// Writes a spell, or makes the one that it goes on from longer.
async fn lengthen(
    on: &mut PgConnection,
    run: Uuid,
    (from, until): (OffsetDateTime, OffsetDateTime),
    kind: SpellKind,
) -> Result<(), StoreError> {
    if until <= from {
        return Ok(());
    }
    let longer = sqlx::query!(
        "UPDATE spells SET ended_at = $3 WHERE run_id = $1 AND ended_at = $2 AND kind = $4",
        run,
        from,
        until,
        kind.as_str(),
    )
    .execute(&mut *on)
    .await?;
    if longer.rows_affected() == 0 {
        sqlx::query!(
            "INSERT INTO spells (run_id, began_at, ended_at, kind) VALUES ($1, $2, $3, $4)",
            run,
            from,
            until,
            kind.as_str(),
        )
        .execute(on)
        .await?;
    }
    Ok(())
}
