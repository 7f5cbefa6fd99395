//! Judgements of runs, the looks that they rest on, and holds.

use std::collections::HashMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::people::{Change, audit_about};
use super::{Store, StoreError};
use crate::domain::idle::{Evidence, Hold, Known, Stopper, Verdict};
use crate::domain::ids::{HoldId, RunId, SpaceId, UserId};

mod looks;
mod stops;

pub use looks::Looks;
pub use stops::{LastEnd, PastStop, StopStart};

/// What is known of a run, and where it is on the way to a stop.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The run.
    pub run: RunId,
    /// Which writing this is; nought before the first.
    pub version: i64,
    /// When.
    pub judged_at: OffsetDateTime,
    /// What the policy that counted is for.
    pub policy: String,
    /// What it means.
    pub verdict: Verdict,
    /// What is known.
    pub known: Known,
    /// Where it is on the way.
    pub stopper: Stopper,
}

impl Store {
    /// The judgements of these runs, as far as there are any.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn judgements(&self, runs: &[RunId]) -> Result<HashMap<RunId, Judgement>, StoreError> {
        let runs: Vec<Uuid> = runs.iter().map(|run| run.uuid()).collect();
        let rows = sqlx::query!(
            "SELECT run_id, version, judged_at, policy, verdict, known, stopper FROM judgements
             WHERE run_id = ANY ($1)",
            &runs,
        )
        .fetch_all(&self.pool)
        .await?;
        let read = rows.into_iter().filter_map(|row| {
            let run = RunId::from(row.run_id);
            let judgement = Judgement {
                run,
                version: row.version,
                judged_at: row.judged_at,
                policy: row.policy,
                verdict: understood(run, row.verdict)?,
                known: understood(run, row.known)?,
                stopper: understood(run, row.stopper)?,
            };
            Some((run, judgement))
        });
        Ok(read.collect())
    }

    /// Writes judgements that are based on these versions, with the looks that led to them. Answers those that were
    /// written: the others have changed meanwhile.
    ///
    /// # Errors
    /// When they could not be written; then none was.
    pub async fn write_judgements(
        &self,
        judgements: &[Judgement],
        looks: &[(RunId, Evidence)],
    ) -> Result<Vec<RunId>, StoreError> {
        let runs: Vec<Uuid> = judgements.iter().map(|j| j.run.uuid()).collect();
        let versions: Vec<i64> = judgements.iter().map(|j| j.version).collect();
        let judged: Vec<OffsetDateTime> = judgements.iter().map(|j| j.judged_at).collect();
        let policies: Vec<String> = judgements.iter().map(|j| j.policy.clone()).collect();
        let verdicts: Vec<Value> = judgements.iter().map(|j| json!(j.verdict)).collect();
        let known: Vec<Value> = judgements.iter().map(|j| json!(j.known)).collect();
        let stoppers: Vec<Value> = judgements.iter().map(|j| json!(j.stopper)).collect();
        let wakes: Vec<Option<OffsetDateTime>> = judgements.iter().map(|j| j.stopper.wakes_at()).collect();
        let mut tx = self.pool.begin().await?;
        let written = sqlx::query_scalar!(
            "INSERT INTO judgements AS j (run_id, version, judged_at, policy, verdict, known, stopper, wakes_at)
             SELECT run_id, version + 1, judged_at, policy, verdict, known, stopper, wakes_at
             FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::jsonb[], $6::jsonb[],
                         $7::jsonb[], $8::timestamptz[])
                  AS n (run_id, version, judged_at, policy, verdict, known, stopper, wakes_at)
             ORDER BY run_id
             ON CONFLICT (run_id) DO UPDATE
             SET version = excluded.version, judged_at = excluded.judged_at, policy = excluded.policy,
                 verdict = excluded.verdict, known = excluded.known, stopper = excluded.stopper,
                 wakes_at = excluded.wakes_at
             WHERE j.version = excluded.version - 1
             RETURNING run_id",
            &runs,
            &versions,
            &judged,
            &policies,
            &verdicts,
            &known,
            &stoppers,
            &wakes as &[Option<OffsetDateTime>],
        )
        .fetch_all(&mut *tx)
        .await?;
        let fresh: Vec<&(RunId, Evidence)> =
            looks.iter().filter(|(run, _)| written.contains(&run.uuid())).collect();
        sqlx::query!(
            "INSERT INTO looks (run_id, at, evidence)
             SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::jsonb[]) ON CONFLICT DO NOTHING",
            &fresh.iter().map(|(run, _)| run.uuid()).collect::<Vec<_>>(),
            &fresh.iter().map(|(_, look)| look.at).collect::<Vec<_>>(),
            &fresh.iter().map(|(_, look)| json!(look)).collect::<Vec<_>>(),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(written.into_iter().map(RunId::from).collect())
    }

    /// Open runs, and runs that have just ended, whose stopper has something to do by now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn waking_runs(&self, now: OffsetDateTime) -> Result<Vec<RunId>, StoreError> {
        let rows =
            sqlx::query_scalar!("SELECT run_id FROM judgements WHERE wakes_at <= $1 ORDER BY wakes_at", now)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(RunId::from).collect())
    }

    /// Runs with a judgement under way that listings have shown gone.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn ended_runs_under_way(&self) -> Result<Vec<RunId>, StoreError> {
        let rows = sqlx::query_scalar!(
            "SELECT j.run_id FROM judgements j JOIN runs r ON r.id = j.run_id
             WHERE r.ended_at IS NOT NULL AND j.stopper -> 'phase' <> '\"over\"'::jsonb"
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(RunId::from).collect())
    }

    /// Forgets looks that are older than this. Answers how many.
    ///
    /// # Errors
    /// When they could not be removed.
    pub async fn forget_looks(&self, now: OffsetDateTime, kept: Duration) -> Result<u64, StoreError> {
        let done = sqlx::query!("DELETE FROM looks WHERE at < $1", now - kept).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// The hold of each of these spaces that runs longest.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn holds(
        &self,
        spaces: &[SpaceId],
        now: OffsetDateTime,
    ) -> Result<HashMap<SpaceId, Hold>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        let rows = sqlx::query!(
            "SELECT DISTINCT ON (space_id) space_id, until, made_by, reason FROM holds
             WHERE space_id = ANY ($1) AND ended_at IS NULL AND until > $2
             ORDER BY space_id, until DESC",
            &spaces,
            now,
        )
        .fetch_all(&self.pool)
        .await?;
        let holds = rows.into_iter().map(|row| {
            let hold = Hold { until: row.until, by: row.made_by, reason: row.reason };
            (SpaceId::from(row.space_id), hold)
        });
        Ok(holds.collect())
    }

    /// Holds a space for a person, instead of what the person held it for before; without an end, lets go of it.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn hold_space(
        &self,
        space: SpaceId,
        user: UserId,
        until: Option<OffsetDateTime>,
        reason: &str,
        change: &Change,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query!(
            "UPDATE holds SET ended_at = $3
             WHERE space_id = $1 AND user_id = $2 AND ended_at IS NULL AND until > $3",
            space.uuid(),
            user.uuid(),
            change.at,
        )
        .execute(&mut *tx)
        .await?;
        if let Some(until) = until {
            sqlx::query!(
                "INSERT INTO holds (id, space_id, user_id, made_by, reason, made_at, until)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                HoldId::generate().uuid(),
                space.uuid(),
                user.uuid(),
                change.called,
                reason,
                change.at,
                until,
            )
            .execute(&mut *tx)
            .await?;
        }
        let kind = if until.is_some() { "space.held" } else { "space.released" };
        let until = until.map(|until| until.unix_timestamp());
        audit_about(
            &mut tx,
            change,
            Some(space),
            kind,
            Some(true),
            json!({ "until": until, "reason": reason }),
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// What a column holds; nothing, with a word in the log, if another release wrote it in a way that this one does not
/// know: it is then as if nothing had been known.
fn understood<T: DeserializeOwned>(run: RunId, value: Value) -> Option<T> {
    serde_json::from_value(value)
        .inspect_err(|error| warn!(run.id = %run, %error, "a stored judgement cannot be read"))
        .ok()
}
