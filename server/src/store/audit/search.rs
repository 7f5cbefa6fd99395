//! Looking for rows of the audit log: pages of them, newest first, and how far the log is sealed.

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ids::SessionId;
use crate::store::chain::export::Wanted;
use crate::store::text::{counted, id_digits, plain};
use crate::store::{Store, StoreError};

/// The most sessions that the end of an id may stand for.
const SESSIONS: i64 = 100;
/// Rows that wait for a seal are counted up to here.
const COUNTED: i64 = 10_000;

/// A row of the audit log.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: OffsetDateTime,
    /// How whoever did it was called.
    pub actor_name: String,
    /// The kind.
    pub kind: String,
    /// Whether it was allowed; nothing for plain facts.
    pub allowed: Option<bool>,
    /// The space it was about, as `SPACE.DOMAIN`.
    pub space: Option<String>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// What the kind calls for.
    pub detail: Value,
}

/// How far the audit log is sealed, as the tables say.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The number of the last seal and when it was made; nothing before the first.
    pub head: Option<(i64, OffsetDateTime)>,
    /// Rows that wait for theirs; at most some thousands are counted.
    pub waiting: u64,
    /// Since when the oldest of them waits.
    pub waits_since: Option<OffsetDateTime>,
}

impl Sealed {
    /// Whether more rows wait than were counted.
    #[must_use]
    pub const fn more_wait(&self) -> bool {
        self.waiting >= COUNTED.unsigned_abs()
    }
}

impl Store {
    /// The newest of the wanted rows, before a row by its time and id.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn audit_page(
        &self,
        wanted: &Wanted,
        before: Option<(OffsetDateTime, Uuid)>,
        limit: u16,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let (before_at, before_id) = before.unzip();
        let rows = sqlx::query!(
            r#"SELECT a.id, a.at, a.actor_name, a.kind, a.allowed, a.session_id, a.detail,
                      p.name AS "space?", p.domain AS "domain?"
               FROM audit a LEFT JOIN spaces p ON p.id = a.space_id
               WHERE ($1::timestamptz IS NULL OR a.at >= $1) AND ($2::timestamptz IS NULL OR a.at < $2)
                 AND ($3::text IS NULL OR a.kind = $3 OR right($3, 1) = '.' AND starts_with(a.kind, $3))
                 AND ($4::text IS NULL OR strpos(lower(a.actor_name), lower($4)) > 0)
                 AND ($5::uuid[] IS NULL OR a.space_id = ANY ($5))
                 AND ($6::uuid[] IS NULL OR a.session_id = ANY ($6))
                 AND ($7::boolean IS NULL OR a.allowed = $7)
                 AND ($8::timestamptz IS NULL OR (a.at, a.id) < ($8, $9::uuid))
               ORDER BY a.at DESC, a.id DESC LIMIT $10"#,
            wanted.since,
            wanted.until,
            wanted.kind,
            wanted.who,
            wanted.spaces.as_deref(),
            wanted.sessions.as_deref(),
            wanted.allowed,
            before_at,
            before_id,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().map(|row| AuditRow {
            id: row.id,
            at: row.at,
            actor_name: row.actor_name,
            kind: row.kind,
            allowed: row.allowed,
            space: row.space.zip(row.domain).map(|(space, domain)| format!("{space}.{domain}")),
            session: row.session_id.map(Into::into),
            detail: row.detail,
        });
        Ok(rows.collect())
    }

    /// The spaces, gone ones included, with this in their `SPACE.DOMAIN`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn spaces_called(&self, text: &str) -> Result<Vec<Uuid>, StoreError> {
        let text = plain(text);
        Ok(sqlx::query_scalar!(
            "SELECT id FROM spaces WHERE strpos(lower(name || '.' || domain), lower($1)) > 0",
            text.as_ref(),
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The sessions, ended ones included, whose id ends like this; the newest of many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sessions_ending_in(&self, text: &str) -> Result<Vec<Uuid>, StoreError> {
        let Some(digits) = id_digits(text) else { return Ok(Vec::new()) };
        if let Ok(id) = Uuid::parse_str(&digits) {
            return Ok(vec![id]);
        }
        Ok(sqlx::query_scalar!(
            "SELECT id FROM sessions WHERE right(replace(id::text, '-', ''), length($1)) = $1
             ORDER BY started_at DESC LIMIT $2",
            digits,
            SESSIONS,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// How far the audit log is sealed. Whether the seals are right is not looked at: that takes the whole log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn audit_sealed(&self) -> Result<Sealed, StoreError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT seq FROM audit_head) AS seq, (SELECT at FROM audit_head) AS at,
                      count(*) AS "waiting!", min(queued_at) AS since
               FROM (SELECT queued_at FROM audit_pending ORDER BY place LIMIT $1) p"#,
            COUNTED,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Sealed { head: row.seq.zip(row.at), waiting: counted(row.waiting), waits_since: row.since })
    }
}
