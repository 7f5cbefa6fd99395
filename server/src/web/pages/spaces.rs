//! The first page: a person's spaces, what each is doing and why, and what they cost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;

use super::{Bar, Problem, page_of};
use crate::domain::bands::{Band, bands};
use crate::domain::cost::{Cost, RunFacts, SAVED_RULE, shown};
use crate::domain::ids::SpaceId;
use crate::domain::money::Money;
use crate::domain::names::shortest;
use crate::domain::space::{Space, SpaceState};
use crate::domain::span::rough;
use crate::domain::user::Role;
use crate::gateway::Report;
use crate::store::spaces::LifeStop;
use crate::store::starts::PageStart;
use crate::web::find::may_stop;
use crate::web::live::spaces::{Of, address};
use crate::web::query::Pages;
use crate::web::show::WallClock;
use crate::web::site::Site;
use crate::web::space_view::{Around, SpaceView, shown_time};
use crate::web::tell::due;
use crate::web::visit::Person;

/// How soon the page is old, in seconds, while something starts or stops, and otherwise.
const MOVING: u32 = 3;
const STILL: u32 = 20;
/// How late a judgement may be until what it said is unknown.
pub(super) const LATE: Duration = Duration::from_secs(180);
/// Spaces on a page.
const PAGE: usize = 50;
/// A stop that is nearer than this stands on top of the page.
const SOON: time::Duration = time::Duration::minutes(30);

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    of: String,
    /// Which page of them, from 1.
    page: Option<usize>,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "spaces.html")]
struct SpacesPage {
    bar: Option<Bar>,
    everybody: bool,
    sees_everybody: bool,
    query: String,
    summary: String,
    done: Option<String>,
    problem: Option<String>,
    soon: Option<Soon>,
    money: Option<Figures>,
    up: Vec<SpaceView>,
    down: Vec<SpaceView>,
    /// How many are up, and how many not, on all pages together.
    counts: (usize, usize),
    pages: Pages,
    axis: Vec<(String, String)>,
    /// The zone of days and months of costs, if it is another than that of times.
    costs_of: Option<String>,
    fresh_s: u32,
    live: String,
}

/// The stop that comes next.
struct Soon {
    name: String,
    path: String,
    at: String,
    left: String,
}

/// What a person's spaces cost.
struct Figures {
    month: String,
    idle: String,
    idle_share: Option<String>,
    today: String,
    saved: String,
    saved_rule: &'static str,
}

/// What became of a form, as the address of the page after it says.
pub(super) fn done(word: Option<&str>) -> Option<String> {
    let text = match word? {
        "held" => "It is held.",
        "released" => "Your hold is over.",
        "stopping" => "It is stopping. Files stay.",
        "starting" => "It is starting. You can close this page: it goes on by itself.",
        "up" => "It is up already.",
        _ => return None,
    };
    Some(text.to_owned())
}

/// A person's spaces; everybody's that run, for those who see them.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    person: Person,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let user = &person.who.user;
    let sees_everybody = user.role >= Role::Auditor;
    let everybody = asked.of == "everybody";
    if everybody && !sees_everybody {
        return Err(Problem::NotFound);
    }
    let of = if everybody { Of::Everybody } else { Of::Mine };
    let live = address(&site, user, of).await?;
    let own = site.gateway.spaces(user);
    let mut spaces = if everybody { site.gateway.every_space() } else { own.clone() };
    let query = asked.q.trim().to_owned();
    let wanted = query.to_lowercase();
    spaces.retain(|space| space.is_called(&wanted));
    if everybody {
        // What runs is what costs money, and what is asked about.
        spaces.retain(|space| space.state() == SpaceState::Running);
    }
    let mut reports = site.gateway.reports(spaces).await.map_err(Problem::ask)?;
    reports.sort_by_key(|report| !is_up(report));
    let now = site.clock.now();
    let wall = person.wall(now);
    let there = [("of", asked.of.as_str()), ("q", &query)];
    let pages = Pages::of(reports.len(), PAGE, asked.page, ("/spaces", &there));
    let here = || pages.part(&reports);
    let ids: Vec<SpaceId> = here().iter().map(|report| report.space.id).collect();
    let mut past = Past::read(&site, &ids, now).await?;
    let views: Vec<(bool, SpaceView)> = here()
        .iter()
        .map(|report| {
            let may_use = own.iter().any(|space| space.id == report.space.id);
            (is_up(report), SpaceView::of(report, past.around(&site, &person, &own, report, may_use)))
        })
        .collect();
    let moving = views.iter().any(|(_, view)| view.moves());
    let (up, down): (Vec<_>, Vec<_>) =
        views.into_iter().partition(|(up, view)| *up || view.state.0 == "starting");
    let all_up = reports.iter().filter(|report| is_up(report)).count();
    let money = if everybody { None } else { site.gateway.money_of(user).await.map_err(Problem::ask)? };
    Ok(page_of(&SpacesPage {
        bar: Some(Bar::of(&person, "/spaces")),
        everybody,
        sees_everybody,
        query,
        summary: summary(&reports),
        done: done(asked.done.as_deref()),
        problem: None,
        soon: soon(&reports, &wall).filter(|_| !everybody),
        money: money.map(|(month, today)| figures(&month, &today)),
        up: up.into_iter().map(|(_, view)| view).collect(),
        down: down.into_iter().map(|(_, view)| view).collect(),
        counts: (all_up, reports.len() - all_up),
        pages,
        axis: axis(&wall),
        costs_of: wall.other(site.gateway.cost_zone()),
        fresh_s: if moving { MOVING } else { STILL },
        live,
    }))
}

