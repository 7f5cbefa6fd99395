//! One test's world: an account, a database, a gateway, a laptop. Everything in it is the test's own and ends with it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use spaceport::store::embedded::{EmbeddedOptions, EmbeddedPostgres};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Row};
use studio_simulator::Studio;
use studio_simulator::fixture::{ACCOUNT, DOMAIN, REGION, USER_ROLE};
use studio_simulator::simulator::Config;
use studio_simulator::stream::Options;
use tempfile::TempDir;
use tokio::process::Command;

use crate::account::{Servers, account};
use crate::client::{Client, run};
use crate::gateway::Gateway;
use crate::proxy::Proxy;
use crate::until::until;

/// The spaces that a laptop's configuration names.
pub const SPACES: &[&str] = &[
    "demo",
    "gpu",
    "stopped",
    "small",
    "no-remote",
    "over-quota",
    "no-capacity",
    "mixed-case",
    "team",
    "bo-private",
];

/// What a world is made of.
#[derive(Default)]
pub struct Wish {
    /// The account.
    pub account: Config,
    /// Its streams.
    pub streams: Options,
    /// What answers SSH in its spaces.
    pub servers: Servers,
    /// More lines for the domain in the gateway's configuration.
    pub domain: String,
    /// More lines for its section on SSH.
    pub ssh: String,
    /// More lines for the gateway's configuration.
    pub gateway: String,
    /// More variables for the gateway.
    pub environment: Vec<(String, String)>,
}

/// A running world.
pub struct World {
    /// Alice's laptop.
    pub client: Client,
    /// The first gateway.
    pub gateway: Gateway,
    /// The account.
    pub account: Studio,
    /// The database, as tests look at it.
    pub database: PgPool,
    /// What lies between the gateways and Postgres.
    pub network: Proxy,
    environment: Vec<(String, String)>,
    postgres: EmbeddedPostgres,
    folder: TempDir,
}

impl World {
    /// A world as AWS paces it.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start() -> Result<Self> {
        Self::with(Wish::default()).await
    }

    /// A world whose agents do not pace what they send, for large transfers.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn unpaced() -> Result<Self> {
        Self::with(Wish { streams: Options::unpaced(16 * 1024), ..Wish::default() }).await
    }

    /// A world of one's own making.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn with(wish: Wish) -> Result<Self> {
        // For the tests' own HTTP client; a second call is harmless.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::with_prefix("spaceport-")?;
        // Postgres drops root and must reach its data below this folder.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let account = account(wish.account, wish.streams, wish.servers, folder.path()).await?;
        let postgres =
            EmbeddedPostgres::start(&EmbeddedOptions::new(&folder.path().join("postgres"))).await?;
        let client = Client::new(&folder.path().join("laptop")).await?;
        let bo = Client::new(&folder.path().join("bo")).await?;
        let config = folder.path().join("spaceport.toml");
        let settings = Settings::of(&account, folder.path().join("data"));
        let text = settings.configuration(&[("alice", &client), ("bo", &bo)], &wish.domain, &wish.gateway)?;
        std::fs::write(&config, text.replacen("[ssh]\n", &format!("[ssh]\n{}", wish.ssh), 1))?;
        let network = Proxy::to(&socket_of(&postgres)?).await?;
        let mut environment = settings.environment();
        environment.extend(wish.environment);
        environment.push(("DATABASE_URL".to_owned(), through(&network, &postgres)?));
        let gateway = Gateway::start(&config, &environment, &folder.path().join("gateway.log")).await?;
        client.configure(gateway.ssh, SPACES)?;
        bo.configure(gateway.ssh, SPACES)?;
        let database = PgPool::connect(postgres.url().expose_secret()).await?;
        Ok(Self { client, gateway, account, database, network, environment, postgres, folder })
    }

    /// A folder of the test's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Bo's laptop.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn bo(&self) -> Result<Client> {
        Client::new(&self.folder().join("bo")).await
    }

    /// The gateway's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder().join("spaceport.toml")
    }

    /// Writes the configuration with other people or more lines, and has the gateway read it again.
    ///
    /// # Errors
    /// When it cannot be written or the gateway does not take it over.
    pub async fn reconfigure(&self, change: impl FnOnce(String) -> String) -> Result<()> {
        let text = std::fs::read_to_string(self.config())?;
        std::fs::write(self.config(), change(text))?;
        let before = self.reloads()?;
        self.gateway.signal("HUP").await?;
        until("users and policy to be read again", Duration::from_secs(20), async || {
            Ok((self.reloads()? > before).then_some(()))
        })
        .await
    }

    fn reloads(&self) -> Result<usize> {
        let lines = self.gateway.log()?;
        Ok(lines.iter().filter(|line| line["message"] == "users and access policy read again").count())
    }

    /// Another gateway on the same database, with a data directory of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn second_gateway(&self, name: &str) -> Result<Gateway> {
        let mut environment = self.environment.clone();
        let data = self.folder().join(name);
        environment.push(("SPACEPORT_DATA_DIR".to_owned(), data.display().to_string()));
        Gateway::start(&self.config(), &environment, &self.folder().join(format!("{name}.log"))).await
    }

    /// Runs `spaceport` with these arguments, as an operator would on another machine: all it has is the database.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn spaceport(&self, arguments: &[&str]) -> Result<crate::client::Done> {
        let mut command = Command::new(crate::gateway::binary("spaceport")?);
        command.args(arguments).env("DATABASE_URL", self.postgres.url().expose_secret());
        run(command, &[]).await
    }

    /// What an operator who may check the audit log has in the environment: the database and the secrets' key.
    #[must_use]
    pub fn auditors_environment(&self) -> Vec<(String, String)> {
        let key = self.environment.iter().filter(|(name, _)| name == "SPACEPORT_SECRET_KEY").cloned();
        let url = ("DATABASE_URL".to_owned(), self.postgres.url().expose_secret().to_owned());
        key.chain([url]).collect()
    }

    /// Runs `spaceport` with these arguments and the gateway's own environment, as an operator would beside it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn operator(&self, arguments: &[&str]) -> Result<crate::client::Done> {
        let mut command = Command::new(crate::gateway::binary("spaceport")?);
        command.args(arguments).envs(self.environment.iter().cloned());
        run(command, &[]).await
    }

    /// One column of one row, as text; nothing where there is no row or no value.
    ///
    /// # Errors
    /// When the statement is refused.
    pub async fn value(&self, statement: &str) -> Result<Option<String>> {
        let statement = sqlx::AssertSqlSafe(format!("SELECT ({statement})::text"));
        let row = sqlx::query(statement).fetch_optional(&self.database).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Waits until a statement gives this value.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub async fn expect(&self, statement: &str, value: &str) -> Result<()> {
        let what = format!("{statement} = {value}");
        let waited = until(&what, Duration::from_secs(30), async || {
            Ok((self.value(statement).await?.as_deref() == Some(value)).then_some(()))
        });
        if let Err(error) = waited.await {
            let found = self.value(statement).await?;
            return Err(error.context(format!("it is {found:?}")));
        }
        Ok(())
    }

    /// `SHA256:…` of the gateway's host key.
    ///
    /// # Errors
    /// When no client has connected yet and none can.
    pub async fn host_key_fingerprint(&self) -> Result<String> {
        let mut scan = Command::new("ssh-keyscan");
        scan.args(["-p", &self.gateway.ssh.port().to_string(), "-t", "ed25519", "127.0.0.1"]);
        let keys = run(scan, &[]).await?;
        let mut fingerprint = Command::new("ssh-keygen");
        fingerprint.args(["-l", "-f", "-"]);
        let shown = run(fingerprint, &keys.stdout).await?.text();
        shown.split_whitespace().nth(1).map(str::to_owned).context(shown.clone())
    }

    /// Starts the first gateway again, with the data directory that it had.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.gateway =
            Gateway::start(&self.config(), &self.environment, &self.folder().join("gateway.log")).await?;
        self.client.configure(self.gateway.ssh, SPACES)
    }

    /// Ends the world in order, which also shows that everything in it can be ended.
    ///
    /// # Errors
    /// When the gateway does not end.
    pub async fn end(self) -> Result<()> {
        self.gateway.stop().await?;
        self.database.close().await;
        self.account.shutdown().await;
        Ok(())
    }
}

