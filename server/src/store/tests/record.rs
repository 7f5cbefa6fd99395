//! The recorder, with a Postgres that goes away and comes back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::record::{DEFAULT_SPOOL_BYTES, Recorder};
use crate::store::testing::{HandClock, Proxy, until};

/// A recorder whose way to Postgres can be cut.
struct Recording {
    world: World,
    proxy: Proxy,
    store: Store,
    spool: tempfile::TempDir,
    clock: Arc<HandClock>,
}

impl Recording {
    async fn new() -> Self {
        let world = World::new().await;
        let proxy = Proxy::to(&world.database.url);
        let store = Store::open(proxy.url()).await.unwrap();
        let (spool, clock) = (tempfile::tempdir().unwrap(), Arc::new(HandClock::default()));
        Self { world, proxy, store, spool, clock }
    }

    fn open(&self, bytes: u64) -> Recorder {
        Recorder::open(self.store.clone(), self.spool.path(), bytes, self.clock.clone()).unwrap()
    }

    async fn until_ended(&self, session: Uuid) {
        until(&self.clock, "the end is in Postgres", async || {
            let ended: bool = sqlx::query_scalar("SELECT ended_at IS NOT NULL FROM sessions WHERE id = $1")
                .bind(session)
                .fetch_one(self.world.pool())
                .await
                .unwrap();
            ended
        })
        .await;
    }
}

fn replaying(recorder: &Recorder) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(recorder.clone().replay(stop)))
}

fn set_aside(spool: &Path) -> String {
    fs::read_to_string(spool.join("set-aside")).unwrap_or_default()
}

#[tokio::test]
async fn changes_of_an_outage_land_in_order_and_once() {
    let mut recording = Recording::new().await;
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    let (stop, replay) = replaying(&recorder);
    let start = recording.world.session(recording.world.replica);
    recorder.begin(start.clone(), recording.world.audit("session.opened", &start)).await.unwrap();
    assert!(recorder.is_up());

    recording.proxy.cut().await;
    let channel = Uuid::now_v7();
    recorder.record(vec![channel_opened(&start, channel)]).await;
    assert!(!recorder.is_up());
    let second = recording.world.session(recording.world.replica);
    let begun = recorder.begin(second.clone(), recording.world.audit("session.opened", &second)).await;
    assert!(begun.is_err(), "a session without a row may not be opened");
    let closed = Change::ChannelClosed {
        channel,
        at: at(4),
        bytes_in: 1,
        bytes_out: 2,
        exit_status: Some(0),
        reason: None,
    };
    recorder.record(vec![closed]).await;
    recorder
        .record(vec![recording.world.audit("access.allowed", &start), ended(start.session, "client_left", 5)])
        .await;
    assert_eq!(recording.world.count("SELECT count(*) FROM channels").await, 0);

    recording.proxy.mend();
    recording.until_ended(start.session).await;
    until(&recording.clock, "it is up", async || recorder.is_up()).await;
    assert_eq!(recording.world.count("SELECT count(*) FROM channels WHERE exit_status = 0").await, 1);
    assert_eq!(recording.world.count("SELECT count(*) FROM audit").await, 3);
    recorder.begin(second.clone(), recording.world.audit("session.opened", &second)).await.unwrap();
    stop.cancel();
    replay.await.unwrap();
    assert_eq!((recorder.dropped(), set_aside(recording.spool.path())), (0, String::new()));
}

