//! Answers about one space: what it is doing and why, and what became of wishes about it.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use super::text::wrap;
use super::{Address, Message, clean, clock_time, database_away, duration, open_failed};
use crate::domain::cost::shown;
use crate::domain::grant::Term;
use crate::domain::idle::{Because, Doubt, Hold, Mode, Trigger, Verdict};
use crate::domain::space::SpaceState;
use crate::domain::span::rough;
use crate::gateway::idle::{Ended, Stopping, Up};
use crate::gateway::{AskError, Held, Report, Stopped, stopped_at, would_stop_at};

/// Where text beside a word stands.
const INDENT: usize = 12;

/// The exit status that goes with [`status`]: 0 active, 3 idle, 4 unknown, 5 not running.
pub(in crate::ssh) fn code_of(report: &Report) -> u32 {
    match report.up().map(|up| &up.verdict) {
        None => 5,
        Some(Some(Verdict::Active { .. })) => 0,
        Some(Some(Verdict::Idle { .. })) => 3,
        Some(Some(Verdict::Unknown { .. }) | None) => 4,
    }
}

/// What a space is doing, what that rests on, what it costs and who is in it.
pub(in crate::ssh) fn status(report: &Report) -> String {
    let mut out = String::new();
    let name = report.space.name().as_str();
    wrap(&mut out, &format!("{name:<9}   "), INDENT, &head(report), "\n");
    field(&mut out, "state", &state(report));
    if let Some(up) = report.up() {
        field(&mut out, "verdict", &verdict(up, report.now));
        field(&mut out, "stops", &stops(up, report.now));
    }
    field(&mut out, "month", &month(report));
    if let Some(hold) = report.up().and_then(|up| up.hold.as_ref()) {
        field(&mut out, "hold", &kept(hold, report.now));
    }
    if let Some(up) = report.up() {
        field(&mut out, "policy", &policy(up));
    }
    evidence(&mut out, report);
    sessions(&mut out, report);
    out
}

fn field(out: &mut String, word: &str, text: &str) {
    wrap(out, &format!("{word:<INDENT$}"), INDENT, &clean(text), "\n");
}

/// Whose it is, on what, for how much.
fn head(report: &Report) -> String {
    let space = &report.space;
    let owner = space.owner.as_ref().map_or("no owner", |owner| owner.as_str());
    let app_type = space.app.as_ref().map(|app| app.app_type).or(space.app_type);
    let app_type = app_type.map_or_else(|| "another app".to_owned(), |app_type| app_type.to_string());
    let on = report.instance_type.as_ref().map_or("unknown instance", |on| on.as_str());
    let price = match report.price {
        Some(price) => format!("{price} an hour"),
        None => "price unknown".to_owned(),
    };
    clean(&format!("{owner}, {app_type}, {on}, {price}"))
}

fn state(report: &Report) -> String {
    if let Some(up) = report.up() {
        let since = up.run.began_at;
        return format!("running since {}, {}", when(since, report.now), rough(report.now - since));
    }
    match report.ended() {
        Some(ended) => format!("stopped since {}, {}", when(stopped_at(ended), report.now), by(ended)),
        None => report.state().to_string(),
    }
}

/// Who stopped it.
fn by(ended: &Ended) -> String {
    match ended.stop.as_ref().map(|stop| (&stop.trigger, &stop.policy)) {
        Some((Trigger::Idle { .. }, policy)) => format!("for idleness, by the policy of {policy}"),
        Some((Trigger::Person { by }, _)) => format!("by {by}"),
        None => "not by the gateway".to_owned(),
    }
}

fn verdict(up: &Up, now: OffsetDateTime) -> String {
    match &up.verdict {
        Some(Verdict::Active { because: Because::Seen(seen) }) => {
            let by = seen.by.as_ref().map(|by| format!(", {by}")).unwrap_or_default();
            format!("active: {}{by}, {}", seen.sign, when(seen.at, now))
        }
        Some(Verdict::Active { because: Because::Held(hold) }) => format!("active: held by {}", hold.by),
        Some(Verdict::Idle { since, over_longest_run: false, .. }) => {
            format!("idle since {}", when(*since, now))
        }
        Some(Verdict::Idle { since, .. }) => {
            let why = "its longest run is over and what is inside no longer counts";
            format!("idle since {}: {why}", when(*since, now))
        }
        Some(Verdict::Unknown { because: Doubt::NotWatched { since: Some(since) } }) => {
            format!("unknown: nobody has looked since {}", when(*since, now))
        }
        Some(Verdict::Unknown { because }) => format!("unknown: {because}"),
        None => "unknown: nobody has looked yet".to_owned(),
    }
}

