//! Reading the audit log out, oldest first, a page at a time.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::mac_of;
use crate::store::{Store, StoreError};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// From this time on.
    pub since: Option<OffsetDateTime>,
    /// Before this time.
    pub until: Option<OffsetDateTime>,
    /// Of this kind only; with a dot at its end, of every kind that begins so.
    pub kind: Option<String>,
    /// Of whoever has this in their name only.
    pub who: Option<String>,
    /// About these spaces only.
    pub spaces: Option<Vec<Uuid>>,
    /// Of these sessions only.
    pub sessions: Option<Vec<Uuid>>,
    /// Of what was allowed, or of what was not, only.
    pub allowed: Option<bool>,
}

/// A walk over the audit log.
pub struct Export {
    store: Store,
    wanted: Wanted,
    until: String,
    /// Time and id of the last row that was read. The time is text, as any that Postgres can hold can be.
    after: (String, Uuid),
}

impl Store {
    /// The wanted rows of the audit log, in pages.
    #[must_use]
    pub fn export_audit(&self, wanted: Wanted) -> Export {
        let text = |time: OffsetDateTime| time.format(&Rfc3339).ok();
        let since = wanted.since.and_then(text).unwrap_or_else(|| "-infinity".to_owned());
        let until = wanted.until.and_then(text).unwrap_or_else(|| "infinity".to_owned());
        Export { store: self.clone(), until, after: (since, Uuid::nil()), wanted }
    }
}

impl Export {
    /// The next rows, each as a JSON object; none when all have been read. No transaction is held in between: who
    /// reads on may be slow.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Value>, StoreError> {
        let page = sqlx::query!(
            r#"SELECT s.seq AS "seq?", s.mac AS "mac?", a.id, a.at::text AS "cursor!",
                      coalesce(to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), a.at::text) AS "at!",
                      a.replica_id, a.actor_id, a.actor_name, a.space_id, a.session_id, a.connection_id, a.kind,
                      a.allowed, a.detail::text AS "detail!"
               FROM audit a LEFT JOIN audit_seals s ON s.audit_id = a.id
               WHERE (a.at, a.id) > ($1::text::timestamptz, $2) AND a.at < $3::text::timestamptz
                 AND ($4::text IS NULL OR a.kind = $4 OR right($4, 1) = '.' AND starts_with(a.kind, $4))
                 AND ($6::text IS NULL OR strpos(lower(a.actor_name), lower($6)) > 0)
                 AND ($7::uuid[] IS NULL OR a.space_id = ANY ($7))
                 AND ($8::uuid[] IS NULL OR a.session_id = ANY ($8))
                 AND ($9::boolean IS NULL OR a.allowed = $9)
               ORDER BY a.at, a.id LIMIT $5"#,
            self.after.0,
            self.after.1,
            self.until,
            self.wanted.kind,
            PAGE,
            self.wanted.who,
            self.wanted.spaces.as_deref(),
            self.wanted.sessions.as_deref(),
            self.wanted.allowed,
        )
        .fetch_all(&self.store.pool)
        .await?;
        if let Some(last) = page.last() {
            self.after = (last.cursor.clone(), last.id);
        }
        let rows = page.into_iter().map(|row| {
            json!({
                "seq": row.seq,
                "mac": row.mac.map(|mac| mac_of(&mac).to_string()),
                "id": row.id,
                "at": row.at,
                "replica": row.replica_id,
                "actor": row.actor_id,
                "actor_name": row.actor_name,
                "space": row.space_id,
                "session": row.session_id,
                "connection": row.connection_id,
                "kind": row.kind,
                "allowed": row.allowed,
                // Postgres holds numbers that are none in Rust.
                "detail": serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
            })
        });
        Ok(rows.collect())
    }
}
