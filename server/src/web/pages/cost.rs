//! What spaces cost in a month, for auditors and admins: the numbers of `spaceport cost`, by the same functions.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::{Bar, Problem, page_of};
use crate::domain::budget::Budget;
use crate::domain::cost::{
    By, Cost, CostTerms, Line, Month, Payers, Row, SAVED_RULE, SpaceFacts, at_this_pace, csv, grouped,
};
use crate::domain::day::written_day;
use crate::domain::money::Money;
use crate::store::StoreError;
use crate::store::cost::Whose;
use crate::web::amounts::{about, dollars, hours, known, percent};
use crate::web::chart::{Chart, Day, Rect, parts, share};
use crate::web::site::Site;
use crate::web::visit::{Onlooker, Person};

/// How lines are gathered, each with the words of its link.
const WAYS: [(By, &str); 3] = [(By::User, "By user"), (By::Space, "By space"), (By::Team, "By team")];

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Asked {
    month: Option<String>,
    by: Option<String>,
}

#[derive(Template)]
#[template(path = "cost.html")]
struct CostPage {
    bar: Option<Bar>,
    month: String,
    month_words: String,
    summary: String,
    by: By,
    ways: Vec<Way>,
    zone: String,
    /// The same, if it is another than that of times.
    costs_of: Option<String>,
    nothing: bool,
    figures: Figures,
    chart: Chart,
    days: Vec<LineRow>,
    lines: Vec<LineRow>,
    total: LineRow,
    head: String,
    budgets: Vec<BudgetRow>,
    saved: Saved,
    unpriced: Vec<String>,
}

struct Way {
    by: By,
    text: &'static str,
    here: bool,
}

struct Figures {
    total: String,
    /// Each with its mark, its name, its amount and its part of all.
    parts: [(&'static str, &'static str, String, String); 4],
    unpriced: Option<String>,
}

struct LineRow {
    label: String,
    up: String,
    share: Vec<Rect>,
    active: String,
    idle: String,
    unknown: String,
    storage: String,
    sum: String,
    part: String,
}

struct BudgetRow {
    of: String,
    spent: String,
    limit: String,
    part: String,
    then: &'static str,
}

struct Saved {
    amount: String,
    rule: &'static str,
    unpriced: u32,
}

/// A month, counted.
pub(in crate::web) struct Counted {
    pub(in crate::web) month: Month,
    pub(in crate::web) by: By,
    now: OffsetDateTime,
    today: Date,
    pub(in crate::web) payers: Payers,
    pub(in crate::web) spaces: Vec<SpaceFacts>,
    pub(in crate::web) rows: Vec<Row>,
    pub(in crate::web) lines: Vec<Line>,
    pub(in crate::web) total: Cost,
}

impl Asked {
    async fn counted(&self, site: &Site) -> Result<Counted, Problem> {
        // A form whose month was emptied asks for the one that runs.
        let written = self.month.as_deref().filter(|month| !month.is_empty());
        let month = written.map(str::parse).transpose().map_err(|_| Problem::Form)?;
        let by = self.by.as_deref().map_or(Ok(By::User), str::parse).map_err(|_| Problem::Form)?;
        Ok(count(site, month, by).await?)
    }
}

/// Counts a month, the one that runs if none is named.
pub(in crate::web) async fn count(site: &Site, month: Option<Month>, by: By) -> Result<Counted, StoreError> {
    let (now, terms) = (site.clock.now(), &site.ledger.costs.terms);
    let today = terms.zone.date(now);
    let month = month.unwrap_or_else(|| Month::of(today));
    let days = (month.first(), month.last().min(today));
    let costs = site.store.costs(terms, &Whose::Everybody, days, now).await?;
    let payers = Payers::of(&site.identity.everybody().borrow());
    let (lines, total) = grouped(&costs.rows, &costs.spaces, &payers, by);
    Ok(Counted { month, by, now, today, payers, spaces: costs.spaces, rows: costs.rows, lines, total })
}

