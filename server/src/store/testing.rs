//! A real Postgres for unit tests: one private cluster for the test process, one database for each test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod clock;
mod proxy;

use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

pub(crate) use clock::HandClock;
pub(crate) use proxy::Proxy;

use super::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};
use super::{Store, StoreError};
use crate::domain::idle::Stopper;
use crate::domain::ids::{DomainAlias, ReplicaId};
use crate::domain::space::Space;

/// Clusters that test processes may use at the same time.
const CLUSTERS: u32 = 8;
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

static CLUSTER: OnceCell<EmbeddedPostgres> = OnceCell::const_new();

/// A migrated database of one test's own.
pub(crate) struct TestDatabase {
    pub(crate) store: Store,
    pub(crate) url: SecretString,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = CLUSTER.get_or_init(start).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(cluster.url().expose_secret()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE migrated")))
            .execute(&mut connection)
            .await
            .unwrap();
        let url: SecretString = named(cluster.url(), &name);
        // The template is migrated. Patient, since the machine is busy with the other tests.
        let options = PgConnectOptions::from_str(url.expose_secret()).unwrap();
        Self { store: Store::pooled(options, PATIENCE), url }
    }

    /// When a replica last renewed its lease.
    pub(crate) async fn renewed_at(&self, replica: ReplicaId) -> OffsetDateTime {
        sqlx::query_scalar("SELECT renewed_at FROM replicas WHERE id = $1")
            .bind(replica.uuid())
            .fetch_one(&self.store.pool)
            .await
            .unwrap()
    }
}

/// What tests of the audit log's sealing need.
impl TestDatabase {
    /// Writes rows to the audit log.
    pub(crate) async fn audit_rows(&self, rows: i32) {
        sqlx::query(
            "INSERT INTO audit (id, at, replica_id, actor_name, kind, detail)
             SELECT gen_random_uuid(), now(), gen_random_uuid(), 'anna', 'access.allowed', '{}'
             FROM generate_series(1, $1)",
        )
        .bind(rows)
        .execute(&self.store.pool)
        .await
        .unwrap();
    }

    /// How many rows are sealed.
    pub(crate) async fn sealed_rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_seals").fetch_one(&self.store.pool).await.unwrap()
    }
}

/// The cluster is kept from run to run, so that only the first one pays for making it. It ends with the process.
async fn start() -> EmbeddedPostgres {
    // On a thread of its own: the runtime of the first test ends before the others do.
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = first_free().await;
            prepare(cluster.url()).await;
            cluster
        })
    })
    .await
    .unwrap()
}

async fn first_free() -> EmbeddedPostgres {
    let user = rustix::process::geteuid().as_raw();
    for n in 0..CLUSTERS {
        let directory = std::env::temp_dir().join(format!("spaceport-test-postgres-{user}-{n}"));
        let mut options = EmbeddedOptions::new(&directory);
        options.settings = [
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("max_connections", "200"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        match EmbeddedPostgres::start(&options).await {
            Ok(cluster) => return cluster,
            Err(EmbeddedError::InUse(_)) => {}
            Err(error) => panic!("no Postgres for tests: {error}: {error:?}"),
        }
    }
    panic!("{CLUSTERS} test processes are running already");
}

/// Drops what an earlier run left, and makes the template.
async fn prepare(url: &SecretString) {
    let mut connection = PgConnection::connect(url.expose_secret()).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%' OR datname = 'migrated'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    for name in left {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    sqlx::raw_sql("CREATE DATABASE migrated").execute(&mut connection).await.unwrap();
    let template = Store::open(&named(url, "migrated")).await.unwrap();
    template.close().await;
}

fn named(url: &SecretString, database: &str) -> SecretString {
    let (server, _) = url.expose_secret().rsplit_once('/').unwrap();
    format!("{server}/{database}").into()
}

/// Waits until something holds, moving a clock on for whoever waits for it.
pub(crate) async fn until(clock: &HandClock, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// What tests of other things need of listings.
impl Store {
    /// Writes a listing as a gateway does that polls every minute.
    pub(crate) async fn sync_spaces(
        &self,
        domain: &DomainAlias,
        listed: Vec<Space>,
        at: OffsetDateTime,
    ) -> Result<Vec<Space>, StoreError> {
        self.write_listing(domain, listed, at, Duration::from_secs(180)).await
    }
}

/// What tests of stops need.
impl TestDatabase {
    /// Where the stop of each run is, by the creation time of its app.
    pub(crate) async fn stoppers(&self) -> Vec<(OffsetDateTime, Stopper)> {
        let rows: Vec<(OffsetDateTime, serde_json::Value)> = sqlx::query_as(
            "SELECT r.app_created_at, j.stopper FROM judgements j JOIN runs r ON r.id = j.run_id",
        )
        .fetch_all(&self.store.pool)
        .await
        .unwrap();
        rows.into_iter().map(|(app, stopper)| (app, serde_json::from_value(stopper).unwrap())).collect()
    }

    /// How many stops ended in this way.
    pub(crate) async fn stops_that(&self, outcome: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM stops WHERE outcome = $1")
            .bind(outcome)
            .fetch_one(&self.store.pool)
            .await
            .unwrap()
    }
}
