//! What spaces cost: runs, spells and prices become rows for each run and day, split into active, idle and unknown.
//!
//! Each microsecond of a run is in exactly one row and one kind, so that the three kinds make up the total by
//! construction, and sums are exact ([`Money`]). What no spell covers is unknown. Time without a known price is counted
//! apart, so that whoever shows an amount can say that it is at least that.

pub mod csv;
mod group;
mod pace;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use time::{Date, OffsetDateTime};

pub use group::{By, Line, Payer, Payers, grouped};
pub use pace::{Month, at_this_pace};
pub use saved::{SAVED_RULE, StopFacts, saved};

use super::day::{Day, Zone, next_month};
use super::ids::{DomainAlias, Region, RunId, SpaceId, UserProfileName};
use super::money::Money;
use super::price::{PriceTable, Rates, Terms, Usage, VOLUME};
use super::space::AppType;

/// What the time of a run was, by the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpellKind {
    /// A person or a job was at work.
    Active,
    /// Nobody was.
    Idle,
    /// Nobody knows.
    Unknown,
}

impl SpellKind {
    /// The word that rows keep.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }

    /// The kind that such a word stands for; unknown for any other.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        [Self::Active, Self::Idle].into_iter().find(|kind| kind.as_str() == word).unwrap_or(Self::Unknown)
    }
}

/// A time of one kind within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// From when.
    pub began_at: OffsetDateTime,
    /// Up to when.
    pub ended_at: OffsetDateTime,
    /// What it was.
    pub kind: SpellKind,
}

/// A run, as far as it costs money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The run.
    pub id: RunId,
    /// Its space.
    pub space: SpaceId,
    /// What ran.
    pub app_type: AppType,
    /// On what, where it is known.
    pub instance_type: Option<String>,
    /// From when.
    pub began_at: OffsetDateTime,
    /// Up to when, if it is over.
    pub ended_at: Option<OffsetDateTime>,
    /// Its spells in their order; they do not overlap.
    pub spells: Vec<Spell>,
}

/// A space, as far as it costs money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceFacts {
    /// The space.
    pub id: SpaceId,
    /// Its domain.
    pub domain: DomainAlias,
    /// Where it is.
    pub region: Region,
    /// What it is called.
    pub name: String,
    /// The user profile that owns it.
    pub owner: Option<UserProfileName>,
    /// Since when it is known: its volume is charged, whether it runs or not.
    pub first_seen_at: OffsetDateTime,
    /// Since when it is gone.
    pub deleted_at: Option<OffsetDateTime>,
    /// The size of its volume, where it is known.
    pub storage_gib: Option<u32>,
}

/// How costs are counted in this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostTerms {
    /// Whose days count.
    pub zone: Zone,
    /// What each domain's account pays otherwise than AWS's list says.
    pub domains: BTreeMap<DomainAlias, Terms>,
}

impl Default for CostTerms {
    fn default() -> Self {
        Self { zone: Zone::UTC, domains: BTreeMap::new() }
    }
}

/// What happened, and what it costs.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The spaces that the runs belong to, and those whose storage is charged.
    pub spaces: Vec<SpaceFacts>,
    /// The runs.
    pub runs: Vec<RunFacts>,
    /// What the gateway stopped for idleness.
    pub stops: Vec<StopFacts>,
    /// The prices.
    pub prices: PriceTable,
}

/// Something for each kind of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split<T> {
    /// While a person or a job was at work.
    pub active: T,
    /// While nobody was.
    pub idle: T,
    /// While nobody knows.
    pub unknown: T,
}

impl<T: AddAssign + Copy> Split<T> {
    /// All three together.
    #[must_use]
    pub fn total(&self) -> T {
        let mut total = self.active;
        total += self.idle;
        total += self.unknown;
        total
    }

    fn add(&mut self, kind: SpellKind, amount: T) {
        match kind {
            SpellKind::Active => self.active += amount,
            SpellKind::Idle => self.idle += amount,
            SpellKind::Unknown => self.unknown += amount,
        }
    }
}

impl<T: AddAssign> AddAssign for Split<T> {
    fn add_assign(&mut self, other: Self) {
        self.active += other.active;
        self.idle += other.idle;
        self.unknown += other.unknown;
    }
}

