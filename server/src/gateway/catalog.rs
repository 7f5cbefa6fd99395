//! The catalogue: every space of every domain, as the last complete listing showed it.
//!
//! One replica at a time asks AWS, every minute or as configured, and the others read from Postgres what it wrote. Any
//! asks sooner when somebody misses a space or after a change of ours, but never more often than [`FLOOR`]. While
//! Postgres is away each asks for itself. A listing that fails leaves the last one in place.

mod record;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::record::Record;
use super::clock::within;
use super::flights::Flights;
use super::lock::lock;
use crate::domain::ids::{DomainAlias, ReplicaId, SpaceId};
use crate::domain::ports::{AwsError, Clock, SpaceControl};
use crate::domain::space::{Space, SpaceArn, SpaceState};
use crate::store::Store;
use crate::store::spaces::StoredListing;
use crate::telemetry::metrics as names;

/// The least time between two calls for one domain, whatever is missed: strangers' guesses cost AWS calls otherwise.
const FLOOR: Duration = Duration::from_secs(5);
/// The longest that a listing may take; AWS answers a page in well under a second.
const LISTING_LIMIT: Duration = Duration::from_secs(60);
/// The longest that somebody who asked for an unknown space waits for a fresh listing.
const MISS_LIMIT: Duration = Duration::from_secs(20);
/// The longest that leaving the asking to others may take.
const RESIGN_LIMIT: Duration = Duration::from_secs(2);

/// The spaces of all domains. Cheap to clone.
#[derive(Clone)]
pub(super) struct SpaceCatalog {
    shared: Arc<Shared>,
}

struct Shared {
    control: Arc<dyn SpaceControl>,
    clock: Arc<dyn Clock>,
    record: Record,
    tracker: TaskTracker,
    domains: HashMap<DomainAlias, Mutex<Shelf>>,
    readings: Flights<DomainAlias, ()>,
    /// Between two listings of a domain.
    every: Duration,
    /// The domains that have had their first reading, good or bad.
    tried: watch::Sender<HashSet<DomainAlias>>,
}

/// What is known of one domain.
#[derive(Default)]
struct Shelf {
    listing: Option<Listing>,
    /// `Clock::elapsed` when AWS last answered us, well or not.
    last_asked: Option<Duration>,
    trouble: Option<Trouble>,
}

/// A complete listing.
#[derive(Debug, Clone)]
struct Listing {
    spaces: Arc<Vec<Space>>,
    /// On `Clock::elapsed`'s scale; below zero if another replica read it before we started.
    at: time::Duration,
    read_at: OffsetDateTime,
    /// When Postgres got it, if it is from there.
    written_at: Option<OffsetDateTime>,
}

/// Why the last reading of a domain brought nothing.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// AWS did not list.
    Aws(AwsError),
    /// Postgres did not take the listing, and there is none from before.
    Record,
}

impl SpaceCatalog {
    pub(super) fn new(
        control: Arc<dyn SpaceControl>,
        clock: Arc<dyn Clock>,
        (store, replica): (&Store, ReplicaId),
        tracker: TaskTracker,
        every: Duration,
    ) -> Self {
        Self::with(control, clock, Record::of(store, replica, every), tracker, every)
    }

    fn with(
        control: Arc<dyn SpaceControl>,
        clock: Arc<dyn Clock>,
        record: Record,
        tracker: TaskTracker,
        every: Duration,
    ) -> Self {
        let domains = control.domains().into_iter().map(|domain| (domain, Mutex::default())).collect();
        let (readings, tried) = (Flights::new(), watch::Sender::default());
        Self { shared: Arc::new(Shared { control, clock, record, tracker, domains, readings, every, tried }) }
    }

    /// Every known space.
    pub(super) fn spaces(&self) -> Vec<Space> {
        self.listings().iter().flat_map(|listing| listing.spaces.iter()).cloned().collect()
    }

    /// A space as the newest listing shows it.
    pub(super) fn space(&self, domain: &DomainAlias, id: SpaceId) -> Option<Space> {
        let listing = lock(self.shared.domains.get(domain)?).listing.clone()?;
        listing.spaces.iter().find(|space| space.id == id).cloned()
    }

    /// When the oldest of the listings was read; nothing if there is none.
    pub(super) fn read_at(&self) -> Option<OffsetDateTime> {
        self.listings().iter().map(|listing| listing.read_at).min()
    }

    /// Whether every domain has been listed at least once.
    pub(super) fn is_read(&self) -> bool {
        self.shared.domains.values().all(|shelf| lock(shelf).listing.is_some())
    }

    /// Waits until [`Self::run`] has tried every domain once, good or bad.
    pub(super) async fn tried(&self) {
        let all = self.shared.domains.len();
        let _ = self.shared.tried.subscribe().wait_for(|tried| tried.len() == all).await;
    }

