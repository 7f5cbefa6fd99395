//! Links to spaces: opened once for all who want one, shared by channels, closed after a linger, and their loss told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
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
use super::streams::{Ended, ForLink, Stream};
use super::want::Starts;
use crate::domain::actor::{Actor, PROBE};
use crate::domain::audit::AuditEvent;
use crate::domain::ending::{EndReason, StreamEnd};
use crate::domain::ids::{LinkId, SessionId, SpaceId, StreamId, UserId};
use crate::domain::ports::Clock;
use crate::domain::record::Change;
use crate::domain::run::OpenRun;
use crate::domain::space::{AppStatus, Space};
use crate::domain::start::StartStep;
use crate::domain::streams::Seat;
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

/// Who opens a link.
enum By {
    Person(Visitor, Starts),
    /// Only to an app that runs: the one that was created then.
    Probe(OffsetDateTime),
}

/// A way to look inside a space.
pub(super) enum Sight {
    /// A person's link, whose uses are not ours to count.
    Shared(Arc<OpenLink>),
    /// The probe's own.
    Own(LinkRide),
}

/// Why there is no way to look inside a space.
pub(super) enum NoSight {
    /// The domain has no role for it, and nobody has a link open here.
    NotSetUp,
    /// The probe's own link could not be opened.
    Failed(OpenError),
    /// It was lost at once.
    Lost,
}

impl Sight {
    pub(super) fn link(&self) -> &Link {
        match self {
            Self::Shared(open) => &open.link,
            Self::Own(ride) => &ride.thing().link,
        }
    }
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
        let key = LinkKey { user: Some(visitor.user.id), space: space.id, role };
        let until = || matches!(role, Role::Private(_)).then(|| wanted.until.clone());
        for _ in 0..ATTEMPTS {
            match self.pool.board(&key, visitor.session) {
                Boarding::Aboard(ride) => return Ok(ride),
                Boarding::Full => return Err(OpenError::RefusedBySpace(too_many())),
                Boarding::Nothing => {}
            }
            let by = By::Person(visitor.clone(), starts);
            let opening = self.clone().open(key.clone(), by, space.clone(), until());
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

    /// A way to look inside a run's space. One that is open anyway costs nothing: the probe's own, or the one of a
    /// person's terminals; it is not kept open by being looked through. Otherwise the probe's own is opened, if it has
    /// a role; if not, a person's link for bulk is left, where a download may be in the way.
    pub(super) async fn sight(&self, run: &OpenRun) -> Result<Sight, NoSight> {
        let (space, rider) = (&run.space, SessionId::generate());
        let key = LinkKey { user: None, space: space.id, role: Role::Probe };
        if let Boarding::Aboard(ride) = self.pool.board(&key, rider) {
            return Ok(Sight::Own(ride));
        }
        if let Some(open) = self.shared(run, Role::Interactive) {
            return Ok(Sight::Shared(open));
        }
        if !self.reach.control.may_probe(&space.domain) {
            return self.shared(run, Role::Bulk).map(Sight::Shared).ok_or(NoSight::NotSetUp);
        }
        let opening = self.clone().open(key.clone(), By::Probe(run.app_created_at), space.clone(), None);
        let (flight, _) = self.openings.join(&key, &self.tracker, opening);
        match flight.landed(&unwatched()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(NoSight::Failed(error)),
            None => return Err(NoSight::Lost),
        }
        match self.pool.board(&key, rider) {
            Boarding::Aboard(ride) => Ok(Sight::Own(ride)),
            Boarding::Full | Boarding::Nothing => Err(NoSight::Lost),
        }
    }

    /// Somebody's link of this role to a run.
    fn shared(&self, run: &OpenRun, role: Role) -> Option<Arc<OpenLink>> {
        let leads_there = |open: &OpenLink| open.run.is_none_or(|created| created == run.app_created_at);
        let mut things = self.pool.things().into_iter();
        things
            .find(|(key, open)| key.space == run.space.id && key.role == role && leads_there(open))
            .map(|(_, open)| open)
    }

    /// A person's own link to a space that others may use too, if one is open.
    pub(super) fn of_person(&self, user: UserId, space: SpaceId) -> Option<Link> {
        let mut things = self.pool.things().into_iter();
        let usable = |role| matches!(role, Role::Interactive | Role::Bulk);
        things
            .find(|(key, _)| key.user == Some(user) && key.space == space && usable(key.role))
            .map(|(_, open)| open.link.clone())
    }

    /// Closes the links whose user lost the right to them, idle or not.
    pub(super) fn close_denied(&self, still: impl Fn(UserId, &Space) -> bool) {
        for (key, open) in self.pool.things() {
            if key.user.is_some_and(|user| !still(user, &open.space)) {
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
        by: By,
        space: Space,
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
                let (stream, run) = self.stream(by, &space, row, &report).await?;
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

    async fn stream(
        &self,
        by: By,
        space: &Space,
        row: ForLink,
        report: &Report,
    ) -> Result<(Stream, Option<OffsetDateTime>), OpenError> {
        match by {
            By::Person(visitor, starts) => {
                self.reach.stream(&visitor, space, Some(row), starts, report).await
            }
            By::Probe(run) => {
                let as_probe = (&Actor::probe(), Seat::Probe);
                let stream = self.reach.streams.open(as_probe, space, Some(row), None, report).await?;
                self.journal.audit(looked_into(space, stream.id)).await;
                Ok((stream, Some(run)))
            }
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

/// That the gateway opened a space by itself.
fn looked_into(space: &Space, stream: StreamId) -> AuditEvent {
    AuditEvent {
        actor: None,
        actor_name: PROBE.to_owned(),
        space: Some(space.id),
        session: None,
        connection: None,
        kind: "probe.opened",
        allowed: None,
        detail: json!({ "stream": stream.to_string() }),
    }
}

fn too_many() -> String {
    format!("{CHANNELS_PER_LINK} channels to it are open already")
}

/// A place for progress that nobody watches.
pub(super) fn unwatched() -> Report {
    watch::Sender::new(None)
}
