//! The catalogue: every space of every domain, as the last complete listing showed it.
//!
//! It is read every minute or as configured, and sooner when somebody asks for a space that is not in it; AWS is never asked more
//! often than [`FLOOR`]. A listing that fails leaves the last one in place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::clock::within;
use super::flights::Flights;
use super::lock::lock;
use crate::domain::ids::{DomainAlias, SpaceId};
use crate::domain::ports::{AwsError, Clock, SpaceControl};
use crate::domain::space::{Space, SpaceArn, SpaceState};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics as names;

/// The least time between two calls for one domain, whatever is missed: strangers' guesses cost AWS calls otherwise.
const FLOOR: Duration = Duration::from_secs(5);
/// The longest that a listing may take; AWS answers a page in well under a second.
const LISTING_LIMIT: Duration = Duration::from_secs(60);
/// The longest that somebody who asked for an unknown space waits for a fresh listing.
const MISS_LIMIT: Duration = Duration::from_secs(20);

/// Writes a complete listing, and answers it with the ids of its rows.
type WriteListing =
    Box<dyn Fn(DomainAlias, Vec<Space>) -> BoxFuture<'static, Result<Vec<Space>, StoreError>> + Send + Sync>;

/// The spaces of all domains. Cheap to clone.
#[derive(Clone)]
pub(super) struct SpaceCatalog {
    shared: Arc<Shared>,
}

struct Shared {
    control: Arc<dyn SpaceControl>,
    clock: Arc<dyn Clock>,
    write: WriteListing,
    tracker: TaskTracker,
    domains: HashMap<DomainAlias, Mutex<Shelf>>,
    readings: Flights<DomainAlias, ()>,
    /// Between two readings of a domain.
    every: Duration,
}

/// What is known of one domain.
#[derive(Default)]
struct Shelf {
    listing: Option<Listing>,
    /// `Clock::elapsed` at the end of the last reading, good or bad.
    last_try: Option<Duration>,
    trouble: Option<Trouble>,
}

/// A complete listing.
#[derive(Debug, Clone)]
struct Listing {
    spaces: Arc<Vec<Space>>,
    at: Duration,
    read_at: OffsetDateTime,
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
        store: Store,
        tracker: TaskTracker,
        every: Duration,
    ) -> Self {
        let time = Arc::clone(&clock);
        let write: WriteListing = Box::new(move |domain, listed| {
            let (store, now) = (store.clone(), time.now());
            Box::pin(async move { store.sync_spaces(&domain, listed, now).await })
        });
        Self::writing(control, clock, write, tracker, every)
    }

    fn writing(
        control: Arc<dyn SpaceControl>,
        clock: Arc<dyn Clock>,
        write: WriteListing,
        tracker: TaskTracker,
        every: Duration,
    ) -> Self {
        let domains = control.domains().into_iter().map(|domain| (domain, Mutex::default())).collect();
        let readings = Flights::new();
        Self { shared: Arc::new(Shared { control, clock, write, tracker, domains, readings, every }) }
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

    /// Waits until every domain has been tried once, good or bad.
    pub(super) async fn tried(&self) {
        let untried: Vec<_> = (self.shared.domains.keys())
            .filter(|alias| {
                self.shared.domains.get(*alias).is_some_and(|shelf| lock(shelf).last_try.is_none())
            })
            .map(|alias| self.read(alias))
            .collect();
        futures_util::future::join_all(untried).await;
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
            .filter(|alias| domain.is_none_or(|one| one == *alias) && self.is_due(alias, FLOOR))
            .map(|alias| self.read(alias))
            .collect();
        let _ = within(&*self.shared.clock, MISS_LIMIT, futures_util::future::join_all(due)).await;
    }

    /// Reads a domain after something in it was changed by us, as soon as the floor allows.
    pub(super) async fn after_change(&self, domain: &DomainAlias) {
        let Some(shelf) = self.shared.domains.get(domain) else { return };
        let last = lock(shelf).last_try;
        let since = last.map(|last| self.shared.clock.elapsed().saturating_sub(last));
        if let Some(left) = since.and_then(|since| FLOOR.checked_sub(since)) {
            self.shared.clock.sleep(left).await;
        }
        self.read(domain).await;
    }

    /// Reads every domain now and then, until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let rounds = self.shared.domains.keys().map(|alias| self.keep_reading(alias));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = futures_util::future::join_all(rounds) => {}
        }
    }

    async fn keep_reading(&self, domain: &DomainAlias) {
        loop {
            if self.is_due(domain, FLOOR) {
                self.read(domain).await;
            }
            self.shared.clock.sleep(self.shared.every).await;
        }
    }

    fn listings(&self) -> Vec<Listing> {
        self.shared.domains.values().filter_map(|shelf| lock(shelf).listing.clone()).collect()
    }

    fn is_due(&self, domain: &DomainAlias, every: Duration) -> bool {
        let now = self.shared.clock.elapsed();
        let last = self.shared.domains.get(domain).and_then(|shelf| lock(shelf).last_try);
        last.is_none_or(|last| now.saturating_sub(last) >= every)
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
        let listed = within(&**clock, LISTING_LIMIT, control.list_spaces(domain))
            .await
            .unwrap_or_else(|| Err(AwsError::Unreachable(format!("no listing in {LISTING_LIMIT:?}"))));
        let spaces = match listed {
            Ok(listed) => self.with_rows(domain, listed).await.ok_or(Trouble::Record),
            Err(error) => Err(Trouble::Aws(error)),
        };
        let Some(shelf) = self.shared.domains.get(domain) else { return };
        let (at, read_at) = (clock.elapsed(), clock.now());
        let mut shelf = lock(shelf);
        shelf.last_try = Some(at);
        match spaces {
            Ok(spaces) => {
                if shelf.listing.is_none() || shelf.trouble.is_some() {
                    info!(domain = %domain, spaces = spaces.len(), "catalogue read");
                }
                measure(domain, &spaces);
                shelf.listing = Some(Listing { spaces: Arc::new(spaces), at, read_at });
                shelf.trouble = None;
            }
            Err(trouble) => {
                let age_s = shelf.listing.as_ref().map(|listing| at.saturating_sub(listing.at).as_secs());
                warn!(domain = %domain, catalog.age_s = age_s, trouble = ?trouble, "catalogue not read");
                shelf.trouble = Some(trouble);
            }
        }
        if let Some(listing) = &shelf.listing {
            let age = at.saturating_sub(listing.at).as_secs_f64();
            metrics::gauge!(names::CATALOGUE_AGE_SECONDS, "domain" => domain.to_string()).set(age);
        }
    }

    /// The listed spaces with the ids of their rows; while Postgres is away, those whose ids are known.
    async fn with_rows(&self, domain: &DomainAlias, listed: Vec<Space>) -> Option<Vec<Space>> {
        match (self.shared.write)(domain.clone(), listed.clone()).await {
            Ok(spaces) => Some(spaces),
            Err(error) => {
                warn!(domain = %domain, %error, "the listing could not be written");
                let known = lock(self.shared.domains.get(domain)?).listing.clone()?;
                Some(keep_known(&known.spaces, listed))
            }
        }
    }
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
