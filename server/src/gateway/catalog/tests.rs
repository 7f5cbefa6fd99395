//! Readings of a catalogue whose AWS and Postgres fail on order.

use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::gateway::fakes::{PausedClock, Studio, named, space};
use crate::store::StoreError;

const EVERY: Duration = Duration::from_secs(60);

struct Scene {
    catalog: SpaceCatalog,
    studio: Arc<Studio>,
    clock: PausedClock,
    postgres: Arc<Postgres>,
}

/// What stands for Postgres.
struct Postgres {
    clock: PausedClock,
    up: AtomicBool,
    /// Whether it is our turn.
    ours: AtomicBool,
    /// What another replica wrote, and when.
    theirs: Mutex<Option<(Vec<Space>, time::Duration)>>,
    resigned: AtomicBool,
}

impl Postgres {
    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'static, Result<T, StoreError>> {
        let up = self.up.load(Ordering::Relaxed);
        Box::pin(std::future::ready(up.then_some(answer).ok_or(StoreError::Away(sqlx::Error::PoolClosed))))
    }

    fn stored(&self, seen: Option<OffsetDateTime>) -> Option<StoredListing> {
        let (spaces, at) = lock(&self.theirs).clone()?;
        let written_at = OffsetDateTime::UNIX_EPOCH + at;
        let age = (signed(self.clock.elapsed()) - at).unsigned_abs();
        (seen != Some(written_at)).then_some(StoredListing { spaces, written_at, age })
    }

    fn record(self: &Arc<Self>) -> Record {
        let [writing, reading, leading, leaving] = std::array::from_fn(|_| Arc::clone(self));
        Record {
            write: Box::new(move |(_, listed, _)| writing.answer(listed)),
            read: Box::new(move |(_, seen)| reading.answer(reading.stored(seen))),
            lead: Box::new(move |_| leading.answer(leading.ours.load(Ordering::Relaxed))),
            resign: Box::new(move |_| {
                leaving.resigned.store(true, Ordering::Relaxed);
                leaving.answer(())
            }),
        }
    }
}

fn scene() -> Scene {
    let clock = PausedClock::start();
    let studio = Studio::new(&clock);
    let postgres = Arc::new(Postgres {
        clock,
        up: AtomicBool::new(true),
        ours: AtomicBool::new(true),
        theirs: Mutex::default(),
        resigned: AtomicBool::new(false),
    });
    let catalog =
        SpaceCatalog::with(studio.clone(), Arc::new(clock), postgres.record(), TaskTracker::new(), EVERY);
    Scene { catalog, studio, clock, postgres }
}

impl Scene {
    fn lists(&self, names: &[&str]) {
        let spaces = names.iter().map(|name| space("lab", name, "alice")).collect();
        self.studio.with(|state| state.listings.push_back(Ok(spaces)));
    }

    fn names(&self) -> Vec<String> {
        self.catalog.spaces().iter().map(|space| space.name().to_string()).collect()
    }

    /// Another replica lists these now.
    fn theirs(&self, names: &[&str]) {
        self.theirs_of(names, Duration::ZERO);
    }

    /// Another replica listed these so long ago.
    fn theirs_of(&self, names: &[&str], age: Duration) {
        let spaces = names.iter().map(|name| space("lab", name, "alice")).collect();
        *lock(&self.postgres.theirs) = Some((spaces, signed(self.clock.elapsed()) - age));
    }

    /// Lets the catalogue go on by itself for a while.
    async fn runs_for(&self, time: Duration) {
        let stop = CancellationToken::new();
        let wait = async {
            self.clock.sleep(time).await;
            stop.cancel();
        };
        tokio::join!(self.catalog.run(stop.clone()), wait);
    }

