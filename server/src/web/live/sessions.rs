//! What the page of live sessions is told: which of its rows changed, ended, and began.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::feed::{Latest, Source};
use super::{News, Reader, stream_to, too_many};
use crate::domain::day::Zone;
use crate::domain::ids::SessionId;
use crate::domain::user::Role;
use crate::store::sessions::live::{LiveFilter, LiveSnapshot};
use crate::store::{Store, StoreError};
use crate::web::pages::sessions::rows::{Cells, Row, filter_of, sentence};
use crate::web::query::{micros, of_micros};
use crate::web::show::WallClock;
use crate::web::site::Site;
use crate::web::visit::Onlooker;

/// The most rows of a page that a stream follows.
const MOST_ROWS: usize = 300;
/// How late a session's row may come into view after its beginning: replicas' clocks differ, and commits take time.
const LATE: time::Duration = time::Duration::minutes(2);

/// Live sessions, read for all readers at once.
pub(super) struct LiveSessions(pub(super) Store);

#[async_trait]
impl Source for LiveSessions {
    type Seen = LiveSnapshot;
    /// Who begins is on an open page well within a second.
    const PAUSE: Duration = Duration::from_millis(200);

    async fn look(&self) -> Result<LiveSnapshot, StoreError> {
        self.0.live_snapshot().await
    }
}

/// What a page says of itself.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    idle: String,
    /// The ids of its rows.
    #[serde(default)]
    ids: String,
    /// When its rows were read, in microseconds of Postgres's time.
    read: i64,
    /// Whether new sessions belong on it.
    new: Option<u8>,
    /// The beginning of its last row, where more rows follow on another page.
    oldest: Option<i64>,
}

/// What one page shows, so that it is told only what is new to it.
struct Shown {
    filter: LiveFilter,
    may_end: bool,
    /// The reader's.
    zone: Zone,
    read_at: OffsetDateTime,
    /// Sessions that begin after this are put on the page; nothing where none is.
    new_after: Option<OffsetDateTime>,
    /// The rows as they were when the page was told last.
    rows: HashMap<SessionId, Cells>,
    /// The rows that the page came with; nothing once it has been told their state.
    unknown: Option<Vec<SessionId>>,
    sentence: String,
}

/// One piece of news.
#[derive(Debug, Default, Serialize)]
struct Told {
    /// The sentence on top, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    say: Option<String>,
    /// The first time: every row that is live. Others on the page are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Vec<Uuid>>,
    /// Rows that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<Cells>,
    /// Rows that are over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    over: Vec<Uuid>,
    /// Rows that are new, oldest first, as the page has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<String>,
}

struct SessionsNews {
    latest: Latest<LiveSessions>,
    shown: Shown,
}

/// A stream of news for a page of live sessions.
pub(in crate::web) async fn stream(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Response {
    let may_end = person.who.user.role >= Role::Admin;
    let zone = person.zone.clone();
    let Some(reader) = Reader::new(&site, person, Role::Auditor) else { return too_many() };
    let latest = site.live.sessions.watch();
    stream_to(reader, SessionsNews { latest, shown: Shown::new(&asked, may_end, zone) })
}

impl News for SessionsNews {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.latest.changed().await.ok()?;
            let snapshot = self.latest.borrow_and_update().clone();
            let Some(snapshot) = snapshot else { continue };
            if let Some(told) = self.shown.told(&snapshot) {
                let data = serde_json::to_string(&told).ok()?;
                return Some(
                    Event::default().event("sessions").id(micros(snapshot.now).to_string()).data(data),
                );
            }
        }
    }
}

impl Shown {
    fn new(asked: &Asked, may_end: bool, zone: Zone) -> Self {
        let ids = asked.ids.split(',').filter_map(|id| id.parse().ok()).take(MOST_ROWS);
        let read_at = of_micros(asked.read).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let oldest = asked.oldest.and_then(of_micros).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self {
            filter: filter_of(&asked.q, &asked.mode, &asked.idle),
            may_end,
            zone,
            read_at,
            new_after: asked.new.map(|_| oldest),
            rows: HashMap::new(),
            unknown: Some(ids.collect()),
            sentence: String::new(),
        }
    }

    /// What the page is to be told after a look; nothing if nothing is new to it.
    fn told(&mut self, seen: &LiveSnapshot) -> Option<Told> {
        // A look from before the page was made would take its newest rows for ended ones.
        if seen.now < self.read_at {
            return None;
        }
        let mut told = Told::default();
        let first = self.unknown.take();
        for id in first.iter().flatten() {
            if let Some(watched) = seen.sessions.get(id) {
                let cells = Cells::of(watched, seen.now);
                told.changed.push(cells.clone());
                self.rows.insert(*id, cells);
            }
        }
        if first.is_none() {
            self.follow(seen, &mut told);
        }
        self.add_new(seen, &mut told);
        if first.is_some() {
            told.live = Some(self.rows.keys().map(|id| id.uuid()).collect());
        }
        let sentence = sentence(seen.count);
        if sentence != self.sentence {
            told.say = Some(sentence.clone());
            self.sentence = sentence;
        }
        self.read_at = seen.now;
        let nothing = told.say.is_none() && told.live.is_none();
        let nothing = nothing && told.changed.is_empty() && told.over.is_empty() && told.rows.is_empty();
        (!nothing).then_some(told)
    }

    fn follow(&mut self, seen: &LiveSnapshot, told: &mut Told) {
        self.rows.retain(|id, before| {
            let Some(watched) = seen.sessions.get(id) else {
                told.over.push(id.uuid());
                return false;
            };
            let cells = Cells::of(watched, seen.now);
            if cells != *before {
                told.changed.push(cells.clone());
                *before = cells;
            }
            true
        });
    }

    fn add_new(&mut self, seen: &LiveSnapshot, told: &mut Told) {
        let Some(after) = self.new_after else { return };
        // A browser that comes back has the time of its page, which may be long ago: all since then are looked through.
        let after = after.max(self.read_at - LATE);
        let wall = WallClock::new(self.zone.clone(), seen.now);
        let mut new = HashSet::new();
        for id in &seen.newest {
            let Some(watched) = seen.sessions.get(id) else { continue };
            if watched.session.started_at < after || self.rows.len() + new.len() >= MOST_ROWS {
                break;
            }
            if self.rows.contains_key(id) || !self.filter.takes(&watched.session, seen.now) {
                continue;
            }
            new.insert(*id);
            told.rows.extend(Row::of(watched, &wall).render(self.may_end));
        }
        told.rows.reverse();
        for id in new {
            if let Some(watched) = seen.sessions.get(&id) {
                self.rows.insert(id, Cells::of(watched, seen.now));
            }
        }
    }
}
