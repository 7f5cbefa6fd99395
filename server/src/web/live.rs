//! What pages are told while they are open, by server-sent events (HTML standard, section 9.2).
//!
//! Each replica looks once for all of its readers. A stream begins with the whole state of what is on its page, so a
//! browser that comes back has missed nothing, whichever replica it comes back to. What is *not* here: what a row looks
//! like (`pages`).

mod feed;
pub(super) mod sessions;
pub(super) mod spaces;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::site::Site;
use super::visit::Person;
use crate::domain::ids::UserId;
use crate::domain::user::Role;
use crate::identity::SignedInUser;
use crate::store::Store;
use feed::Feed;
use sessions::LiveSessions;
use spaces::SpaceVersions;

/// The most streams of one person: pages that they have open and look at.
const STREAMS_PER_PERSON: usize = 12;
/// The most streams of one replica.
const STREAMS: usize = 1_000;
/// How often whoever reads is asked after: whether they are signed in, and may still look.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// After this time without news a comment is sent, so that nothing on the way takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After this time a browser comes back.
const COME_BACK: Duration = Duration::from_secs(2);

/// What pages are told, and who is told.
pub(super) struct Live {
    sessions: Arc<Feed<LiveSessions>>,
    spaces: Arc<Feed<SpaceVersions>>,
    readers: Arc<Mutex<Readers>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct Readers {
    all: usize,
    each: HashMap<UserId, usize>,
}

/// A place among the readers, until it is dropped.
struct Place {
    readers: Arc<Mutex<Readers>>,
    person: UserId,
}

/// Who reads a stream, and what they must be to do so.
pub(super) struct Reader {
    site: Arc<Site>,
    who: SignedInUser,
    role: Role,
    ask: tokio::time::Interval,
    _place: Place,
}

/// What a stream is made of: the next news for one page, nothing when there will be none.
pub(super) trait News: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

impl Live {
    pub(super) fn new(store: Store) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let sessions = Feed::new(LiveSessions(store.clone()), tasks.clone(), stop.clone());
        let spaces = Feed::new(SpaceVersions(store), tasks.clone(), stop.clone());
        Self { sessions, spaces, readers: Arc::default(), tasks, stop }
    }

    /// Ends every stream.
    pub(super) fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until nothing of it runs.
    pub(super) async fn ended(&self) {
        self.tasks.wait().await;
    }

    fn place(&self, person: UserId) -> Option<Place> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_person = readers.each.get(&person).copied().unwrap_or_default();
        if readers.all >= STREAMS || of_person >= STREAMS_PER_PERSON {
            return None;
        }
        readers.all += 1;
        readers.each.insert(person, of_person + 1);
        Some(Place { readers: Arc::clone(&self.readers), person })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.all = readers.all.saturating_sub(1);
        let left = readers.each.get(&self.person).map_or(0, |left| left.saturating_sub(1));
        if left == 0 {
            readers.each.remove(&self.person);
        } else {
            readers.each.insert(self.person, left);
        }
    }
}

impl Reader {
    /// Somebody who has at least this role; nothing when they, or all together, read too much already.
    pub(super) fn new(site: &Arc<Site>, person: Person, role: Role) -> Option<Self> {
        let place = site.live.place(person.who.user.id)?;
        let ask = tokio::time::interval_at(tokio::time::Instant::now() + ASK_AFTER, ASK_AFTER);
        Some(Self { site: Arc::clone(site), who: person.who, role, ask, _place: place })
    }

    /// Whether they may still read. While Postgres is away nobody is sent off for that.
    async fn stays(&self) -> bool {
        match self.site.identity.still_signed_in(&self.who).await {
            Ok(user) => user.is_some_and(|user| !user.suspended && user.role >= self.role),
            Err(_) => true,
        }
    }
}

/// The answer to somebody who may not have one more stream.
pub(super) fn too_many() -> Response {
    (
        StatusCode::TOO_MANY_REQUESTS,
        [(RETRY_AFTER, "60")],
        "Too many pages are open. Reload to see what is new.\n",
    )
        .into_response()
}

/// Streams news to a reader, until either has no more or the site stops.
pub(super) fn stream_to(reader: Reader, news: impl News) -> Response {
    let begun = (reader, news, true);
    let events = stream::unfold(begun, |(mut reader, mut news, first)| async move {
        let stop = reader.site.live.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                _ = reader.ask.tick() => {
                    if !reader.stays().await {
                        return None;
                    }
                }
                event = news.next() => {
                    let event = event?;
                    let event = if first { event.retry(COME_BACK) } else { event };
                    return Some((Ok::<_, Infallible>(event), (reader, news, false)));
                }
            }
        }
    });
    let mut answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies that collect answers before they pass them on are told not to.
    let no = axum::http::HeaderValue::from_static("no");
    answer.headers_mut().insert("x-accel-buffering", no);
    answer
}