/// When it stops, or why it does not.
fn stops(up: &Up, now: OffsetDateTime) -> String {
    let (due, mode) = (would_stop_at(up), up.rule.policy.mode);
    match (mode, &up.verdict, due) {
        (Mode::Never, ..) => "never: its policy stops nothing".to_owned(),
        (Mode::DryRun, _, Some(at)) => format!("not: its policy is a dry run. It would at {}", when(at, now)),
        (Mode::DryRun, ..) => "not: its policy is a dry run".to_owned(),
        (Mode::Stop, _, Some(at)) => format!("{}, unless someone uses it", when(at, now)),
        (Mode::Stop, Some(Verdict::Active { .. }), None) => "not while it is in use".to_owned(),
        (Mode::Stop, Some(Verdict::Idle { .. }), None) => "not in the hours of its policy".to_owned(),
        (Mode::Stop, _, None) => "not while that is unknown".to_owned(),
    }
}

fn month(report: &Report) -> String {
    let (month, idle) = (&report.month, report.month.spent.idle);
    let idle = shown(idle, month.unpriced_us.idle > 0);
    format!("{}, of it idle {idle}", month.shown())
}

fn kept(hold: &Hold, now: OffsetDateTime) -> String {
    let until = format!("until {} by {}", when(hold.until, now), hold.by);
    if hold.reason.is_empty() { until } else { format!("{until}: \"{}\"", hold.reason) }
}

fn policy(up: &Up) -> String {
    match up.rule.policy.mode {
        Mode::Stop => up.rule.scope.to_string(),
        Mode::DryRun => format!("{}, dry run", up.rule.scope),
        Mode::Never => format!("{}, never stops", up.rule.scope),
    }
}

fn evidence(out: &mut String, report: &Report) {
    let grounds = report.grounds();
    let times: Vec<String> = grounds.iter().map(|ground| second(ground.at, report.now)).collect();
    let width = times.iter().map(String::len).max().unwrap_or_default();
    for (index, (ground, time)) in grounds.iter().zip(&times).enumerate() {
        let word = if index == 0 { "\nevidence" } else { "" };
        let lead = format!("{word:<0$}{time:<width$}  {1:<7} ", indent(index), ground.word);
        wrap(out, &lead, INDENT + width + 10, &clean(&ground.what), "\n");
    }
}

fn sessions(out: &mut String, report: &Report) {
    let columns: Vec<[String; 3]> = report
        .sessions
        .iter()
        .map(|session| {
            [clean(&session.user), clean(program(&session.client_version)), session.client_address.clone()]
        })
        .collect();
    let [who, with, from] = [0, 1, 2].map(|at| {
        let cells = columns.iter().filter_map(|cells| cells.get(at));
        cells.map(String::len).max().unwrap_or_default()
    });
    for (index, (session, [user, client, address])) in report.sessions.iter().zip(&columns).enumerate() {
        let word = if index == 0 { "\nsessions" } else { "" };
        let lead = format!(
            "{word:<0$}{1}  {user:<who$}  {client:<with$}  {address:<from$}  ",
            indent(index),
            session.id.short()
        );
        let quiet = report.now - session.quiet_since();
        let mut text = rough(report.now - session.started_at);
        if quiet >= time::Duration::MINUTE {
            text += &format!(", idle {}", rough(quiet));
        }
        wrap(out, &lead, INDENT + 6, &text, "\n");
    }
}

/// The first line of a list begins with an empty line, which takes no room.
const fn indent(index: usize) -> usize {
    if index == 0 { INDENT + 1 } else { INDENT }
}

/// What connects, by its version line (RFC 4253 section 4.2).
fn program(version: &str) -> &str {
    let version = version.strip_prefix("SSH-2.0-").unwrap_or(version);
    version.split(' ').next().unwrap_or_default()
}

/// A time of today, or a day and a time, in UTC.
pub(super) fn when(at: OffsetDateTime, now: OffsetDateTime) -> String {
    format!("{}{}", day(at, now), clock_time(at))
}

