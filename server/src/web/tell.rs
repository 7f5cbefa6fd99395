//! Why a space is up or not, and what happens next, in the sentences of pages.

use time::OffsetDateTime;

use super::show::{WallClock, When};
use crate::domain::idle::{Because, Doubt, Mode, Seen, Sign, Trigger, Verdict};
use crate::domain::space::SpaceState;
use crate::domain::span::rough;
use crate::gateway::idle::{Ended, Up};
use crate::gateway::{Report, stopped_at, would_stop_at};
use crate::store::starts::PageStart;

/// After this long a start that nobody has ended is not under way any more: its replica is gone.
const FORGOTTEN: time::Duration = time::Duration::minutes(30);

/// A sentence or two: what stands out in the first is `bold`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Why {
    /// The verdict's class and word.
    pub(super) mark: Option<(&'static str, &'static str)>,
    pub(super) lead: String,
    pub(super) bold: String,
    pub(super) tail: String,
    /// What happens next.
    pub(super) then: String,
    /// Whether a stop nears.
    pub(super) warm: bool,
}

/// The same for a space's page and its line among others.
pub(super) fn why(report: &Report, start: Option<&PageStart>, wall: &WallClock) -> Why {
    if let Some(up) = report.up() {
        return Why { then: stops(up, wall), warm: due(up).is_some(), ..verdict(up, wall) };
    }
    let failed = start.and_then(|start| failure(start, report));
    match (report.state(), failed) {
        (SpaceState::Starting | SpaceState::Running, _) => starting(under_way(start, report), wall),
        (_, None) if under_way(start, report).is_some() => starting(under_way(start, report), wall),
        (SpaceState::Stopping, _) => Why {
            bold: "It is stopping.".to_owned(),
            then: "Usually gone within a minute; until then it costs money.".to_owned(),
            ..Why::default()
        },
        (SpaceState::Updating, _) => Why { bold: "AWS is changing it.".to_owned(), ..Why::default() },
        (_, Some((at, problem))) => Why {
            lead: format!("It did not start at {}: ", At(at, wall)),
            bold: problem,
            then: "Try again later, or on another instance.".to_owned(),
            ..Why::default()
        },
        (SpaceState::Failed, None) => Why {
            bold: "It failed.".to_owned(),
            then: "AWS says why in its console; a new start says it here.".to_owned(),
            ..Why::default()
        },
        (SpaceState::Stopped, None) => report.ended().map_or_else(never_ran, |ended| stopped(ended, wall)),
    }
}

/// A start that goes on.
pub(super) fn under_way<'a>(start: Option<&'a PageStart>, report: &Report) -> Option<&'a PageStart> {
    start.filter(|start| start.ended_at.is_none() && report.now - start.at < FORGOTTEN)
}

/// When a start failed and why, if nothing has run since.
fn failure(start: &PageStart, report: &Report) -> Option<(OffsetDateTime, String)> {
    let (at, problem) = start.ended_at.zip(start.problem.clone())?;
    let ran_since = report.status.ended.as_ref().is_some_and(|ended| ended.at > at);
    (!ran_since).then_some((at, problem))
}

/// When a run is about to stop.
pub(super) fn due(up: &Up) -> Option<OffsetDateTime> {
    would_stop_at(up).filter(|_| up.rule.policy.mode == Mode::Stop)
}

fn verdict(up: &Up, wall: &WallClock) -> Why {
    let (mark, lead, bold, tail) = match &up.verdict {
        Some(Verdict::Active { because: Because::Seen(seen) }) => {
            (("active", "Active"), "Up because ", at_work(seen), format!(", seen {}.", At(seen.at, wall)))
        }
        Some(Verdict::Active { because: Because::Held(hold) }) => {
            let reason =
                if hold.reason.is_empty() { String::new() } else { format!(": “{}”", hold.reason) };
            let until = format!(" until {}{reason}.", At(hold.until, wall));
            (("active", "Held"), "Up because ", format!("{} holds it", hold.by), until)
        }
        Some(Verdict::Idle { since, over_longest_run, .. }) => {
            let bold = if *over_longest_run {
                "its longest run is over, and what is inside no longer counts"
            } else {
                "nobody and nothing has been at work"
            };
            (("idle", "Idle"), "", bold.to_owned(), format!(" since {}.", At(*since, wall)))
        }
        Some(Verdict::Unknown { because: Doubt::NotWatched { since: Some(since) } }) => (
            ("unknown", "Unknown"),
            "",
            "nobody has looked".to_owned(),
            format!(" since {}.", At(*since, wall)),
        ),
        Some(Verdict::Unknown { because }) => {
            (("unknown", "Unknown"), "", because.to_string(), ".".to_owned())
        }
        None => (("unknown", "Unknown"), "", "nobody has looked yet".to_owned(), ".".to_owned()),
    };
    Why {
        mark: Some(mark),
        lead: lead.to_owned(),
        bold: first_upper(lead.is_empty(), bold),
        tail,
        ..Why::default()
    }
}