    /// Why nothing can be said about a domain, or about any: no listing was ever complete.
    pub(super) fn trouble(&self, domain: Option<&DomainAlias>) -> Option<Trouble> {
        let shelves = self.shared.domains.iter().filter(|(alias, _)| domain.is_none_or(|one| one == *alias));
        let mut trouble = None;
        for (_, shelf) in shelves {
            let shelf = lock(shelf);
            if shelf.listing.is_some() {
                return None;
            }
            trouble = shelf.trouble.clone().or(trouble);
        }
        trouble
    }

    /// Reads what somebody misses: one domain or all, unless that has just been done. Waits for a bounded time.
    pub(super) async fn look_again(&self, domain: Option<&DomainAlias>) {
        let due: Vec<_> = (self.shared.domains.keys())
            .filter(|alias| domain.is_none_or(|one| one == *alias) && self.is_due(alias, self.floor()))
            .map(|alias| self.read_unless_fresh(alias))
            .collect();
        let _ = within(&*self.shared.clock, MISS_LIMIT, futures_util::future::join_all(due)).await;
    }

    /// Takes what another replica has just read, or else asks AWS.
    async fn read_unless_fresh(&self, domain: &DomainAlias) {
        let now = signed(self.shared.clock.elapsed());
        let fresh = self.refresh(domain).await.is_some_and(|at| now - at < self.floor());
        if !fresh {
            self.read(domain).await;
        }
    }

    /// Reads a domain after something in it was changed by us, as soon as the floor allows.
    pub(super) async fn after_change(&self, domain: &DomainAlias) {
        let Some(shelf) = self.shared.domains.get(domain) else { return };
        let last = lock(shelf).last_asked;
        let since = last.map(|last| self.shared.clock.elapsed().saturating_sub(last));
        if let Some(left) = since.and_then(|since| self.floor().checked_sub(since)) {
            self.shared.clock.sleep(left).await;
        }
        self.read(domain).await;
    }

