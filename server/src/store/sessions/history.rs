//! Sessions that ended: found by what people remember of them, the newest first, a page at a time.

use time::OffsetDateTime;
use uuid::Uuid;

use super::live::search_words;
use super::planned_anew;
use crate::domain::ids::{SessionId, UserId};
use crate::store::text::{counted, id_digits};
use crate::store::{Store, StoreError};

/// The most people, and the most spaces, whose names a search may meet.
const MOST_NAMES: i64 = 1_000;
/// How far sessions are counted.
pub const COUNTED: u64 = 10_000;

/// What a session that ended must be like to be shown. Nothing is asked of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Text in the name of its person or space, its whole address or a network, or the end of its id.
    pub words: String,
    /// It began then or later.
    pub from: Option<OffsetDateTime>,
    /// It began earlier.
    pub until: Option<OffsetDateTime>,
    /// The code of its end.
    pub end: Option<String>,
    /// Its person.
    pub person: Option<UserId>,
}

/// A filter whose words have been looked up; it is good for every page of one listing.
#[derive(Debug, Clone)]
pub struct HistorySearch {
    filter: HistoryFilter,
    /// Whether anything was searched for.
    searched: bool,
    users: Vec<Uuid>,
    spaces: Vec<Uuid>,
    network: Option<String>,
    id_end: Option<String>,
}

/// A session that ended.
#[derive(Debug, Clone)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Its person.
    pub user: String,
    /// Its space.
    pub space: String,
    /// The space's domain.
    pub domain: String,
    /// `session` or `jump`.
    pub mode: String,
    /// Where the client connected from.
    pub client_address: String,
    /// The client's version line.
    pub client_version: String,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// Why, in one word.
    pub end_code: String,
    /// Why.
    pub end_reason: String,
    /// Bytes from the client to the space.
    pub bytes_in: u64,
    /// Bytes from the space to the client.
    pub bytes_out: u64,
}

/// Where a page begins: behind the session with this beginning and id.
pub type HistoryAfter = (OffsetDateTime, SessionId);

