//! Postgres: migrations, and one file per group of tables. SQL lives here only.
//!
//! What is *not* here: rules (`domain`), who calls when (`jobs`, `gateway`), and secrets in the clear.

pub mod api;
mod apply;
pub mod approvals;
pub mod audit;
pub mod chain;
pub mod control;
pub mod cost;
pub mod embedded;
pub mod grants;
pub mod idle;
mod jobs;
pub mod keys;
mod leases;
pub mod logins;
pub mod messages;
pub mod people;
mod prices;
pub mod profiles;
pub mod record;
pub mod secrets;
pub mod sessions;
pub mod signs;
pub mod spaces;
mod spells;
mod spool;
pub mod starts;
pub mod state;
mod streams;
pub mod suspensions;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod text;
mod users;

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};

pub use control::Control;
pub use sessions::{EndRequest, LiveSession};
pub use spool::SpoolError;

/// Connections of one replica: statements are short, and the listener keeps one. A default server takes 100 from
/// all replicas together.
const CONNECTIONS: u32 = 12;
/// How long a call waits for a connection before Postgres counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections are replaced after this time, so that a move of the database's name is followed.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// What each connection is told: nothing that the gateway asks takes long, and a lost replica holds no locks. Compiling a
/// statement takes longer than any of them does.
const CONNECTION_SETTINGS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '3s'; \
     SET idle_in_transaction_session_timeout = '10s'; SET jit = off";

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres is away, or too slow.
    #[error("Postgres is away")]
    Away(#[source] sqlx::Error),
    /// Postgres answered something unexpected.
    #[error("Postgres refused a statement")]
    Sql(#[source] sqlx::Error),
    /// The schema could not be migrated.
    #[error("the schema could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A secret could not be opened with the configured key.
    #[error("a stored secret does not open with the configured key")]
    Sealed,
}

impl StoreError {
    /// Postgres did not answer in the time that it was given.
    #[must_use]
    pub const fn too_slow() -> Self {
        Self::Away(sqlx::Error::PoolTimedOut)
    }

    /// Whether what was to be written is at fault, so that writing it again cannot help: SQLSTATE classes 22 (data)
    /// and 23 (integrity).
    #[must_use]
    pub(crate) fn blames_data(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
            }
            Self::Sql(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }

    /// What happened, with what Postgres said.
    #[must_use]
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Away(error) | Self::Sql(error) => format!("{self}: {error}"),
            Self::Migrate(error) => format!("{self}: {error}"),
            Self::Sealed => self.to_string(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::Away(error) } else { Self::Sql(error) }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) if is_away(&error) => Self::Away(error),
            error => Self::Migrate(error),
        }
    }
}

/// Whether waiting may help: the connection failed, or the server says that it cannot serve just now.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_away_code(&code)),
        _ => false,
    }
}

/// SQLSTATE codes (PostgreSQL manual, appendix A) that say nothing about the statement.
fn is_away_code(code: &str) -> bool {
    const CLASSES: [&str; 4] = [
        "08", // connection exception
        "28", // the password was changed on the server, say
        "53", // out of connections, disk or memory
        "57", // shut down, starting up, time-out of a statement
    ];
    const CODES: [&str; 4] = [
        "25006", // read-only: a standby that has not been promoted yet
        "40001", // serialization failure
        "40P01", // deadlock
        "55P03", // time-out of a lock
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: sqlx::PgPool,
}

impl Store {
    /// Connects, and migrates the schema under an advisory lock.
    ///
    /// # Errors
    /// When Postgres is away, or its schema is one that this release cannot take over.
    pub async fn open(url: &SecretString) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url.expose_secret())?.application_name("spaceport");
        migrate(&options).await?;
        Ok(Self::pooled(options, ACQUIRE_TIMEOUT))
    }

    /// Connects and leaves the schema alone: for commands beside a server, which may be of another release.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn connect(url: &SecretString) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url.expose_secret())?.application_name("spaceport");
        Ok(Self::pooled(options, ACQUIRE_TIMEOUT))
    }

    fn pooled(options: PgConnectOptions, acquire_timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(acquire_timeout)
            .max_lifetime(CONNECTION_LIFETIME)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(CONNECTION_SETTINGS).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Self { pool }
    }

    /// Closes the connections once their statements are done.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Brings the schema up to this release. The migrator takes an advisory lock, so replicas that start together take
/// turns. The connection is its own: a migration may take longer than a statement of the pool's.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let connecting = PgConnection::connect_with(options);
    let mut connection =
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| StoreError::too_slow())??;
    let mut migrator = sqlx::migrate!("../migrations");
    // While a newer release is being rolled out, a replica of this one may still restart.
    migrator.set_ignore_missing(true);
    migrator.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
