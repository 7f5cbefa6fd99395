//! The page on which a person says whether it is them who sit at a terminal whose key is new.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Bar, Problem, page_of};
use crate::domain::approval::{ApprovalId, ApprovalState};
use crate::domain::span;
use crate::identity::{Answered, ApproveError, Question};
use crate::web::show::{WallClock, minute};
use crate::web::site::Site;
use crate::web::visit::Person;

/// How often the page is loaded again until the terminal has signed, in seconds.
const AGAIN: HeaderValue = HeaderValue::from_static("2");

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Reply {
    answer: String,
    #[serde(default)]
    code: String,
    #[serde(default, rename = "for")]
    lasting: u64,
    #[serde(default)]
    sure: Option<String>,
}

#[derive(Template)]
#[template(path = "approve.html")]
struct ApprovePage {
    bar: Option<Bar>,
    me: String,
    here: String,
    ago: String,
    left: String,
    question: Asked,
    choices: Vec<Choice>,
    problem: Option<String>,
}

struct Asked {
    login: String,
    key: Option<(String, String)>,
    address: String,
    client: String,
    elsewhere: bool,
    elsewhere_allowed: bool,
}

struct Choice {
    value: u64,
    text: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "approved.html")]
struct EndPage {
    bar: Option<Bar>,
    title: &'static str,
    text: String,
    problem: Option<String>,
    fingerprint: Option<String>,
    address: String,
}

/// The question, or how it ended.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    page(&site, &person, &read(&id)?, None).await
}