    async fn miss(&self) {
        self.catalog.look_again(Some(&named("lab"))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_miss_reads_and_misses_soon_after_do_not() {
    let scene = scene();
    scene.lists(&["one"]);
    scene.lists(&["one", "two"]);
    scene.miss().await;
    assert_eq!(scene.names(), ["one"]);
    scene.miss().await;
    scene.clock.sleep(FLOOR / 2).await;
    scene.miss().await;
    assert_eq!(scene.studio.count("list"), 1);
    scene.clock.sleep(FLOOR).await;
    scene.miss().await;
    assert_eq!(scene.names(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn those_who_miss_at_the_same_time_share_one_reading() {
    let scene = scene();
    scene.lists(&["one"]);
    tokio::join!(scene.miss(), scene.miss(), scene.miss());
    assert_eq!(scene.studio.count("list"), 1);
    assert_eq!(scene.names(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_listing_leaves_the_last_one_in_place() {
    let scene = scene();
    scene.lists(&["one"]);
    scene.miss().await;
    let read_at = scene.catalog.read_at();
    scene.clock.sleep(FLOOR).await;
    let away = AwsError::Unreachable("cable".to_owned());
    scene.studio.with(|state| state.listings.push_back(Err(away)));
    scene.miss().await;
    assert_eq!(scene.names(), ["one"]);
    assert_eq!(scene.catalog.read_at(), read_at);
    assert!(scene.catalog.trouble(Some(&named("lab"))).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_was_never_read_says_why() {
    let scene = scene();
    let away = AwsError::Unreachable("cable".to_owned());
    scene.studio.with(|state| state.listings.push_back(Err(away.clone())));
    scene.miss().await;
    let trouble = scene.catalog.trouble(Some(&named("lab")));
    assert!(matches!(trouble, Some(Trouble::Aws(error)) if error == away));
    scene.catalog.look_again(Some(&named("prod"))).await;
    assert!(scene.catalog.trouble(None).is_none(), "one domain was read");
}

#[tokio::test(start_paused = true)]
async fn without_postgres_known_spaces_keep_their_rows_and_new_ones_wait() {
    let scene = scene();
    scene.postgres.up.store(false, Ordering::Relaxed);
    scene.lists(&["one"]);
    scene.miss().await;
    assert!(matches!(scene.catalog.trouble(None), Some(Trouble::Record)));
    scene.postgres.up.store(true, Ordering::Relaxed);
    scene.clock.sleep(FLOOR).await;
    scene.lists(&["one"]);
    scene.miss().await;
    let row = scene.catalog.spaces().first().unwrap().id;
    scene.postgres.up.store(false, Ordering::Relaxed);
    scene.clock.sleep(FLOOR).await;
    scene.lists(&["one", "two"]);
    scene.miss().await;
    assert_eq!(scene.names(), ["one"]);
    assert_eq!(scene.catalog.spaces().first().unwrap().id, row);
    assert!(scene.catalog.space(&named("lab"), row).is_some());
}

#[tokio::test(start_paused = true)]
async fn every_domain_is_read_every_minute() {
    let scene = scene();
    scene.runs_for(EVERY * 3 + FLOOR).await;
    assert_eq!(scene.studio.count("list"), 2 * 4);
    assert!(scene.postgres.resigned.load(Ordering::Relaxed), "others need not wait for the lease to lapse");
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_lists_is_not_listed_again() {
    let scene = scene();
    scene.postgres.ours.store(false, Ordering::Relaxed);
    scene.theirs(&["one"]);
    scene.runs_for(EVERY * 2).await;
    assert_eq!(scene.names(), ["one", "one"], "each of the two domains");
    scene.theirs(&["one", "two"]);
    scene.runs_for(EVERY).await;
    assert_eq!(scene.names().len(), 4);
    assert_eq!(scene.studio.count("list"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_anothers_listing_is_known() {
    let scene = scene();
    scene.postgres.ours.store(false, Ordering::Relaxed);
    let listed_at = scene.clock.now();
    scene.theirs(&["one"]);
    scene.clock.sleep(EVERY / 3).await;
    scene.runs_for(Duration::from_secs(1)).await;
    assert_eq!(scene.catalog.read_at(), Some(listed_at));
}

#[tokio::test(start_paused = true)]
async fn a_miss_takes_what_another_has_just_listed_and_asks_aws_when_it_is_old() {
    let scene = scene();
    scene.postgres.ours.store(false, Ordering::Relaxed);
    scene.theirs(&["one"]);
    scene.miss().await;
    assert_eq!((scene.names(), scene.studio.count("list")), (vec!["one".to_owned()], 0));
    scene.clock.sleep(FLOOR).await;
    scene.lists(&["one", "two"]);
    scene.miss().await;
    assert_eq!((scene.names().len(), scene.studio.count("list")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_listed_before_we_started_is_as_old_as_it_is() {
    let scene = scene();
    scene.postgres.ours.store(false, Ordering::Relaxed);
    scene.theirs_of(&["one"], EVERY / 2);
    scene.lists(&["one", "two"]);
    scene.miss().await;
    assert_eq!((scene.names().len(), scene.studio.count("list")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_has_listed_yet_each_asks_and_so_while_postgres_is_away() {
    let scene = scene();
    scene.postgres.ours.store(false, Ordering::Relaxed);
    let nothing = AwsError::Unreachable("cable".to_owned());
    scene.studio.with(|state| state.failures.extend([("list", nothing.clone()), ("list", nothing)]));
    scene.runs_for(EVERY * 3 / 4).await;
    assert_eq!(scene.studio.count("list"), 2, "no more often than if it were our turn");
    scene.theirs(&["one"]);
    scene.runs_for(Duration::from_secs(1)).await;
    assert_eq!((scene.studio.count("list"), scene.names().len()), (2, 2));
    scene.postgres.up.store(false, Ordering::Relaxed);
    scene.runs_for(Duration::from_secs(2)).await;
    assert_eq!(scene.studio.count("list"), 4);
}

#[tokio::test(start_paused = true)]
async fn who_asks_in_vain_leaves_it_to_others() {
    let scene = scene();
    let failing = AwsError::Throttled("sagemaker:ListSpaces");
    scene.studio.with(|state| state.failures.push_back(("list", failing)));
    let run = scene.catalog.run(CancellationToken::new());
    let wait = scene.clock.sleep(Duration::from_secs(2));
    tokio::select! { () = run => {}, () = wait => {} }
    assert!(scene.postgres.resigned.load(Ordering::Relaxed));
}
