//! Links to spaces: opened once for all who want one, shared by channels, closed after a linger, and their loss told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::clock::within;
use super::errors::OpenError;
use super::flights::{Flights, Report};
use super::journal::Journal;
use super::link::{Link, LinkError, LinkOptions};
use super::lock::lock;
use super::pool::{Boarding, LinkKey, Pool, Ride, Role, Terms};
use super::reach::{Reach, Visitor};
use super::sessions::Sessions;
use super::streams::{Ended, ForLink};
use super::want::Starts;
use crate::domain::ending::{EndReason, StreamEnd};
use crate::domain::ids::{LinkId, StreamId};
use crate::domain::ports::Clock;
use crate::domain::record::Change;
use crate::domain::space::{AppStatus, Space};
use crate::domain::start::StartStep;
use crate::telemetry::metrics as names;

/// Channels that one link carries at a time. An editor's `-D` opens some dozens; this is far more, and still few
/// enough that the buffers of a link have a ceiling.
pub(super) const CHANNELS_PER_LINK: usize = 200;
/// The longest that SSH may take on a fresh stream; `Link::connect` promises 30 s, this is for a broken promise.
const CONNECT_LIMIT: Duration = Duration::from_secs(40);
/// How long after the end of its SSH connection a stream may take to say why.
const REASON_LIMIT: Duration = Duration::from_secs(5);
/// The longest that closing a link may take: it drains first.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);
/// Times that a link is opened anew because it was lost before it could be used.
const ATTEMPTS: usize = 3;

/// A channel's hold on a link.
pub(super) type LinkRide = Ride<OpenLink>;

/// A link that is open, and what it was opened on.
pub(super) struct OpenLink {
    pub(super) link: Link,
    pub(super) stream: StreamId,
    pub(super) key: LinkKey,
    pub(super) space: Space,
    id: LinkId,
    /// When AWS created the app that it leads to.
    run: Option<OffsetDateTime>,
    /// Why we close it; nothing while it is meant to live.
    closing: Mutex<Option<&'static str>>,
    /// Cancelled to close it.
    close: CancellationToken,
}

/// All links of this replica. Cheap to clone.
#[derive(Clone)]
pub(super) struct Links {
    pool: Pool<OpenLink>,
    openings: Arc<Flights<LinkKey, Result<(), OpenError>>>,
    reach: Reach,
    sessions: Sessions,
    journal: Journal,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    options: LinkOptions,
}

/// What a link is wanted for.
pub(super) struct Wanted<'a> {
    pub(super) visitor: &'a Visitor,
    pub(super) space: &'a Space,
    pub(super) role: Role,
    pub(super) starts: Starts,
    /// Ends a private link: its session's.
    pub(super) until: &'a CancellationToken,
}

impl Links {
    pub(super) fn new(
        reach: Reach,
        sessions: Sessions,
        journal: Journal,
        tracker: TaskTracker,
        (linger, options): (Duration, LinkOptions),
        stop: CancellationToken,
    ) -> Self {
        let clock = Arc::clone(&reach.clock);
        let terms = Terms {
            linger,
            most: CHANNELS_PER_LINK,
            clock: Arc::clone(&clock),
            tracker: tracker.clone(),
            stop,
            close: Box::new(|open: Arc<OpenLink>| open.close_because("idle")),
        };
        let (pool, openings) = (Pool::new(terms), Arc::new(Flights::new()));
        Self { pool, openings, reach, sessions, journal, clock, tracker, options }
    }

    /// Another use of a private link by the session it belongs to; nothing if it is full or gone.
    pub(super) fn board_again(&self, open: &OpenLink) -> Option<LinkRide> {
        let Role::Private(session) = open.key.role else { return None };
        match self.pool.board(&open.key, session) {
            Boarding::Aboard(ride) => Some(ride),
            Boarding::Full | Boarding::Nothing => None,
        }
    }

    /// A hold on a link, opened if there is none.
    pub(super) async fn ride(&self, wanted: &Wanted<'_>, report: &Report) -> Result<LinkRide, OpenError> {
        let Wanted { visitor, space, role, starts, .. } = *wanted;
        let key = LinkKey { user: visitor.user.id, space: space.id, role };
        for _ in 0..ATTEMPTS {
            match self.pool.board(&key, visitor.session) {
                Boarding::Aboard(ride) => return Ok(ride),
                Boarding::Full => return Err(OpenError::RefusedBySpace(too_many())),
                Boarding::Nothing => {}
            }
            let opening = self.clone().open(
                key.clone(),
                visitor.clone(),
                space.clone(),
                starts,
                matches!(role, Role::Private(_)).then(|| wanted.until.clone()),
            );
            let (flight, mine) = self.openings.join(&key, &self.tracker, opening);
            match flight.landed(report).await {
                Some(Ok(())) => {}
                // The opening that we joined was not allowed to start the space; ours is.
                Some(Err(OpenError::NotRunning(_))) if starts != Starts::Never && !mine => {}
                Some(Err(OpenError::Idled(_))) if starts == Starts::Always && !mine => {}
                Some(Err(error)) => return Err(error),
                None => return Err(OpenError::SpaceSsh("the opening was broken off".to_owned())),
            }
        }
        Err(OpenError::SpaceSsh("the link was lost as soon as it was open".to_owned()))
    }

