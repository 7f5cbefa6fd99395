//! What listings of a domain leave behind.

use super::*;
use crate::domain::ids::DomainAlias;

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
