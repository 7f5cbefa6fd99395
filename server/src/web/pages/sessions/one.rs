//! One session: for auditors and admins, and for the person whose it is.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::message::{self, Refused};
use super::rows::{kind_words, space_path};
use crate::domain::ending::at_length;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::record::Mode;
use crate::domain::span::rough;
use crate::domain::user::Role;
use crate::domain::{bytes, client};
use crate::store::sessions::one::{RecordedChannel, RecordedDecision, RecordedSession, RecordedStream};
use crate::web::pages::{Bar, Problem, page_of};
use crate::web::show::{WallClock, When};
use crate::web::site::Site;
use crate::web::visit::Person;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    messaged: String,
}

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    bar: Option<Bar>,
    id: SessionId,
    short: String,
    title: String,
    summary: String,
    /// Why it ended, and what that means.
    end: Option<(String, &'static str)>,
    user: String,
    user_id: UserId,
    email: String,
    space: String,
    space_path: String,
    began: When,
    ended: Option<When>,
    mode: String,
    address: String,
    client: String,
    client_line: String,
    fingerprint: String,
    gateway: String,
    down: String,
    up: String,
    streams: Vec<Stream>,
    command: Option<String>,
    channels: Vec<Channel>,
    /// How many more channels there are than are shown.
    more_channels: u64,
    is_jump: bool,
    audit: Vec<Decision>,
    onlooker: bool,
    may_end: bool,
    done: Option<String>,
    /// Why a message was not sent.
    problem: Option<String>,
    typed: String,
}

struct Stream {
    aws_session_id: String,
    role_session: String,
    request_id: String,
    opened: When,
}

struct Channel {
    began: When,
    kind: String,
    what: String,
    up: String,
    down: String,
    lasted: String,
    ended: String,
}

struct Decision {
    at: When,
    who: String,
    did: String,
    answer: &'static str,
    denied: bool,
    because: String,
}

/// The page.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(session): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let id: SessionId = session.parse().map_err(|_| Problem::NotFound)?;
    let session = site.store.session(id).await?.ok_or(Problem::NotFound)?;
    let user = &person.who.user;
    let onlooker = user.role >= Role::Auditor;
    if !onlooker && session.user_id != user.id {
        return Err(Problem::NotFound);
    }
    let done = message::told(&site, &wanted.messaged, Some(session.id)).await?;
    Ok(page_of(&SessionPage { done, ..page(&person, session, onlooker) }))
}

/// The page for an admin whose message was refused.
pub(super) async fn refused(
    site: &Site,
    person: &Person,
    id: SessionId,
    refused: Refused,
) -> Result<Response, Problem> {
    // Where there is no form, there is none to come back to.
    let session = site.store.session(id).await?.filter(|session| session.end.is_none());
    let page = page(person, session.ok_or(Problem::NotFound)?, true);
    Ok(page_of(&SessionPage { problem: Some(refused.why), typed: refused.typed, ..page }))
}

fn page(person: &Person, session: RecordedSession, onlooker: bool) -> SessionPage {
    let wall = person.wall(session.now);
    let began = When::at(session.started_at, &wall);
    let client = client::name(&session.client_version);
    let until = session.end.as_ref().map_or(session.now, |(at, _, _)| *at);
    let state = if session.end.is_some() { "ended" } else { "live" };
    let time = lasted(until - session.started_at);
    let is_jump = session.mode == Mode::Jump.as_str();
    SessionPage {
        bar: Some(Bar::of(person, if onlooker { "/sessions" } else { "/spaces" })),
        id: session.id,
        short: session.id.short(),
        title: format!("{} in {}, {}", session.user, session.space, began.text),
        summary: format!("{client} from {}, {time}, {state}.", session.client_address),
        end: session.end.as_ref().map(|(_, code, reason)| at_length(code, reason)),
        user_id: session.user_id,
        email: session.email.filter(|email| *email != session.user).unwrap_or_default(),
        user: session.user,
        space_path: space_path(&session.domain, &session.space),
        space: format!("{}.{}", session.space, session.domain),
        began: When::exactly(session.started_at, &wall),
        ended: session.end.as_ref().map(|(at, _, _)| When::exactly(*at, &wall)),
        mode: session.mode,
        address: session.client_address,
        client,
        client_line: session.client_version,
        fingerprint: session.key_fingerprint,
        gateway: session.gateway,
        down: bytes::shown(session.bytes_out),
        up: bytes::shown(session.bytes_in),
        command: command(&session.streams, session.started_at),
        streams: session.streams.into_iter().map(|stream| shown_stream(stream, &wall)).collect(),
        more_channels: session.channel_count.saturating_sub(session.channels.len() as u64),
        channels: session.channels.into_iter().map(|channel| shown_channel(channel, &wall)).collect(),
        is_jump,
        audit: session.audit.into_iter().map(|decision| shown_decision(decision, &wall)).collect(),
        onlooker,
        may_end: person.who.user.role >= Role::Admin && session.end.is_none(),
        done: None,
        problem: None,
        typed: String::new(),
    }
}

