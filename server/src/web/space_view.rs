//! One space as pages show it, in a list and on its own.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use super::show::{WallClock, When, length};
use super::strip::{Frame, Strip, sum};
use super::tell::{self, Why, due, under_way};
use crate::domain::bands::Band;
use crate::domain::cost::shown;
use crate::domain::ids::InstanceType;
use crate::domain::space::{Sharing, SpaceState};
use crate::domain::span::Span;
use crate::domain::user::User;
use crate::gateway::Report;
use crate::ssh::Address;
use crate::store::spaces::LifeStop;
use crate::store::starts::PageStart;

/// Where people land in a space: the home of its one user (SageMaker Distribution).
const HOME: &str = "/home/sagemaker-user";
/// The time that a line's strip shows before and after now.
const BEFORE: time::Duration = time::Duration::hours(22);
const AFTER: time::Duration = time::Duration::hours(2);
/// How high a line's bands are, in px.
const HEIGHT: f64 = 14.0;
/// How long a hold may be asked for with one press, in hours.
const HOLDS: [u64; 4] = [1, 3, 8, 24];

/// One space.
pub(super) struct SpaceView {
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) path: String,
    pub(super) state: (&'static str, &'static str),
    pub(super) whose: String,
    pub(super) on: String,
    pub(super) why: Why,
    pub(super) strip: Strip,
    pub(super) month: String,
    pub(super) idle: Option<String>,
    pub(super) command: String,
    pub(super) editors: Vec<(&'static str, String)>,
    pub(super) may: May,
    /// An hour of it.
    pub(super) price: Option<String>,
    pub(super) holds: Vec<HoldChoice>,
    pub(super) held: Option<Held>,
    /// Others who are in it now.
    pub(super) others: Vec<String>,
    /// Whether the person is.
    pub(super) inside: bool,
}

/// What can be done with it now.
#[derive(Clone, Copy, Default)]
pub(super) struct May {
    pub(super) connect: bool,
    pub(super) start: bool,
    pub(super) hold: bool,
    pub(super) stop: bool,
    /// Have another instance type, which restarts it if it runs.
    pub(super) change: bool,
    /// Whether it fails or failed, so that a start is another try.
    pub(super) again: bool,
}

/// A time to hold it for.
pub(super) struct HoldChoice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) chosen: bool,
}

/// A hold that runs.
pub(super) struct Held {
    pub(super) by: String,
    pub(super) until: When,
    pub(super) reason: String,
    pub(super) mine: bool,
    /// Whether the verdict says it already.
    pub(super) said: bool,
}

/// What a view is made from beside the report.
pub(super) struct Around<'a> {
    pub(super) user: &'a User,
    pub(super) wall: WallClock,
    /// Whether the person may use the space, or only see it.
    pub(super) may_use: bool,
    /// Whether they may hold and stop it.
    pub(super) may_stop: bool,
    /// The name that they give to ssh.
    pub(super) target: String,
    pub(super) address: &'a Address,
    pub(super) start: Option<&'a PageStart>,
    pub(super) bands: Vec<Band>,
    pub(super) stops: Vec<&'a LifeStop>,
    pub(super) longest_hold: Duration,
}

/// The time of a line's strip.
pub(super) fn shown_time(now: OffsetDateTime) -> Span {
    Span { from: now - BEFORE, until: now + AFTER }
}

impl SpaceView {
    pub(super) fn of(report: &Report, around: Around<'_>) -> Self {
        let space = &report.space;
        let Around { user, wall, may_use, may_stop, target, address, start, .. } = &around;
        let running = report.up().is_some();
        let starts = under_way(*start, report).is_some();
        let state = state(report.state(), starts);
        let rests = matches!(report.state(), SpaceState::Stopped | SpaceState::Failed) && !starts;
        let inside = report.sessions.iter().any(|session| session.user_id == user.id);
        let others: BTreeSet<&str> = report
            .sessions
            .iter()
            .filter(|session| session.user_id != user.id)
            .map(|session| session.user.as_str())
            .collect();
        let why = tell::why(report, *start, wall);
        Self {
            name: space.name().to_string(),
            domain: space.domain.to_string(),
            path: format!("/spaces/{}/{}", space.domain, space.name()),
            state,
            whose: whose(report),
            on: on(report),
            strip: strip(report, &around),
            month: report.month.shown(),
            idle: idle_part(report),
            command: address.ssh(target),
            editors: editors(target, address),
            may: May {
                connect: *may_use && report.state() != SpaceState::Stopping,
                start: *may_use && rests,
                hold: *may_stop && running,
                stop: *may_stop && running,
                change: *may_use && (rests || running),
                again: report.state() == SpaceState::Failed || why.lead.starts_with("It did not start"),
            },
            price: report.price.map(|price| format!("{price}/h")),
            holds: holds(wall, around.longest_hold),
            held: report.up().and_then(|up| up.hold.as_ref()).map(|hold| Held {
                by: hold.by.clone(),
                until: When::at(hold.until, wall),
                reason: hold.reason.clone(),
                mine: hold.by == user.name.as_str(),
                said: why.mark.is_some_and(|(_, word)| word == "Held"),
            }),
            others: others.into_iter().map(str::to_owned).collect(),
            inside,
            why,
        }
    }