/// A month.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let counted = asked.counted(&site).await?;
    let costs = &site.ledger.costs;
    Ok(page_of(&page(&counted, &costs.terms, &costs.budgets, &person)))
}

/// The same lines for machines, as `spaceport cost --csv` has them.
pub(in crate::web) async fn export(
    State(site): State<Arc<Site>>,
    Onlooker(_): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let Counted { month, by, lines, total, .. } = asked.counted(&site).await?;
    let name = format!("attachment; filename=\"spaceport-cost-{month}-by-{by}.csv\"");
    let kind =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((kind, csv::file(by, &lines, &total)).into_response())
}

fn page(counted: &Counted, terms: &CostTerms, budgets: &[Budget], person: &Person) -> CostPage {
    let Counted { month, by, total, .. } = counted;
    let (days, _) = grouped(&counted.rows, &counted.spaces, &counted.payers, By::Day);
    let words = month.first().format(format_description!("[month repr:long] [year]")).unwrap_or_default();
    let ways = WAYS.map(|(way, text)| Way { by: way, text, here: way == *by });
    let line = |line: &Line| line_row(&line.label, &line.cost, total);
    CostPage {
        bar: Some(Bar::of(person, "/cost")),
        month: month.to_string(),
        summary: summary(counted, terms),
        by: *by,
        ways: ways.into(),
        zone: terms.zone.to_string(),
        costs_of: person.wall(counted.now).other(&terms.zone),
        nothing: total.total() == Money::ZERO && !total.at_least(),
        figures: figures(total),
        chart: chart(counted, &days, &words),
        days: days.iter().map(|line| line_row(&day_words(&line.label), &line.cost, total)).collect(),
        lines: counted.lines.iter().map(line).collect(),
        total: line_row("All", total, total),
        head: match by {
            By::Day => "Day",
            By::User => "User",
            By::Space => "Space",
            By::Team => "Team",
        }
        .to_owned(),
        budgets: budgets.iter().map(|budget| budget_row(budget, counted)).collect(),
        saved: Saved {
            amount: match (total.saved_unpriced, total.saved) {
                (1.., Money::ZERO) => "unknown".to_owned(),
                (_, saved) => format!("about {}", dollars(saved)),
            },
            rule: SAVED_RULE.trim_start_matches("estimate: "),
            unpriced: total.saved_unpriced,
        },
        unpriced: unpriced(counted),
        month_words: words,
    }
}

fn summary(counted: &Counted, terms: &CostTerms) -> String {
    let Counted { month, today, total, now, .. } = counted;
    if month.first() > *today {
        return "The month has not begun.".to_owned();
    }
    let runs = month.last() >= *today;
    let days = if runs { today.day() } else { month.length() };
    let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    let own = terms.domains.values().any(|terms| terms.discount_ppm > 0 || !terms.prices.is_empty());
    let prices = if own { "your account's prices" } else { "on-demand list price" };
    let pace = at_this_pace(total.total(), *month, &terms.zone, *now);
    let pace = pace.map(|ends| {
        let least = if total.at_least() { "at least " } else { "" };
        format!(" At this pace the month ends near {least}{}.", about(ends))
    });
    format!("{days}{}, {prices}.{}", if runs { " so far" } else { "" }, pace.unwrap_or_default())
}

fn figures(total: &Cost) -> Figures {
    let (spent, unpriced, all) = (&total.spent, &total.unpriced_us, total.total());
    let part = |amount: Money, unpriced: i64| (known(amount, unpriced > 0), percent(amount, all));
    let named = |mark, name, (amount, part)| (mark, name, amount, part);
    Figures {
        total: sum(total),
        parts: [
            named("active", "Active", part(spent.active, unpriced.active)),
            named("idle", "Idle", part(spent.idle, unpriced.idle)),
            named("unknown", "Unknown", part(spent.unknown, unpriced.unknown)),
            named("use", "Storage", part(total.storage, total.storage_unpriced_us)),
        ],
        unpriced: (unpriced.total() > 0).then(|| hours(unpriced.total())),
    }
}