/// What something cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Microseconds that runs were up.
    pub time_us: Split<i64>,
    /// What of it has a price.
    pub spent: Split<Money>,
    /// Microseconds that runs were up at an unknown price.
    pub unpriced_us: Split<i64>,
    /// What storage cost.
    pub storage: Money,
    /// Microseconds that spaces existed whose storage has no known price or size.
    pub storage_unpriced_us: i64,
    /// What stops for idleness saved, by [`SAVED_RULE`]. It is no part of the total.
    pub saved: Money,
    /// How many such stops were of a run without a known price.
    pub saved_unpriced: u32,
}

impl Cost {
    /// Everything that has a price.
    #[must_use]
    pub fn total(&self) -> Money {
        self.spent.total() + self.storage
    }

    /// Whether the total leaves something out, because a price is unknown.
    #[must_use]
    pub fn at_least(&self) -> bool {
        self.unpriced_us.total() > 0 || self.storage_unpriced_us > 0
    }

    /// Whether nothing of it has a price.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.at_least() && self.total() == Money::ZERO
    }

    /// The total in words: `$41.33`, `at least $41.33`, or `unknown`.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(self.total(), self.at_least())
    }
}

/// An amount in words, of which part may be missing.
#[must_use]
pub fn shown(amount: Money, at_least: bool) -> String {
    match (at_least, amount == Money::ZERO) {
        (false, _) => amount.to_string(),
        (true, false) => format!("at least {amount}"),
        (true, true) => "unknown".to_owned(),
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.time_us += other.time_us;
        self.spent += other.spent;
        self.unpriced_us += other.unpriced_us;
        self.storage += other.storage;
        self.storage_unpriced_us += other.storage_unpriced_us;
        self.saved += other.saved;
        self.saved_unpriced += other.saved_unpriced;
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |mut sum, cost| {
            sum += cost;
            sum
        })
    }
}

/// What one run, or the storage of one space, cost on one day, or what its stop on that day saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The day.
    pub date: Date,
    /// The space.
    pub space: SpaceId,
    /// The run; nothing for storage.
    pub run: Option<RunId>,
    /// What it cost.
    pub cost: Cost,
}

/// Rows of every run and day, and of every space's storage and day. What is later than `now` has not happened yet.
#[must_use]
pub fn rows(facts: &Facts, terms: &CostTerms, days: &[Day], now: OffsetDateTime) -> Vec<Row> {
    let none = Terms::default();
    let terms_of = |space: &SpaceFacts| terms.domains.get(&space.domain).unwrap_or(&none);
    let spaces: HashMap<SpaceId, &SpaceFacts> = facts.spaces.iter().map(|space| (space.id, space)).collect();
    let rates_of = |space: &SpaceFacts, app_type: AppType, instance_type: Option<&String>| {
        instance_type.map_or_else(Rates::default, |instance_type| {
            facts.prices.rates(&space.region, Usage::from(app_type), instance_type, terms_of(space))
        })
    };
    let mut rows = Vec::new();
    for run in &facts.runs {
        let Some(space) = spaces.get(&run.space) else { continue };
        let rates = rates_of(space, run.app_type, run.instance_type.as_ref());
        let upto = run.ended_at.unwrap_or(now).min(now);
        for (day, (from, until)) in within(days, run.began_at, upto) {
            let cost = run_cost(run, &rates, from, until);
            rows.push(Row { date: day.date, space: run.space, run: Some(run.id), cost });
        }
    }
    for space in &facts.spaces {
        let rates = facts.prices.rates(&space.region, Usage::Storage, VOLUME, terms_of(space));
        let upto = space.deleted_at.unwrap_or(now).min(now);
        for (day, (from, until)) in within(days, space.first_seen_at, upto) {
            let cost = storage_cost(space, &rates, from, until);
            rows.push(Row { date: day.date, space: space.id, run: None, cost });
        }
    }
    for stop in &facts.stops {
        let Some(space) = spaces.get(&stop.space) else { continue };
        let Some(day) = days.iter().find(|day| (day.begins_at..day.ends_at).contains(&stop.stopped_at))
        else {
            continue;
        };
        let rates = rates_of(space, stop.app_type, stop.instance_type.as_ref());
        rows.push(Row {
            date: day.date,
            space: stop.space,
            run: Some(stop.run),
            cost: stop.cost(&rates, now),
        });
    }
    rows
}

