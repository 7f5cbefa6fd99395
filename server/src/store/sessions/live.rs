//! Live sessions as pages show them: one page of many, found and sorted by Postgres; or all at once, for whoever watches.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{LiveSession, planned_anew};
use crate::domain::ids::SessionId;
use crate::domain::record::Mode;
use crate::store::text::{counted, id_digits, plain};
use crate::store::{Store, StoreError};

/// The longest text that is searched for, in characters.
pub const LONGEST_SEARCH: usize = 120;

/// What a live session must be like to be shown. Nothing is asked of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveFilter {
    words: Option<String>,
    mode: Option<Mode>,
    idle: Option<Duration>,
}

/// In which order live sessions are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LiveOrder {
    /// The newest first.
    #[default]
    Since,
    /// By person.
    Person,
    /// By space.
    Space,
    /// The longest idle first.
    Idle,
}

/// Where a page begins: behind this session, in the page's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAfter {
    /// What it was sorted by.
    pub key: String,
    /// The session.
    pub id: SessionId,
}

/// A live session with its open channels.
#[derive(Debug, Clone)]
pub struct WatchedSession {
    /// The session.
    pub session: LiveSession,
    /// The kinds of its open channels and how many there are of each, by kind.
    pub channels: Vec<(String, u64)>,
}

/// A page of live sessions.
#[derive(Debug, Clone)]
pub struct LivePage {
    /// Postgres's time.
    pub now: OffsetDateTime,
    /// The sessions in their order.
    pub sessions: Vec<WatchedSession>,
    /// Where the next page begins, if there is one.
    pub next: Option<LiveAfter>,
    /// How many there are in all, on every page and whatever was searched for.
    pub count: LiveCount,
}

/// How much is live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveCount {
    /// Sessions.
    pub sessions: u64,
    /// Their people.
    pub people: u64,
    /// Their spaces.
    pub spaces: u64,
}

/// Everything that is live at one moment.
#[derive(Debug, Clone)]
pub struct LiveSnapshot {
    /// Postgres's time.
    pub now: OffsetDateTime,
    /// The sessions.
    pub sessions: HashMap<SessionId, WatchedSession>,
    /// The same, the newest first.
    pub newest: Vec<SessionId>,
    /// How many there are.
    pub count: LiveCount,
}

impl LiveFilter {
    /// Sessions whose person or space has these words in the name, whose address begins like them, or whose id ends so;
    /// that reach their space in this way; and whose person has done nothing for this long.
    #[must_use]
    pub fn new(words: &str, mode: Option<Mode>, idle: Option<Duration>) -> Self {
        Self { words: search_words(words), mode, idle }
    }

    /// Whether a session is to be shown: says of one what the store's search says of all.
    #[must_use]
    pub fn takes(&self, session: &LiveSession, now: OffsetDateTime) -> bool {
        let found = self.words.as_ref().is_none_or(|words| {
            let space = format!("{}.{}", session.space, session.domain).to_lowercase();
            session.user.to_lowercase().contains(words)
                || space.contains(words)
                || session.client_address.starts_with(words)
                || id_digits(words).is_some_and(|end| session.id.uuid().simple().to_string().ends_with(&end))
        });
        let mode = self.mode.is_none_or(|mode| session.mode == mode.as_str());
        found && mode && self.idle.is_none_or(|idle| session.quiet_since() <= now - idle)
    }
}

/// What is searched for, as it is compared; nothing if that is no text at all.
pub(in crate::store) fn search_words(words: &str) -> Option<String> {
    let words: String = plain(words.trim()).to_lowercase().chars().take(LONGEST_SEARCH).collect();
    (!words.is_empty()).then_some(words)
}

impl LiveOrder {
    /// The word for it in addresses of pages and in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Since => "since",
            Self::Person => "person",
            Self::Space => "space",
            Self::Idle => "idle",
        }
    }

    /// Where a page in this order begins; nothing if no page of this order has said so.
    fn behind(self, after: &LiveAfter) -> Option<Behind> {
        let (word, time) = match self {
            Self::Person | Self::Space => (Some(after.key.clone()), None),
            Self::Since | Self::Idle => {
                let micros = after.key.parse::<u64>().ok()?;
                let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
                (None, Some(time.ok()?))
            }
        };
        Some(Behind { word, time, id: after.id.uuid() })
    }
}

