//! One space: what it is doing and why, its week, what that cost; and what people do to it.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::spaces::{LATE, Past, done};
use super::{Bar, Problem, page_of};
use crate::domain::bands::bands;
use crate::domain::client;
use crate::domain::cost::{Cost, SpellKind, shown};
use crate::domain::day::Day;
use crate::domain::grant::{Reason, Term};
use crate::domain::idle::Trigger;
use crate::domain::ids::{DomainAlias, InstanceType, SpaceName};
use crate::domain::money::Money;
use crate::domain::space::Space;
use crate::domain::span::Span;
use crate::domain::user::Role;
use crate::gateway::idle::Stopping;
use crate::gateway::{Asker, Report, StartWish, Started};
use crate::ssh::told;
use crate::store::spaces::{LifeStop, PastSession};
use crate::web::show::{When, clock, length};
use crate::web::site::Site;
use crate::web::space_view::{SpaceView, six_hours};
use crate::web::strip::{Bar as Band, Frame, Strip, sum};
use crate::web::tell::due;
use crate::web::visit::Person;

/// Days that the page shows.
const DAYS: i64 = 7;
/// How high a day's bands are, in px.
const HEIGHT: f64 = 16.0;
/// Sessions that the page lists, and those that its drawing may have.
const RECENT: usize = 8;
const DRAWN: u32 = 500;
/// Rows of sessions below a day's bands.
const ROWS: usize = 2;

/// A space's page.
type At = Path<(String, String)>;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Shown {
    done: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Wish {
    #[serde(rename = "for", default)]
    lasts: String,
    #[serde(default)]
    because: String,
    #[serde(default)]
    force: String,
    #[serde(rename = "type", default)]
    instance_type: String,
    #[serde(default)]
    back: String,
}

#[derive(Template)]
#[template(path = "space.html")]
struct SpacePage {
    bar: Option<Bar>,
    done: Option<String>,
    problem: Option<String>,
    view: SpaceView,
    looked_at: Option<When>,
    policy: Option<String>,
    days: Vec<DayRow>,
    days_up: String,
    days_cost: String,
    evidence: Vec<Ground>,
    month: Month,
    sessions: Vec<SessionRow>,
    stops: Vec<StopRow>,
    zone: String,
    fresh_s: u32,
}

struct DayRow {
    /// `Tue 24`, and the month for where there is room.
    name: String,
    month: String,
    strip: Strip,
    height: u32,
    up: String,
    cost: String,
}

struct Ground {
    at: When,
    word: &'static str,
    what: String,
}

struct Month {
    total: String,
    hours: String,
    kinds: Vec<Kind>,
    storage: String,
    share: Vec<Band>,
    share_label: String,
    at_least: bool,
}

struct Kind {
    class: &'static str,
    word: &'static str,
    hours: String,
    cost: String,
}

struct SessionRow {
    /// Its page, for who may see it.
    path: Option<String>,
    began: When,
    user: String,
    client: String,
    lasted: String,
    ended: Option<String>,
}

struct StopRow {
    at: When,
    why: String,
}

/// A space, and whether the person may use it or only see it.
struct Found {
    space: Space,
    may_use: bool,
}

/// The space that an address names, if the person may know of it.
fn find(site: &Site, person: &Person, (domain, name): &(String, String)) -> Result<Found, Problem> {
    let (Ok(domain), Ok(name)) = (domain.parse::<DomainAlias>(), name.parse::<SpaceName>()) else {
        return Err(Problem::NotFound);
    };
    let user = &person.who.user;
    if let Some(space) = site.gateway.space(user, &domain, &name) {
        return Ok(Found { space, may_use: true });
    }
    let sees_everybody = user.role >= Role::Auditor;
    let seen =
        site.gateway.every_space().into_iter().find(|space| space.domain == domain && *space.name() == name);
    let space = seen.filter(|_| sees_everybody).ok_or(Problem::NotFound)?;
    Ok(Found { space, may_use: false })
}

/// The page.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    Query(shown): Query<Shown>,
) -> Result<Response, Problem> {
    let found = find(&site, &person, &at)?;
    page(&site, &person, &found, done(shown.done.as_deref()), None).await
}

