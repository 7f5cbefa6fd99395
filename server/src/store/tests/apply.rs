//! Changes may come twice, and late.

use super::*;

/// Everything that the record says, in one text.
async fn all(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["sessions", "links", "streams", "channels", "audit"] {
        let query = format!("SELECT t::text FROM {table} t ORDER BY id");
        let found: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(world.pool()).await.unwrap();
        rows.extend(found);
    }
    rows
}

/// A session's whole life.
fn life(world: &World, start: &SessionStart) -> Vec<Change> {
    let (link, stream, channel) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    vec![
        Change::LinkOpened {
            link,
            replica: start.replica,
            user: Some(start.user),
            space: start.space,
            purpose: "interactive".to_owned(),
            at: at(1),
        },
        world.stream_opened(start.replica.into(), stream),
        channel_opened(start, channel),
        Change::SessionBytes { session: start.session, bytes_in: 5, bytes_out: 7 },
        Change::ChannelClosed {
            channel,
            at: at(5),
            bytes_in: 8,
            bytes_out: u64::MAX,
            exit_status: Some(u32::MAX),
            reason: None,
        },
        Change::LinkClosed { link, at: at(6), reason: "idle".to_owned() },
        Change::StreamClosed { stream, at: at(6), reason: "closed by the gateway".to_owned() },
        ended(start.session, "client_left", 7),
        world.audit("access.allowed", start),
    ]
}

#[tokio::test]
async fn every_change_lands_once_however_often_it_comes() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    let changes = life(&world, &start);
    world.write(&changes).await;
    let once = all(&world).await;
    assert_eq!(once.len(), 7, "{once:#?}");

    // The whole again, each twice, and in another order.
    world.write(&changes).await;
    let twice: Vec<Change> = changes.iter().flat_map(|change| [change.clone(), change.clone()]).collect();
    world.write(&twice).await;
    let backwards: Vec<Change> = changes.iter().rev().cloned().collect();
    world.write(&backwards).await;
    world.write_session(&start).await;
    let again = all(&world).await;
    assert_eq!(again[..4], once[..4]);
    assert_eq!(again.len(), once.len() + 1, "only the second audit row of the beginning is new");
}

#[tokio::test]
async fn a_session_reads_back_as_it_was_written() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    world.write(&[Change::SessionBytes { session: start.session, bytes_in: 5, bytes_out: 7 }]).await;
    let live = world.store().live_sessions().await.unwrap();
    assert_eq!(live.len(), 1);
    let session = &live[0];
    assert_eq!(session.id.uuid(), start.session);
    assert_eq!((session.user.as_str(), session.space.as_str()), ("alice", "forecast"));
    assert_eq!((session.domain.as_str(), session.mode.as_str()), ("main", "session"));
    assert_eq!(session.client_address, "192.0.2.7");
    assert_eq!(session.client_version, "SSH-2.0-OpenSSH_9.2\u{fffd}");
    assert_eq!(session.started_at, NOON);
    assert_eq!((session.bytes_in, session.bytes_out), (5, 7));
    assert_eq!(session.replica, world.replica);
    assert!(!session.doubtful);
}

#[tokio::test]
async fn bytes_only_grow() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    let bytes = |bytes_in, bytes_out| Change::SessionBytes { session: start.session, bytes_in, bytes_out };
    world
        .write(&[bytes(5, 7), bytes(3, 9), bytes(1, 1), ended(start.session, "drained", 9), bytes(30, 8)])
        .await;
    let row: (i64, i64) =
        sqlx::query_as("SELECT bytes_in, bytes_out FROM sessions").fetch_one(world.pool()).await.unwrap();
    assert_eq!(row, (30, 20));
}

#[tokio::test]
async fn the_first_end_stands_and_is_audited_once() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    world.write(&[ended(start.session, "ended_by_admin", 5), ended(start.session, "client_left", 6)]).await;
    let end: (String, OffsetDateTime) =
        sqlx::query_as("SELECT end_code, ended_at FROM sessions").fetch_one(world.pool()).await.unwrap();
    assert_eq!(end, ("ended_by_admin".to_owned(), at(5)));
    let audited: Vec<(String, serde_json::Value)> =
        sqlx::query_as("SELECT actor_name, detail FROM audit WHERE kind = 'session.ended'")
            .fetch_all(world.pool())
            .await
            .unwrap();
    let detail = json!({ "code": "ended_by_admin", "reason": "because of ended_by_admin" });
    assert_eq!(audited, [("alice".to_owned(), detail)]);
}

#[tokio::test]
async fn what_is_refused_takes_nothing_with_it() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    let orphan = SessionStart { session: Uuid::now_v7(), ..start.clone() };
    let changes = [
        channel_opened(&orphan, Uuid::now_v7()),
        ended(orphan.session, "client_left", 5),
        ended(start.session, "no such word", 5),
        channel_opened(&start, Uuid::now_v7()),
        ended(start.session, "client_left", 6),
    ];
    let together = world.store().write_changes(&changes).await;
    assert!(together.is_err_and(|error| error.blames_data()));
    let refused = world.store().write_changes_apart(&changes).await.unwrap();
    let refused: Vec<&Change> = refused.iter().map(|refused| refused.change).collect();
    assert_eq!(refused, [&changes[0], &changes[1], &changes[2]]);
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM sessions WHERE end_code = 'client_left'").await, 1);
}
