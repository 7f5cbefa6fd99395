//! What is wrong with a configuration: every fault with its place, its value, the reason and what would be right.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use toml::Value;

/// The longest value that a fault repeats, in characters.
const SHOWN: usize = 80;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `domains[1].user_role`, or the name of an environment variable.
    pub place: String,
    /// What stands there; nothing if the place is empty or the value is a secret.
    pub value: Option<String>,
    /// Why it cannot be.
    pub reason: String,
    /// What would be right.
    pub instead: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}; {}", self.reason, self.instead)
    }
}

/// Every fault of a configuration, in the order of the file's sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultList(pub Vec<Fault>);

impl fmt::Display for FaultList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} {noun}:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named.
    #[error("no configuration file: give its path as an argument or in SPACEPORT_CONFIG")]
    NoFile,
    /// The file could not be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML; the words carry line and column.
    #[error("the configuration file {path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        message: String,
    },
    /// The file is TOML and says something that cannot be.
    #[error("the configuration has {0}")]
    Faults(FaultList),
}

/// What `[notify]` has beside addresses of webhooks, secrets and passwords.
const HARMLESS_IN_NOTIFY: [&str; 9] = [
    "_file",
    ".form",
    ".events",
    ".email.host",
    ".email.port",
    ".email.tls",
    ".email.from",
    ".email.user",
    ".email.admins",
];

/// Collects faults while a configuration is read.
#[derive(Default)]
pub(super) struct Faults {
    found: RefCell<Vec<Fault>>,
    /// Places whose value came from the environment, with the variable's name.
    variables: HashMap<String, &'static str>,
}

impl Faults {
    /// Says that a place's value comes from an environment variable, which faults will name.
    pub(super) fn comes_from(&mut self, place: &str, variable: &'static str) {
        self.variables.insert(place.to_owned(), variable);
    }

    /// Whether a place's value comes from the environment.
    pub(super) fn is_variable(&self, place: &str) -> bool {
        self.variables.contains_key(place)
    }

    /// Adds a fault about a text, or about something that is missing.
    pub(super) fn add(
        &self,
        place: &str,
        text: Option<&str>,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let shown = text.map(|text| {
            let short: String = text.chars().take(SHOWN).collect();
            if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
        });
        self.push(place, shown, reason.into(), instead.into());
    }

    /// Adds a fault about a value of any type.
    pub(super) fn add_value(
        &self,
        place: &str,
        value: &Value,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let shown = match value {
            Value::String(text) => return self.add(place, Some(text), reason, instead),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            Value::Datetime(time) => Some(time.to_string()),
            // A whole section would hide the reason behind it.
            Value::Array(_) | Value::Table(_) => None,
        };
        self.push(place, shown, reason.into(), instead.into());
    }

    fn push(&self, place: &str, shown: Option<String>, reason: String, instead: String) {
        let value = shown.filter(|_| !is_secret(place));
        let place = self.variables.get(place).map_or_else(|| place.to_owned(), |name| (*name).to_owned());
        self.found.borrow_mut().push(Fault { place, value, reason, instead });
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        let found = self.found.into_inner();
        if found.is_empty() { Ok(value) } else { Err(ConfigError::Faults(FaultList(found))) }
    }
}

/// Whether what stands here, or a misspelt neighbour of it, could be a key or a password.
fn is_secret(place: &str) -> bool {
    let harmless = ["secrets.key_file", "database.postgres_bin"];
    // A webhook's address is the right to write there.
    let in_notify = place.starts_with("notify") && !HARMLESS_IN_NOTIFY.iter().any(|key| place.contains(key));
    in_notify || !harmless.contains(&place) && (place.starts_with("secrets") || place.starts_with("database"))
}