impl Store {
    /// A page of live sessions, of `limit` at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn live_page(
        &self,
        filter: &LiveFilter,
        order: LiveOrder,
        after: Option<&LiveAfter>,
        limit: u32,
    ) -> Result<LivePage, StoreError> {
        let mut rows = self.live_rows(filter, order, after, i64::from(limit) + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| LiveAfter { key: row.key(), id: row.id.into() });
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut channels = self.open_channels_of(&ids).await?;
        let sessions = watched(rows.into_iter().map(LiveSession::from).collect(), &mut channels);
        // The time last: see the snapshot.
        let (now, count) = self.live_count().await?;
        Ok(LivePage { now, sessions, next, count })
    }

    /// The rows of a page. Those on it are found first, by as little as their order and the search need; what else is shown
    /// is read of them alone.
    async fn live_rows(
        &self,
        filter: &LiveFilter,
        order: LiveOrder,
        after: Option<&LiveAfter>,
        limit: i64,
    ) -> Result<Vec<LiveRow>, StoreError> {
        let after = after.and_then(|after| order.behind(after));
        let mut tx = self.pool.begin().await?;
        planned_anew(&mut tx).await?;
        let rows = sqlx::query_as!(
            LiveRow,
            r#"WITH live AS (
                   SELECT s.id,
                          (CASE $1::text WHEN 'person' THEN lower(u.name)
                                         WHEN 'space' THEN p.name || '.' || p.domain END) COLLATE "C" AS word,
                          CASE $1 WHEN 'idle' THEN greatest(s.started_at, g.last_seen_at) END AS quiet,
                          CASE $1 WHEN 'since' THEN s.started_at END AS since
                   FROM sessions s
                   JOIN users u ON u.id = s.user_id
                   JOIN spaces p ON p.id = s.space_id
                   LEFT JOIN LATERAL (SELECT max(g.at) AS last_seen_at FROM signs g
                                      WHERE g.space_id = s.space_id AND g.user_id = s.user_id
                                        AND g.sign IN ('keys', 'opened', 'sent')) g ON true
                   WHERE s.ended_at IS NULL
                     AND ($2::text IS NULL OR strpos(lower(u.name), $2) > 0
                          OR strpos(lower(p.name || '.' || p.domain), $2) > 0
                          OR strpos(host(s.client_address), $2) = 1
                          OR right(replace(s.id::text, '-', ''), length($3::text)) = $3)
                     AND ($4::text IS NULL OR s.mode = $4)
                     AND ($5::bigint IS NULL OR greatest(s.started_at, g.last_seen_at)
                                                <= now() - $5 * interval '1 microsecond')),
               found AS (
                   SELECT * FROM live
                   WHERE ($6::text IS NULL OR (word, id) > ($6 COLLATE "C", $8::uuid))
                     AND ($7::timestamptz IS NULL OR $1 = 'idle' AND (quiet, id) > ($7, $8)
                          OR $1 = 'since' AND since <= $7 AND (since < $7 OR id > $8))
                   ORDER BY word, quiet, since DESC, id LIMIT $9)
               SELECT s.id, s.user_id, u.name AS "user", s.space_id, p.name AS space, p.domain, s.mode,
                      host(s.client_address) AS "address!", s.client_version, s.started_at,
                      (SELECT max(g.at) FROM signs g
                       WHERE g.space_id = s.space_id AND g.user_id = s.user_id
                         AND g.sign IN ('keys', 'opened', 'sent')) AS last_seen_at,
                      s.bytes_in, s.bytes_out, s.replica_id,
                      r.renewed_at + make_interval(secs => r.lease_s) <= now() AS "doubtful!",
                      f.word, coalesce(f.quiet, f.since) AS time
               FROM found f
               JOIN sessions s ON s.id = f.id
               JOIN users u ON u.id = s.user_id
               JOIN spaces p ON p.id = s.space_id
               JOIN replicas r ON r.id = s.replica_id
               ORDER BY f.word, f.quiet, f.since DESC, f.id"#,
            order.as_str(),
            filter.words.as_deref(),
            filter.words.as_deref().and_then(id_digits),
            filter.mode.map(Mode::as_str),
            filter.idle.map(|idle| i64::try_from(idle.as_micros()).unwrap_or(i64::MAX)),
            after.as_ref().and_then(|after| after.word.as_deref()),
            after.as_ref().and_then(|after| after.time),
            after.as_ref().map(|after| after.id),
            limit,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Everything that is live.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn live_snapshot(&self) -> Result<LiveSnapshot, StoreError> {
        // The time first: whoever was shown something before it misses nothing here.
        let (now, count) = self.live_count().await?;
        let sessions = self.live_sessions().await?;
        let rows = sqlx::query!(
            r#"SELECT session_id, kind, count(*) AS "n!" FROM channels WHERE ended_at IS NULL
               GROUP BY session_id, kind ORDER BY session_id, kind"#
        )
        .fetch_all(&self.pool)
        .await?;
        let mut channels = HashMap::new();
        for row in rows {
            sort_in(&mut channels, row.session_id, (row.kind, row.n));
        }
        let newest = sessions.iter().map(|session| session.id).collect();
        let sessions = watched(sessions, &mut channels);
        Ok(LiveSnapshot {
            now,
            newest,
            sessions: sessions.into_iter().map(|watched| (watched.session.id, watched)).collect(),
            count,
        })
    }

    async fn open_channels_of(
        &self,
        sessions: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<(String, u64)>>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT session_id, kind, count(*) AS "n!" FROM channels
               WHERE session_id = ANY($1) AND ended_at IS NULL
               GROUP BY session_id, kind ORDER BY session_id, kind"#,
            sessions,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut channels = HashMap::new();
        for row in rows {
            sort_in(&mut channels, row.session_id, (row.kind, row.n));
        }
        Ok(channels)
    }

    async fn live_count(&self) -> Result<(OffsetDateTime, LiveCount), StoreError> {
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", count(*) AS "sessions!", count(DISTINCT user_id) AS "people!",
                      count(DISTINCT space_id) AS "spaces!"
               FROM sessions WHERE ended_at IS NULL"#
        )
        .fetch_one(&self.pool)
        .await?;
        let count = LiveCount {
            sessions: counted(row.sessions),
            people: counted(row.people),
            spaces: counted(row.spaces),
        };
        Ok((row.now, count))
    }
}