    /// Closes the links whose user lost the right to them, idle or not.
    pub(super) fn close_denied(&self, still: impl Fn(&LinkKey, &Space) -> bool) {
        for (key, open) in self.pool.things() {
            if !still(&key, &open.space) {
                self.pool.take_out(&key, &open);
                open.close_because("no longer allowed");
            }
        }
    }

    /// Closes every link and waits until each is, for a bounded time.
    pub(super) async fn close_all(&self) {
        let open = self.pool.things();
        let closings = open.into_iter().map(|(key, open)| async move {
            self.pool.take_out(&key, &open);
            open.close_because("drained");
            open.link.closed().await;
        });
        let _ = within(&*self.clock, CLOSE_LIMIT, join_all(closings)).await;
    }

    /// The work of one opening. Whoever comes meanwhile shares it.
    fn open(
        self,
        key: LinkKey,
        visitor: Visitor,
        space: Space,
        starts: Starts,
        until: Option<CancellationToken>,
    ) -> impl FnOnce(Report) -> futures_util::future::BoxFuture<'static, Result<(), OpenError>> {
        move |report| {
            Box::pin(async move {
                // Another opening may have landed between the look into the pool and this one.
                if self.pool.has(&key) {
                    return Ok(());
                }
                let id = LinkId::generate();
                let row = ForLink { id, purpose: key.role.as_str() };
                let (stream, run) = self.reach.stream(&visitor, &space, Some(row), starts, &report).await?;
                let (stream_id, ended) = (stream.id, stream.ended);
                let connect = Link::connect(stream.bytes, self.options.clone(), &self.tracker);
                let connected = within(&*self.clock, CONNECT_LIMIT, connect).await;
                let link = match connected.unwrap_or(Err(LinkError::NoBanner(CONNECT_LIMIT.as_secs()))) {
                    Ok(link) => link,
                    Err(error) => {
                        warn!(link.id = %id, space.name = %space.name(), %error, "link not opened");
                        self.record_closed(id, &error.to_string()).await;
                        return Err(error.into());
                    }
                };
                report.send_if_modified(|progress| {
                    progress.as_mut().map(|progress| progress.step = StartStep::Connected).is_some()
                });
                info!(link.id = %id, stream.id = %stream_id, space.name = %space.name(), purpose = row.purpose, "link open");
                let (closing, close) = (Mutex::new(None), CancellationToken::new());
                let open = OpenLink { link, stream: stream_id, key, space, id, run, closing, close };
                let open = Arc::new(open);
                self.pool.put(&open.key, Arc::clone(&open));
                self.tracker.clone().spawn(self.keep(open, ended, until));
                Ok(())
            })
        }
    }

    /// Stays with a link until it is over, then writes its row and ends the sessions that were using it.
    async fn keep(self, open: Arc<OpenLink>, ended: Ended, until: Option<CancellationToken>) {
        metrics::gauge!(names::LINKS).increment(1);
        let its_session = async {
            match &until {
                Some(session) => session.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = open.close.cancelled() => {}
            () = its_session => open.close_because("its session ended"),
            () = open.link.closed() => {}
            _ = ended.clone() => {}
        }
        let riders = self.pool.take_out(&open.key, &open);
        let meant = *lock(&open.closing);
        metrics::gauge!(names::LINKS).decrement(1);
        if let Some(why) = meant {
            let _ = within(&*self.clock, CLOSE_LIMIT, open.link.close()).await;
            info!(link.id = %open.id, reason = why, "link closed");
            return self.record_closed(open.id, why).await;
        }
        let reason = self.reach.loss(&open.space, open.run, ended).await;
        warn!(link.id = %open.id, space.name = %open.space.name(), %reason, sessions = riders.len(), "link lost");
        for session in riders.into_iter().filter_map(|id| self.sessions.get(id)) {
            session.end(reason.clone());
        }
        let _ = within(&*self.clock, CLOSE_LIMIT, open.link.close()).await;
        self.record_closed(open.id, &reason.to_string()).await;
    }

    async fn record_closed(&self, link: LinkId, reason: &str) {
        let at = self.journal.now();
        let closed = Change::LinkClosed { link: link.uuid(), at, reason: reason.to_owned() };
        self.journal.record(vec![closed]).await;
    }
}

impl OpenLink {
    /// Closes it for a reason of ours. The first stands.
    fn close_because(&self, why: &'static str) {
        lock(&self.closing).get_or_insert(why);
        self.close.cancel();
    }
}

impl Reach {
    /// Why the way to a space broke. A space that was stopped or restarted takes its streams along, and that is
    /// another story for whoever was in it.
    pub(super) async fn loss(&self, space: &Space, run: Option<OffsetDateTime>, ended: Ended) -> EndReason {
        let end = match within(&*self.clock, REASON_LIMIT, ended).await {
            // We did not close it: so the other side closed SSH, and the stream went with it.
            Some(StreamEnd::Closed) | None => StreamEnd::SshClosed,
            Some(end) => end,
        };
        let Ok(app) = self.starter.app(space).await else { return EndReason::StreamLost(end) };
        let still_there = app.is_some_and(|app| {
            let same_run = run.is_none() || app.created_at.is_none() || run == app.created_at;
            app.status == AppStatus::InService && same_run
        });
        if still_there { EndReason::StreamLost(end) } else { EndReason::SpaceStopped }
    }
}

fn too_many() -> String {
    format!("{CHANNELS_PER_LINK} channels to it are open already")
}

/// A place for progress that nobody watches.
pub(super) fn unwatched() -> Report {
    watch::Sender::new(None)
}
