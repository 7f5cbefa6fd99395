//! The product: find a space, open it, keep links and streams, record, end, drain.
//!
//! A person's way to a space: [`Gateway::find`] turns what they wrote into one space, [`Gateway::begin`] decides,
//! writes the session's row and registers it, and [`Session::open`] opens channels in the space, over links that the
//! person's sessions share. `Gateway::run` keeps what goes on beside: the catalogue, the policy asked again, ends
//! that admins ask for.
//!
//! What is *not* here: SSH towards clients (`ssh`), SageMaker and Session Manager themselves (`aws`, through
//! [`ports`](crate::domain::ports)), SQL (`store`), wording for terminals (`ssh::messages`).

mod activity;
mod asked;
mod begin;
mod budget;
mod budgets;
mod catalog;
mod channel;
mod clock;
mod control;
mod drain;
mod errors;
mod eyes;
#[cfg(test)]
mod fakes;
mod find;
mod flights;
pub mod flow;
pub mod idle;
mod incoming;
mod journal;
mod judge;
pub mod link;
mod links;
mod lock;
mod messages;
mod pool;
mod raw;
mod reach;
mod retry;
mod session;
mod sessions;
mod space_lock;
mod standing;
mod start;
mod streams;
mod want;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use asked::{
    Held, LiveSession, Report, SpaceStatus, StartWish, Started, Stopped, stopped_at, would_stop_at,
};
pub use channel::{Channel, ChannelGone, ChannelInput, ChannelOutput};
pub use clock::SystemClock;
pub use errors::{AskError, FindError, OpenError};
pub use messages::{Ear, Said};
pub use session::Session;
pub use want::{Asker, Connection, Incoming, IncomingKind, Notice, Progress, Purpose, Want};

use crate::config::Costs;
use crate::domain::access::AccessPolicy;
use crate::domain::ids::ReplicaId;
use crate::domain::ports::{Clock, Dial, SpaceControl};
use crate::domain::user::Users;
use crate::store::Store;
use crate::store::record::Recorder;

/// What the gateway is made of.
pub struct Parts {
    /// This process.
    pub replica: ReplicaId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// SageMaker.
    pub control: Arc<dyn SpaceControl>,
    /// Streams.
    pub dial: Arc<dyn Dial>,
    /// Postgres.
    pub store: Store,
    /// The record, which outlives an outage of Postgres.
    pub recorder: Recorder,
    /// Who may use what. A change ends what it no longer allows.
    pub policy: watch::Receiver<Arc<AccessPolicy>>,
    /// What spaces cost, and what may be spent.
    pub costs: Arc<Costs>,
    /// Everybody who is known. Who is missing may nothing.
    pub users: watch::Receiver<Arc<Users>>,
    /// Times and sizes.
    pub limits: Limits,
    /// Where tasks run.
    pub tracker: TaskTracker,
    /// Ends what runs beside sessions.
    pub stop: CancellationToken,
}

/// Times and sizes that operators may set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a link is kept after its last channel, so that an editor's reconnect is instant.
    pub linger: Duration,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// How long after InService an app's agent may still be unknown to Session Manager: AWS registers it on its own time.
    pub register_timeout: Duration,
    /// How long AWS may take to delete an app or to change a space.
    pub change_timeout: Duration,
    /// Between two looks at an app that starts.
    pub poll_every: Duration,
    /// Between two listings of a domain, by one replica for all.
    pub catalogue_every: Duration,
    /// For how long the streams of a dead replica may still count at AWS: its idle limit.
    pub doubtful: Duration,
    /// The longest that a person may hold a space.
    pub longest_hold: Duration,
    /// Over how long a time bytes are added up to tell an editor's heartbeat from work.
    pub heartbeat_window: Duration,
    /// How links behave.
    pub link: link::LinkOptions,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(120),
            start_timeout: Duration::from_secs(10 * 60),
            register_timeout: Duration::from_secs(180),
            change_timeout: Duration::from_secs(150),
            poll_every: Duration::from_secs(5),
            catalogue_every: Duration::from_secs(60),
            doubtful: Duration::from_secs(60 * 60),
            longest_hold: Duration::from_secs(24 * 60 * 60),
            heartbeat_window: Duration::from_secs(10),
            link: link::LinkOptions::default(),
        }
    }
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// The parts, put together.
struct Inner {
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    store: Store,
    journal: journal::Journal,
    standing: standing::Standing,
    catalog: catalog::SpaceCatalog,
    starter: start::Starter,
    activity: activity::Activity,
    reach: reach::Reach,
    links: links::Links,
    sessions: sessions::Sessions,
    tracker: TaskTracker,
    stop: CancellationToken,
    draining: AtomicBool,
    /// Idleness, which needs the gateway's eyes and so comes after it.
    idle: OnceLock<idle::Idle>,
    /// What sessions are told at a drain, also those that come while it begins.
    notice: watch::Sender<Option<Notice>>,
}