#[tokio::test]
async fn a_new_process_replays_what_an_earlier_one_left() {
    let mut recording = Recording::new().await;
    let start = recording.world.begin(recording.world.replica).await;
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    recording.proxy.cut().await;
    recorder.record(vec![ended(start.session, "drained", 5)]).await;
    drop(recorder); // no replay ran: as if it had been killed

    recording.proxy.mend();
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    // What is handed over now waits for its turn: the first end stands.
    recorder.record(vec![ended(start.session, "client_left", 9)]).await;
    assert_eq!(recording.world.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL").await, 1);
    let (stop, replay) = replaying(&recorder);
    recording.until_ended(start.session).await;
    stop.cancel();
    replay.await.unwrap();
    assert_eq!(recording.world.count("SELECT count(*) FROM sessions WHERE end_code = 'drained'").await, 1);
}

#[tokio::test]
async fn stopping_replays_what_it_can() {
    let mut recording = Recording::new().await;
    let start = recording.world.begin(recording.world.replica).await;
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    recording.proxy.cut().await;
    recorder.record(vec![ended(start.session, "drained", 5)]).await;
    recording.proxy.mend();
    let stop = CancellationToken::new();
    stop.cancel();
    recorder.replay(stop).await;
    assert_eq!(recording.world.count("SELECT count(*) FROM sessions WHERE end_code = 'drained'").await, 1);
}

#[tokio::test]
async fn what_cannot_land_is_set_aside_and_blocks_nothing() {
    let mut recording = Recording::new().await;
    let start = recording.world.begin(recording.world.replica).await;
    let orphan = SessionStart { session: Uuid::now_v7(), ..start.clone() };
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);

    // While Postgres is up.
    recorder
        .record(vec![channel_opened(&orphan, Uuid::now_v7()), channel_opened(&start, Uuid::now_v7())])
        .await;
    assert_eq!(recording.world.count("SELECT count(*) FROM channels").await, 1);

    // From the spool, with a line that the disk damaged.
    recording.proxy.cut().await;
    recorder.record(vec![channel_opened(&start, Uuid::now_v7())]).await;
    recorder.record(vec![ended(orphan.session, "client_left", 4)]).await;
    recorder.record(vec![ended(start.session, "client_left", 5)]).await;
    drop(recorder);
    let segment = recording.spool.path().join("00000001.jsonl");
    let damaged = fs::read_to_string(&segment).unwrap().replacen("exec", "exeC", 1);
    fs::write(&segment, damaged).unwrap();
    recording.proxy.mend();
    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    let (stop, replay) = replaying(&recorder);
    recording.until_ended(start.session).await;
    stop.cancel();
    replay.await.unwrap();
    let aside = set_aside(recording.spool.path());
    assert_eq!(aside.lines().count(), 3, "{aside}");
    assert!(aside.contains("exeC") && aside.contains("a session that does not exist"), "{aside}");
    assert_eq!(recording.world.count("SELECT count(*) FROM channels").await, 1);
}

#[tokio::test]
async fn a_full_spool_drops_with_a_count_and_keeps_the_ends() {
    let mut recording = Recording::new().await;
    let start = recording.world.begin(recording.world.replica).await;
    let recorder = recording.open(8 << 10);
    recording.proxy.cut().await;
    let bytes = Change::SessionBytes { session: start.session, bytes_in: 1, bytes_out: 1 };
    while recorder.dropped() == 0 {
        recorder.record(vec![bytes.clone()]).await;
    }
    recorder.record(vec![bytes.clone(), ended(start.session, "client_left", 5)]).await;
    assert_eq!(recorder.dropped(), 2, "the bytes, twice");
    while recorder.dropped() == 2 {
        recorder.record(vec![recording.world.audit("access.allowed", &start)]).await;
    }
    recording.proxy.mend();
    let (stop, replay) = replaying(&recorder);
    recording.until_ended(start.session).await;
    stop.cancel();
    replay.await.unwrap();
    recorder.record(vec![recording.world.audit("access.denied", &start)]).await;
    assert_eq!(recording.world.count("SELECT count(*) FROM audit WHERE kind = 'access.denied'").await, 1);
}

#[tokio::test]
async fn a_beginning_whose_answer_was_lost_does_not_look_live_for_good() {
    let mut recording = Recording::new().await;
    // A commit that waits: the way to Postgres is cut meanwhile.
    sqlx::raw_sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON sessions DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    .execute(recording.world.pool())
    .await
    .unwrap();
    let mut blocker = recording.world.pool().begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(7)").execute(&mut *blocker).await.unwrap();

    let recorder = recording.open(DEFAULT_SPOOL_BYTES);
    let start = recording.world.session(recording.world.replica);
    let audit = recording.world.audit("session.opened", &start);
    let begin = {
        let (recorder, start) = (recorder.clone(), start.clone());
        tokio::spawn(async move { recorder.begin(start, audit).await })
    };
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&recording.clock, "the commit waits", async || recording.world.count(waiting).await == 1).await;
    recording.proxy.cut().await;
    blocker.rollback().await.unwrap();
    assert!(begin.await.unwrap().is_err());
    let rows = "SELECT count(*) FROM sessions";
    until(&recording.clock, "it commits", async || recording.world.count(rows).await == 1).await;

    recording.proxy.mend();
    let (stop, replay) = replaying(&recorder);
    recording.until_ended(start.session).await;
    stop.cancel();
    replay.await.unwrap();
    assert_eq!(recording.world.count("SELECT count(*) FROM sessions WHERE end_code = 'not_opened'").await, 1);
}