impl Store {
    /// Looks up whom and what the words of a filter name.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn history_search(&self, filter: HistoryFilter) -> Result<HistorySearch, StoreError> {
        let Some(words) = search_words(&filter.words) else {
            let (users, spaces) = (Vec::new(), Vec::new());
            return Ok(HistorySearch { filter, searched: false, users, spaces, network: None, id_end: None });
        };
        let users = sqlx::query_scalar!(
            "SELECT id FROM users WHERE strpos(lower(name), $1) > 0 LIMIT $2",
            words,
            MOST_NAMES
        );
        let spaces = sqlx::query_scalar!(
            "SELECT id FROM spaces WHERE strpos(lower(name || '.' || domain), $1) > 0 LIMIT $2",
            words,
            MOST_NAMES,
        );
        Ok(HistorySearch {
            filter,
            searched: true,
            users: users.fetch_all(&self.pool).await?,
            spaces: spaces.fetch_all(&self.pool).await?,
            network: network(&words),
            id_end: id_digits(&words),
        })
    }

    /// A page of sessions that ended, the newest first, of `limit` at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn history(
        &self,
        search: &HistorySearch,
        after: Option<HistoryAfter>,
        limit: u32,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let HistorySearch { filter, searched, users, spaces, network, id_end } = search;
        let mut tx = self.pool.begin().await?;
        planned_anew(&mut tx).await?;
        let rows = sqlx::query_as!(
            EndedRow,
            r#"SELECT s.id, u.name AS "user", p.name AS space, p.domain, s.mode,
                      host(s.client_address) AS "client_address!", s.client_version, s.started_at,
                      s.ended_at AS "ended_at!", s.end_code AS "end_code!", s.end_reason AS "end_reason!",
                      s.bytes_in, s.bytes_out
               FROM sessions s
               JOIN users u ON u.id = s.user_id
               JOIN spaces p ON p.id = s.space_id
               WHERE s.ended_at IS NOT NULL
                 AND (NOT $1 OR s.user_id = ANY($2::uuid[]) OR s.space_id = ANY($3::uuid[])
                      OR s.client_address <<= $4::text::inet
                      OR right(replace(s.id::text, '-', ''), 4) = right($5::text, 4)
                         AND right(replace(s.id::text, '-', ''), length($5)) = $5)
                 AND ($6::timestamptz IS NULL OR s.started_at >= $6)
                 AND ($7::timestamptz IS NULL OR s.started_at < $7)
                 AND ($8::text IS NULL OR s.end_code = $8)
                 AND ($9::uuid IS NULL OR s.user_id = $9)
                 AND ($10::timestamptz IS NULL OR (s.started_at, s.id) < ($10, $11::uuid))
               ORDER BY s.started_at DESC, s.id DESC LIMIT $12"#,
            searched,
            users,
            spaces,
            network.as_deref(),
            id_end.as_deref(),
            filter.from,
            filter.until,
            filter.end.as_deref(),
            filter.person.map(UserId::uuid),
            after.map(|(at, _)| at),
            after.map(|(_, id)| id.uuid()),
            i64::from(limit),
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(EndedSession::from).collect())
    }

    /// How many sessions a search finds, as far as they are counted: up to one more than [`COUNTED`].
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn history_count(&self, search: &HistorySearch) -> Result<u64, StoreError> {
        let HistorySearch { filter, searched, users, spaces, network, id_end } = search;
        let mut tx = self.pool.begin().await?;
        planned_anew(&mut tx).await?;
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "n!" FROM (
                   SELECT FROM sessions s
                   WHERE s.ended_at IS NOT NULL
                     AND (NOT $1 OR s.user_id = ANY($2::uuid[]) OR s.space_id = ANY($3::uuid[])
                          OR s.client_address <<= $4::text::inet
                          OR right(replace(s.id::text, '-', ''), 4) = right($5::text, 4)
                             AND right(replace(s.id::text, '-', ''), length($5)) = $5)
                     AND ($6::timestamptz IS NULL OR s.started_at >= $6)
                     AND ($7::timestamptz IS NULL OR s.started_at < $7)
                     AND ($8::text IS NULL OR s.end_code = $8)
                     AND ($9::uuid IS NULL OR s.user_id = $9)
                   LIMIT $10) found"#,
            searched,
            users,
            spaces,
            network.as_deref(),
            id_end.as_deref(),
            filter.from,
            filter.until,
            filter.end.as_deref(),
            filter.person.map(UserId::uuid),
            i64::try_from(COUNTED + 1).unwrap_or(i64::MAX),
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(counted(count))
    }
}

/// A row of a page.
struct EndedRow {
    id: Uuid,
    user: String,
    space: String,
    domain: String,
    mode: String,
    client_address: String,
    client_version: String,
    started_at: OffsetDateTime,
    ended_at: OffsetDateTime,
    end_code: String,
    end_reason: String,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<EndedRow> for EndedSession {
    fn from(row: EndedRow) -> Self {
        Self {
            id: row.id.into(),
            user: row.user,
            space: row.space,
            domain: row.domain,
            mode: row.mode,
            client_address: row.client_address,
            client_version: row.client_version,
            started_at: row.started_at,
            ended_at: row.ended_at,
            end_code: row.end_code,
            end_reason: row.end_reason,
            bytes_in: counted(row.bytes_in),
            bytes_out: counted(row.bytes_out),
        }
    }
}

/// An address, or a network as `203.0.113.0/24`, as Postgres reads it.
fn network(words: &str) -> Option<String> {
    let (address, bits) =
        words.split_once('/').map_or((words, None), |(address, bits)| (address, Some(bits)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits: u8 = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
    Some(format!("{address}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn addresses_and_networks_are_known_as_such() {
        assert_eq!(network("203.0.113.7").as_deref(), Some("203.0.113.7/32"));
        assert_eq!(network("203.0.113.0/24").as_deref(), Some("203.0.113.0/24"));
        assert_eq!(network("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        for none in ["203.0.113", "alice", "10.0.0.1/33", "10.0.0.1/", "/8", "10.0.0.1/-1"] {
            assert_eq!(network(none), None, "{none}");
        }
    }
}