/// What a time costs at these rates, and how much of it has no known price, in microseconds.
#[must_use]
pub fn priced(rates: &Rates, from: OffsetDateTime, until: OffsetDateTime) -> (Money, i64) {
    let mut sum = (Money::ZERO, 0);
    for (from, until) in pieces(from, until.max(from), rates.changes()) {
        let time_us = micros(from, until);
        match rates.at(from) {
            Some(nano_usd) => sum.0 += Money::for_time(time_us, nano_usd),
            None => sum.1 += time_us,
        }
    }
    sum
}

/// The days that a time touches, each with the part of the time that falls on it.
fn within(
    days: &[Day],
    began: OffsetDateTime,
    ended: OffsetDateTime,
) -> impl Iterator<Item = (&Day, (OffsetDateTime, OffsetDateTime))> {
    let first = days.partition_point(|day| day.ends_at <= began);
    let touched = days.iter().skip(first).take_while(move |day| day.begins_at < ended);
    touched
        .map(move |day| (day, (day.begins_at.max(began), day.ends_at.min(ended))))
        .filter(|(_, (from, until))| from < until)
}

fn run_cost(run: &RunFacts, rates: &Rates, from: OffsetDateTime, until: OffsetDateTime) -> Cost {
    let first = run.spells.partition_point(|spell| spell.ended_at <= from);
    let spells: Vec<&Spell> =
        run.spells.iter().skip(first).take_while(|spell| spell.began_at < until).collect();
    let edges = spells.iter().flat_map(|spell| [spell.began_at, spell.ended_at]);
    let mut cost = Cost::default();
    for (from, until) in pieces(from, until, edges.chain(rates.changes())) {
        let spell = spells.iter().find(|spell| spell.began_at <= from && until <= spell.ended_at);
        let kind = spell.map_or(SpellKind::Unknown, |spell| spell.kind);
        let time_us = micros(from, until);
        cost.time_us.add(kind, time_us);
        match rates.at(from) {
            Some(nano_usd) => cost.spent.add(kind, Money::for_time(time_us, nano_usd)),
            None => cost.unpriced_us.add(kind, time_us),
        }
    }
    cost
}

fn storage_cost(space: &SpaceFacts, rates: &Rates, from: OffsetDateTime, until: OffsetDateTime) -> Cost {
    let mut cost = Cost::default();
    // AWS bills by months of UTC, whatever days are shown.
    let next_month = next_month(from.to_offset(time::UtcOffset::UTC).date()).midnight().assume_utc();
    for (from, until) in pieces(from, until, rates.changes().chain([next_month])) {
        let time_us = micros(from, until);
        let month = from.to_offset(time::UtcOffset::UTC).date();
        let days = month.month().length(month.year());
        match (rates.at(from), space.storage_gib) {
            (Some(nano_usd), Some(gib)) => {
                cost.storage += Money::for_storage(time_us, gib, nano_usd, days);
            }
            _ => cost.storage_unpriced_us += time_us,
        }
    }
    cost
}

/// A time, cut at these edges.
fn pieces(
    from: OffsetDateTime,
    until: OffsetDateTime,
    edges: impl Iterator<Item = OffsetDateTime>,
) -> Vec<(OffsetDateTime, OffsetDateTime)> {
    let mut cuts: Vec<OffsetDateTime> = edges.filter(|at| from < *at && *at < until).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let starts: Vec<OffsetDateTime> = std::iter::once(from).chain(cuts).collect();
    let ends = starts.iter().skip(1).copied().chain([until]);
    starts.iter().copied().zip(ends).collect()
}

/// The microseconds between two times. Postgres keeps no finer ones.
fn micros(from: OffsetDateTime, until: OffsetDateTime) -> i64 {
    let micros = |at: OffsetDateTime| at.unix_timestamp_nanos().div_euclid(1_000);
    i64::try_from(micros(until) - micros(from)).unwrap_or(i64::MAX)
}
