//! `spaceport session`: live sessions, for operators. Any machine that reaches the database will do.

use anyhow::{Context, Result, anyhow};
use secrecy::SecretString;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::operator::{complain, named, say, say_json};
use crate::config::{Config, ConfigError, ConfigSource};
use crate::domain::bytes::shown;
use crate::domain::grant::Reason;
use crate::domain::ids::SessionId;
use crate::domain::message::{MOST_IN_A_MINUTE, MessageText};
use crate::gateway::SystemClock;
use crate::store::messages::MessageRequest;
use crate::store::{EndRequest, LiveSession, Store};

/// The database that `DATABASE_URL`, the configuration, or the private cluster's own note names.
///
/// # Errors
/// When none does.
pub fn store(source: Result<ConfigSource, ConfigError>) -> Result<Store> {
    let url = match std::env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => SecretString::from(url),
        _ => {
            let config = source.and_then(|source| source.load());
            let config = config.context("set DATABASE_URL, or name the server's configuration")?;
            url_of(&config)?
        }
    };
    Ok(Store::connect(&url)?)
}

fn url_of(config: &Config) -> Result<SecretString> {
    if let Some(url) = &config.database.url {
        return Ok(url.clone());
    }
    let note = config.data_dir.join("postgres.url");
    let url = std::fs::read_to_string(&note).with_context(|| {
        format!("{} cannot be read: run this where the server runs, as root or as its user", note.display())
    })?;
    Ok(SecretString::from(url.trim().to_owned()))
}

/// Prints the live sessions.
///
/// # Errors
/// When Postgres is away.
pub async fn list(store: &Store, as_json: bool) -> Result<()> {
    let sessions = store.live_sessions().await?;
    if as_json {
        for session in &sessions {
            say_json(&object(session)?);
        }
        return Ok(());
    }
    if sessions.is_empty() {
        say("no live session");
        return Ok(());
    }
    say(&format!(
        "{:<6} {:<24} {:<24} {:<8} {:<22} {:>9} {:>9}  SINCE",
        "ID", "USER", "SPACE", "MODE", "FROM", "IN", "OUT"
    ));
    for s in &sessions {
        let since = s.started_at.replace_nanosecond(0).unwrap_or(s.started_at).format(&Rfc3339)?;
        let space = format!("{}.{}", s.space, s.domain);
        let (bytes_in, bytes_out) = (shown(s.bytes_in), shown(s.bytes_out));
        let id = s.id.short();
        say(&format!(
            "{id:<6} {:<24} {space:<24} {:<8} {:<22} {bytes_in:>9} {bytes_out:>9}  {since}",
            s.user, s.mode, s.client_address
        ));
    }
    Ok(())
}

fn object(s: &LiveSession) -> Result<serde_json::Value> {
    Ok(json!({
        "id": s.id.to_string(),
        "user": s.user,
        "space": s.space,
        "domain": s.domain,
        "mode": s.mode,
        "client_address": s.client_address,
        "client_version": s.client_version,
        "started_at": s.started_at.format(&Rfc3339)?,
        "bytes_in": s.bytes_in,
        "bytes_out": s.bytes_out,
        "replica": s.replica.to_string(),
    }))
}

/// Asks for a session's end. Answers whether there was one to end.
///
/// # Errors
/// When Postgres is away, `by` is no name, or the reason is too long.
pub async fn end(store: &Store, id: &str, by: &str, reason: &str) -> Result<bool> {
    // As on the page, but an operator need not give one.
    let reason = match reason.parse::<Reason>() {
        Ok(reason) => reason.as_str().to_owned(),
        Err(_) if reason.trim().is_empty() => String::new(),
        Err(why) => return Err(anyhow!("--reason: {why}")),
    };
    match store.request_end(id, &named(by)?, &reason).await? {
        EndRequest::Asked(session) => {
            say(&format!("session {} is ending", session.short()));
            Ok(true)
        }
        EndRequest::NotLive => {
            not_live(id);
            Ok(false)
        }
        EndRequest::Several(sessions) => {
            several(id, &sessions);
            Ok(false)
        }
    }
}

/// Writes to a session's terminals. Answers whether one has shown it.
///
/// # Errors
/// When Postgres is away, `by` is no name, or the text is none that a terminal may show.
pub async fn message(store: &Store, id: &str, by: &str, text: &str) -> Result<bool> {
    let text: MessageText = text.parse().map_err(|why| anyhow!("the message: {why}"))?;
    match store.send_message(id, &named(by)?, &text).await? {
        MessageRequest::Sent(message, session) => {
            let told = store.hear_of_message(message, &SystemClock::start()).await?;
            let words = format!("session {}: {}", session.short(), told.words());
            if told.is_shown() {
                say(&words)
            } else {
                complain(&words)
            }
            Ok(told.is_shown())
        }
        MessageRequest::TooMany(wait) => {
            complain(&format!(
                "session {id} has had {MOST_IN_A_MINUTE} messages in a minute, the most that it gets.\n  \
                 Next: wait {} s",
                wait.as_secs()
            ));
            Ok(false)
        }
        MessageRequest::NotLive => {
            not_live(id);
            Ok(false)
        }
        MessageRequest::Several(sessions) => {
            several(id, &sessions);
            Ok(false)
        }
    }
}

fn not_live(id: &str) {
    complain(&format!("no live session has the id {id:?}.\n  All: spaceport session list"));
}

fn several(id: &str, sessions: &[SessionId]) {
    let all: String = sessions.iter().map(|session| format!("\n  {session}")).collect();
    complain(&format!("several live sessions end in {id:?}. Write one of these out:{all}"));
}