/// What a gateway is told about an account.
pub struct Settings {
    /// Where the account's AWS APIs and streams are.
    pub aws: String,
    /// The service role's key.
    pub access_key_id: String,
    /// And its secret.
    pub secret_access_key: String,
    /// The gateway's data directory.
    pub data_dir: PathBuf,
}

impl Settings {
    fn of(account: &Studio, data_dir: PathBuf) -> Self {
        let keys = account.simulator.credentials();
        Self {
            aws: account.simulator.aws_endpoint(),
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.clone(),
            data_dir,
        }
    }

    /// What a gateway needs beside its file: the service role's credentials, where the SDK looks.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key_id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.as_str()),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("SPACEPORT_LOG_FORMAT", "json"),
            ("SPACEPORT_SECRET_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// A configuration for these people, each with a profile of the same name and in group `local/ml`.
    ///
    /// # Errors
    /// When a public key cannot be read.
    pub fn configuration(&self, people: &[(&str, &Client)], domain: &str, more: &str) -> Result<String> {
        let (aws, data) = (&self.aws, self.data_dir.display());
        let host = aws.trim_start_matches("http://");
        let mut text = format!(
            "data_dir = \"{data}\"\n\n[ssh]\nlisten = \"127.0.0.1:0\"\npublic_host = \"localhost\"\n\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"info,spaceport=debug\"\n\n\
             [aws]\nextra_stream_hosts = [\"{host}\"]\n\n\
             [aws.endpoints]\nsagemaker = \"{aws}\"\nsts = \"{aws}\"\nssm = \"{aws}\"\npricing = \"{aws}\"\n\n\
             [[domains]]\nalias = \"main\"\nid = \"{DOMAIN}\"\naccount = \"{ACCOUNT}\"\nregion = \"{REGION}\"\n\
             user_role = \"arn:aws:iam::{ACCOUNT}:role/{USER_ROLE}\"\n{domain}\n\
             [[access.members]]\ndomain = \"main\"\ngroup = \"local/ml\"\n"
        );
        for (name, client) in people {
            let key = client.public_key()?;
            text += &format!(
                "\n[[users]]\nname = \"{name}\"\nkeys = [\"{key}\"]\ngroups = [\"local/ml\"]\n\
                 profiles = [\"main/{name}\"]\n"
            );
        }
        Ok(format!("{text}\n{more}\n"))
    }
}

/// The socket on which Postgres listens.
fn socket_of(postgres: &EmbeddedPostgres) -> Result<PathBuf> {
    let options = PgConnectOptions::from_str(postgres.url().expose_secret())?;
    let folder = options.get_socket().map_or_else(|| PathBuf::from(options.get_host()), Clone::clone);
    Ok(folder.join(format!(".s.PGSQL.{}", options.get_port())))
}

/// The same database through a proxy.
fn through(network: &Proxy, postgres: &EmbeddedPostgres) -> Result<String> {
    let url = postgres.url().expose_secret();
    let (credentials, rest) = url.split_once('@').context("the cluster's address has a user")?;
    let (_, database) = rest.split_once('/').context("the cluster's address has a database")?;
    Ok(format!("{credentials}@{}/{database}", network.address))
}
