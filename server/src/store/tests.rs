//! The store against a real Postgres.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "tests may spawn")]

mod apply;
mod approvals;
mod chain;
mod control;
mod embedded;
mod grants;
mod leases;
mod logins;
mod messages;
mod money;
mod record;
mod sessions;
mod spaces;
mod spool;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::Store;
use super::testing::TestDatabase;
use crate::domain::ids::{ReplicaId, SpaceId, UserId};
use crate::domain::record::{Change, ChannelKind, Mode, SessionStart};
use crate::domain::space::{App, AppImage, AppStatus, AppType, Sharing, Space, SpaceStatus};

const NOON: OffsetDateTime = datetime!(2026-05-01 12:00:00.123456 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

/// A database with one replica, one user and one space.
struct World {
    database: TestDatabase,
    replica: ReplicaId,
    user: UserId,
    space: SpaceId,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let store = &database.store;
        let replica = ReplicaId::generate();
        store.register_replica(replica, "gateway-1", 30).await.unwrap();
        let user = store.ensure_user("subject-1", &"alice".parse().unwrap(), NOON).await.unwrap();
        let spaces =
            store.sync_spaces(&"main".parse().unwrap(), vec![listed("forecast")], NOON).await.unwrap();
        let space = spaces[0].id;
        Self { database, replica, user, space }
    }

    fn store(&self) -> &Store {
        &self.database.store
    }

    fn pool(&self) -> &PgPool {
        &self.database.store.pool
    }

    fn session(&self, replica: ReplicaId) -> SessionStart {
        SessionStart {
            session: Uuid::now_v7(),
            replica: replica.uuid(),
            user: self.user.uuid(),
            space: self.space.uuid(),
            connection: Uuid::now_v7(),
            mode: Mode::Session,
            client_address: "::ffff:192.0.2.7".parse().unwrap(),
            client_version: "SSH-2.0-OpenSSH_9.2\0".to_owned(),
            key_fingerprint: "SHA256:abc".to_owned(),
            at: NOON,
        }
    }

    async fn write_session(&self, start: &SessionStart) {
        let audit = self.audit("session.opened", start);
        self.store().write_session(start, &audit, &AtomicBool::new(false)).await.unwrap();
    }

    /// A live session of a replica.
    async fn begin(&self, replica: ReplicaId) -> SessionStart {
        let start = self.session(replica);
        self.write_session(&start).await;
        start
    }

    fn audit(&self, kind: &str, start: &SessionStart) -> Change {
        Change::Audit {
            audit: Uuid::now_v7(),
            at: NOON,
            replica: start.replica,
            actor: Some(start.user),
            actor_name: "alice".to_owned(),
            space: Some(start.space),
            session: Some(start.session),
            connection: Some(start.connection),
            kind: kind.to_owned(),
            allowed: Some(true),
            detail: json!({ "because": "it is yours", "odd": "\0" }),
        }
    }

    fn stream_opened(&self, replica: ReplicaId, stream: Uuid) -> Change {
        Change::StreamOpened {
            stream,
            replica: replica.uuid(),
            user: Some(self.user.uuid()),
            space: self.space.uuid(),
            link: Some(Uuid::now_v7()),
            aws_session_id: "alice-0123".to_owned(),
            role_session: "AROA:alice".to_owned(),
            request_id: None,
            at: at(1),
        }
    }

    async fn write(&self, changes: &[Change]) {
        let refused = self.store().write_changes(changes).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// Lets a replica's lease lapse: its last renewal was this many seconds ago.
    async fn last_renewed(&self, replica: ReplicaId, ago_s: i32) {
        sqlx::query("UPDATE replicas SET renewed_at = now() - make_interval(secs => $2) WHERE id = $1")
            .bind(replica.uuid())
            .bind(f64::from(ago_s))
            .execute(self.pool())
            .await
            .unwrap();
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(self.pool()).await.unwrap()
    }
}

fn ended(session: Uuid, code: &str, seconds: i64) -> Change {
    Change::SessionEnded {
        session,
        at: at(seconds),
        code: code.to_owned(),
        reason: format!("because of {code}"),
        bytes_in: 10,
        bytes_out: 20,
        audit: Uuid::now_v7(),
    }
}

fn channel_opened(start: &SessionStart, channel: Uuid) -> Change {
    Change::ChannelOpened {
        channel,
        session: start.session,
        stream: Uuid::now_v7(),
        replica: start.replica,
        kind: ChannelKind::Exec,
        detail: Some("ls\0".to_owned()),
        pty: false,
        at: at(2),
    }
}

fn listed(name: &str) -> Space {
    let arn = format!("arn:aws:sagemaker:eu-central-1:123456789012:space/d-abc/{name}");
    Space {
        id: SpaceId::generate(),
        arn: arn.parse().unwrap(),
        domain: "main".parse().unwrap(),
        owner: Some("alice".parse().unwrap()),
        sharing: Sharing::Private,
        app_type: Some(AppType::JupyterLab),
        remote_access: true,
        status: SpaceStatus::InService,
        app: None,
        storage_gib: Some(20),
    }
}

fn app(status: AppStatus, created_at: OffsetDateTime) -> Option<App> {
    let instance_type = Some("ml.m5.xlarge".parse().unwrap());
    let image = Some(AppImage { arn: "arn:image".to_owned(), version: Some("3.2.0".to_owned()) });
    Some(App { app_type: AppType::JupyterLab, status, created_at, instance_type, image })
}

/// Longer than any lease here.
const LONG_CONTACT: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn replicas_that_start_together_migrate_once() {
    let database = TestDatabase::new().await;
    let (a, b) = tokio::join!(Store::open(&database.url), Store::open(&database.url));
    a.unwrap();
    b.unwrap();
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .execute(&database.store.pool)
        .await
        .unwrap();
    let (a, b, c) =
        tokio::join!(Store::open(&database.url), Store::open(&database.url), Store::open(&database.url));
    for store in [a, b, c] {
        store.unwrap().register_replica(ReplicaId::generate(), "host", 30).await.unwrap();
    }
}

#[tokio::test]
async fn a_user_keeps_the_row_and_gets_the_new_name() {
    let world = World::new().await;
    let (old, new) = ("alice".parse().unwrap(), "alice.smith".parse().unwrap());
    assert_eq!(world.store().ensure_user("subject-1", &old, at(9)).await.unwrap(), world.user);
    assert_eq!(world.store().ensure_user("subject-1", &new, at(9)).await.unwrap(), world.user);
    assert_ne!(world.store().ensure_user("subject-2", &new, at(9)).await.unwrap(), world.user);
    let name: String = sqlx::query_scalar("SELECT name FROM users WHERE id = $1")
        .bind(world.user.uuid())
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(name, "alice.smith");
}

#[tokio::test]
async fn the_audit_log_refuses_to_be_changed() {
    let world = World::new().await;
    world.begin(world.replica).await;
    for statement in ["UPDATE audit SET kind = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = sqlx::query(statement).execute(world.pool()).await;
        assert!(refused.is_err(), "{statement}");
    }
    assert_eq!(world.count("SELECT count(*) FROM audit").await, 1);
}

#[tokio::test]
async fn all_replicas_agree_on_a_secret() {
    let world = World::new().await;
    let key = |byte| super::secrets::SealingKey::new(&[byte; 32]).unwrap();
    let (mine, theirs) = (key(0x0f), key(0xf0));
    let made = (1..=8u8).map(|n| world.store().sealed("host_key", move || vec![n; 32], &mine));
    let made = futures_util::future::join_all(made).await;
    let secrets: Vec<Vec<u8>> = made
        .into_iter()
        .map(|secret| secrecy::ExposeSecret::expose_secret(&secret.unwrap()).clone())
        .collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0]), "{secrets:?}");
    let wrong = world.store().sealed("host_key", Vec::new, &theirs).await;
    assert!(matches!(wrong, Err(super::StoreError::Sealed)));
}

#[tokio::test]
async fn a_store_that_is_away_says_so() {
    let world = World::new().await;
    let nowhere = "postgres://spaceport:x@%2Fnowhere/none".to_owned().into();
    assert!(matches!(Store::open(&nowhere).await, Err(super::StoreError::Away(_))));
    let ended = sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(world.pool()).await;
    assert!(matches!(super::StoreError::from(ended.unwrap_err()), super::StoreError::Away(_)));
    let wrong = sqlx::query("SELECT wrong").execute(world.pool()).await;
    assert!(matches!(super::StoreError::from(wrong.unwrap_err()), super::StoreError::Sql(_)));
}