/// Whether a space stands among those that are up.
fn is_up(report: &Report) -> bool {
    report.up().is_some() || report.state() == SpaceState::Starting
}

/// What has been in spaces, read once for all of them.
pub(super) struct Past {
    runs: HashMap<SpaceId, Vec<RunFacts>>,
    stops: HashMap<SpaceId, Vec<LifeStop>>,
    starts: HashMap<SpaceId, PageStart>,
    now: OffsetDateTime,
}

impl Past {
    pub(super) async fn read(site: &Site, spaces: &[SpaceId], now: OffsetDateTime) -> Result<Self, Problem> {
        let within = shown_time(now);
        let mut runs = HashMap::<SpaceId, Vec<RunFacts>>::new();
        for run in site.store.runs_in(spaces, within).await? {
            runs.entry(run.space).or_default().push(run);
        }
        let mut stops = HashMap::<SpaceId, Vec<LifeStop>>::new();
        for stop in site.store.stops_since(spaces, within.from).await? {
            stops.entry(stop.space).or_default().push(stop);
        }
        Ok(Self { runs, stops, starts: site.store.starts(spaces).await?, now })
    }

    fn bands(&mut self, space: SpaceId) -> Vec<Band> {
        let runs = self.runs.remove(&space).unwrap_or_default();
        bands(&runs, shown_time(self.now), self.now, LATE)
    }

    /// What a view of a space is made from beside its report. The bands are handed out once.
    pub(super) fn around<'a>(
        &'a mut self,
        site: &'a Site,
        person: &'a Person,
        own: &[Space],
        report: &Report,
        may_use: bool,
    ) -> Around<'a> {
        let space = &report.space;
        let bands = self.bands(space.id);
        Around {
            user: &person.who.user,
            wall: person.wall(report.now),
            may_use,
            may_stop: may_stop(&person.who.user, may_use),
            target: shortest(space, own),
            address: &site.address,
            start: self.starts.get(&space.id),
            bands,
            stops: self.stops.get(&space.id).into_iter().flatten().collect(),
            longest_hold: site.gateway.longest_hold(),
        }
    }
}

fn summary(reports: &[Report]) -> String {
    let up: Vec<&Report> = reports.iter().filter(|report| report.up().is_some()).collect();
    let is_near = |report: &&&Report| report.up().and_then(due).is_some_and(|at| at - report.now < SOON);
    let nearing = up.iter().filter(is_near).count();
    let hourly: Money = up.iter().filter_map(|report| report.price).sum();
    let unpriced = up.iter().any(|report| report.price.is_none());
    let cost = match (hourly == Money::ZERO, unpriced) {
        (true, _) => "at a price that is not known".to_owned(),
        (false, false) => format!("and cost {hourly} an hour together"),
        (false, true) => format!("and cost at least {hourly} an hour together"),
    };
    let first = match (reports.len(), up.len()) {
        (0, _) => return String::new(),
        (_, 0) => return "Nothing runs, and nothing but storage costs money.".to_owned(),
        (_, 1) => format!("One is up {}.", cost.replace("cost ", "costs ").replace(" together", "")),
        (_, n) => format!("{n} are up {cost}."),
    };
    match nearing {
        0 => first,
        1 if up.len() == 1 => format!("{first} It stops soon unless someone uses it."),
        1 => format!("{first} One of them stops soon unless someone uses it."),
        n => format!("{first} {n} of them stop soon unless someone uses them."),
    }
}

fn soon(reports: &[Report], wall: &WallClock) -> Option<Soon> {
    let now = wall.now();
    let stops = reports.iter().filter_map(|report| Some((report.up().and_then(due)?, report)));
    let (at, report) = stops.min_by_key(|(at, _)| *at).filter(|(at, _)| *at - now < SOON)?;
    let space = &report.space;
    Some(Soon {
        name: space.name().to_string(),
        path: format!("/spaces/{}/{}", space.domain, space.name()),
        at: wall.clock(at),
        left: rough(at - now),
    })
}

fn figures(month: &Cost, today: &Cost) -> Figures {
    let total = month.total();
    Figures {
        month: month.shown(),
        idle: shown(month.spent.idle, month.unpriced_us.idle > 0),
        idle_share: month.spent.idle.percent_of(total).map(|share| format!("{share} %")),
        today: today.shown(),
        saved: month.saved.to_string(),
        saved_rule: SAVED_RULE,
    }
}

/// The clock over the strips: a tick each six hours, and now.
fn axis(wall: &WallClock) -> Vec<(String, String)> {
    let span = shown_time(wall.now());
    let whole = (span.until - span.from).as_seconds_f64();
    let place = |at: OffsetDateTime| (at - span.from).as_seconds_f64() / whole * 100.0;
    let here = place(wall.now());
    let ticks = wall.zone().six_hours(span);
    let mut axis: Vec<(String, String)> = ticks
        .filter(|at| (place(*at) - here).abs() > 6.0 && place(*at) > 3.0)
        .map(|at| (format!("{:.3}%", place(at)), wall.clock(at).chars().take(2).collect()))
        .collect();
    axis.push((format!("{here:.3}%"), "now".to_owned()));
    axis
}
