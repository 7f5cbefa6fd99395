//! Readings of a catalogue whose AWS and Postgres fail on order.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::gateway::fakes::{PausedClock, Studio, named, space};

const EVERY: Duration = Duration::from_secs(60);

struct Scene {
    catalog: SpaceCatalog,
    studio: Arc<Studio>,
    clock: PausedClock,
    postgres: Arc<AtomicBool>,
}

fn scene() -> Scene {
    let clock = PausedClock::start();
    let studio = Studio::new(&clock);
    let postgres = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&postgres);
    let write: WriteListing = Box::new(move |_, listed| {
        let up = up.load(Ordering::Relaxed);
        let written = up.then_some(listed).ok_or(StoreError::Away(sqlx::Error::PoolClosed));
        Box::pin(std::future::ready(written))
    });
    let catalog = SpaceCatalog::writing(studio.clone(), Arc::new(clock), write, TaskTracker::new(), EVERY);
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
    scene.postgres.store(false, Ordering::Relaxed);
    scene.lists(&["one"]);
    scene.miss().await;
    assert!(matches!(scene.catalog.trouble(None), Some(Trouble::Record)));
    scene.postgres.store(true, Ordering::Relaxed);
    scene.clock.sleep(FLOOR).await;
    scene.lists(&["one"]);
    scene.miss().await;
    let row = scene.catalog.spaces().first().unwrap().id;
    scene.postgres.store(false, Ordering::Relaxed);
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
    let stop = CancellationToken::new();
    let run = scene.catalog.run(stop.clone());
    let wait = async {
        scene.clock.sleep(EVERY * 3 + FLOOR).await;
        stop.cancel();
    };
    tokio::join!(run, wait);
    assert_eq!(scene.studio.count("list"), 2 * 4);
}
