//! What commands beside a server share: the configuration, the database, and everybody as a server would know them.

use std::net::Ipv4Addr;

use anyhow::{Result, anyhow};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::sessions;
use crate::config::{Config, ConfigSource};
use crate::domain::ids::{DomainAlias, ReplicaId, UserName};
use crate::domain::plain;
use crate::domain::ports::Clock;
use crate::gateway::SystemClock;
use crate::identity::Directory;
use crate::store::Store;
use crate::store::people::Change;

/// An operator's view of a server's people.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) directory: Directory,
}

impl Desk {
    /// Reads the configuration, and everybody.
    pub(super) async fn open(source: &ConfigSource) -> Result<Self> {
        let config = source.load()?;
        let store = sessions::store(Ok(source.clone()))?;
        let directory =
            Directory::read(&store, &config.people, &config.domains, &SystemClock::start()).await?;
        Ok(Self { config, store, directory })
    }

    /// The configured domains.
    pub(super) fn domains(&self) -> Vec<DomainAlias> {
        self.config.domains.iter().map(|domain| domain.alias.clone()).collect()
    }
}

/// The time.
pub(super) fn now() -> OffsetDateTime {
    SystemClock::start().now()
}

/// What an operator is called.
pub(super) fn named(by: &str) -> Result<UserName> {
    by.parse().map_err(|_| anyhow!("--by {by:?} is no name: letters, digits and . _ + @ -"))
}

/// Who changes something on the command line, for the audit log.
pub(super) fn change(by: &str) -> Result<Change> {
    Ok(Change {
        replica: ReplicaId::generate(),
        actor: None,
        called: named(by)?.to_string(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        at: now(),
    })
}

/// A time as lists show it, to the second.
pub(super) fn shown(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at).to_offset(time::UtcOffset::UTC);
    at.format(&Rfc3339).unwrap_or_default()
}

/// Prints an answer. Others chose what is in it, and the operator's terminal must show it and not obey it.
pub(super) fn say(text: &str) {
    println!("{}", shown_plainly(text));
}

/// The same for why there is no answer.
pub(super) fn complain(text: &str) {
    eprintln!("spaceport: {}", shown_plainly(text));
}

fn shown_plainly(text: &str) -> String {
    text.split('\n').map(plain::line).collect::<Vec<_>>().join("\n")
}

/// Prints an object for programs, on a line.
pub(super) fn say_json(object: &serde_json::Value) {
    println!("{}", plain::json(&object.to_string()));
}

/// How long something still runs, in its largest unit.
pub(super) fn left(left: Duration) -> String {
    match (left.whole_days(), left.whole_hours(), left.whole_minutes()) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_its_largest_unit() {
        for (seconds, text) in [(59, "0 min"), (3_599, "59 min"), (86_399, "23 h"), (200_000, "2 d")] {
            assert_eq!(left(Duration::seconds(seconds)), text);
        }
    }

    #[test]
    fn a_change_needs_a_name_that_can_be_shown() {
        assert_eq!(change("chen").unwrap().called, "chen");
        change("chen\u{1b}[2J").unwrap_err();
    }
}
