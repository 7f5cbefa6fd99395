//! `spaceport explain`: what the policy says to one question, and which rule says it.

use anyhow::Result;

use super::operator::{Desk, complain, now, say};
use crate::config::ConfigSource;
use crate::domain::access::{Action, Decision, Rule, explain};
use crate::identity::Entry;
use crate::identity::grants::{find_space, spaces_of};

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Allowed.
    Allowed,
    /// Denied.
    Denied,
    /// There is no such person or space.
    Unknown,
}

/// Prints the decision and the rule that makes it, by the file as it is now and the database.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn print(source: ConfigSource, user: &str, space: &str, action: Action) -> Result<Answer> {
    let desk = Desk::open(&source).await?;
    let spaces = spaces_of(&desk.store, &desk.domains()).await?;
    let found = desk.directory.find(user).map_err(|error| error.to_string());
    let (entry, space) = match found.and_then(|entry| Ok((entry, find_space(space, &spaces)?))) {
        Ok(found) => found,
        Err(why) => {
            complain(&why);
            return Ok(Answer::Unknown);
        }
    };
    let explained = explain(&desk.config.people.access, &entry.user, space, action, now());
    let (answer, may, because) = match &explained.decision {
        Decision::Allow(because) => (Answer::Allowed, "may", because),
        Decision::Deny(because) => (Answer::Denied, "may not", because),
    };
    say(&format!("{} {may} {action} {}.{}", entry.written(), space.name(), space.domain));
    say(&format!("  Told: {because}."));
    say(&format!("  Rule: {}", rule(&explained.rule, entry)));
    Ok(answer)
}

/// Where the rule stands, with what only the person's rows know.
fn rule(rule: &Rule, entry: &Entry) -> String {
    match (rule, &entry.suspension) {
        (Rule::Suspension, Some(suspension)) => {
            format!(
                "suspended by {} at {}: {:?}",
                suspension.by,
                super::operator::shown(suspension.at),
                suspension.reason
            )
        }
        (Rule::Suspension, None) => "`suspended` of the user in the configuration file".to_owned(),
        _ => rule.to_string(),
    }
}
