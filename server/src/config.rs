//! The only reader of files and of the environment: one TOML file, a few variables over it, one struct per part.
//!
//! A file that cannot be is refused as a whole, with every fault at once. AWS credentials are *not* here: the SDK
//! finds them where AWS's own tools would (environment, profile, container, instance).
//!
//! | variable | instead of |
//! |---|---|
//! | `SPACEPORT_CONFIG` | the path as an argument |
//! | `DATABASE_URL` | `database.url` |
//! | `SPACEPORT_POSTGRES_BIN` | `database.postgres_bin` |
//! | `SPACEPORT_SECRET_KEY`, `SPACEPORT_SECRET_KEY_FILE` | `secrets.key`, `secrets.key_file` |
//! | `SPACEPORT_DATA_DIR` | `data_dir` |
//! | `SPACEPORT_SSH_LISTEN`, `SPACEPORT_PUBLIC_HOST` | `ssh.listen`, `ssh.public_host` |
//! | `SPACEPORT_OPS_LISTEN` | `ops.listen` |
//! | `SPACEPORT_WEB_LISTEN`, `SPACEPORT_PUBLIC_URL` | `web.listen`, `web.public_url` |
//! | `SPACEPORT_DRAIN_DEADLINE_S` | `drain.deadline_s` |
//! | `SPACEPORT_LOG_FORMAT`, `SPACEPORT_LOG_LEVEL` | `log.format`, `log.level` |
//!
//! Other variables are none of ours, even with our prefix: Kubernetes sets such ones for a service of our name.

pub mod approval;
pub mod certificates;
pub mod cost;
pub mod domains;
mod fault;
mod idle;
pub mod notify;
pub mod parts;
pub mod people;
mod reader;
pub mod secrets;
#[cfg(test)]
mod tests;
pub mod web;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

pub use self::approval::Approval;
pub use self::certificates::{Certificates, Principals, TrustedCa};
pub use self::cost::Costs;
pub use self::domains::Domain;
pub use self::fault::{ConfigError, Fault, FaultList};
pub use self::idle::IdleSettings;
pub use self::notify::Notify;
pub use self::parts::{Database, Drain, Flow, Links, Log, LogFormat, Ops, Ssh, Start, Watch};
pub use self::people::{ConfiguredUser, UserKey};
pub use self::secrets::{KeyFileError, SecretKey, Secrets};
pub use self::web::{Provider, PublicUrl, Web};

use self::fault::Faults;
use self::reader::Section;
use crate::domain::access::AccessPolicy;
use crate::domain::idle::Policies;
use crate::domain::user::Roles;

/// Variables that stand over the file, each with the section and the key that it replaces.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("DATABASE_URL", "database", "url"),
    ("SPACEPORT_POSTGRES_BIN", "database", "postgres_bin"),
    ("SPACEPORT_SECRET_KEY", "secrets", "key"),
    ("SPACEPORT_SECRET_KEY_FILE", "secrets", "key_file"),
    ("SPACEPORT_DATA_DIR", "", "data_dir"),
    ("SPACEPORT_SSH_LISTEN", "ssh", "listen"),
    ("SPACEPORT_PUBLIC_HOST", "ssh", "public_host"),
    ("SPACEPORT_OPS_LISTEN", "ops", "listen"),
    ("SPACEPORT_WEB_LISTEN", "web", "listen"),
    ("SPACEPORT_PUBLIC_URL", "web", "public_url"),
    ("SPACEPORT_DRAIN_DEADLINE_S", "drain", "deadline_s"),
    ("SPACEPORT_LOG_FORMAT", "log", "format"),
    ("SPACEPORT_LOG_LEVEL", "log", "level"),
];

/// Everything that an operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// The SSH listener.
    pub ssh: Ssh,
    /// The listener for health and metrics.
    pub ops: Ops,
    /// The pages, if there are any.
    pub web: Option<Web>,
    /// The identity providers that people sign in with.
    pub providers: Vec<Provider>,
    /// Postgres.
    pub database: Database,
    /// Where the server keeps its own files.
    pub data_dir: PathBuf,
    /// The key that encrypts secrets at rest.
    pub secrets: Secrets,
    /// The SageMaker domains; at least one.
    pub domains: Vec<Domain>,
    /// Links and streams.
    pub links: Links,
    /// Starting and changing spaces.
    pub start: Start,
    /// Watching domains.
    pub watch: Watch,
    /// What spaces cost.
    pub cost: Costs,
    /// When spaces count as idle and what happens then.
    pub idle: IdleSettings,
    /// Shutting down.
    pub drain: Drain,
    /// Memory between client and space.
    pub flow: Flow,
    /// Webhooks and e-mail.
    pub notify: Notify,
    /// Logs.
    pub log: Log,
    /// Who there is and what they may: also what [`ConfigSource::people`] reads again.
    pub people: People,
}

/// The part of the configuration that may change while the server runs.
#[derive(Debug, Clone)]
pub struct People {
    /// The people that the file names.
    pub users: Vec<ConfiguredUser>,
    /// What they may reach.
    pub access: AccessPolicy,
    /// How long a grant that an admin makes may run.
    pub longest_grant: Duration,
    /// Which groups' members may do more.
    pub roles: Roles,
}

/// Where the configuration comes from: a file and the environment.
#[derive(Clone)]
pub struct ConfigSource {
    path: PathBuf,
    environment: HashMap<String, String>,
}