/// A row of a page.
struct LiveRow {
    id: Uuid,
    user_id: Uuid,
    user: String,
    space_id: Uuid,
    space: String,
    domain: String,
    mode: String,
    address: String,
    client_version: String,
    started_at: OffsetDateTime,
    last_seen_at: Option<OffsetDateTime>,
    bytes_in: i64,
    bytes_out: i64,
    replica_id: Uuid,
    doubtful: bool,
    /// What it is sorted by, where that is a word.
    word: Option<String>,
    /// What it is sorted by, where that is a time.
    time: Option<OffsetDateTime>,
}

/// Where a page begins, as Postgres compares it.
struct Behind {
    word: Option<String>,
    time: Option<OffsetDateTime>,
    id: Uuid,
}

impl LiveRow {
    /// What it is sorted by, as text: a time as microseconds since 1970, which is as exact as Postgres's.
    fn key(&self) -> String {
        let time = self.time.map(|time| (time.unix_timestamp_nanos() / 1_000).to_string());
        time.or_else(|| self.word.clone()).unwrap_or_default()
    }
}

impl From<LiveRow> for LiveSession {
    fn from(row: LiveRow) -> Self {
        Self {
            id: row.id.into(),
            user_id: row.user_id.into(),
            user: row.user,
            space_id: row.space_id.into(),
            space: row.space,
            domain: row.domain,
            mode: row.mode,
            client_address: row.address,
            client_version: row.client_version,
            started_at: row.started_at,
            last_seen_at: row.last_seen_at,
            bytes_in: counted(row.bytes_in),
            bytes_out: counted(row.bytes_out),
            replica: row.replica_id.into(),
            doubtful: row.doubtful,
        }
    }
}

fn sort_in(channels: &mut HashMap<Uuid, Vec<(String, u64)>>, session: Uuid, (kind, n): (String, i64)) {
    channels.entry(session).or_default().push((kind, counted(n)));
}

fn watched(
    sessions: Vec<LiveSession>,
    channels: &mut HashMap<Uuid, Vec<(String, u64)>>,
) -> Vec<WatchedSession> {
    let with = |session: LiveSession| {
        let channels = channels.remove(&session.id.uuid()).unwrap_or_default();
        WatchedSession { session, channels }
    };
    sessions.into_iter().map(with).collect()
}
