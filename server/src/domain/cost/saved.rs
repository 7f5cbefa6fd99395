//! What stops saved: an estimate, by a rule that stands beside it.

use time::{Duration, OffsetDateTime};

use super::{Cost, micros};
use crate::domain::ids::{RunId, SpaceId};
use crate::domain::money::Money;
use crate::domain::price::Rates;
use crate::domain::space::AppType;

/// The most of the time after a stop that counts as saved.
const LONGEST: Duration = Duration::hours(12);
/// The rule of [`saved`], to print beside its number.
pub const SAVED_RULE: &str =
    "estimate: price x time from the stop to the space's next start, at most 12 h a stop";

/// A run that the gateway stopped for idleness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopFacts {
    /// The run.
    pub run: RunId,
    /// Its space.
    pub space: SpaceId,
    /// What ran.
    pub app_type: AppType,
    /// On what, where it is known.
    pub instance_type: Option<String>,
    /// When it was gone.
    pub stopped_at: OffsetDateTime,
    /// When the space's next run began, or the space was deleted.
    pub next_start: Option<OffsetDateTime>,
}

impl StopFacts {
    /// What it saved, at the price of the moment of the stop.
    pub(super) fn cost(&self, rates: &Rates, now: OffsetDateTime) -> Cost {
        match saved(rates.at(self.stopped_at), self.stopped_at, self.next_start, now) {
            Some(saved) => Cost { saved, ..Cost::default() },
            None => Cost { saved_unpriced: 1, ..Cost::default() },
        }
    }
}

/// What a stop by the gateway saved, by [`SAVED_RULE`]; nothing where the price is unknown.
#[must_use]
pub fn saved(
    nano_usd_per_hour: Option<i64>,
    stopped_at: OffsetDateTime,
    next_start: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Option<Money> {
    let until = next_start.unwrap_or(now).min(now).min(stopped_at + LONGEST);
    Some(Money::for_time(micros(stopped_at, until.max(stopped_at)), nano_usd_per_hour?))
}