/// Holds it, or lets go of it.
pub(in crate::web) async fn hold(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = usable(&site, &person, &at)?;
    let length = match wish.lasts.as_str() {
        "off" => None,
        time => match time.parse::<Term>().ok().and_then(|term| term.within(Duration::MAX).ok()) {
            Some(length) => Some(length),
            None => return Err(Problem::Form),
        },
    };
    let reason = match wish.because.parse::<Reason>() {
        Ok(reason) => reason.as_str().to_owned(),
        Err(_) if wish.because.trim().is_empty() => String::new(),
        Err(why) => return refused(&site, &person, &found, format!("It is not held: {why}.")).await,
    };
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    match site.gateway.hold(&asker, &found.space, (length, &reason)).await {
        Ok(held) => Ok(back(&found, &wish, if held.until.is_some() { "held" } else { "released" })),
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

/// Stops it.
pub(in crate::web) async fn stop(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = usable(&site, &person, &at)?;
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    match site.gateway.stop(&asker, &found.space, wish.force == "yes").await {
        Ok(stopped) if stopped.outcome == Stopping::Stopping => Ok(back(&found, &wish, "stopping")),
        Ok(stopped) => {
            let name = found.space.name().as_str();
            let why = told::not_stopped(&stopped.outcome, name, found.space.state());
            refused(&site, &person, &found, why).await
        }
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

/// Starts it, on another instance type if one is named.
pub(in crate::web) async fn start(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wish) = form.map_err(|_| Problem::Form)?;
    let found = usable(&site, &person, &at)?;
    let instance_type = match wish.instance_type.trim() {
        "" => None,
        text => match text.parse::<InstanceType>() {
            Ok(instance_type) => Some(instance_type),
            Err(_) => {
                let why = format!("“{text}” is no instance type. Write one such as ml.m5.xlarge.");
                return refused(&site, &person, &found, why).await;
            }
        },
    };
    let asker = Asker::on_page(&person.who.user, person.visitor.address);
    let start = StartWish { instance_type, force: wish.force == "yes" };
    let (name, clock, address) =
        (found.space.name().to_string(), Arc::clone(&site.clock), site.address.clone());
    let tell = move |error: &crate::gateway::AskError| told::refusal(error, &name, clock.now(), &address);
    match site.gateway.start_alone(&asker, &found.space, &start, tell).await {
        Ok(Started::Now) => Ok(back(&found, &wish, "starting")),
        Ok(Started::Already) => Ok(back(&found, &wish, "up")),
        Err(error) => refused(&site, &person, &found, words(&site, &found, &error)).await,
    }
}

/// The space, if the person may use it: who only sees it finds nothing to press.
fn usable(site: &Site, person: &Person, at: &(String, String)) -> Result<Found, Problem> {
    find(site, person, at).and_then(|found| if found.may_use { Ok(found) } else { Err(Problem::NotFound) })
}

fn words(site: &Site, found: &Found, error: &crate::gateway::AskError) -> String {
    told::refusal(error, found.space.name().as_str(), site.clock.now(), &site.address)
}

/// To the page that the form was on.
fn back(found: &Found, wish: &Wish, done: &str) -> Response {
    let space = &found.space;
    let path = if wish.back == "home" {
        "/spaces".to_owned()
    } else {
        format!("/spaces/{}/{}", space.domain, space.name())
    };
    Redirect::to(&format!("{path}?done={done}")).into_response()
}

async fn refused(site: &Site, person: &Person, found: &Found, problem: String) -> Result<Response, Problem> {
    let page = page(site, person, found, None, Some(problem)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn page(
    site: &Site,
    person: &Person,
    found: &Found,
    done: Option<String>,
    problem: Option<String>,
) -> Result<Response, Problem> {
    let Found { space, may_use } = found;
    let report = site.gateway.report(space).await.map_err(Problem::ask)?;
    let now = report.now;
    let mut past = Past::read(site, &[space.id], now).await?;
    let own = site.gateway.spaces(&person.who.user);
    let view = SpaceView::of(&report, past.around(site, person, &own, &report, *may_use));
    let week = Week::read(site, &report).await?;
    let total: Cost = week.costs.iter().copied().sum();
    let sessions =
        week.sessions.iter().take(RECENT).map(|session| session_row(session, person, now)).collect();
    Ok(page_of(&SpacePage {
        bar: Some(Bar::of(person, "/spaces")),
        done,
        problem,
        looked_at: report.up().and_then(|up| up.looked_at).map(|at| When::at(at, now)),
        policy: report.up().map(|up| up.rule.scope.to_string()),
        days: week.rows(&report),
        days_up: hours(total.time_us.total()),
        days_cost: total.shown(),
        evidence: evidence(&report),
        month: month(&report.month),
        sessions,
        stops: week.stops.iter().take(RECENT).map(|stop| stop_row(stop, now)).collect(),
        zone: site.gateway.cost_zone().to_string(),
        fresh_s: if view.moves() { 3 } else { 20 },
        view,
    }))
}

/// What happened in the last days.
struct Week {
    days: Vec<Day>,
    costs: Vec<Cost>,
    runs: Vec<crate::domain::cost::RunFacts>,
    sessions: Vec<PastSession>,
    stops: Vec<LifeStop>,
}

impl Week {
    async fn read(site: &Site, report: &Report) -> Result<Self, Problem> {
        let (space, now, zone) = (report.space.id, report.now, site.gateway.cost_zone());
        let today = zone.date(now);
        let mut days = zone.days(today - time::Duration::days(DAYS - 1), today);
        days.reverse();
        let from = days.last().map_or(now, |day| day.begins_at);
        let within = Span { from, until: now };
        Ok(Self {
            costs: site.gateway.days_of_space(space, &days).await.map_err(Problem::ask)?,
            runs: site.store.runs_in(&[space], within).await?,
            sessions: site.store.sessions_in_space(space, within, DRAWN).await?,
            stops: site.store.stops_since(&[space], from).await?,
            days,
        })
    }

    fn rows(&self, report: &Report) -> Vec<DayRow> {
        self.days.iter().zip(&self.costs).map(|(day, cost)| self.row(report, day, cost)).collect()
    }

    fn row(&self, report: &Report, day: &Day, cost: &Cost) -> DayRow {
        let (now, span) = (report.now, Span { from: day.begins_at, until: day.ends_at });
        let frame = Frame { span, height: HEIGHT };
        let bands = bands(&self.runs, span, now, LATE);
        let name = day.date.format(format_description!("[weekday repr:short] [day padding:none]"));
        let month = day.date.format(format_description!("[month repr:short]"));
        let (name, month) = (name.unwrap_or_default(), month.unwrap_or_default());
        let sessions = self.lines(frame, now);
        let stops = self
            .stops
            .iter()
            .filter_map(|stop| frame.mark(stop.ended_at, format!("Stopped {}", clock(stop.ended_at))));
        DayRow {
            strip: Strip {
                label: format!("{name} {month}: {}", sum(&bands)),
                bars: frame.bars(&bands),
                sessions,
                stops: stops.collect(),
                plan: report
                    .up()
                    .and_then(due)
                    .and_then(|at| frame.mark(at, format!("Planned stop {}", clock(at)))),
                now: frame.now(now),
                grid: frame.grid(six_hours(span)),
            },
            name,
            month,
            height: 27,
            up: hours(cost.time_us.total()),
            cost: cost.shown(),
        }
    }

    /// Sessions of a day, in as many rows as there are: those that find none are left out of the drawing.
    fn lines(&self, frame: Frame, now: OffsetDateTime) -> Vec<Band> {
        let mut rows = [frame.span.from; ROWS];
        let mut lines = Vec::new();
        for session in self.sessions.iter().rev() {
            let until = session.ended_at.unwrap_or(now).min(frame.span.until);
            let from = session.started_at.max(frame.span.from);
            if from >= until {
                continue;
            }
            let Some((row, end)) = rows.iter_mut().enumerate().find(|(_, end)| **end <= from) else {
                continue;
            };
            *end = until;
            let ended = session.ended_at.map_or("now".to_owned(), clock);
            let title = format!(
                "Session of {}, {}, {} to {ended}",
                session.user,
                client::name(&session.client_version),
                clock(session.started_at)
            );
            lines.push(frame.below(Span { from, until }, u8::try_from(row).unwrap_or_default(), title));
        }
        lines
    }
}

fn evidence(report: &Report) -> Vec<Ground> {
    let now = report.now;
    let grounds = report.grounds().iter();
    grounds
        .map(|ground| Ground {
            at: When::second(ground.at, now),
            word: ground.word,
            what: ground.what.clone(),
        })
        .collect()
}

fn session_row(session: &PastSession, person: &Person, now: OffsetDateTime) -> SessionRow {
    let user = &person.who.user;
    let seen = user.role >= Role::Auditor || session.user_id == user.id;
    SessionRow {
        path: seen.then(|| format!("/sessions/{}", session.id)),
        began: When::at(session.started_at, now),
        user: session.user.clone(),
        client: client::name(&session.client_version),
        lasted: length(session.ended_at.unwrap_or(now) - session.started_at),
        ended: session.ended_at.map(|_| session.end_reason.clone().unwrap_or_default()),
    }
}

fn stop_row(stop: &LifeStop, now: OffsetDateTime) -> StopRow {
    let why = match &stop.trigger {
        Some(Trigger::Idle { since, over_longest_run }) => {
            let why = if *over_longest_run { ", its longest run was over" } else { "" };
            let (since, warned) = (When::at(*since, now).text, When::at(stop.begun_at, now).text);
            format!("Idle since {since}{why}, warned {warned}, no answer")
        }
        Some(Trigger::Person { by }) => format!("Stopped by {by}"),
        None => "Stopped by Spaceport".to_owned(),
    };
    StopRow { at: When::at(stop.ended_at, now), why }
}

fn month(cost: &Cost) -> Month {
    let kinds = [
        ("active", "Active", SpellKind::Active),
        ("idle", "Idle", SpellKind::Idle),
        ("unknown", "Unknown", SpellKind::Unknown),
    ];
    let of = |kind: SpellKind| match kind {
        SpellKind::Active => (cost.time_us.active, cost.spent.active, cost.unpriced_us.active),
        SpellKind::Idle => (cost.time_us.idle, cost.spent.idle, cost.unpriced_us.idle),
        SpellKind::Unknown => (cost.time_us.unknown, cost.spent.unknown, cost.unpriced_us.unknown),
    };
    let whole = cost.time_us.total().max(1) as f64;
    let (mut share, mut at, mut said) = (Vec::new(), 0.0, Vec::new());
    for (class, word, kind) in kinds {
        let part = of(kind).0 as f64 / whole * 100.0;
        if part > 0.0 {
            share.push(Band::of_share(class, at, part));
            said.push(format!("{} {part:.0} per cent", word.to_lowercase()));
        }
        at += part;
    }
    Month {
        total: cost.shown(),
        hours: hours(cost.time_us.total()),
        kinds: kinds
            .into_iter()
            .map(|(class, word, kind)| {
                let (time_us, spent, unpriced) = of(kind);
                Kind { class, word, hours: hours(time_us), cost: shown(spent, unpriced > 0) }
            })
            .collect(),
        storage: if cost.storage_unpriced_us > 0 && cost.storage == Money::ZERO {
            "unknown".to_owned()
        } else {
            cost.storage.to_string()
        },
        share,
        share_label: if said.is_empty() { "It did not run".to_owned() } else { said.join(", ") },
        at_least: cost.at_least(),
    }
}

fn hours(time_us: i64) -> String {
    if time_us == 0 { "–".to_owned() } else { length(time::Duration::microseconds(time_us)) }
}
