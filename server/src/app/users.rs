//! `spaceport user` and `spaceport key`: people and the keys that they added, for operators.

use anyhow::Result;
use serde_json::json;

use super::operator::{Desk, change, complain, now, say, say_json, shown};
use crate::config::ConfigSource;
use crate::domain::access::stands;
use crate::domain::grant::Reason;
use crate::domain::user::Standing;
use crate::identity::Entry;
use crate::store::Store;
use crate::store::keys::AddedKeyRow;

/// Prints everybody who is known.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn list(source: ConfigSource, as_json: bool) -> Result<()> {
    let desk = Desk::open(&source).await?;
    if as_json {
        for entry in desk.directory.entries() {
            say_json(&object(entry));
        }
        return Ok(());
    }
    say(&format!("{:<36} {:<8} {:>4}  {:<34} GROUPS", "PERSON", "ROLE", "KEYS", "STANDING"));
    for entry in desk.directory.entries() {
        let groups: Vec<&str> = entry.user.groups.iter().map(|group| group.as_str()).collect();
        say(&format!(
            "{:<36} {:<8} {:>4}  {:<34} {}",
            entry.written(),
            entry.user.role,
            keys(entry),
            standing(entry),
            groups.join(", ")
        ));
    }
    Ok(())
}

fn keys(entry: &Entry) -> usize {
    entry.added_keys + entry.listed_keys.len()
}

/// Whether somebody may connect, and otherwise why not.
fn standing(entry: &Entry) -> String {
    let user = &entry.user;
    match (&entry.suspension, user.standing) {
        (Some(suspension), _) => format!("suspended by {}", suspension.by),
        (None, _) if user.suspended => "suspended in the configuration".to_owned(),
        (None, Standing::Configured) => "listed".to_owned(),
        (None, Standing::Until(until)) if stands(user, now()).is_ok() => format!("until {}", shown(until)),
        (None, Standing::Until(until)) => format!("lapsed {}", shown(until)),
        (None, Standing::Withdrawn { at, .. }) => format!("withdrawn {}", shown(at)),
    }
}

fn object(entry: &Entry) -> serde_json::Value {
    let user = &entry.user;
    json!({
        "id": user.id.to_string(),
        "provider": entry.provider,
        "name": user.name.as_str(),
        "subject": user.subject,
        "role": user.role.to_string(),
        "groups": user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
        "profiles": user.profiles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "keys": keys(entry),
        "standing": standing(entry),
        "suspended": user.suspended,
        "suspension": entry.suspension.as_ref().map(|s| json!({
            "by": s.by, "at": shown(s.at), "reason": s.reason,
        })),
    })
}

/// Keeps somebody out. Answers whether they were not kept out before.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn suspend(source: ConfigSource, user: &str, reason: &Reason, by: &str) -> Result<bool> {
    let desk = Desk::open(&source).await?;
    let entry = match desk.directory.find(user) {
        Ok(entry) => entry,
        Err(error) => return Ok(refused(&error.to_string())),
    };
    if desk.store.suspend(entry.user.id, reason, &change(by)?).await? {
        say(&format!("{} is suspended; what they have open ends", entry.written()));
        return Ok(true);
    }
    Ok(refused(&format!("{} is suspended already", entry.written())))
}

/// Lets somebody in again. Answers whether an admin had kept them out.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn resume(source: ConfigSource, user: &str, by: &str) -> Result<bool> {
    let desk = Desk::open(&source).await?;
    let entry = match desk.directory.find(user) {
        Ok(entry) => entry,
        Err(error) => return Ok(refused(&error.to_string())),
    };
    let resumed = desk.store.resume(entry.user.id, &change(by)?).await?;
    let in_the_file = desk.config.people.users.iter().any(|listed| {
        listed.suspended && listed.name == entry.user.name && entry.user.standing == Standing::Configured
    });
    match (resumed, in_the_file) {
        (_, true) => Ok(refused(&format!(
            "{} is suspended in the configuration file: take `suspended` out there and send SIGHUP",
            entry.written()
        ))),
        (true, false) => {
            say(&format!(
                "{} may connect again, as far as their standing and the policy go",
                entry.written()
            ));
            Ok(true)
        }
        (false, false) => Ok(refused(&format!("{} is not suspended", entry.written()))),
    }
}

/// Prints the keys that people added, of one person or of all.
///
/// # Errors
/// When Postgres is away.
pub async fn list_keys(store: &Store, user: Option<&str>, as_json: bool) -> Result<()> {
    let mut keys = store.added_keys(None, now()).await?;
    keys.retain(|key| user.is_none_or(|user| is_of(key, user)));
    if as_json {
        for key in &keys {
            say_json(&key_object(key));
        }
        return Ok(());
    }
    if keys.is_empty() {
        say("no key was added; those of the configuration file are listed there");
        return Ok(());
    }
    say(&format!(
        "{:<50} {:<28} {:<20} {:<20} {:<20} NAME",
        "FINGERPRINT", "PERSON", "ADDED", "FROM", "UNTIL"
    ));
    for key in &keys {
        say(&format!(
            "{:<50} {:<28} {:<20} {:<20} {:<20} {}",
            key.fingerprint,
            format!("{}/{}", key.provider, key.owner),
            shown(key.added_at),
            key.added_from,
            key.expires_at.map_or_else(|| "-".to_owned(), shown),
            key.name
        ));
    }
    Ok(())
}

/// Whether a key is of whom a text names; namesakes are all of them.
fn is_of(key: &AddedKeyRow, user: &str) -> bool {
    key.owner == user || key.user.to_string() == user || format!("{}/{}", key.provider, key.owner) == user
}

fn key_object(key: &AddedKeyRow) -> serde_json::Value {
    json!({
        "id": key.id.to_string(),
        "user": key.user.to_string(),
        "provider": key.provider,
        "owner": key.owner,
        "fingerprint": key.fingerprint,
        "name": key.name,
        "added_at": shown(key.added_at),
        "added_from": key.added_from,
        "expires_at": key.expires_at.map(shown),
    })
}

/// Takes a key away from its owner. Answers whether there was one.
///
/// # Errors
/// When Postgres is away.
pub async fn revoke_key(store: &Store, which: &str, by: &str) -> Result<bool> {
    match store.revoke_key(which, &change(by)?).await? {
        Some((fingerprint, owner)) => {
            say(&format!("{fingerprint} of {owner} no longer counts; connections made with it end"));
            Ok(true)
        }
        None => Ok(refused(&format!(
            "nobody has added a key {which:?}.\n  All: spaceport key list. Keys of the configuration file are \
             taken out there."
        ))),
    }
}

/// Says why nothing was done.
fn refused(why: &str) -> bool {
    complain(why);
    false
}
