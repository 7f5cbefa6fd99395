//! Sealing misses nothing, never forks, and nobody waits for it.

use std::sync::Arc;

use super::*;
use crate::store::chain::seal;

#[tokio::test]
async fn row_that_commits_late_is_sealed_in_a_later_place() {
    let (chained, _) = Chained::with(1).await;
    let mut late = chained.world.pool().begin().await.unwrap();
    let row = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO audit (id, at, replica_id, actor_name, kind, detail)
         VALUES ($1, $2, $1, 'late', 'session.ended', '{}')",
    )
    .bind(row)
    .bind(at(-3600))
    .execute(&mut *late)
    .await
    .unwrap();
    chained.decide(4).await;
    assert_eq!(chained.seal().await.seq, 5);
    assert_eq!(chained.verify_against(None).await.unwrap().waiting, 0);
    late.commit().await.unwrap();
    assert_eq!(chained.seal().await.seq, 6);
    chained.verify_against(None).await.unwrap();
    let seq: i64 = sqlx::query_scalar("SELECT seq FROM audit_seals WHERE audit_id = $1")
        .bind(row)
        .fetch_one(chained.world.pool())
        .await
        .unwrap();
    assert_eq!(seq, 6);
}

#[tokio::test]
async fn row_that_is_rolled_back_or_written_twice_gets_no_seal_of_its_own() {
    let (chained, _) = Chained::with(1).await;
    let twice = chained.decision();
    chained.world.write(&[twice.clone(), twice.clone()]).await;
    chained.world.write(&[twice]).await;
    let mut undone = chained.world.pool().begin().await.unwrap();
    let copy = "INSERT INTO audit SELECT gen_random_uuid(), at, replica_id, actor_id, actor_name FROM audit";
    assert!(sqlx::query(copy).execute(&mut *undone).await.is_err());
    undone.rollback().await.unwrap();
    // As the migration may, when a row is written while it runs.
    sqlx::query("INSERT INTO audit_pending (audit_id) SELECT id FROM audit")
        .execute(chained.world.pool())
        .await
        .unwrap();
    assert_eq!(chained.seal().await.seq, 2);
    assert_eq!(chained.world.count("SELECT count(*) FROM audit_pending").await, 0);
    chained.verify_against(None).await.unwrap();
}

#[tokio::test]
async fn many_sealers_at_once_never_fork_the_chain() {
    let chained = Arc::new(Chained::new().await);
    let sealers = (0..4).map(|_| {
        let chained = Arc::clone(&chained);
        tokio::spawn(async move {
            let mut sealed = 0;
            while chained.world.count("SELECT count(*) FROM audit_seals").await < 200 {
                if let Pass::Done { rows, .. } =
                    chained.world.store().seal_audit(&chained.key, 3).await.unwrap()
                {
                    sealed += rows;
                }
            }
            sealed
        })
    });
    let sealers: Vec<_> = sealers.collect();
    chained.decide(200).await;
    let mut sealed = 0;
    for sealer in sealers {
        sealed += sealer.await.unwrap();
    }
    assert_eq!(sealed, 200, "each row was sealed once");
    assert_eq!(chained.verify_against(None).await.unwrap().head.head.seq, 200);
}

#[tokio::test]
async fn second_sealer_does_not_wait_for_the_first() {
    let (chained, _) = Chained::with(1).await;
    chained.decide(2).await;
    let mut first = chained.world.pool().begin().await.unwrap();
    assert!(matches!(seal(&mut first, &chained.key, 10).await.unwrap(), Pass::Done { rows: 2, .. }));
    assert_eq!(chained.world.store().seal_audit(&chained.key, 10).await.unwrap(), Pass::Busy);
    drop(first);
    assert_eq!(chained.seal().await.seq, 3, "what was not committed is done again");
}

/// Decisions are written while a sealer's transaction stays open with everything it locks.
#[tokio::test]
async fn nobody_who_writes_decisions_waits_for_a_sealer() {
    let chained = Arc::new(Chained::new().await);
    chained.decide(50).await;
    let mut sealer = chained.world.pool().begin().await.unwrap();
    assert!(matches!(seal(&mut sealer, &chained.key, 500).await.unwrap(), Pass::Done { rows: 50, .. }));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let chained = Arc::clone(&chained);
            // A session's first row is the write that a person waits for.
            tokio::spawn(async move {
                for _ in 0..50 {
                    let start = chained.world.begin(chained.world.replica).await;
                    chained.world.write(&[ended(start.session, "client_left", 5)]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    sealer.commit().await.unwrap();
    assert_eq!(chained.seal().await.seq, 50 + 400);
    chained.verify_against(None).await.unwrap();
}

/// Measures, and asserts only what no busy machine can change.
#[tokio::test]
async fn thousand_decisions_beside_a_sealer_that_never_rests_wait_for_no_lock() {
    let chained = Arc::new(Chained::new().await);
    let alone = tokio::time::Instant::now();
    chained.decide(1000).await;
    let alone = alone.elapsed();
    chained.seal().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (sealing, token) = (Arc::clone(&chained), stop.clone());
    let sealer = tokio::spawn(async move {
        while !token.is_cancelled() {
            sealing.world.store().seal_audit(&sealing.key, 500).await.unwrap();
        }
    });
    let (looking, token) = (Arc::clone(&chained), stop.clone());
    let looker = tokio::spawn(async move {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'extend'";
        let mut waits = 0;
        while !token.is_cancelled() {
            waits += looking.world.count(waiting).await;
        }
        waits
    });
    let beside = tokio::time::Instant::now();
    chained.decide(1000).await;
    let beside = beside.elapsed();
    stop.cancel();
    sealer.await.unwrap();
    assert_eq!(looker.await.unwrap(), 0, "somebody waited for a lock");
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!(
        "1,000 decisions took {ratio:.2} times as long beside a sealer that never rests ({alone:?} alone)"
    );
    assert_eq!(chained.seal().await.seq, 2000);
    chained.verify_against(None).await.unwrap();
}

#[tokio::test]
async fn log_from_before_the_chain_is_queued_by_the_migration() {
    let world = World::new().await;
    let start = world.begin(world.replica).await;
    let undo = "DROP TRIGGER audit_queued ON audit; DROP TABLE audit_pending, audit_seals, audit_head;
                DROP FUNCTION queue_audit_row; DELETE FROM _sqlx_migrations WHERE version = 2";
    sqlx::raw_sql(undo).execute(world.pool()).await.unwrap();
    world.write(&[ended(start.session, "client_left", 5)]).await;
    Store::open(&world.database.url).await.unwrap();
    let sealing = SealingKey::new(&[7; 32]).unwrap();
    let key = world.store().chain_key(&sealing).await.unwrap();
    let chained = Chained { world, key };
    chained.decide(1).await;
    assert_eq!(chained.seal().await.seq, 3);
    chained.verify_against(None).await.unwrap();
}
