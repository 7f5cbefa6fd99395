//! Starts that people asked for on pages: how far each is, for every replica's pages.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ids::{InstanceType, SpaceId, StartId, UserName};

/// A start that begins.
#[derive(Debug, Clone)]
pub struct NewStart {
    /// The start.
    pub id: StartId,
    /// What is started.
    pub space: SpaceId,
    /// Who asked for it.
    pub by: UserName,
    /// When.
    pub at: OffsetDateTime,
    /// On what it is restarted; nothing if it starts on what it has.
    pub instance_type: Option<InstanceType>,
    /// Where it is.
    pub step: String,
}

/// How far the newest start of a space is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageStart {
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: OffsetDateTime,
    /// Where it is.
    pub step: String,
    /// When it was over.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it failed, as people read it.
    pub problem: Option<String>,
}

impl Store {
    /// Writes that a start begins; it takes the place of the space's earlier one.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn begin_start(&self, start: &NewStart) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO starts (space_id, id, asked_by, asked_at, instance_type, step)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (space_id) DO UPDATE
             SET id = excluded.id, asked_by = excluded.asked_by, asked_at = excluded.asked_at,
                 instance_type = excluded.instance_type, step = excluded.step, ended_at = NULL, problem = NULL",
            start.space.uuid(),
            start.id.uuid(),
            start.by.as_str(),
            start.at,
            start.instance_type.as_ref().map(InstanceType::as_str),
            start.step,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Writes where a start is, unless a later one took its place.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn step_start(&self, id: StartId, step: &str) -> Result<(), StoreError> {
        sqlx::query!("UPDATE starts SET step = $2 WHERE id = $1 AND ended_at IS NULL", id.uuid(), step)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes that a start is over, unless a later one took its place.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn end_start(
        &self,
        id: StartId,
        at: OffsetDateTime,
        problem: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE starts SET ended_at = $2, problem = $3 WHERE id = $1 AND ended_at IS NULL",
            id.uuid(),
            at,
            problem,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The newest start of each of these spaces.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn starts(&self, spaces: &[SpaceId]) -> Result<HashMap<SpaceId, PageStart>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        let rows = sqlx::query!(
            "SELECT space_id, asked_by, asked_at, step, ended_at, problem FROM starts WHERE space_id = ANY ($1)",
            &spaces,
        )
        .fetch_all(&self.pool)
        .await?;
        let starts = rows.into_iter().map(|row| {
            let start = PageStart {
                by: row.asked_by,
                at: row.asked_at,
                step: row.step,
                ended_at: row.ended_at,
                problem: row.problem,
            };
            (SpaceId::from(row.space_id), start)
        });
        Ok(starts.collect())
    }
}
