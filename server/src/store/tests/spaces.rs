//! What listings of a domain leave behind.

use super::*;
use crate::domain::ids::DomainAlias;
use crate::domain::run::Tags;
use crate::domain::span::Span;

fn main_domain() -> DomainAlias {
    "main".parse().unwrap()
}

async fn sync(world: &World, spaces: Vec<Space>, seconds: i64) -> Vec<Space> {
    world.store().sync_spaces(&main_domain(), spaces, at(seconds)).await.unwrap()
}

fn running(name: &str, status: AppStatus, created: i64) -> Space {
    Space { app: app(status, at(created)), ..listed(name) }
}

/// Began, ended and instance type of each run.
async fn runs(world: &World) -> Vec<(OffsetDateTime, Option<OffsetDateTime>, Option<String>)> {
    sqlx::query_as("SELECT began_at, ended_at, instance_type FROM runs ORDER BY app_created_at")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_space_keeps_its_id_until_it_is_gone() {
    let world = World::new().await;
    let changed = Space { owner: None, sharing: Sharing::Shared, remote_access: false, ..listed("forecast") };
    let spaces = sync(&world, vec![listed("other"), changed.clone()], 10).await;
    assert_eq!(spaces[1], Space { id: world.space, ..changed });
    assert_ne!(spaces[0].id, world.space);
    let row: (Option<String>, String, bool) =
        sqlx::query_as("SELECT owner, sharing, remote_access FROM spaces WHERE id = $1")
            .bind(world.space.uuid())
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(row, (None, "shared".to_owned(), false));

    assert!(sync(&world, Vec::new(), 20).await.is_empty());
    assert_eq!(world.count("SELECT count(*) FROM spaces WHERE deleted_at IS NULL").await, 0);
    let again = sync(&world, vec![listed("forecast")], 30).await;
    assert_ne!(again[0].id, world.space, "a name that is used again is another space");
}

#[tokio::test]
async fn another_domains_spaces_are_left_alone() {
    let world = World::new().await;
    let lab: DomainAlias = "lab".parse().unwrap();
    world.store().sync_spaces(&lab, Vec::new(), at(10)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM spaces WHERE deleted_at IS NULL").await, 1);
}

#[tokio::test]
async fn a_listing_that_was_paged_while_it_changed_may_repeat_a_space() {
    let world = World::new().await;
    let spaces = sync(&world, vec![listed("forecast"), listed("forecast")], 10).await;
    assert_eq!(spaces.iter().map(|space| space.id).collect::<Vec<_>>(), [world.space; 2]);
}

#[tokio::test]
async fn a_run_lasts_from_in_service_to_gone() {
    let world = World::new().await;
    sync(&world, vec![running("forecast", AppStatus::Pending, 5)], 10).await;
    assert_eq!(runs(&world).await, []);
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 20).await;
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 30).await;
    sync(&world, vec![running("forecast", AppStatus::Deleting, 5)], 40).await;
    let instance = Some("ml.m5.xlarge".to_owned());
    assert_eq!(runs(&world).await, [(at(20), None, instance.clone())]);
    sync(&world, vec![running("forecast", AppStatus::Deleted, 5)], 50).await;
    assert_eq!(runs(&world).await, [(at(20), Some(at(50)), instance.clone())]);

    // A second run, replaced by a third between two listings, whose space then goes away.
    sync(&world, vec![running("forecast", AppStatus::InService, 60)], 70).await;
    sync(&world, vec![running("forecast", AppStatus::InService, 75)], 80).await;
    sync(&world, Vec::new(), 90).await;
    let ends: Vec<_> = runs(&world).await.into_iter().map(|(began, end, _)| (began, end)).collect();
    assert_eq!(ends, [(at(20), Some(at(50))), (at(70), Some(at(80))), (at(80), Some(at(90)))]);
}