/// Everything that has a price; `at least` it where something has none.
fn sum(cost: &Cost) -> String {
    match (cost.at_least(), cost.is_unknown()) {
        (_, true) => "unknown".to_owned(),
        (true, false) => format!("at least {}", dollars(cost.total())),
        (false, false) => dollars(cost.total()),
    }
}

fn line_row(label: &str, cost: &Cost, total: &Cost) -> LineRow {
    let (spent, unpriced) = (&cost.spent, &cost.unpriced_us);
    LineRow {
        label: label.to_owned(),
        up: hours(cost.time_us.total()),
        share: share(parts(cost)),
        active: known(spent.active, unpriced.active > 0),
        idle: known(spent.idle, unpriced.idle > 0),
        unknown: known(spent.unknown, unpriced.unknown > 0),
        storage: known(cost.storage, cost.storage_unpriced_us > 0),
        sum: sum(cost),
        part: percent(cost.total(), total.total()),
    }
}

/// `Tue 24` of a line's day.
fn day_words(label: &str) -> String {
    let day = written_day(label);
    let words =
        day.and_then(|day| day.format(format_description!("[weekday repr:short] [day padding:none]")).ok());
    words.unwrap_or_else(|| label.to_owned())
}

fn chart(counted: &Counted, lines: &[Line], month: &str) -> Chart {
    let of_day: HashMap<&str, &Cost> = lines.iter().map(|line| (line.label.as_str(), &line.cost)).collect();
    let last = counted.month.last().min(counted.today);
    let mut days = Vec::new();
    let mut date = counted.month.first();
    while date <= last {
        let cost = of_day.get(date.to_string().as_str()).copied().copied().unwrap_or_default();
        let words = day_words(&date.to_string());
        let monday = date.weekday() == time::Weekday::Monday;
        days.push(Day { title: title(&words, &cost), tick: monday.then_some(words), parts: parts(&cost) });
        let Some(next) = date.next_day() else { break };
        date = next;
    }
    let dearest = lines.iter().max_by_key(|line| line.cost.total());
    let finding = dearest.filter(|line| line.cost.total() > Money::ZERO).map_or_else(
        || "Nothing has cost anything that has a price.".to_owned(),
        |line| format!("The dearest day was {}, {}.", day_words(&line.label), dollars(line.cost.total())),
    );
    let label = format!("Cost by day in {month}. {finding} The table below has every number.");
    Chart::of(label, days, counted.month.length())
}

fn title(day: &str, cost: &Cost) -> String {
    let names = ["active", "idle", "unknown", "storage"];
    let amounts: Vec<String> =
        names.iter().zip(parts(cost)).map(|(name, amount)| format!("{name} {}", dollars(amount))).collect();
    format!("{day}: {}, {}", sum(cost), amounts.join(", "))
}

fn budget_row(budget: &Budget, counted: &Counted) -> BudgetRow {
    let spent = budget.spent(&counted.rows, &counted.spaces, &counted.payers);
    let over = spent.total() >= budget.limit();
    BudgetRow {
        of: budget.of.to_string(),
        spent: sum(&spent),
        limit: dollars(budget.limit()),
        part: percent(spent.total(), budget.limit()),
        then: match (budget.refuse_start, over) {
            (true, true) => "spent: starts are refused",
            (true, false) => "then starts are refused",
            (false, true) => "spent: people were told",
            (false, false) => "then people are told",
        },
    }
}

/// What has no known price, a sentence each.
fn unpriced(counted: &Counted) -> Vec<String> {
    let (lines, _) = grouped(&counted.rows, &counted.spaces, &counted.payers, By::Space);
    let mut sentences = Vec::new();
    for Line { label, cost } in &lines {
        let (ran, kept) = (cost.unpriced_us.total(), cost.storage_unpriced_us / 86_400_000_000);
        if ran > 0 {
            sentences.push(format!("{label} ran {} on an instance type without a known price.", hours(ran)));
        }
        if kept > 0 {
            sentences.push(format!("The volume of {label} has no known price or size for {kept} days."));
        }
    }
    sentences
}