impl Gateway {
    /// Puts the parts together. Nothing runs before [`Gateway::run`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let clock = Arc::clone(&parts.clock);
        let (tracker, stop) = (parts.tracker.clone(), parts.stop.clone());
        let journal =
            journal::Journal::new(parts.replica, Arc::clone(&clock), parts.recorder.clone(), tracker.clone());
        let reach = reach(&parts, &journal);
        let activity = activity::Activity::new(Arc::clone(&clock), parts.limits.heartbeat_window);
        let sessions = sessions::Sessions::new(journal.clone(), activity.clone(), Arc::clone(&clock));
        let links = links::Links::new(
            reach.clone(),
            sessions.clone(),
            journal.clone(),
            tracker.clone(),
            (parts.limits.linger, parts.limits.link.clone()),
            stop.clone(),
        );
        Self {
            inner: Arc::new(Inner {
                clock,
                recorder: parts.recorder,
                store: parts.store,
                journal,
                standing: reach.standing.clone(),
                catalog: reach.catalog.clone(),
                starter: reach.starter.clone(),
                activity: activity.clone(),
                reach,
                links,
                sessions,
                tracker,
                stop,
                draining: AtomicBool::new(false),
                idle: OnceLock::new(),
                notice: watch::Sender::new(None),
            }),
        }
    }

    /// Gives it idleness. Once.
    pub fn set_idle(&self, idle: idle::Idle) {
        let _ = self.inner.idle.set(idle);
    }

    /// Whether every domain's spaces have been listed at least once.
    #[must_use]
    pub fn catalogue_read(&self) -> bool {
        self.inner.catalog.is_read()
    }

    /// Waits until [`Gateway::run`] has looked for every domain's spaces once, whatever came of it.
    pub async fn catalogue_tried(&self) {
        self.inner.catalog.tried().await;
    }

    /// What goes on beside sessions, until the stop token is cancelled: the catalogue is read, the policy asked
    /// again, bytes are written down, and ends that admins ask for are carried out.
    pub async fn run(&self) {
        tokio::join!(
            self.inner.catalog.run(self.inner.stop.clone()),
            self.run_judge(),
            self.run_bytes(),
            self.run_activity(),
            self.run_control(),
        );
    }
}

/// What gets streams to spaces.
fn reach(parts: &Parts, journal: &journal::Journal) -> reach::Reach {
    let Parts { replica, clock, control, dial, store, policy, users, limits, tracker, .. } = parts;
    let catalog = catalog::SpaceCatalog::new(
        Arc::clone(control),
        Arc::clone(clock),
        (store, *replica),
        tracker.clone(),
        limits.catalogue_every,
    );
    let starter = start::Starter {
        control: Arc::clone(control),
        clock: Arc::clone(clock),
        tracker: tracker.clone(),
        limits: Arc::new(limits.clone()),
        under_way: Arc::new(flights::Flights::new()),
        locks: Some(store.clone()),
    };
    let streams = streams::Streams {
        control: Arc::clone(control),
        dial: Arc::clone(dial),
        clock: Arc::clone(clock),
        store: store.clone(),
        journal: journal.clone(),
        tracker: tracker.clone(),
        budget: budget::Budget::default(),
        doubtful_s: u32::try_from(limits.doubtful.as_secs()).unwrap_or(u32::MAX),
    };
    reach::Reach {
        control: Arc::clone(control),
        clock: Arc::clone(clock),
        catalog,
        standing: standing::Standing::new(policy.clone(), users.clone(), journal.clone()),
        starter,
        streams,
        budgets: budgets::Budgets {
            costs: Arc::clone(&parts.costs),
            store: store.clone(),
            users: users.clone(),
            journal: journal.clone(),
        },
    }
}