fn first_upper(wanted: bool, text: String) -> String {
    if !wanted {
        return text;
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

/// What was seen, as the middle of a sentence.
fn at_work(seen: &Seen) -> String {
    let by = seen.by.as_deref().unwrap_or("somebody");
    match seen.sign {
        Sign::Started => "its app has just come up".to_owned(),
        Sign::Keys => format!("{by} is typing"),
        Sign::Opened => format!("{by} opened a shell or sftp"),
        Sign::Sent => format!("{by} sends more than an editor’s heartbeat"),
        Sign::Received => format!("{by} gets more than an editor’s heartbeat"),
        Sign::Screen => format!("a terminal of {by} shows something new"),
        Sign::KernelBusy => "a kernel is busy".to_owned(),
        Sign::Kernel => "a kernel did something".to_owned(),
        Sign::JupyterTerminal => "a terminal in JupyterLab is in use".to_owned(),
        Sign::Pty => "a terminal inside shows something new".to_owned(),
        Sign::Cpu => "processes use the CPU".to_owned(),
        Sign::Gpu => "the GPU is at work".to_owned(),
    }
}

/// When it stops, or why it does not.
fn stops(up: &Up, wall: &WallClock) -> String {
    let (policy, now) = (&up.rule.policy, wall.now());
    let after = |at: OffsetDateTime| policy.due(at).map(|due| due + policy.grace);
    match (policy.mode, &up.verdict, would_stop_at(up)) {
        (Mode::Never, ..) => "Its policy stops nothing.".to_owned(),
        (Mode::DryRun, _, Some(at)) => {
            format!("Its policy is a dry run: it would stop it at {}.", At(at, wall))
        }
        (Mode::DryRun, ..) => "Its policy is a dry run: nothing is stopped.".to_owned(),
        (Mode::Stop, _, Some(at)) if at > now => {
            format!("Stops {}, in {}, unless someone uses it.", At(at, wall), rough(at - now))
        }
        (Mode::Stop, _, Some(_)) => "Stops now, unless someone uses it.".to_owned(),
        (Mode::Stop, Some(Verdict::Active { because: Because::Seen(seen) }), None) => match after(seen.at) {
            Some(at) => format!("Stops {} if nothing happens.", At(at, wall)),
            None => "Not stopped in the hours of its policy.".to_owned(),
        },
        (Mode::Stop, Some(Verdict::Active { .. }), None) => "Not stopped while it is held.".to_owned(),
        (Mode::Stop, Some(Verdict::Idle { .. }), None) => {
            "Not stopped in the hours of its policy.".to_owned()
        }
        (Mode::Stop, _, None) => {
            "Spaceport stops nothing on a guess. Connect to look, or stop it yourself.".to_owned()
        }
    }
}

fn starting(start: Option<&PageStart>, wall: &WallClock) -> Why {
    let then = "Usually ready within 2 min. A waiting ssh goes on by itself.".to_owned();
    match start {
        Some(start) => Why {
            lead: format!("{} asked for it at {}. ", start.by, At(start.at, wall)),
            bold: format!("{}.", first_upper(true, start.step.clone())),
            then,
            ..Why::default()
        },
        None => Why { bold: "It is starting.".to_owned(), then, ..Why::default() },
    }
}

fn stopped(ended: &Ended, wall: &WallClock) -> Why {
    let at = At(stopped_at(ended), wall);
    match ended.stop.as_ref().map(|stop| &stop.trigger) {
        Some(Trigger::Idle { since, .. }) => Why {
            lead: format!("Spaceport stopped it at {at}: "),
            bold: format!("idle since {}", At(*since, wall)),
            tail: ".".to_owned(),
            then: "An editor that reconnects by itself does not start it again. You do.".to_owned(),
            ..Why::default()
        },
        Some(Trigger::Person { by }) => Why { lead: format!("{by} stopped it at {at}."), ..Why::default() },
        None => Why { lead: format!("It ended at {at}, and not by Spaceport."), ..Why::default() },
    }
}

fn never_ran() -> Why {
    Why { lead: "It has not run since Spaceport watches.".to_owned(), ..Why::default() }
}

/// A moment in the middle of a sentence.
struct At<'a>(OffsetDateTime, &'a WallClock);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&When::at(self.0, self.1).text)
    }
}