/// Approves or denies.
pub(in crate::web) async fn answer(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(id): Path<String>,
    form: Result<Form<Reply>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(reply) = form.map_err(|_| Problem::Form)?;
    let id = read(&id)?;
    let identity = &site.identity;
    let answered = match reply.answer.as_str() {
        "approve" => {
            let answer = Answered {
                code: &reply.code,
                lasting: Duration::from_secs(reply.lasting),
                sure: reply.sure.as_deref() == Some("yes"),
            };
            identity.approve(&person.who, &id, &answer, &person.visitor).await
        }
        "deny" => {
            let denied = identity.deny(&person.who, &id, &person.visitor).await?;
            if denied { Ok(()) } else { Err(ApproveError::Over) }
        }
        _ => return Err(Problem::Form),
    };
    match answered {
        Ok(()) => Ok(Redirect::to(&format!("/k/{id}")).into_response()),
        Err(ApproveError::Store(error)) => Err(error.into()),
        Err(error) => {
            // What is over has a page that says how it ended.
            let problem = (!matches!(error, ApproveError::Over)).then(|| error.to_string());
            let page = page(&site, &person, &id, problem).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

fn read(id: &str) -> Result<ApprovalId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

async fn page(
    site: &Site,
    person: &Person,
    id: &ApprovalId,
    problem: Option<String>,
) -> Result<Response, Problem> {
    let question = site.identity.approval(&person.who, id, &person.visitor).await?;
    let question = question.ok_or(Problem::NotFound)?;
    if question.state == ApprovalState::Pending {
        return Ok(page_of(&form(site, person, question, problem)));
    }
    let page = page_of(&end(person, &question, problem));
    if question.state == ApprovalState::Approved {
        // The terminal signs within seconds, and then there is more to say.
        let again = AppendHeaders([(HeaderName::from_static("refresh"), AGAIN)]);
        return Ok((again, page).into_response());
    }
    Ok(page)
}

fn form(site: &Site, person: &Person, question: Question, problem: Option<String>) -> ApprovePage {
    let now = question.seen_at;
    let wall = person.wall(now);
    let (choices, usual) = site.identity.approval_choices();
    // From elsewhere the shortest time is proposed.
    let proposed = choices.first().copied().filter(|_| question.elsewhere).unwrap_or(usual);
    let longest = choices.last().copied();
    let choices = choices.into_iter().map(|lasting| Choice {
        value: lasting.as_secs(),
        text: choice(lasting, &wall, longest == Some(lasting)),
        chosen: lasting == proposed,
    });
    ApprovePage {
        bar: Some(Bar::of(person, "/keys")),
        me: person.who.user.name.to_string(),
        here: person.visitor.address.to_string(),
        ago: lasting(now - question.asked_at),
        left: lasting(question.expires_at - now),
        choices: choices.collect(),
        problem,
        question: Asked {
            login: question.login,
            key: question.key,
            address: question.address.to_string(),
            client: client(&question.client_version),
            elsewhere: question.elsewhere,
            elsewhere_allowed: question.elsewhere_allowed,
        },
    }
}

fn end(person: &Person, question: &Question, problem: Option<String>) -> EndPage {
    let until = question.trusted_until.map(|until| minute(until, &person.zone)).unwrap_or_default();
    let (title, text) = match (question.state, &question.key) {
        (ApprovalState::Approved, _) => (
            "Approved. Press Enter in your terminal",
            "The terminal goes on then, and this page says so. You have at least a minute for that.".to_owned(),
        ),
        (ApprovalState::Used, Some(_)) if question.mine => (
            "The key is yours",
            format!("It lets you in until {until}, and you are not asked till then. Take it back at any time under Keys."),
        ),
        (ApprovalState::Used, None) if question.mine => {
            ("You are in", "This one connection works as you. Your terminal goes on.".to_owned())
        }
        (ApprovalState::Used, _) => ("This request is over", "Somebody else approved it.".to_owned()),
        (ApprovalState::Denied, _) => (
            "Denied",
            "The connection ends, nothing was bound, and your admins find it in the audit log. If somebody sent you the address of this page, tell them."
                .to_owned(),
        ),
        (ApprovalState::Void, _) => (
            "This request no longer counts",
            "Too many wrong codes were typed, or its key could not be bound. Connect again for a new code.".to_owned(),
        ),
        (ApprovalState::Left, _) => (
            "The terminal has gone",
            "Its connection ended before it was let in, so nothing was bound. Connect again for a new code.".to_owned(),
        ),
        (ApprovalState::Expired | ApprovalState::Pending, _) => (
            "This request is over",
            "Nobody approved it within five minutes. Connect again for a new code.".to_owned(),
        ),
    };
    EndPage {
        bar: Some(Bar::of(person, "/keys")),
        title,
        text,
        problem,
        fingerprint: question.key.as_ref().map(|(_, fingerprint)| fingerprint.clone()),
        address: question.address.to_string(),
    }
}

/// `8 hours, until 22:32`; `7 days, until Tue 1 Dec`; `14 days, the longest allowed`.
fn choice(lasting: Duration, wall: &WallClock, longest: bool) -> String {
    let hours = lasting.as_secs() / 3600;
    let span = match (lasting.as_secs(), hours) {
        (seconds, 0) => counted(seconds / 60, "minute"),
        (_, hours) if hours >= 24 && hours % 24 == 0 => counted(hours / 24, "day"),
        (_, hours) => counted(hours, "hour"),
    };
    if longest {
        return format!("{span}, the longest allowed");
    }
    let end = wall.now() + lasting;
    format!("{span}, until {}", if hours < 24 { wall.clock(end) } else { wall.day(end) })
}

fn counted(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// A span; nothing is less than nothing.
fn lasting(span: time::Duration) -> String {
    span::shown(u64::try_from(span.whole_seconds()).unwrap_or_default())
}

/// The software of a version line: `OpenSSH_9.9` of `SSH-2.0-OpenSSH_9.9 Debian-1`.
fn client(version: &str) -> String {
    let software = version.strip_prefix("SSH-2.0-").unwrap_or(version);
    if software.is_empty() { "unknown software".to_owned() } else { software.replace('_', " ") }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_told_with_their_end() {
        let wall = |zone: &str| WallClock::new(zone.parse().unwrap(), datetime!(2026-11-26 14:32 UTC));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let utc = wall("UTC");
        assert_eq!(choice(hours(8), &utc, false), "8 hours, until 22:32");
        assert_eq!(choice(hours(24), &utc, false), "1 day, until Fri 27 Nov");
        assert_eq!(choice(hours(36), &utc, false), "36 hours, until Sat 28 Nov");
        assert_eq!(choice(hours(24 * 14), &utc, true), "14 days, the longest allowed");
        assert_eq!(choice(Duration::from_secs(90), &utc, false), "1 minute, until 14:33");
        assert_eq!(choice(hours(8), &wall("Asia/Kolkata"), false), "8 hours, until 04:02");
        assert_eq!(choice(hours(36), &wall("Asia/Tokyo"), false), "36 hours, until Sat 28 Nov");
        // The clocks of New York go back that night.
        let autumn = WallClock::new("America/New_York".parse().unwrap(), datetime!(2026-10-31 12:00 UTC));
        assert_eq!(choice(hours(23), &autumn, false), "23 hours, until 06:00");
    }

    #[test]
    fn software_is_named_without_the_protocol() {
        assert_eq!(client("SSH-2.0-OpenSSH_9.9 Debian-1"), "OpenSSH 9.9 Debian-1");
        assert_eq!(client(""), "unknown software");
    }
}