#[tokio::test]
async fn a_run_that_a_listing_missed_goes_on() {
    let world = World::new().await;
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 10).await;
    sync(&world, vec![listed("forecast")], 20).await;
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 30).await;
    assert!(matches!(runs(&world).await.as_slice(), [(began, None, _)] if *began == at(10)));
}

#[tokio::test]
async fn an_older_listing_ends_nothing() {
    let world = World::new().await;
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 30).await;
    let late = sync(&world, vec![listed("other")], 20).await;
    assert_eq!(late.len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM spaces WHERE deleted_at IS NULL").await, 2);
    assert!(matches!(runs(&world).await.as_slice(), [(_, None, _)]));
}

#[tokio::test]
async fn listings_that_are_written_together_agree() {
    let world = World::new().await;
    let spaces: Vec<Space> = (0..40).map(|n| running(&format!("s{n}"), AppStatus::InService, n)).collect();
    let alias = main_domain();
    let writing = (0..6).map(|_| world.store().sync_spaces(&alias, spaces.clone(), at(50)));
    let written = futures_util::future::join_all(writing).await;
    let ids: Vec<Vec<SpaceId>> =
        written.into_iter().map(|spaces| spaces.unwrap().iter().map(|space| space.id).collect()).collect();
    assert!(ids.iter().all(|theirs| *theirs == ids[0]));
    assert_eq!(world.count("SELECT count(*) FROM runs").await, 40);
}

#[tokio::test]
async fn a_listing_is_read_back_as_it_was_written_and_once() {
    let world = World::new().await;
    let failed = Space { status: SpaceStatus::Failed, storage_gib: None, ..listed("broken") };
    let shown = vec![failed, running("forecast", AppStatus::Deleting, 5)];
    let written = sync(&world, shown, 10).await;
    let alias = main_domain();
    let stored = world.store().listing(&alias, None).await.unwrap().unwrap();
    assert_eq!(stored.spaces, written);
    assert!(stored.age < Duration::from_secs(60));
    let again = async || world.store().listing(&alias, Some(stored.written_at)).await.unwrap();
    assert!(again().await.is_none(), "it was seen");
    sync(&world, written, 20).await;
    assert!(again().await.is_some(), "a listing that shows the same is a newer one");
    assert!(world.store().listing(&"lab".parse().unwrap(), None).await.unwrap().is_none());
}

#[tokio::test]
async fn an_older_listing_changes_nothing_that_a_newer_one_showed() {
    let world = World::new().await;
    let shown = sync(&world, vec![running("forecast", AppStatus::InService, 5)], 30).await;
    sync(&world, vec![Space { owner: None, remote_access: false, ..listed("forecast") }], 20).await;
    assert_eq!(world.store().known_spaces().await.unwrap(), shown);
    let watched = world.store().watched(&main_domain(), at(0), at(100)).await.unwrap();
    assert_eq!(watched, [Span { from: at(0), until: at(30) }]);
}

#[tokio::test]
async fn an_open_run_has_its_space_and_when_it_was_last_seen_up() {
    let world = World::new().await;
    assert_eq!(world.store().open_run(world.space).await.unwrap(), None);
    sync(&world, vec![running("forecast", AppStatus::InService, 5)], 10).await;
    let grown = Space { storage_gib: Some(50), ..running("forecast", AppStatus::InService, 5) };
    let shown = sync(&world, vec![grown, running("other", AppStatus::InService, 15)], 20).await;
    let tags = Tags::from([("team".to_owned(), "risk".to_owned())]);
    world.store().write_tags(world.space, Some(&tags), at(21)).await.unwrap();

    let run = world.store().open_run(world.space).await.unwrap().unwrap();
    assert_eq!(run.space, shown[0]);
    assert_eq!((run.app_created_at, run.began_at, run.last_seen_up_at), (at(5), at(10), at(20)));
    assert_eq!(
        (run.instance_type.as_ref().map(|t| t.as_str()), run.storage_gib),
        (Some("ml.m5.xlarge"), Some(50))
    );
    assert_eq!(run.tags, Some(tags));
    let runs = world.store().open_runs().await.unwrap();
    assert_eq!((runs.len(), &runs[0]), (2, &run));
    assert_eq!(runs[1].tags, None);
    let images: Vec<(String, String)> =
        sqlx::query_as("SELECT image, image_version FROM runs").fetch_all(world.pool()).await.unwrap();
    assert_eq!(images, vec![("arn:image".to_owned(), "3.2.0".to_owned()); 2]);

    // Nobody looked for a while: when it ended within that time is unknown, and the row tells so.
    sync(&world, vec![listed("forecast")], 2_000).await;
    assert!(world.store().open_runs().await.unwrap().is_empty());
    let ends: (OffsetDateTime, OffsetDateTime) =
        sqlx::query_as("SELECT last_seen_up_at, ended_at FROM runs WHERE space_id = $1")
            .bind(world.space.uuid())
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(ends, (at(20), at(2_000)));
    let watched = world.store().watched(&main_domain(), at(15), at(3_000)).await.unwrap();
    assert_eq!(watched, [Span { from: at(15), until: at(20) }, Span { from: at(2_000), until: at(2_000) }]);
}

