//! One space: what it is doing and why, its week, what that cost; and what people do to it (`acts`).

mod acts;
mod week;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

pub(in crate::web) use self::acts::{hold, start, stop};
use self::week::{DayRow, Week};
use super::spaces::{Past, done};
use super::{Bar, Problem, page_of};
use crate::domain::client;
use crate::domain::cost::{Cost, SpellKind, shown};
use crate::domain::idle::Trigger;
use crate::domain::money::Money;
use crate::domain::user::Role;
use crate::gateway::Report;
use crate::store::spaces::{LifeStop, PastSession};
use crate::web::find::{At, Found, find};
use crate::web::live::spaces::{Of, address};
use crate::web::show::{WallClock, When, length};
use crate::web::site::Site;
use crate::web::space_view::SpaceView;
use crate::web::strip::Bar as Band;
use crate::web::visit::Person;

/// Sessions and stops that the page lists.
const RECENT: usize = 8;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Shown {
    done: Option<String>,
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
    /// The zone of days and months of costs, if it is another than that of times.
    costs_of: Option<String>,
    fresh_s: u32,
    live: String,
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

/// The page.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(at): At,
    Query(shown): Query<Shown>,
) -> Result<Response, Problem> {
    let found = find(&site, &person.who.user, &at).ok_or(Problem::NotFound)?;
    page(&site, &person, &found, done(shown.done.as_deref()), None).await
}

async fn page(
    site: &Site,
    person: &Person,
    found: &Found,
    done: Option<String>,
    problem: Option<String>,
) -> Result<Response, Problem> {
    let Found { space, may_use, .. } = found;
    let live = address(site, &person.who.user, Of::Space(space.id)).await?;
    let report = site.gateway.report(space).await.map_err(Problem::ask)?;
    let wall = person.wall(report.now);
    let mut past = Past::read(site, &[space.id], report.now).await?;
    let own = site.gateway.spaces(&person.who.user);
    let view = SpaceView::of(&report, past.around(site, person, &own, &report, *may_use));
    let week = Week::read(site, &report, &wall).await?;
    let days = week.rows(&report, &wall);
    let total: Cost = week.costs.iter().flatten().copied().sum();
    let sessions =
        week.sessions.iter().take(RECENT).map(|session| session_row(session, person, &wall)).collect();
    Ok(page_of(&SpacePage {
        bar: Some(Bar::of(person, "/spaces")),
        done,
        problem,
        looked_at: report.up().and_then(|up| up.looked_at).map(|at| When::at(at, &wall)),
        policy: report.up().map(|up| up.rule.scope.to_string()),
        days_up: hours(days.iter().map(|day| day.up_for).sum()),
        days,
        days_cost: total.shown(),
        evidence: evidence(&report, &wall),
        month: month(&report.month),
        sessions,
        stops: week.stops.iter().take(RECENT).map(|stop| stop_row(stop, &wall)).collect(),
        costs_of: wall.other(site.gateway.cost_zone()),
        fresh_s: if view.moves() { 3 } else { 20 },
        live,
        view,
    }))
}

fn evidence(report: &Report, wall: &WallClock) -> Vec<Ground> {
    let grounds = report.grounds().iter();
    grounds
        .map(|ground| Ground {
            at: When::second(ground.at, wall),
            word: ground.word,
            what: ground.what.clone(),
        })
        .collect()
}

fn session_row(session: &PastSession, person: &Person, wall: &WallClock) -> SessionRow {
    let user = &person.who.user;
    let seen = user.role >= Role::Auditor || session.user_id == user.id;
    SessionRow {
        path: seen.then(|| format!("/sessions/{}", session.id)),
        began: When::at(session.started_at, wall),
        user: session.user.clone(),
        client: client::name(&session.client_version),
        lasted: length(session.ended_at.unwrap_or(wall.now()) - session.started_at),
        ended: session.ended_at.map(|_| session.end_reason.clone().unwrap_or_default()),
    }
}

fn stop_row(stop: &LifeStop, wall: &WallClock) -> StopRow {
    let why = match &stop.trigger {
        Some(Trigger::Idle { since, over_longest_run }) => {
            let why = if *over_longest_run { ", its longest run was over" } else { "" };
            let (since, warned) = (When::at(*since, wall).text, When::at(stop.begun_at, wall).text);
            format!("Idle since {since}{why}, warned {warned}, no answer")
        }
        Some(Trigger::Person { by }) => format!("Stopped by {by}"),
        None => "Stopped by Spaceport".to_owned(),
    };
    StopRow { at: When::at(stop.ended_at, wall), why }
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
        hours: hours(time::Duration::microseconds(cost.time_us.total())),
        kinds: kinds
            .into_iter()
            .map(|(class, word, kind)| {
                let (time_us, spent, unpriced) = of(kind);
                Kind {
                    class,
                    word,
                    hours: hours(time::Duration::microseconds(time_us)),
                    cost: shown(spent, unpriced > 0),
                }
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

fn hours(time: time::Duration) -> String {
    if time.is_zero() { "–".to_owned() } else { length(time) }
}
