//! The last days of a space: what each was spent on, who was in it, when it was stopped.

use time::macros::format_description;

use super::hours;
use crate::domain::bands::bands;
use crate::domain::client;
use crate::domain::cost::{Cost, RunFacts};
use crate::domain::day::Day;
use crate::domain::span::Span;
use crate::gateway::Report;
use crate::store::spaces::{LifeStop, PastSession};
use crate::web::pages::Problem;
use crate::web::pages::spaces::LATE;
use crate::web::show::WallClock;
use crate::web::site::Site;
use crate::web::strip::{Bar as Band, Frame, Strip, sum};
use crate::web::tell::due;

/// Days that the page shows.
const DAYS: i64 = 7;
/// How high a day's bands are, in px.
const HEIGHT: f64 = 16.0;
/// Sessions that the drawing may have.
const DRAWN: u32 = 500;
/// Rows of sessions below a day's bands.
const ROWS: usize = 2;

/// One day.
pub(super) struct DayRow {
    /// `Tue 24`, and the month for where there is room.
    pub(super) name: String,
    pub(super) month: String,
    pub(super) strip: Strip,
    pub(super) height: u32,
    pub(super) up_for: time::Duration,
    pub(super) up: String,
    pub(super) cost: String,
}

/// What happened in the last days.
pub(super) struct Week {
    /// Days of the reader's clock.
    pub(super) days: Vec<Day>,
    /// What the days of the same dates have cost, where it is that day already whose costs are counted.
    pub(super) costs: Vec<Option<Cost>>,
    pub(super) runs: Vec<RunFacts>,
    pub(super) sessions: Vec<PastSession>,
    pub(super) stops: Vec<LifeStop>,
}

impl Week {
    pub(super) async fn read(site: &Site, report: &Report, wall: &WallClock) -> Result<Self, Problem> {
        let (space, now, today) = (report.space.id, report.now, wall.today());
        let mut days = wall.zone().days(today - time::Duration::days(DAYS - 1), today);
        days.reverse();
        let from = days.last().map_or(now, |day| day.begins_at);
        let within = Span { from, until: now };
        // Costs are counted by days of their own, so that everybody reads the same sums.
        let begun = site.gateway.cost_zone().date(now);
        let costs = site.gateway.days_of_space(space, &days).await.map_err(Problem::ask)?;
        let costs = days.iter().zip(costs).map(|(day, cost)| (day.date <= begun).then_some(cost)).collect();
        Ok(Self {
            costs,
            runs: site.store.runs_in(&[space], within).await?,
            sessions: site.store.sessions_in_space(space, within, DRAWN).await?,
            stops: site.store.stops_since(&[space], from).await?,
            days,
        })
    }

    pub(super) fn rows(&self, report: &Report, wall: &WallClock) -> Vec<DayRow> {
        let days = self.days.iter().zip(&self.costs);
        days.map(|(day, cost)| self.row(report, wall, (day, cost.as_ref()))).collect()
    }

    fn row(&self, report: &Report, wall: &WallClock, (day, cost): (&Day, Option<&Cost>)) -> DayRow {
        let span = Span { from: day.begins_at, until: day.ends_at };
        let frame = Frame { span, wall, height: HEIGHT };
        let bands = bands(&self.runs, span, wall.now(), LATE);
        let up: time::Duration = bands.iter().map(|band| band.span.until - band.span.from).sum();
        let name = day.date.format(format_description!("[weekday repr:short] [day padding:none]"));
        let month = day.date.format(format_description!("[month repr:short]"));
        let (name, month) = (name.unwrap_or_default(), month.unwrap_or_default());
        let stops = self.stops.iter().filter_map(|stop| frame.mark(stop.ended_at, "Stopped"));
        DayRow {
            strip: Strip {
                label: format!("{name} {month}: {}", sum(&bands)),
                bars: frame.bars(&bands),
                sessions: self.lines(frame),
                stops: stops.collect(),
                plan: report.up().and_then(due).and_then(|at| frame.mark(at, "Planned stop")),
                now: frame.now(),
                grid: frame.grid(),
            },
            name,
            month,
            height: 27,
            up_for: up,
            up: hours(up),
            cost: cost.map_or_else(|| "–".to_owned(), Cost::shown),
        }
    }

    /// Sessions of a day, in as many rows as there are: those that find none are left out of the drawing.
    fn lines(&self, frame: Frame<'_>) -> Vec<Band> {
        let wall = frame.wall;
        let mut rows = [frame.span.from; ROWS];
        let mut lines = Vec::new();
        for session in self.sessions.iter().rev() {
            let until = session.ended_at.unwrap_or(wall.now()).min(frame.span.until);
            let from = session.started_at.max(frame.span.from);
            if from >= until {
                continue;
            }
            let Some((row, end)) = rows.iter_mut().enumerate().find(|(_, end)| **end <= from) else {
                continue;
            };
            *end = until;
            let ended = session.ended_at.map_or("now".to_owned(), |at| wall.clock(at));
            let title = format!(
                "Session of {}, {}, {} to {ended}",
                session.user,
                client::name(&session.client_version),
                wall.clock(session.started_at)
            );
            lines.push(frame.below(Span { from, until }, u8::try_from(row).unwrap_or_default(), title));
        }
        lines
    }
}