/// The same, to the second.
fn second(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let utc = at.to_offset(UtcOffset::UTC);
    format!("{}{:02}:{:02}:{:02} UTC", day(at, now), utc.hour(), utc.minute(), utc.second())
}

fn day(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let (date, today) = (at.to_offset(UtcOffset::UTC).date(), now.to_offset(UtcOffset::UTC).date());
    if date == today { String::new() } else { format!("{date} ") }
}

/// A space is held, or no longer.
pub(in crate::ssh) fn held(held: &Held, space: &str, reason: &str, now: OffsetDateTime) -> String {
    let mut out = String::new();
    let Some(until) = held.until else {
        let text = match &held.longest {
            Some(hold) => format!(
                "{space} is held by you no more. {} still does, until {}.",
                hold.by,
                when(hold.until, now)
            ),
            None => format!("{space} is held no more."),
        };
        wrap(&mut out, "", 0, &clean(&text), "\n");
        return out;
    };
    let why = if reason.is_empty() { String::new() } else { format!(": \"{reason}\"") };
    let cost = match held.cost {
        Some(cost) => format!("About {cost}."),
        None => "What that costs is unknown.".to_owned(),
    };
    wrap(&mut out, "", 0, &clean(&format!("{space} is held until {}{why}. {cost}", when(until, now))), "\n");
    out
}

/// A space is being stopped.
pub(in crate::ssh) fn stopping(stopped: &Stopped, space: &str) -> String {
    let cost = match stopped.month.is_unknown() {
        true => "What it cost this month is unknown.".to_owned(),
        false => format!("It cost {} this month.", stopped.month.shown()),
    };
    format!("{space} is stopping. {cost}\n")
}

/// A space that was not stopped.
pub(in crate::ssh) fn not_stopped(outcome: &Stopping, space: &str, state: SpaceState) -> Message {
    match outcome {
        Stopping::NotRunning if state == SpaceState::Running => {
            Message::new(format!("{space} is not stopped."))
                .why("its run is not on record yet.")
                .next("try again in a minute.")
        }
        Stopping::NotRunning | Stopping::Stopping => {
            Message::new(format!("{space} is not running: there is nothing to stop."))
        }
        Stopping::Busy => Message::new(format!("{space} is not stopped."))
            .why("something else is being done to it right now.")
            .next("try again in a minute."),
        Stopping::Refused => Message::new(format!("{space} is not stopped."))
            .why("AWS refused it.")
            .next("ask an admin to look at the gateway's log."),
    }
}

/// A space that has been started by its name.
pub(in crate::ssh) fn started(space: &str, seconds: Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("{space} is up after {}.\n", duration(seconds)),
        None => format!("{space} is up already.\n"),
    }
}

/// A wish about a space that was not fulfilled. `again` is the command without `--force`.
pub(in crate::ssh) fn ask_failed(
    error: &AskError,
    space: &str,
    again: &str,
    now: OffsetDateTime,
    address: &Address,
) -> Message {
    match error {
        AskError::Open(error) => open_failed(error, space, now, address),
        AskError::NotWatched => Message::new("this gateway does not watch spaces for idleness."),
        AskError::RecordAway => database_away(),
        AskError::TooLong(longest) => hold_too_long(*longest),
        AskError::Others(names) => Message::new(format!("{space} is in use by {}.", names.join(", ")))
            .why("it would end what they do there.")
            .next("ask them, or do it all the same:")
            .more(address.command(&format!("{again} --force"))),
    }
}

fn hold_too_long(longest: Duration) -> Message {
    Message::new("that is too long.").why(format!("a hold lasts for at most {}.", Term::of(longest)))
}

/// A hold without a time that can be read.
pub(in crate::ssh) fn hold_how_long(address: &Address) -> Message {
    Message::new("for how long is not clear.")
        .next("write 90m, 3h or 2d, or off:")
        .more(address.command("hold SPACE 3h \"evaluation runs\""))
}

/// A reason that is too long.
pub(in crate::ssh) fn bad_reason(why: &str) -> Message {
    Message::new("the space is not held.").next(format!("{why}."))
}

/// An instance type that is none.
pub(in crate::ssh) fn bad_type(text: &str) -> Message {
    Message::new(format!("\"{text}\" is no instance type.")).next("write one such as ml.m5.xlarge.")
}

#[cfg(test)]
mod tests;