    /// Reads every domain now and then, until `stop`; then others may take over at once.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let rounds = self.shared.domains.keys().map(|alias| self.keep_reading(alias));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = futures_util::future::join_all(rounds) => {}
        }
        let left = self.shared.domains.keys().map(|alias| self.resign(alias));
        let _ = within(&*self.shared.clock, RESIGN_LIMIT, futures_util::future::join_all(left)).await;
    }

    async fn keep_reading(&self, domain: &DomainAlias) {
        loop {
            let pause = self.round(domain).await;
            self.shared.tried.send_modify(|tried| {
                tried.insert(domain.clone());
            });
            self.shared.clock.sleep(pause).await;
        }
    }

    /// One look at a domain: at AWS if it is our turn or nobody can say whose it is, else at what another replica
    /// wrote. Answers how long to wait for the next.
    async fn round(&self, domain: &DomainAlias) -> Duration {
        let Shared { clock, record, every, .. } = &*self.shared;
        let began = clock.elapsed();
        let turn = (record.lead)(domain.clone()).await;
        if matches!(turn, Ok(false)) {
            // At the very first start the replica whose turn it is may not have written anything yet.
            if self.refresh(domain).await.is_none() && self.is_due(domain, *every) {
                self.read(domain).await;
            }
            return *every / 2;
        }
        if self.is_due(domain, self.floor()) {
            self.read(domain).await;
        }
        if self.asked_in_vain(domain) {
            // Another may have better luck; and if not, then AWS is left alone for the whole interval.
            self.resign(domain).await;
            return *every;
        }
        every.saturating_sub(clock.elapsed().saturating_sub(began)).max(self.floor())
    }

    async fn resign(&self, domain: &DomainAlias) {
        if let Err(error) = (self.shared.record.resign)(domain.clone()).await {
            debug!(domain = %domain, %error, "the watching could not be left to others: its lease lapses");
        }
    }

    /// Takes the newest listing that any replica wrote, if it is another than ours. Answers when the one that we then
    /// have was read; nothing if there is none, or Postgres is away.
    async fn refresh(&self, domain: &DomainAlias) -> Option<time::Duration> {
        let Shared { clock, record, domains, .. } = &*self.shared;
        let shelf = domains.get(domain)?;
        let seen = lock(shelf).listing.as_ref().and_then(|listing| listing.written_at);
        let stored = (record.read)((domain.clone(), seen)).await;
        let stored = stored.inspect_err(|error| debug!(domain = %domain, %error, "no listing from Postgres"));
        if let Some(stored) = stored.ok()? {
            let (now, read_at) = (clock.elapsed(), clock.now());
            let StoredListing { spaces, written_at, age } = stored;
            let (at, read_at) = (signed(now) - age, read_at - age);
            let listing = Listing { spaces: Arc::new(spaces), at, read_at, written_at: Some(written_at) };
            let mut shelf = lock(shelf);
            // One of our own may have come in between.
            if shelf.listing.as_ref().is_none_or(|ours| ours.at <= at) {
                self.put(domain, &mut shelf, listing);
            }
        }
        let shelf = lock(shelf);
        let listing = shelf.listing.as_ref()?;
        measure_age(domain, listing, clock.elapsed());
        Some(listing.at)
    }

    fn put(&self, domain: &DomainAlias, shelf: &mut Shelf, listing: Listing) {
        if shelf.listing.is_none() || shelf.trouble.is_some() {
            info!(domain = %domain, spaces = listing.spaces.len(), "catalogue read");
        }
        measure(domain, &listing.spaces);
        shelf.listing = Some(listing);
        shelf.trouble = None;
    }

    fn listings(&self) -> Vec<Listing> {
        self.shared.domains.values().filter_map(|shelf| lock(shelf).listing.clone()).collect()
    }

    /// The least time between two of our questions to AWS.
    fn floor(&self) -> Duration {
        FLOOR.min(self.shared.every / 2)
    }

    fn is_due(&self, domain: &DomainAlias, after: Duration) -> bool {
        let now = self.shared.clock.elapsed();
        let last = self.shared.domains.get(domain).and_then(|shelf| lock(shelf).last_asked);
        last.is_none_or(|last| now.saturating_sub(last) >= after)
    }

    fn asked_in_vain(&self, domain: &DomainAlias) -> bool {
        let shelf = self.shared.domains.get(domain);
        shelf.is_some_and(|shelf| matches!(lock(shelf).trouble, Some(Trouble::Aws(_))))
    }

    /// One reading of a domain, shared with whoever wants it at the same time.
    async fn read(&self, domain: &DomainAlias) {
        let (catalog, alias) = (self.clone(), domain.clone());
        let work = |_| async move { catalog.read_now(&alias).await };
        let (flight, _) = self.shared.readings.join(domain, &self.shared.tracker, work);
        flight.landed(&watch::Sender::new(None)).await;
    }

    async fn read_now(&self, domain: &DomainAlias) {
        let Shared { control, clock, .. } = &*self.shared;
        let began = clock.now();
        let listed = within(&**clock, LISTING_LIMIT, control.list_spaces(domain))
            .await
            .unwrap_or_else(|| Err(AwsError::Unreachable(format!("no listing in {LISTING_LIMIT:?}"))));
        let spaces = match listed {
            Ok(listed) => self.with_rows(domain, listed, began).await.ok_or(Trouble::Record),
            Err(error) => Err(Trouble::Aws(error)),
        };
        let Some(shelf) = self.shared.domains.get(domain) else { return };
        let (at, read_at) = (clock.elapsed(), clock.now());
        let mut shelf = lock(shelf);
        shelf.last_asked = Some(at);
        match spaces {
            Ok(spaces) => {
                let at = signed(at);
                let listing = Listing { spaces: Arc::new(spaces), at, read_at, written_at: None };
                self.put(domain, &mut shelf, listing);
            }
            Err(trouble) => {
                let age_s = shelf.listing.as_ref().map(|listing| (signed(at) - listing.at).whole_seconds());
                warn!(domain = %domain, catalog.age_s = age_s, trouble = ?trouble, "catalogue not read");
                shelf.trouble = Some(trouble);
            }
        }
        if let Some(listing) = &shelf.listing {
            measure_age(domain, listing, at);
        }
    }

    /// The listed spaces with the ids of their rows; while Postgres is away, those whose ids are known.
    async fn with_rows(
        &self,
        domain: &DomainAlias,
        listed: Vec<Space>,
        began: OffsetDateTime,
    ) -> Option<Vec<Space>> {
        match (self.shared.record.write)((domain.clone(), listed.clone(), began)).await {
            Ok(spaces) => Some(spaces),
            Err(error) => {
                warn!(domain = %domain, %error, "the listing could not be written");
                let known = lock(self.shared.domains.get(domain)?).listing.clone()?;
                Some(keep_known(&known.spaces, listed))
            }
        }
    }
}

fn signed(elapsed: Duration) -> time::Duration {
    time::Duration::try_from(elapsed).unwrap_or(time::Duration::MAX)
}

fn measure_age(domain: &DomainAlias, listing: &Listing, now: Duration) {
    let age = (signed(now) - listing.at).as_seconds_f64();
    metrics::gauge!(names::CATALOGUE_AGE_SECONDS, "domain" => domain.to_string()).set(age);
}

fn measure(domain: &DomainAlias, spaces: &[Space]) {
    use SpaceState::{Failed, Running, Starting, Stopped, Stopping, Updating};
    for state in [Running, Starting, Stopping, Stopped, Updating, Failed] {
        let count = spaces.iter().filter(|space| space.state() == state).count();
        metrics::gauge!(names::SPACES, "domain" => domain.to_string(), "state" => state.to_string())
            .set(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// A listing that could not be written: spaces seen for the first time have no row yet and are left out.
fn keep_known(known: &[Space], listed: Vec<Space>) -> Vec<Space> {
    let ids: HashMap<&SpaceArn, SpaceId> = known.iter().map(|space| (&space.arn, space.id)).collect();
    listed
        .into_iter()
        .filter_map(|space| ids.get(&space.arn).map(|id| Space { id: *id, ..space.clone() }))
        .collect()
}

#[cfg(test)]
mod tests;
