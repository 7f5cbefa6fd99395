//! Months as they are asked for, and where one ends at this pace.

use std::fmt;
use std::str::FromStr;

use time::{Date, Duration, Month as MonthOfYear, OffsetDateTime};

use crate::domain::day::{Zone, first_of_month, next_month};
use crate::domain::money::Money;

/// A month says nothing about its end before so much of it is over.
const FIRST_DAYS: Duration = Duration::days(3);

/// A month, by its first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

/// It is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a month such as 2026-11")]
pub struct NoMonth;

impl Month {
    /// The month of a day.
    #[must_use]
    pub fn of(day: Date) -> Self {
        Self(first_of_month(day))
    }

    /// Its first day.
    #[must_use]
    pub const fn first(self) -> Date {
        self.0
    }

    /// Its last day.
    #[must_use]
    pub fn last(self) -> Date {
        next_month(self.0).previous_day().unwrap_or(self.0)
    }

    /// How many days it has.
    #[must_use]
    pub fn length(self) -> u8 {
        self.last().day()
    }
}

/// `2026-11`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), u8::from(self.0.month()))
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(NoMonth);
        }
        let month = month.parse::<u8>().ok().and_then(|month| MonthOfYear::try_from(month).ok());
        let year = year.parse().ok().filter(|year| (2000..=2999).contains(year)).ok_or(NoMonth)?;
        Date::from_calendar_date(year, month.ok_or(NoMonth)?, 1).map(Self).map_err(|_| NoMonth)
    }
}

/// What a month that runs will have cost at its end, if it goes on like this; nothing before three days of it are over,
/// and nothing once it is.
#[must_use]
pub fn at_this_pace(spent: Money, month: Month, zone: &Zone, now: OffsetDateTime) -> Option<Money> {
    let (began, ends) = (zone.start(month.first()), zone.start(next_month(month.first())));
    let (over, whole) = (now - began, ends - began);
    let runs = over >= FIRST_DAYS && now < ends && spent > Money::ZERO;
    runs.then(|| spent.part(whole.whole_minutes(), over.whole_minutes()))
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn only_a_month_is_taken_for_one() {
        let month: Month = "2026-02".parse().unwrap();
        assert_eq!((month.first(), month.last()), (date!(2026 - 02 - 01), date!(2026 - 02 - 28)));
        assert_eq!((month.to_string().as_str(), month.length()), ("2026-02", 28));
        for text in ["", "2026", "2026-13", "2026-2", "2026-02-01", "+026-02", "9999-12", "1999-12"] {
            assert_eq!(text.parse::<Month>(), Err(NoMonth), "{text}");
        }
    }

    #[test]
    fn a_pace_needs_three_days_of_a_month_that_runs() {
        let (month, ten) = ("2026-11".parse().unwrap(), Money::from_nano_usd(10_000_000_000));
        let ends = |spent, now| at_this_pace(spent, month, &Zone::UTC, now).map(|money| money.decimal(2));
        assert_eq!(ends(ten, datetime!(2026-11-03 23:59 UTC)), None);
        assert_eq!(ends(ten, datetime!(2026-11-04 0:00 UTC)).as_deref(), Some("100.00"));
        assert_eq!(ends(ten, datetime!(2026-11-16 0:00 UTC)).as_deref(), Some("20.00"));
        assert_eq!(ends(ten, datetime!(2026-12-01 0:00 UTC)), None);
        assert_eq!(ends(Money::ZERO, datetime!(2026-11-16 0:00 UTC)), None);
    }
}
