//! A private Postgres cluster in the data directory, for one machine without a database of its own.
//!
//! The server process comes from the binaries on the machine and runs as an unprivileged user. It listens on a Unix
//! socket only, in a directory that is closed to others, and asks for a password that stands in `postgres.url`
//! beside it, for the command line on the same machine.
//!
//! The server must not outlive this process, and a killed process cannot stop it. So a shell stands between the
//! two: it waits for the end of its input, which comes however this process ends, and then stops the server. Should
//! both have been killed, the next start stops the server that they left.

mod account;
mod binaries;
mod commands;
mod files;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use account::Account;
use binaries::Binaries;
use files::Files;

/// How long the server may take until it answers: after a crash it reads its log first.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two tries to connect.
const READY_PAUSE: Duration = Duration::from_millis(30);
/// How long a fast shutdown may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No binaries.
    #[error(
        "no initdb and postgres found in {0:?}; install Postgres, name its bin directory, or set DATABASE_URL"
    )]
    NoBinaries(Vec<PathBuf>),
    /// The cluster belongs to another major version.
    #[error(
        "the cluster in {0} was made by Postgres {1}, and {2} is Postgres {3}; install Postgres {1}, or dump and \
         restore the database"
    )]
    OtherVersion(PathBuf, String, PathBuf, String),
    /// Root needs somebody to run Postgres as.
    #[error("Postgres does not run as root, and there is no user named {0}")]
    NoUser(String),
    /// The user that runs Postgres cannot reach the data directory.
    #[error(
        "{1}, who runs Postgres, may not enter {0}: give others execute permission on it, or choose another data directory"
    )]
    Closed(PathBuf, String),
    /// Another process has the cluster.
    #[error("the cluster in {0} is in use by another process")]
    InUse(PathBuf),
    /// A file or a directory.
    #[error("{0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// The server did not come up.
    #[error("Postgres did not start; the end of {0}:\n{1}")]
    Start(PathBuf, String),
    /// The server is up and its database could not be made.
    #[error("the private cluster has no usable database")]
    Database(#[source] sqlx::Error),
}

/// Where a private cluster lives and who runs it.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The directory that holds the cluster and its files; made if need be.
    pub data_directory: PathBuf,
    /// The directory with `initdb` and `postgres`, if not one of the usual.
    pub binaries: Option<PathBuf>,
    /// Where else to look for them after the packages' directories: what `PATH` says.
    pub search: Vec<PathBuf>,
    /// Who runs Postgres when this process is root; `postgres` or `nobody` if not given.
    pub user: Option<String>,
    /// Settings for the server beside its own: `("fsync", "off")`.
    pub settings: Vec<(String, String)>,
}

impl EmbeddedOptions {
    /// The usual options for a data directory.
    #[must_use]
    pub fn new(data_directory: &Path) -> Self {
        let data_directory = data_directory.to_owned();
        let search = ["/usr/local/bin", "/usr/bin", "/usr/local/pgsql/bin"].map(PathBuf::from).to_vec();
        Self { data_directory, binaries: None, search, user: None, settings: Vec::new() }
    }
}

/// A running private cluster. Dropping it stops the server without waiting; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    url: SecretString,
    monitor: Child,
    /// Its end is the monitor's sign to stop the server.
    lifeline: Option<ChildStdin>,
    files: Files,
}

impl EmbeddedPostgres {
    /// Starts the cluster, which is made on first use, and waits until it answers.
    ///
    /// # Errors
    /// With what to do about it, and the end of the server's log where there is one.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let account = Account::of(options.user.as_deref())?;
        let files = Files::prepare(&options.data_directory, &account)?;
        let binaries = Binaries::find(options.binaries.as_deref(), &options.search, &files.cluster()).await?;
        if files.has_cluster() {
            commands::stop_leftover(&binaries, &files, &account).await;
        } else {
            commands::init(&binaries, &files, &account).await?;
        }
        let password = match files.password() {
            Some(password) => password,
            None => commands::reset_password(&binaries, &files, &account).await?,
        };
        let mut monitor = commands::spawn(&binaries, &files, &account, &options.settings)?;
        let lifeline = monitor.stdin.take();
        let url = files.write_url(&password)?;
        let mut server = Self { url, monitor, lifeline, files };
        server.wait_until_ready(&password).await?;
        info!(version = binaries.version, directory = %server.files.cluster().display(), "private Postgres is up");
        Ok(server)
    }

    /// How to connect.
    #[must_use]
    pub const fn url(&self) -> &SecretString {
        &self.url
    }

    /// Stops the server by a fast shutdown and waits for its end.
    pub async fn stop(mut self) {
        self.lifeline = None;
        match timeout(STOP_TIMEOUT, self.monitor.wait()).await {
            Ok(Ok(status)) if status.success() => info!("private Postgres has stopped"),
            Ok(Ok(status)) => warn!(%status, "private Postgres did not stop cleanly"),
            Ok(Err(error)) => warn!(%error, "private Postgres cannot be waited for"),
            Err(_) => warn!("private Postgres is still stopping"),
        }
    }

    /// Waits until the server answers, then makes the database.
    async fn wait_until_ready(&mut self, password: &SecretString) -> Result<(), EmbeddedError> {
        let maintenance = self.files.url(password, "postgres");
        let connected = timeout(READY_TIMEOUT, async {
            loop {
                match PgConnection::connect(maintenance.expose_secret()).await {
                    Ok(connection) => return Some(connection),
                    Err(_) if !matches!(self.monitor.try_wait(), Ok(None)) => return None,
                    Err(_) => sleep(READY_PAUSE).await,
                }
            }
        });
        let Ok(Some(mut connection)) = connected.await else {
            return Err(EmbeddedError::Start(self.files.log(), self.files.log_tail()));
        };
        make_database(&mut connection).await.map_err(EmbeddedError::Database)?;
        connection.close().await.map_err(EmbeddedError::Database)
    }
}

async fn make_database(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let there = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'spaceport') AS "there!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        sqlx::raw_sql("CREATE DATABASE spaceport").execute(connection).await?;
    }
    Ok(())
}
