//! What a space's page tells of its past: runs, stops, sessions.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::cost::RunFacts;
use crate::domain::idle::Trigger;
use crate::domain::ids::{SessionId, SpaceId, UserId};
use crate::domain::span::Span;
use crate::store::{Store, StoreError};

/// A stop by the gateway.
#[derive(Debug, Clone)]
pub struct LifeStop {
    /// Whose.
    pub space: SpaceId,
    /// When people were warned, or the person asked.
    pub begun_at: OffsetDateTime,
    /// When it was over.
    pub ended_at: OffsetDateTime,
    /// Why; nothing if another release wrote it in a way that this one does not know.
    pub trigger: Option<Trigger>,
}

/// A session, live or over.
#[derive(Debug, Clone)]
pub struct PastSession {
    /// The session.
    pub id: SessionId,
    /// The person's row.
    pub user_id: UserId,
    /// Who.
    pub user: String,
    /// The client's version line.
    pub client_version: String,
    /// Since when.
    pub started_at: OffsetDateTime,
    /// Until when, if it is over.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended.
    pub end_reason: Option<String>,
}

/// The newest session of a person.
#[derive(Debug, Clone)]
pub struct NewestSession {
    /// Where.
    pub space: String,
    /// In which domain.
    pub domain: String,
    /// The client's version line.
    pub client_version: String,
    /// Since when.
    pub started_at: OffsetDateTime,
}

impl Store {
    /// The runs of these spaces that touch a time, with what it was.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn runs_in(&self, spaces: &[SpaceId], within: Span) -> Result<Vec<RunFacts>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        self.runs_between(&spaces, within.from, within.until).await
    }

    /// The stops of these spaces that were over since then and were real, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn stops_since(
        &self,
        spaces: &[SpaceId],
        since: OffsetDateTime,
    ) -> Result<Vec<LifeStop>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        let rows = sqlx::query!(
            r#"SELECT r.space_id, s.begun_at, s.ended_at AS "ended_at!", s.trigger
               FROM stops s JOIN runs r ON r.id = s.run_id
               WHERE r.space_id = ANY ($1) AND s.ended_at >= $2 AND s.outcome = 'stopped' AND NOT s.dry_run
               ORDER BY s.ended_at DESC"#,
            &spaces,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        let stops = rows.into_iter().map(|row| LifeStop {
            space: row.space_id.into(),
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            trigger: serde_json::from_value(row.trigger).ok(),
        });
        Ok(stops.collect())
    }

    /// The newest sessions in a space, so many of them, those that touch a time only.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sessions_in_space(
        &self,
        space: SpaceId,
        within: Span,
        limit: u32,
    ) -> Result<Vec<PastSession>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT s.id, s.user_id, u.name AS "user", s.client_version, s.started_at, s.ended_at,
                      s.end_reason
               FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.space_id = $1 AND s.started_at < $3 AND (s.ended_at IS NULL OR s.ended_at > $2)
               ORDER BY s.started_at DESC, s.id DESC LIMIT $4"#,
            space.uuid(),
            within.from,
            within.until,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let sessions = rows.into_iter().map(|row| PastSession {
            id: row.id.into(),
            user_id: row.user_id.into(),
            user: row.user,
            client_version: row.client_version,
            started_at: row.started_at,
            ended_at: row.ended_at,
            end_reason: row.end_reason,
        });
        Ok(sessions.collect())
    }

    /// A number for each space that changes with what its page says of it: its state, its run and what that is doing, a
    /// hold, a start from a page, and how many are in it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn space_versions(&self) -> Result<HashMap<SpaceId, i64>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT s.id, hashtextextended(jsonb_build_array(
                          s.status, s.listed_app_status, s.listed_app_instance_type, r.id, j.verdict -> 'verdict',
                          j.verdict -> 'because', j.stopper -> 'phase', h.until, h.made_by, t.id, t.step, t.ended_at,
                          n.live)::text, 0) AS "version!"
               FROM spaces s
               LEFT JOIN runs r ON r.space_id = s.id AND r.ended_at IS NULL
               LEFT JOIN judgements j ON j.run_id = r.id
               LEFT JOIN starts t ON t.space_id = s.id
               LEFT JOIN (SELECT DISTINCT ON (space_id) space_id, until, made_by FROM holds
                          WHERE ended_at IS NULL AND until > now()
                          ORDER BY space_id, until DESC) h ON h.space_id = s.id
               LEFT JOIN (SELECT space_id, count(*) AS live FROM sessions WHERE ended_at IS NULL
                          GROUP BY space_id) n ON n.space_id = s.id
               WHERE s.deleted_at IS NULL"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (SpaceId::from(row.id), row.version)).collect())
    }

    /// The newest session of a person; nothing if they have never had one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn newest_session(&self, user: UserId) -> Result<Option<NewestSession>, StoreError> {
        let row = sqlx::query!(
            "SELECT p.name AS space, p.domain, s.client_version, s.started_at
             FROM sessions s JOIN spaces p ON p.id = s.space_id
             WHERE s.user_id = $1 AND (s.end_code IS NULL OR s.end_code <> 'not_opened')
             ORDER BY s.started_at DESC LIMIT 1",
            user.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| NewestSession {
            space: row.space,
            domain: row.domain,
            client_version: row.client_version,
            started_at: row.started_at,
        }))
    }
}
