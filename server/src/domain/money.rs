//! Amounts of money without rounding: whole numbers of a unit so small that every price times every microsecond is one.
//!
//! A price is a whole number of nano-dollars, for an hour or, for storage, for a GB and a month. Postgres keeps times to
//! the microsecond, and months have 28 to 31 days: in units of a nano-dollar by 3,600,000,000 µs by 24 hours by
//! `MONTHS`, which all of these divide, every amount is whole. Sums are therefore exact in any order, and rounding is
//! done once, half up, where an amount is shown.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Microseconds in an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// The least number that 28, 29, 30 and 31 divide.
const MONTHS: i128 = 377_580;
/// Units for each nano-dollar and hour in each microsecond.
const PER_HOUR: i128 = 24 * MONTHS;
/// Units in a nano-dollar.
const NANO_USD: i128 = HOUR_US as i128 * PER_HOUR;

/// An amount of US dollars, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Money(i128);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many nano-dollars.
    #[must_use]
    pub const fn from_nano_usd(nano_usd: i64) -> Self {
        Self(nano_usd as i128 * NANO_USD)
    }

    /// What something costs that has an hourly price.
    #[must_use]
    pub const fn for_time(time_us: i64, nano_usd_per_hour: i64) -> Self {
        Self(time_us as i128 * nano_usd_per_hour as i128 * PER_HOUR)
    }

    /// What storage costs for a time within one month of so many days. AWS bills the part of the month that a volume
    /// existed (Amazon EBS pricing: seconds of the volume by seconds of the month).
    #[must_use]
    pub const fn for_storage(time_us: i64, gib: u32, nano_usd_per_gb_month: i64, days_of_month: u8) -> Self {
        let days = if days_of_month == 0 { 30 } else { days_of_month };
        Self(time_us as i128 * gib as i128 * nano_usd_per_gb_month as i128 * (MONTHS / days as i128))
    }

    /// So many of so many equal parts of it, rounded down to the unit; nothing of no parts.
    #[must_use]
    pub const fn part(self, parts: i64, of: i64) -> Self {
        if of == 0 { Self::ZERO } else { Self(self.0.saturating_mul(parts as i128).div_euclid(of as i128)) }
    }

    /// The amount in the unit of the last of so many decimals of a dollar, rounded half up; at most nine decimals.
    #[must_use]
    pub const fn rounded(self, decimals: u32) -> i128 {
        let decimals = if decimals > 9 { 9 } else { decimals };
        let unit = NANO_USD * 10_i128.pow(9 - decimals);
        (self.0 + unit / 2).div_euclid(unit)
    }

    /// The amount with so many decimals, without a sign of the currency.
    #[must_use]
    pub fn decimal(self, decimals: u32) -> String {
        let decimals = decimals.min(9);
        let rounded = self.rounded(decimals);
        let scale = 10_i128.pow(decimals);
        let sign = if rounded < 0 { "-" } else { "" };
        let (whole, part) = (rounded.abs() / scale, rounded.abs() % scale);
        if decimals == 0 {
            return format!("{sign}{whole}");
        }
        format!("{sign}{whole}.{part:0width$}", width = decimals as usize)
    }

    /// How many percent of another amount it is, rounded down; nothing of nothing.
    #[must_use]
    pub const fn percent_of(self, whole: Self) -> Option<i128> {
        if whole.0 <= 0 { None } else { Some((self.0 * 100).div_euclid(whole.0)) }
    }
}

/// `$41.33`, rounded half up to the cent.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("${}", self.decimal(2)))
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Nano-dollars of a decimal text such as `0.1120000000`; digits behind the ninth are rounded half up. Nothing if it is
/// no such text, is negative or too large.
#[must_use]
pub fn nano_usd(text: &str) -> Option<i64> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > 30 || !digits(whole) || !digits(part) {
        return None;
    }
    let padded = format!("{part:0<10}");
    let (nano, rest) = padded.split_at_checked(9)?;
    let up = i64::from(rest.starts_with(['5', '6', '7', '8', '9']));
    Some(whole.parse::<i64>().ok()? * 1_000_000_000 + nano.parse::<i64>().ok()? + up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_costs_its_price_and_a_full_month_of_storage_its_own() {
        assert_eq!(Money::for_time(HOUR_US, 1_410_000_000).decimal(9), "1.410000000");
        for days in 28..=31_u8 {
            let month = i64::from(days) * 24 * HOUR_US;
            let cost = Money::for_storage(month, 100, 112_000_000, days);
            assert_eq!(cost, Money::from_nano_usd(11_200_000_000), "{days}");
        }
    }

    #[test]
    fn parts_make_up_the_whole_exactly() {
        let parts: Money = (0..3_600_000).map(|_| Money::for_time(1_000, 1)).sum();
        assert_eq!(parts, Money::from_nano_usd(1));
        assert_eq!(parts.to_string(), "$0.00");
    }

    #[test]
    fn rounding_is_half_up_and_once() {
        let cents = |nano| Money::from_nano_usd(nano).to_string();
        assert_eq!(cents(5_000_000), "$0.01");
        assert_eq!(cents(4_999_999), "$0.00");
        assert_eq!(cents(41_325_000_000), "$41.33");
        assert_eq!(Money::from_nano_usd(1_500_000_000).decimal(0), "2");
    }

    #[test]
    fn prices_are_read_to_the_nano_dollar() {
        for (text, nano) in [
            ("0.0500000000", Some(50_000_000)),
            ("63.3", Some(63_300_000_000)),
            ("7", Some(7_000_000_000)),
            ("0.0000000005", Some(1)),
            ("0.0000000004", Some(0)),
            ("", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("NaN", None),
            ("1.2.3", None),
            ("1234567890", None),
        ] {
            assert_eq!(nano_usd(text), nano, "{text:?}");
        }
    }
}
