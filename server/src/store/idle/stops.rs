//! Stops of spaces, from the warning to the end.

use std::collections::HashMap;

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::understood;
use crate::domain::idle::{Evidence, Outcome, Phase, Trigger};
use crate::domain::ids::{InstanceType, RunId, SpaceId, StopId};
use crate::store::{Store, StoreError};

/// A stop that begins.
#[derive(Debug, Clone)]
pub struct StopStart<'a> {
    /// What it stops.
    pub run: RunId,
    /// Why.
    pub trigger: &'a Trigger,
    /// What the policy that counted is for.
    pub policy: &'a str,
    /// Whether nothing is really stopped.
    pub dry_run: bool,
    /// When the warning was given.
    pub begun_at: OffsetDateTime,
    /// When it is to stop.
    pub stop_at: OffsetDateTime,
    /// What it rests on.
    pub evidence: Option<&'a Evidence>,
}

/// How a run was stopped, or would have been.
#[derive(Debug, Clone)]
pub struct PastStop {
    /// Why.
    pub trigger: Trigger,
    /// What the policy that counted is for.
    pub policy: String,
    /// Whether nothing was really stopped.
    pub dry_run: bool,
    /// When it was over.
    pub ended_at: OffsetDateTime,
    /// What it rested on.
    pub evidence: Option<Evidence>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct LastEnd {
    /// The run.
    pub run: RunId,
    /// When a listing first showed it gone.
    pub at: OffsetDateTime,
    /// What it ran on.
    pub instance_type: Option<InstanceType>,
    /// How the gateway stopped it, if it did.
    pub stop: Option<PastStop>,
}

impl Store {
    /// Writes that a stop begins. If one is under way for the run, that one goes on.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn begin_stop(&self, stop: &StopStart<'_>) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO stops (id, run_id, trigger, policy, dry_run, begun_at, stop_at, evidence)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (run_id) WHERE ended_at IS NULL
             DO UPDATE SET trigger = excluded.trigger, dry_run = excluded.dry_run, stop_at = excluded.stop_at",
            StopId::generate().uuid(),
            stop.run.uuid(),
            json!(stop.trigger),
            stop.policy,
            stop.dry_run,
            stop.begun_at,
            stop.stop_at,
            stop.evidence.map(|evidence| json!(evidence)),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Writes how the stop that is under way for a run ended; without one, nothing.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn end_stop(
        &self,
        run: RunId,
        outcome: Option<&Outcome>,
        detail: serde_json::Value,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let word = match outcome {
            None => "stays",
            Some(Outcome::Stopped(_)) => "stopped",
            Some(Outcome::EndedElsewhere) => "ended_elsewhere",
            Some(Outcome::WouldHave(_)) => "would_have",
        };
        sqlx::query!(
            "UPDATE stops SET ended_at = greatest($4, begun_at), outcome = $2, detail = $3
             WHERE run_id = $1 AND ended_at IS NULL",
            run.uuid(),
            word,
            detail,
            at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How the last run of each of these spaces that is over ended, and how the gateway stopped it, if it did.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn last_ends(&self, spaces: &[SpaceId]) -> Result<HashMap<SpaceId, LastEnd>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        let rows = sqlx::query!(
            r#"SELECT e.space_id, e.id, e.instance_type, e.ended_at AS "ended_at!", s.trigger AS "trigger?",
                      s.policy AS "policy?", s.dry_run AS "dry_run?", s.ended_at AS "stopped_at?",
                      s.evidence AS "evidence?"
               FROM unnest($1::uuid[]) AS wanted (space_id)
               CROSS JOIN LATERAL (SELECT r.space_id, r.id, r.instance_type, r.ended_at FROM runs r
                                   WHERE r.space_id = wanted.space_id AND r.ended_at IS NOT NULL
                                   ORDER BY r.ended_at DESC LIMIT 1) e
               LEFT JOIN LATERAL (SELECT * FROM stops WHERE run_id = e.id AND outcome = 'stopped'
                                  ORDER BY ended_at DESC LIMIT 1) s ON true"#,
            &spaces,
        )
        .fetch_all(&self.pool)
        .await?;
        let ends = rows.into_iter().map(|row| {
            let run = RunId::from(row.id);
            let stop =
                row.trigger.zip(row.policy).zip(row.stopped_at).and_then(|((trigger, policy), ended_at)| {
                    Some(PastStop {
                        trigger: understood(run, trigger)?,
                        policy,
                        dry_run: row.dry_run.unwrap_or(false),
                        ended_at,
                        evidence: row.evidence.and_then(|evidence| understood(run, evidence)),
                    })
                });
            let instance_type = row.instance_type.and_then(|text| text.parse().ok());
            (SpaceId::from(row.space_id), LastEnd { run, at: row.ended_at, instance_type, stop })
        });
        Ok(ends.collect())
    }

    /// When the newest run of a space was stopped for idleness, or began to be: whether it is gone by a listing or not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn idled(&self, space: SpaceId) -> Result<Option<OffsetDateTime>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT s.run_id, s.trigger, s.ended_at AS "ended_at!" FROM stops s
               WHERE s.outcome = 'stopped' AND NOT s.dry_run
                 AND s.run_id = (SELECT id FROM runs WHERE space_id = $1 ORDER BY began_at DESC, id DESC LIMIT 1)
               ORDER BY s.ended_at DESC LIMIT 1"#,
            space.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(row) = row {
            let trigger = understood::<Trigger>(row.run_id.into(), row.trigger);
            return Ok(trigger
                .filter(|trigger| matches!(trigger, Trigger::Idle { .. }))
                .map(|_| row.ended_at));
        }
        let Some(run) = self.open_run(space).await? else { return Ok(None) };
        let judgement = self.judgements(&[run.run]).await?.remove(&run.run);
        Ok(judgement.and_then(|judgement| match judgement.stopper.phase() {
            Phase::Deleting { trigger: Trigger::Idle { .. }, since, .. } => Some(*since),
            _ => None,
        }))
    }
}