    /// Whether it changes by itself within moments, so that it is looked at again soon.
    pub(super) fn moves(&self) -> bool {
        matches!(self.state.0, "starting" | "stopping")
    }

    /// What a stop ends, in words.
    pub(super) fn at_stake(&self) -> String {
        let who = match (self.inside, self.others.as_slice()) {
            (false, []) => "Nobody is connected.".to_owned(),
            (true, []) => "You are connected.".to_owned(),
            (false, others) => format!("{} is at work in it.", others.join(", ")),
            (true, others) => format!("You and {} are connected.", others.join(", ")),
        };
        format!("{who} Files stay. What is only in memory is lost.")
    }
}

fn state(state: SpaceState, starts: bool) -> (&'static str, &'static str) {
    match state {
        SpaceState::Running => ("running", "Running"),
        SpaceState::Starting => ("starting", "Starting"),
        SpaceState::Stopping => ("stopping", "Stopping"),
        SpaceState::Stopped | SpaceState::Failed if starts => ("starting", "Starting"),
        SpaceState::Stopped => ("stopped", "Stopped"),
        SpaceState::Updating => ("starting", "Updating"),
        SpaceState::Failed => ("failed", "Failed"),
    }
}

/// `alice · JupyterLab`.
fn whose(report: &Report) -> String {
    let space = &report.space;
    let owner = space.owner.as_ref().map_or("nobody", |owner| owner.as_str());
    let who = match space.sharing {
        Sharing::Shared => format!("Shared in {}", space.domain),
        Sharing::Private => owner.to_owned(),
    };
    let app_type = space.app.as_ref().map(|app| app.app_type).or(space.app_type);
    app_type.map_or(who.clone(), |app_type| format!("{who} · {app_type}"))
}

/// `ml.g5.xlarge · $1.41/h`.
fn on(report: &Report) -> String {
    let on = report.instance_type.as_ref().map_or("instance not known yet", InstanceType::as_str);
    match report.price {
        Some(price) => format!("{on} · {price}/h"),
        None if report.instance_type.is_some() => format!("{on} · price unknown"),
        None => on.to_owned(),
    }
}

/// What of the month was idle, if anything.
fn idle_part(report: &Report) -> Option<String> {
    let month = &report.month;
    let unpriced = month.unpriced_us.idle > 0;
    (month.time_us.idle > 0).then(|| match shown(month.spent.idle, unpriced).as_str() {
        "unknown" => format!("{} idle", length(time::Duration::microseconds(month.time_us.idle))),
        amount => format!("{amount} idle"),
    })
}

fn editors(target: &str, address: &Address) -> Vec<(&'static str, String)> {
    let host = match address.port {
        22 => address.host.clone(),
        port => format!("{}:{port}", address.host),
    };
    let remote = |scheme: &str| format!("{scheme}://vscode-remote/ssh-remote+{target}@{host}{HOME}");
    let jetbrains = format!(
        "jetbrains-gateway://connect#type=ssh&host={}&port={}&user={target}&projectPath={HOME}",
        address.host, address.port
    );
    vec![
        ("Open in VS Code", remote("vscode")),
        ("Open in Cursor", remote("cursor")),
        ("Open in JetBrains Gateway", jetbrains),
    ]
}

fn holds(wall: &WallClock, longest: Duration) -> Vec<HoldChoice> {
    let hours = HOLDS.into_iter().filter(|hours| Duration::from_secs(hours * 3600) <= longest);
    hours
        .map(|hours| {
            let word = if hours == 1 { "hour" } else { "hours" };
            let until = When::at(wall.now() + Duration::from_secs(hours * 3600), wall).text;
            HoldChoice {
                value: format!("{hours}h"),
                text: format!("{hours} {word}, until {until}"),
                chosen: hours == 3,
            }
        })
        .collect()
}

fn strip(report: &Report, around: &Around<'_>) -> Strip {
    let frame = Frame { span: shown_time(report.now), wall: &around.wall, height: HEIGHT };
    let due = report.up().and_then(due);
    let stops = around.stops.iter().filter_map(|stop| frame.mark(stop.ended_at, "Stopped"));
    Strip {
        label: format!("The last 22 hours: {}", sum(&around.bands)),
        bars: frame.bars(&around.bands),
        sessions: Vec::new(),
        stops: stops.collect(),
        plan: due.and_then(|at| frame.mark(at, "Planned stop")),
        now: frame.now(),
        grid: frame.grid(),
    }
}
