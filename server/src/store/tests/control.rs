//! Asking for an end, and hearing of it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::idle::{Calm, Trigger};
use crate::domain::ids::{SessionId, SpaceId, UserName};
use crate::domain::space_news::{SpaceNews, SpaceNotice};
use crate::store::control::EndWish;
use crate::store::testing::{HandClock, Proxy};
use crate::store::{Control, EndRequest};

const PATIENCE: Duration = Duration::from_secs(30);

fn carol() -> UserName {
    "carol".parse().unwrap()
}

fn end(session: Uuid, reason: &str) -> Control {
    Control::EndSession(EndWish { session: session.into(), by: carol(), reason: reason.to_owned() })
}

async fn ask(world: &World, id: &str, reason: &str) -> EndRequest {
    world.store().request_end(id, &carol(), reason).await.unwrap()
}

#[tokio::test]
async fn a_session_is_found_by_its_id_or_the_end_of_it() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    let id = SessionId::from(start.session);
    assert_eq!(ask(&world, &id.to_string(), "").await, EndRequest::Asked(id));
    assert_eq!(ask(&world, &id.short(), "").await, EndRequest::Asked(id));
    assert_eq!(ask(&world, &id.to_string().to_uppercase(), "").await, EndRequest::Asked(id));
    for unknown in ["", "%", "abc", "'; --", "ffffffffffff", &id.to_string()[..8]] {
        assert_eq!(ask(&world, unknown, "").await, EndRequest::NotLive, "{unknown}");
    }
    world.write(&[ended(start.session, "client_left", 5)]).await;
    assert_eq!(ask(&world, &id.to_string(), "").await, EndRequest::NotLive);
}

#[tokio::test]
async fn a_short_id_of_two_sessions_ends_neither() {
    let world = World::new().await;
    let ids: [Uuid; 2] = ["00000000-0000-7000-8000-00001111abcd", "00000000-0000-7000-8000-00002222abcd"]
        .map(|text| text.parse().unwrap());
    for id in &ids {
        let start = SessionStart { session: *id, ..world.session(world.replica) };
        world.write_session(&start).await;
    }
    assert_eq!(ask(&world, "abcd", "").await, EndRequest::Several(ids.map(SessionId::from).to_vec()));
    assert!(world.store().pending_ends(world.replica).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_serving_replica_hears_of_a_request_once_and_others_do_not() {
    let world = World::new().await;
    let other = ReplicaId::generate();
    world.store().register_replica(other, "gateway-2", 30).await.unwrap();
    let (theirs, mine) = (world.begin(other).await, world.begin(world.replica).await);
    let clock = Arc::new(HandClock::default());
    let mut controls = world.store().listen(world.replica, clock);

    // Asked before anybody listened.
    ask(&world, &mine.session.to_string(), "maintenance").await;
    assert_eq!(controls.next().await, end(mine.session, "maintenance"));

    // Asked while listening: another replica's session, the same again, and one more.
    let third = world.begin(world.replica).await;
    ask(&world, &theirs.session.to_string(), "").await;
    ask(&world, &mine.session.to_string(), "again").await;
    ask(&world, &third.session.to_string(), "").await;
    let next = tokio::time::timeout(PATIENCE, controls.next()).await.unwrap();
    assert_eq!(next, end(third.session, ""));

    let row: (String, String) =
        sqlx::query_as("SELECT end_requested_by, end_request_reason FROM sessions WHERE id = $1")
            .bind(mine.session)
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(row, ("carol".to_owned(), "maintenance".to_owned()), "the first request stands");
    assert_eq!(
        world
            .count("SELECT count(*) FROM audit WHERE kind = 'session.end_requested' AND actor_name = 'carol'")
            .await,
        4
    );
}

#[tokio::test]
async fn news_of_a_space_reach_every_replica_and_each_time() {
    let world = World::new().await;
    let mut controls = Vec::new();
    for replica in [world.replica, ReplicaId::generate()] {
        let mut listening = world.store().listen(replica, Arc::new(HandClock::default()));
        listening.connect().await.unwrap();
        controls.push(listening);
    }
    let by = "bo \u{1b}[2J".to_owned();
    let told = [SpaceNews::Stopping(Trigger::Person { by }), SpaceNews::StaysUp(Calm::Policy)];
    let space = SpaceId::generate();
    let told = [&told[0], &told[1], &told[1]].map(|news| SpaceNotice::new(space, news.clone()));
    for notice in &told {
        world.store().tell_of_space(notice.clone()).await.unwrap();
    }
    for mut listening in controls {
        for notice in &told {
            let next = tokio::time::timeout(PATIENCE, listening.next()).await.unwrap();
            assert_eq!(next, Control::Space(notice.clone()));
        }
    }
}

#[tokio::test]
async fn what_was_asked_during_an_outage_is_heard_after_it() {
    let world = World::new().await;
    let (first, second) = (world.begin(world.replica).await, world.begin(world.replica).await);
    let mut proxy = Proxy::to(&world.database.url);
    let store = Store::open(proxy.url()).await.unwrap();
    let clock = Arc::new(HandClock::default());
    let mut controls = store.listen(world.replica, clock.clone());
    ask(&world, &first.session.to_string(), "").await;
    assert_eq!(controls.next().await, end(first.session, ""));

    proxy.cut().await;
    ask(&world, &second.session.to_string(), "x".repeat(9000).as_str()).await;
    proxy.mend();
    let listening = async {
        let mut next = std::pin::pin!(controls.next());
        loop {
            tokio::select! {
                biased;
                control = &mut next => break control,
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(500)),
            }
        }
    };
    let heard = tokio::time::timeout(PATIENCE, listening).await.unwrap();
    assert_eq!(heard, end(second.session, &"x".repeat(500)));
}
