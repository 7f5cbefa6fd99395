//! Who is dead, who is only cut off, and whose rows are closed.

use super::*;
use crate::store::testing::{HandClock, until};

/// `ended_at`, `end_code` of a session.
async fn end_of(world: &World, session: Uuid) -> (Option<OffsetDateTime>, Option<String>) {
    sqlx::query_as("SELECT ended_at, end_code FROM sessions WHERE id = $1")
        .bind(session)
        .fetch_one(world.pool())
        .await
        .unwrap()
}

async fn open_rows(world: &World, replica: ReplicaId) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM sessions WHERE replica_id = $1 AND ended_at IS NULL)
              + (SELECT count(*) FROM streams WHERE replica_id = $1 AND ended_at IS NULL)
              + (SELECT count(*) FROM links WHERE replica_id = $1 AND ended_at IS NULL)
              + (SELECT count(*) FROM channels WHERE replica_id = $1 AND ended_at IS NULL)",
    )
    .bind(replica.uuid())
    .fetch_one(world.pool())
    .await
    .unwrap()
}

/// A session with a link, a stream and a channel.
async fn busy(world: &World, replica: ReplicaId) -> SessionStart {
    let start = world.begin(replica).await;
    let link = Change::LinkOpened {
        link: Uuid::now_v7(),
        replica: replica.uuid(),
        user: Some(start.user),
        space: start.space,
        purpose: "private".to_owned(),
        at: at(1),
    };
    let stream = world.stream_opened(replica, Uuid::now_v7());
    world.write(&[link, stream, channel_opened(&start, Uuid::now_v7())]).await;
    start
}

#[tokio::test]
async fn rows_of_a_lapsed_lease_close_at_its_last_renewal_and_a_neighbours_stay() {
    let world = World::new().await;
    let neighbour = ReplicaId::generate();
    world.store().register_replica(neighbour, "gateway-2", 30).await.unwrap();
    let mine = busy(&world, world.replica).await;
    let theirs = busy(&world, neighbour).await;
    world.last_renewed(world.replica, 40).await;
    assert!(
        world.store().live_sessions().await.unwrap().iter().any(|s| s.doubtful && s.replica == world.replica)
    );
    let renewed: OffsetDateTime = sqlx::query_scalar("SELECT renewed_at FROM replicas WHERE id = $1")
        .bind(world.replica.uuid())
        .fetch_one(world.pool())
        .await
        .unwrap();

    old_server(&world).await;
    let closed = world.store().close_lapsed(LONG_CONTACT).await.unwrap();
    assert_eq!(closed, [world.replica]);
    assert_eq!(end_of(&world, mine.session).await, (Some(renewed.max(NOON)), Some("gateway_crashed".into())));
    assert_eq!(end_of(&world, theirs.session).await, (None, None));
    assert_eq!((open_rows(&world, world.replica).await, open_rows(&world, neighbour).await), (0, 4));
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE kind = 'session.ended'").await, 1);
    assert!(world.store().close_lapsed(LONG_CONTACT).await.unwrap().is_empty(), "closed twice");
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE kind = 'session.ended'").await, 1);
}

/// Makes lapsed leases ones of a second, so that the server need not have been up for long.
async fn old_server(world: &World) {
    sqlx::query("UPDATE replicas SET lease_s = 1 WHERE renewed_at < now() - make_interval(secs => lease_s)")
        .execute(world.pool())
        .await
        .unwrap();
    let clock = HandClock::default();
    until(&clock, "the server is older than a lease", async || {
        world.count("SELECT (pg_postmaster_start_time() < now() - interval '1.1 seconds')::int::bigint").await
            == 1
    })
    .await;
}

#[tokio::test]
async fn two_replicas_close_the_same_lease_once() {
    let world = World::new().await;
    for _ in 0..5 {
        busy(&world, world.replica).await;
    }
    world.last_renewed(world.replica, 40).await;
    old_server(&world).await;
    let closing = (0..6).map(|_| world.store().close_lapsed(LONG_CONTACT));
    let closed = futures_util::future::join_all(closing).await;
    assert_eq!(closed.into_iter().map(|closed| closed.unwrap().len()).sum::<usize>(), 1);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE kind = 'session.ended'").await, 5);
}

#[tokio::test]
async fn nobody_is_judged_before_they_could_renew() {
    let world = World::new().await;
    busy(&world, world.replica).await;
    world.last_renewed(world.replica, 4000).await;
    old_server(&world).await;
    // In touch for less than a lease: after an outage, the others may not have had their turn.
    assert!(world.store().close_lapsed(Duration::from_secs(1)).await.unwrap().is_empty());
    // The server has been up for less than a lease.
    sqlx::query("UPDATE replicas SET lease_s = 1000000").execute(world.pool()).await.unwrap();
    world.last_renewed(world.replica, 2_000_000).await;
    assert!(world.store().close_lapsed(Duration::from_secs(3_000_000)).await.unwrap().is_empty());
    assert_eq!(open_rows(&world, world.replica).await, 4);
}