fn shown_stream(stream: RecordedStream, wall: &WallClock) -> Stream {
    Stream {
        aws_session_id: stream.aws_session_id,
        role_session: stream.role_session,
        request_id: stream.request_id.unwrap_or_else(|| "unknown".to_owned()),
        opened: When::at(stream.started_at, wall),
    }
}

/// How somebody asks AWS for what it wrote down of a session: the role session is CloudTrail's user name.
fn command(streams: &[RecordedStream], since: OffsetDateTime) -> Option<String> {
    let name = streams.first()?.role_session.rsplit([':', '/']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let since = (since - time::Duration::MINUTE).replace_nanosecond(0).ok()?.format(&Rfc3339).ok()?;
    Some(format!(
        "aws cloudtrail lookup-events --lookup-attributes AttributeKey=Username,AttributeValue={name} \
         --start-time {since}"
    ))
}

fn shown_channel(channel: RecordedChannel, wall: &WallClock) -> Channel {
    let until = channel.ended_at.unwrap_or(wall.now());
    let terminal = if channel.pty && channel.detail.is_none() { "with a terminal" } else { "" };
    let ended = match (channel.ended_at, channel.exit_status, channel.end_reason) {
        (None, _, _) => "open".to_owned(),
        (Some(_), Some(status), _) => format!("exit {status}"),
        (Some(_), None, Some(reason)) => reason,
        (Some(_), None, None) => "closed".to_owned(),
    };
    Channel {
        began: When::at(channel.started_at, wall),
        kind: kind_words(&channel.kind).0.to_owned(),
        what: channel.detail.unwrap_or_else(|| terminal.to_owned()),
        up: bytes::shown(channel.bytes_in),
        down: bytes::shown(channel.bytes_out),
        lasted: lasted(until - channel.started_at),
        ended,
    }
}

fn shown_decision(decision: RecordedDecision, wall: &WallClock) -> Decision {
    Decision {
        at: When::at(decision.at, wall),
        who: decision.actor,
        did: did(&decision.kind, &decision.detail),
        answer: match decision.allowed {
            Some(true) => "allow",
            Some(false) => "deny",
            None => "",
        },
        denied: decision.allowed == Some(false),
        because: because(&decision.detail),
    }
}

/// `access.decided` with an action says which.
fn did(kind: &str, detail: &Value) -> String {
    let what = kind.replace(['.', '_'], " ");
    match detail.get("action").and_then(Value::as_str) {
        Some(action) => format!("{what}: {action}"),
        None => what,
    }
}

/// What a row says beside its kind: the reason alone where there is one, else everything.
fn because(detail: &Value) -> String {
    let reason = ["because", "reason"].iter().find_map(|name| detail.get(name)?.as_str());
    if let Some(reason) = reason {
        return reason.to_owned();
    }
    // What somebody wrote comes first.
    let text = detail.get("text").and_then(Value::as_str).map(|text| format!("“{text}”"));
    let fields = detail.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !matches!(name.as_str(), "action" | "text"));
    let words = fields.map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    text.into_iter().chain(words).collect::<Vec<_>>().join(", ")
}

/// `12 s`, `4 h 20 min`.
pub(super) fn lasted(time: time::Duration) -> String {
    match time.whole_seconds() {
        seconds @ ..60 => format!("{} s", seconds.max(0)),
        _ => rough(time),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn rows_of_the_audit_log_say_what_and_why() {
        assert_eq!(did("access.allowed", &json!({ "action": "open" })), "access allowed: open");
        assert_eq!(because(&json!({ "action": "open", "because": "it is yours" })), "it is yours");
        assert_eq!(because(&json!({ "mode": "jump", "n": 2 })), "mode jump, n 2");
        assert_eq!(because(&json!({ "terminals": 2, "text": "save" })), "“save”, terminals 2");
        assert_eq!(because(&json!({})), "");
    }

    #[test]
    fn only_a_plain_name_gets_into_a_command() {
        let stream = |role_session: &str| RecordedStream {
            aws_session_id: String::new(),
            role_session: role_session.to_owned(),
            request_id: None,
            started_at: datetime!(2026-11-27 10:00 UTC),
        };
        let asked = |role| command(&[stream(role)], datetime!(2026-11-27 10:00 UTC));
        let line = asked("arn:aws:sts::1:assumed-role/spaceport-user/alice@example.com").unwrap();
        assert!(
            line.ends_with("AttributeValue=alice@example.com --start-time 2026-11-27T09:59:00Z"),
            "{line}"
        );
        assert_eq!(asked("x/a b;rm"), None);
        assert_eq!(command(&[], datetime!(2026-11-27 10:00 UTC)), None);
    }

    #[test]
    fn a_short_time_has_seconds() {
        assert_eq!(lasted(time::Duration::seconds(12)), "12 s");
        assert_eq!(lasted(time::Duration::seconds(-2)), "0 s");
        assert_eq!(lasted(time::Duration::minutes(260)), "4 h 20 min");
    }
}