impl ConfigSource {
    /// The file named by the argument or by `SPACEPORT_CONFIG`, under the process's environment.
    ///
    /// # Errors
    /// When neither names a file.
    pub fn from_process(path: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = process_environment();
        let named = environment.get("SPACEPORT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = path.map(Path::to_owned).or(named).ok_or(ConfigError::NoFile)?;
        Ok(Self { path, environment })
    }

    /// A file under an environment of one's own: for tests.
    #[must_use]
    pub fn new(path: PathBuf, environment: HashMap<String, String>) -> Self {
        Self { path, environment }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When the file cannot be read, or with every fault in it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut faults = Faults::default();
        let table = overlay(self.table()?, &self.environment, &mut faults);
        let config = read(table, &faults);
        faults.finish(config)
    }

    /// The file as it is.
    fn table(&self) -> Result<Table, ConfigError> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|source| ConfigError::Unreadable { path: self.path.clone(), source })?;
        text.parse::<Table>().map_err(|error| self.not_toml(&text, &error))
    }

    /// Reads users and access policy again. Other changes in the file need a restart.
    ///
    /// # Errors
    /// When the file cannot be read, or with every fault anywhere in it: then what was read before stands.
    pub fn people(&self) -> Result<People, ConfigError> {
        self.load().map(|config| config.people)
    }

    /// The parser's own text would show the line, which may hold a secret.
    fn not_toml(&self, text: &str, error: &toml::de::Error) -> ConfigError {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let message = format!("line {line}, column {column}: {}", error.message());
        ConfigError::Syntax { path: self.path.clone(), message }
    }
}

/// The policies of a file that has `[idle]` as a configuration has it, and nothing else. Without domains, they may be
/// for any.
///
/// # Errors
/// When the file cannot be read, or with every fault in it.
pub fn policies_of(path: &Path, domains: Option<&[Domain]>) -> Result<Policies, ConfigError> {
    let source = ConfigSource::new(path.to_owned(), HashMap::new());
    let faults = Faults::default();
    let mut root = Section::root(source.table()?, &faults);
    if !root.has("idle") {
        faults.add("idle", None, "it is missing", "write [idle] as in the server's configuration");
    }
    let policies = IdleSettings::read(root.section("idle"), domains, &faults).policies;
    root.finish();
    faults.finish(policies)
}

/// The key that encrypts secrets where the process's environment has it: for commands that need no file.
///
/// # Errors
/// When what is there is no key.
pub fn secrets_from_process() -> Result<Option<Secrets>, ConfigError> {
    let mut faults = Faults::default();
    let table = overlay(Table::new(), &process_environment(), &mut faults);
    if !table.contains_key("secrets") {
        return Ok(None);
    }
    let secrets = Secrets::read(Section::root(table, &faults).section("secrets"), Path::new(""));
    faults.finish(Some(secrets))
}

/// Variables that are not Unicode are none of ours.
fn process_environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Puts the variables over the file. An empty variable counts as unset, as compose files leave it.
fn overlay(mut table: Table, environment: &HashMap<String, String>, faults: &mut Faults) -> Table {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if let Some(Value::Table(secrets)) = table.get_mut("secrets")
        && (set("SPACEPORT_SECRET_KEY").is_some() || set("SPACEPORT_SECRET_KEY_FILE").is_some())
    {
        // One way of giving the key replaces the other.
        secrets.remove("key");
        secrets.remove("key_file");
    }
    for (variable, section, key) in VARIABLES {
        let Some(value) = set(variable).cloned().map(Value::String) else { continue };
        if section.is_empty() {
            faults.comes_from(key, variable);
            table.insert((*key).to_owned(), value);
            continue;
        }
        let entry = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
        // A section that is no table gets its fault when it is read.
        if let Value::Table(inner) = entry {
            faults.comes_from(&format!("{section}.{key}"), variable);
            inner.insert((*key).to_owned(), value);
        }
    }
    table
}

fn read(table: Table, faults: &Faults) -> Config {
    let mut root = Section::root(table, faults);
    let ssh = Ssh::read(root.section("ssh"));
    let ops = Ops::read(root.section("ops"));
    let web = Web::read(&mut root);
    let providers = web::read_providers(&mut root, faults);
    if web.is_none() && !providers.is_empty() {
        let reason = "there are no pages to sign in on";
        faults.add("providers", None, reason, "add [web] with public_url, or leave the providers out");
    }
    let database = Database::read(root.section("database"));
    let data_dir = PathBuf::from(
        root.text("data_dir", "write the path of a directory")
            .unwrap_or_else(|| "/var/lib/spaceport".to_owned()),
    );
    let secrets = Secrets::read(root.section("secrets"), &data_dir);
    let defaults = domains::Defaults::read(root.section("aws"));
    let mut domains = domains::read(&mut root, &defaults, &providers, faults);
    let mut users = people::read_users(&mut root, &domains, faults);
    people::give_profiles(&mut users, &domains, faults);
    let cost = Costs::read(root.section("cost"), &domains, faults);
    let idle = IdleSettings::read(root.section("idle"), Some(&domains), faults);
    for domain in &mut domains {
        domain.read_tags |= idle.policies.need_tags();
    }
    let (access, longest_grant) = people::read_access(root.section("access"), &users, &domains);
    let roles = people::read_roles(root.section("roles"));
    let config = Config {
        ssh,
        ops,
        web,
        providers,
        database,
        data_dir,
        secrets,
        domains,
        links: Links::read(root.section("links")),
        start: Start::read(root.section("start")),
        watch: Watch::read(root.section("watch")),
        cost,
        idle,
        drain: Drain::read(root.section("drain")),
        flow: Flow::read(root.section("flow")),
        notify: Notify::read(root.section("notify")),
        log: Log::read(root.section("log")),
        people: People { users, access, longest_grant, roles },
    };
    root.finish();
    config
}