#[tokio::test]
async fn a_domain_is_watched_while_listings_come_in_time() {
    let world = World::new().await;
    let write = async |seconds| {
        let gap = Duration::from_secs(30);
        world.store().write_listing(&main_domain(), Vec::new(), at(seconds), gap).await.unwrap();
    };
    for seconds in [10, 40, 70, 101, 131, 300] {
        write(seconds).await;
    }
    let watched = async |from, to| world.store().watched(&main_domain(), at(from), at(to)).await.unwrap();
    let span = |from, until| Span { from: at(from), until: at(until) };
    assert_eq!(watched(0, 400).await, [span(0, 70), span(101, 131), span(300, 300)]);
    assert_eq!(watched(50, 110).await, [span(50, 70), span(101, 110)]);
    assert_eq!(watched(71, 100).await, []);
    assert_eq!(world.store().watched(&"lab".parse().unwrap(), at(0), at(400)).await.unwrap(), []);
}

#[tokio::test]
async fn tags_are_due_for_what_is_up_first_and_stay_when_they_cannot_be_read() {
    let world = World::new().await;
    let spaces = sync(&world, vec![listed("forecast"), running("up", AppStatus::InService, 5)], 10).await;
    let due = async |seconds, most| {
        let due = world.store().due_tags(&main_domain(), at(seconds), most).await.unwrap();
        due.iter().map(|space| space.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(due(10, 1).await, ["up"]);
    assert_eq!(due(10, 5).await, ["up", "forecast"]);
    let tags = Tags::from([("odd".to_owned(), "\0".to_owned())]);
    world.store().write_tags(spaces[1].id, Some(&tags), at(11)).await.unwrap();
    assert_eq!(due(11, 5).await, ["forecast"]);
    assert_eq!(due(12, 5).await, ["up", "forecast"]);
    world.store().write_tags(spaces[1].id, None, at(20)).await.unwrap();
    let kept = world.store().space_tags(spaces[1].id).await.unwrap().unwrap();
    assert_eq!(kept.get("odd").map(String::as_str), Some("\u{fffd}"));
    assert_eq!(world.store().space_tags(spaces[0].id).await.unwrap(), None);
}

#[tokio::test]
async fn three_hundred_open_runs_of_a_thousand_spaces_are_read_at_once() {
    let world = World::new().await;
    let space = |n: i64| {
        let name = format!("s{n}");
        if n < 300 { running(&name, AppStatus::InService, n) } else { listed(&name) }
    };
    let all: Vec<Space> = (0..1_000).map(space).collect();
    for seconds in [10, 70, 130] {
        sync(&world, all.clone(), seconds).await;
    }
    let runs = world.store().open_runs().await.unwrap();
    assert_eq!(runs.len(), 300);
    assert!(runs.iter().all(|run| run.last_seen_up_at == at(130) && run.began_at == at(10)));
}
