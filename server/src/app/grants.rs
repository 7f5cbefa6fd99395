//! `spaceport grant`: grants of single spaces to single people, for operators. Adding one needs the server's
//! configuration, which says who there is and how long a grant may run; the rest needs only the database.

use anyhow::Result;
use serde_json::json;

use super::operator::{Desk, change, complain, left, now, say, say_json, shown};
use crate::config::ConfigSource;
pub use crate::identity::grants::Asked;
use crate::identity::grants::{GrantError, grant};
use crate::store::Store;
use crate::store::grants::{GrantEnd, RunningGrant};

/// Grants a space. Answers whether it was granted.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn add(source: ConfigSource, asked: &Asked<'_>, by: &str) -> Result<bool> {
    let desk = Desk::open(&source).await?;
    let (domains, longest) = (desk.domains(), desk.config.people.longest_grant);
    let change = change(by)?;
    match grant((&desk.store, &desk.directory), (&domains, longest), asked, &change).await {
        Ok(granted) => {
            say(&format!(
                "grant {}: {} may open {} until {}",
                granted.id.short(),
                granted.person,
                granted.space,
                shown(granted.until)
            ));
            Ok(true)
        }
        Err(GrantError::Store(error)) => Err(error.into()),
        Err(error) => {
            complain(&error.to_string());
            Ok(false)
        }
    }
}

/// Prints the grants that run.
///
/// # Errors
/// When Postgres is away.
pub async fn list(store: &Store, as_json: bool) -> Result<()> {
    let now = now();
    let grants = store.running_grants(now).await?;
    if as_json {
        for grant in &grants {
            say_json(&object(grant));
        }
        return Ok(());
    }
    if grants.is_empty() {
        say("no grant runs");
        return Ok(());
    }
    say(&format!("{:<6} {:<28} {:<28} {:<8} {:<16} REASON", "ID", "PERSON", "SPACE", "LEFT", "BY"));
    for grant in &grants {
        let (person, space) =
            (format!("{}/{}", grant.provider, grant.name), format!("{}.{}", grant.space, grant.domain));
        say(&format!(
            "{:<6} {person:<28} {space:<28} {:<8} {:<16} {}",
            grant.id.short(),
            left(grant.until - now),
            grant.approved_by,
            grant.reason
        ));
    }
    Ok(())
}

fn object(grant: &RunningGrant) -> serde_json::Value {
    json!({
        "id": grant.id.to_string(),
        "user": grant.user.to_string(),
        "provider": grant.provider,
        "name": grant.name,
        "space": grant.space,
        "domain": grant.domain,
        "until": shown(grant.until),
        "reason": grant.reason,
        "approved_by": grant.approved_by,
        "made_at": shown(grant.made_at),
    })
}

/// Ends a grant. Answers whether there was one to end.
///
/// # Errors
/// When Postgres is away, or `by` is no name.
pub async fn end(store: &Store, id: &str, by: &str) -> Result<bool> {
    match store.end_grant(id, &change(by)?).await? {
        GrantEnd::Ended(grant) => {
            say(&format!("grant {} is over; what is open by it ends within a minute", grant.short()));
            Ok(true)
        }
        GrantEnd::NotRunning => {
            complain(&format!("no grant that runs has the id {id:?}.\n  All: spaceport grant list"));
            Ok(false)
        }
        GrantEnd::Several(grants) => {
            let all: String = grants.iter().map(|grant| format!("\n  {grant}")).collect();
            complain(&format!("several grants end in {id:?}. Write one of these out:{all}"));
            Ok(false)
        }
    }
}