#[tokio::test]
async fn a_replica_that_was_only_cut_off_gets_its_rows_back() {
    let world = World::new().await;
    let ended_meanwhile = busy(&world, world.replica).await;
    let live = busy(&world, world.replica).await;
    let ended_before = world.begin(world.replica).await;
    world.write(&[ended(ended_before.session, "client_left", 3)]).await;
    world.last_renewed(world.replica, 40).await;
    old_server(&world).await;
    world.store().close_lapsed(LONG_CONTACT).await.unwrap();
    assert!(!world.store().renew_lease(world.replica).await.unwrap());

    // One end from its spool lands before it registers again, and takes the crashed one's place.
    world.write(&[ended(ended_meanwhile.session, "client_left", 90)]).await;
    world.store().register_replica(world.replica, "gateway-1", 30).await.unwrap();
    assert!(world.store().renew_lease(world.replica).await.unwrap());
    assert_eq!(end_of(&world, ended_meanwhile.session).await, (Some(at(90)), Some("client_left".into())));
    assert_eq!(end_of(&world, ended_before.session).await, (Some(at(3)), Some("client_left".into())));
    assert_eq!(end_of(&world, live.session).await, (None, None));
    assert_eq!(open_rows(&world, world.replica).await, 7, "one session, and two links, streams and channels");

    // The other comes later.
    world.write(&[ended(live.session, "drained", 95)]).await;
    assert_eq!(end_of(&world, live.session).await, (Some(at(95)), Some("drained".into())));
    let told: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT kind, detail ->> 'corrects' FROM audit
         WHERE session_id = $1 AND kind <> 'session.opened' ORDER BY id",
    )
    .bind(ended_meanwhile.session)
    .fetch_all(world.pool())
    .await
    .unwrap();
    let twice = [
        ("session.ended".to_owned(), None),
        ("session.ended".to_owned(), Some("gateway_crashed".to_owned())),
    ];
    assert_eq!(told, twice);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE kind = 'session.reopened'").await, 1);
}

#[tokio::test]
async fn a_row_that_a_spool_brings_after_the_crash_is_closed_as_well() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    world.last_renewed(world.replica, 40).await;
    old_server(&world).await;
    world.store().close_lapsed(LONG_CONTACT).await.unwrap();
    world
        .write(&[channel_opened(&start, Uuid::now_v7()), world.stream_opened(world.replica, Uuid::now_v7())])
        .await;
    assert_eq!(open_rows(&world, world.replica).await, 2);
    assert_eq!(world.store().close_lapsed(LONG_CONTACT).await.unwrap(), [world.replica]);
    assert_eq!(open_rows(&world, world.replica).await, 0);
}

#[tokio::test]
async fn a_lease_that_was_given_up_never_lapses() {
    let world = World::new().await;
    world.store().release_lease(world.replica).await.unwrap();
    world.last_renewed(world.replica, 40).await;
    old_server(&world).await;
    assert!(world.store().close_lapsed(LONG_CONTACT).await.unwrap().is_empty());
    assert!(!world.store().renew_lease(world.replica).await.unwrap());
}

#[tokio::test]
async fn streams_of_a_crashed_replica_are_doubtful_until_forgotten() {
    let world = World::new().await;
    let (stream, crashed) = (Uuid::now_v7(), ReplicaId::generate());
    world.store().register_replica(crashed, "gateway-2", 30).await.unwrap();
    let changes = [
        world.stream_opened(world.replica, stream),
        world.stream_opened(world.replica, Uuid::now_v7()),
        world.stream_opened(crashed, Uuid::now_v7()),
    ];
    world.write(&changes).await;
    let closed = Change::StreamClosed { stream, at: at(4), reason: "closed".to_owned() };
    world.write(&[closed]).await;
    let used = async || {
        let used = world.store().stream_use(world.space, 600).await.unwrap();
        (used.live, used.doubtful)
    };
    assert_eq!(used().await, (vec![("alice".to_owned(), 2)], 0));
    world.last_renewed(crashed, 40).await;
    assert_eq!(used().await, (vec![("alice".to_owned(), 1)], 1), "before its rows are closed");
    old_server(&world).await;
    world.store().close_lapsed(LONG_CONTACT).await.unwrap();
    assert_eq!(used().await, (vec![("alice".to_owned(), 1)], 1));
    assert_eq!(world.store().stream_use(world.space, 10).await.unwrap().doubtful, 0, "older than that");
    world.store().forget_doubtful(world.space).await.unwrap();
    assert_eq!(used().await, (vec![("alice".to_owned(), 1)], 0));
    // It was alive after all.
    world.store().register_replica(crashed, "gateway-2", 30).await.unwrap();
    assert_eq!(used().await, (vec![("alice".to_owned(), 2)], 0));
}
