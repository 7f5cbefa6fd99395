//! A live session as a row of a page. The page and its stream make it the same way.

use std::time::Duration;

use askama::Template;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::record::Mode;
use crate::domain::span::rough;
use crate::domain::{bytes, client};
use crate::store::sessions::live::{LiveCount, LiveFilter, WatchedSession};
use crate::web::show::{WallClock, When};

/// Who is idle for longer stands out.
const LONG_IDLE: time::Duration = time::Duration::minutes(15);

/// What changes in a row while it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::web) struct Cells {
    pub(in crate::web) id: Uuid,
    pub(in crate::web) channels: String,
    pub(in crate::web) down: String,
    pub(in crate::web) up: String,
    pub(in crate::web) idle: String,
    /// Idle for long.
    pub(in crate::web) warm: bool,
    pub(in crate::web) silent: bool,
}

/// A row.
pub(in crate::web) struct Row {
    pub(super) cells: Cells,
    pub(super) short: String,
    pub(super) user: String,
    pub(super) space: String,
    pub(super) space_path: String,
    pub(super) mode: String,
    pub(super) address: String,
    pub(super) client: String,
    pub(super) since: When,
}

#[derive(Template)]
#[template(path = "session-row.html")]
struct OneRow<'a> {
    row: &'a Row,
    may_end: bool,
}

impl Cells {
    pub(in crate::web) fn of(watched: &WatchedSession, now: OffsetDateTime) -> Self {
        let session = &watched.session;
        let idle = (now - session.quiet_since()).max(time::Duration::ZERO);
        Self {
            id: session.id.uuid(),
            channels: channels(&session.mode, &watched.channels),
            down: bytes::shown(session.bytes_out),
            up: bytes::shown(session.bytes_in),
            idle: rough(idle),
            warm: idle >= LONG_IDLE,
            silent: session.doubtful,
        }
    }
}

impl Row {
    pub(in crate::web) fn of(watched: &WatchedSession, wall: &WallClock) -> Self {
        let session = &watched.session;
        Self {
            cells: Cells::of(watched, wall.now()),
            short: session.id.short(),
            user: session.user.clone(),
            space: format!("{}.{}", session.space, session.domain),
            space_path: space_path(&session.domain, &session.space),
            mode: session.mode.clone(),
            address: session.client_address.clone(),
            client: client::name(&session.client_version),
            since: When::at(session.started_at, wall),
        }
    }

    /// The row by itself; nothing if its template fails.
    pub(in crate::web) fn render(&self, may_end: bool) -> Option<String> {
        OneRow { row: self, may_end }.render().ok()
    }
}

/// The page of a space.
pub(super) fn space_path(domain: &str, space: &str) -> String {
    let escaped = |text: &str| askama::filters::urlencode_strict(text).map(|text| text.to_string());
    format!("/spaces/{}/{}", escaped(domain).unwrap_or_default(), escaped(space).unwrap_or_default())
}

/// What is asked for in the fields over the rows; what no field offers asks for nothing.
pub(in crate::web) fn filter_of(words: &str, mode: &str, idle: &str) -> LiveFilter {
    let mode = [Mode::Session, Mode::Jump].into_iter().find(|known| known.as_str() == mode);
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    let idle = match idle {
        "15" => minutes(15),
        "60" => minutes(60),
        "240" => minutes(240),
        _ => None,
    };
    LiveFilter::new(words, mode, idle)
}

/// `6 people in 8 spaces right now.`
pub(in crate::web) fn sentence(count: LiveCount) -> String {
    match count.people {
        0 => "Nobody is connected right now.".to_owned(),
        people => format!(
            "{} in {} right now.",
            counted(people, "person", "people"),
            counted(count.spaces, "space", "spaces")
        ),
    }
}

/// `1 person`, `2 people`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// What a kind of channel is called, alone and in number.
pub(super) fn kind_words(kind: &str) -> (&str, &str) {
    match kind {
        "shell" => ("shell", "shells"),
        "exec" => ("command", "commands"),
        "subsystem" => ("subsystem", "subsystems"),
        "forward" => ("forward", "forwards"),
        "remote_forward" => ("remote forward", "remote forwards"),
        other => (other, other),
    }
}

/// `2 shells, 1 forward`.
fn channels(mode: &str, open: &[(String, u64)]) -> String {
    if mode == Mode::Jump.as_str() {
        return "not visible".to_owned();
    }
    let words = open.iter().map(|(kind, n)| {
        let (one, many) = kind_words(kind);
        counted(*n, one, many)
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_counted_by_kind_where_they_can_be_seen() {
        let open = [("forward".to_owned(), 1), ("sftp".to_owned(), 1), ("shell".to_owned(), 2)];
        assert_eq!(channels("session", &open), "1 forward, 1 sftp, 2 shells");
        assert_eq!(channels("session", &[]), "none");
        assert_eq!(channels("jump", &open), "not visible");
    }

    #[test]
    fn the_sentence_counts_people_and_spaces() {
        let count = |people, spaces| LiveCount { sessions: 9, people, spaces };
        assert_eq!(sentence(count(0, 0)), "Nobody is connected right now.");
        assert_eq!(sentence(count(1, 2)), "1 person in 2 spaces right now.");
    }
}
