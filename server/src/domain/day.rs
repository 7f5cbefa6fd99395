//! Days and months of a time zone: those of a change of the clocks have 23 or 25 hours.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::TimeZone;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, UtcOffset};

use super::span::Span;

/// When drawings of a day have a line: each six hours.
const SIX_HOURS: [i8; 4] = [0, 6, 12, 18];

/// A time zone of IANA's list, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The day that a time falls on.
    #[must_use]
    pub fn date(&self, at: OffsetDateTime) -> Date {
        let Ok(timestamp) = jiff::Timestamp::from_nanosecond(at.unix_timestamp_nanos()) else {
            return at.date();
        };
        let day = self.0.to_datetime(timestamp).date();
        from_civil(day).unwrap_or_else(|| at.date())
    }

    /// The same moment with the offset that the zone has then.
    #[must_use]
    pub fn local(&self, at: OffsetDateTime) -> OffsetDateTime {
        let timestamp = jiff::Timestamp::from_nanosecond(at.unix_timestamp_nanos()).ok();
        let seconds = timestamp.map(|timestamp| self.0.to_offset(timestamp).seconds());
        let offset = seconds.and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok());
        at.checked_to_offset(offset.unwrap_or(UtcOffset::UTC)).unwrap_or(at)
    }

    /// When a day begins.
    #[must_use]
    pub fn start(&self, date: Date) -> OffsetDateTime {
        self.hour(date, 0)
    }

    /// When the clocks show an hour of a day: the first time where they do twice, and after the gap where they skip it.
    fn hour(&self, date: Date, hour: i8) -> OffsetDateTime {
        let zoned = to_civil(date).and_then(|day| day.at(hour, 0, 0, 0).to_zoned(self.0.clone()).ok());
        let at = zoned.map(|zoned| zoned.timestamp().as_nanosecond());
        at.and_then(|at| OffsetDateTime::from_unix_timestamp_nanos(at).ok())
            .unwrap_or_else(|| date.midnight().assume_utc() + time::Duration::hours(hour.into()))
    }

    /// Midnight, six, noon and eighteen o'clock within a time.
    pub fn six_hours(&self, within: Span) -> impl Iterator<Item = OffsetDateTime> {
        let days = std::iter::successors(Some(self.date(within.from)), |day| day.next_day());
        let last = self.date(within.until);
        days.take_while(move |day| *day <= last)
            .flat_map(|day| SIX_HOURS.map(|hour| self.hour(day, hour)))
            .filter(move |at| (within.from..within.until).contains(at))
    }

    /// The days from one to another, both included.
    #[must_use]
    pub fn days(&self, from: Date, to: Date) -> Vec<Day> {
        let mut days = Vec::new();
        let mut date = from;
        while date <= to {
            let Some(next) = date.next_day() else { break };
            days.push(Day { date, begins_at: self.start(date), ends_at: self.start(next) });
            date = next;
        }
        days
    }

    /// The first day of the month that a time falls in, and that of the next month.
    #[must_use]
    pub fn month(&self, at: OffsetDateTime) -> (Date, Date) {
        let first = first_of_month(self.date(at));
        (first, next_month(first))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such time zone")]
pub struct NoZone;

impl FromStr for Zone {
    type Err = NoZone;

    fn from_str(text: &str) -> Result<Self, NoZone> {
        // jiff knows one more, for a zone that is not known.
        TimeZone::get(text).ok().filter(|zone| !zone.is_unknown()).map(Self).ok_or(NoZone)
    }
}

/// One day of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// When it begins.
    pub begins_at: OffsetDateTime,
    /// When the next one begins.
    pub ends_at: OffsetDateTime,
}

/// A day as people write it, `2026-11-26`, and nothing behind it.
#[must_use]
pub fn written_day(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

/// The first day of a day's month.
#[must_use]
pub fn first_of_month(date: Date) -> Date {
    date.replace_day(1).unwrap_or(date)
}

/// The first day of the month after a day's.
#[must_use]
pub fn next_month(date: Date) -> Date {
    let year = if date.month() == Month::December { date.year() + 1 } else { date.year() };
    Date::from_calendar_date(year, date.month().next(), 1).unwrap_or(date)
}

fn to_civil(date: Date) -> Option<civil::Date> {
    let (month, day) = (i8::try_from(u8::from(date.month())).ok()?, i8::try_from(date.day()).ok()?);
    civil::Date::new(i16::try_from(date.year()).ok()?, month, day).ok()
}

fn from_civil(date: civil::Date) -> Option<Date> {
    let month = Month::try_from(u8::try_from(date.month()).ok()?).ok()?;
    Date::from_calendar_date(date.year().into(), month, u8::try_from(date.day()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn hours(zone: &str, day: Date) -> i64 {
        let days = zone.parse::<Zone>().unwrap().days(day, day);
        (days[0].ends_at - days[0].begins_at).whole_minutes()
    }

    #[test]
    fn days_are_as_long_as_the_clocks_say() {
        assert_eq!(hours("Europe/Berlin", date!(2026 - 03 - 29)), 23 * 60);
        assert_eq!(hours("Europe/Berlin", date!(2026 - 10 - 25)), 25 * 60);
        assert_eq!(hours("Australia/Lord_Howe", date!(2026 - 04 - 05)), 24 * 60 + 30);
        // Clocks went forward at midnight: the day begins at one.
        assert_eq!(hours("America/Sao_Paulo", date!(2018 - 11 - 04)), 23 * 60);
        assert_eq!(hours("UTC", date!(2026 - 03 - 29)), 24 * 60);
        "Mars/Olympus".parse::<Zone>().unwrap_err();
    }

    #[test]
    fn a_moment_has_the_offset_of_its_own_time_and_not_of_another() {
        let hour = |zone: &str, at: OffsetDateTime| {
            let local = zone.parse::<Zone>().unwrap().local(at);
            assert_eq!(local, at, "it stays the same moment");
            (local.hour(), local.minute(), local.offset().whole_minutes())
        };
        assert_eq!(hour("Europe/Berlin", datetime!(2026-07-01 12:00 UTC)), (14, 0, 120));
        assert_eq!(hour("Europe/Berlin", datetime!(2026-11-27 12:00 UTC)), (13, 0, 60));
        // The last second before the clocks go forward, and the first after; then back: two o'clock is there twice.
        assert_eq!(hour("Europe/Berlin", datetime!(2026-03-29 00:59:59 UTC)), (1, 59, 60));
        assert_eq!(hour("Europe/Berlin", datetime!(2026-03-29 01:00:00 UTC)), (3, 0, 120));
        assert_eq!(hour("Europe/Berlin", datetime!(2026-10-25 00:30 UTC)), (2, 30, 120));
        assert_eq!(hour("Europe/Berlin", datetime!(2026-10-25 01:30 UTC)), (2, 30, 60));
        assert_eq!(hour("Asia/Kathmandu", datetime!(2026-11-27 12:00 +9)), (8, 45, 345));
        // Nothing is shown of a day that no calendar has.
        let end = datetime!(9999-12-31 23:30 UTC);
        assert_eq!("Asia/Tokyo".parse::<Zone>().unwrap().local(end), end);
    }

    #[test]
    fn each_six_hours_of_the_clock_are_found_on_a_day_of_any_length() {
        let found = |zone: &str, day: Date| {
            let zone: Zone = zone.parse().unwrap();
            let day = zone.days(day, day)[0];
            let within = Span { from: day.begins_at, until: day.ends_at };
            zone.six_hours(within).map(|at| (at - within.from).whole_minutes()).collect::<Vec<_>>()
        };
        assert_eq!(found("UTC", date!(2026 - 03 - 29)), [0, 360, 720, 1_080]);
        assert_eq!(found("Europe/Berlin", date!(2026 - 03 - 29)), [0, 300, 660, 1_020]);
        assert_eq!(found("Europe/Berlin", date!(2026 - 10 - 25)), [0, 420, 780, 1_140]);
        assert_eq!(found("America/Sao_Paulo", date!(2018 - 11 - 04)), [0, 300, 660, 1_020]);
        assert_eq!(found("Australia/Lord_Howe", date!(2026 - 04 - 05)), [0, 390, 750, 1_110]);
        // A day that a country left out has no time in it.
        assert_eq!(found("Pacific/Apia", date!(2011 - 12 - 30)), [0_i64; 0]);
    }

    #[test]
    fn only_a_day_is_taken_for_one() {
        assert_eq!(written_day("2026-11-26"), Some(date!(2026 - 11 - 26)));
        for text in ["2026-11-26T06:00:00Z", "2026-11-31", "2026-11-26 ", "26.11.2026", ""] {
            assert_eq!(written_day(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_time_falls_on_the_day_of_its_zone() {
        let zone: Zone = "Asia/Kolkata".parse().unwrap();
        assert_eq!(zone.date(datetime!(2026-11-25 18:30 UTC)), date!(2026 - 11 - 26));
        assert_eq!(zone.date(datetime!(2026-11-25 18:29:59 UTC)), date!(2026 - 11 - 25));
        assert_eq!(
            zone.month(datetime!(2026-12-31 20:00 UTC)),
            (date!(2027 - 01 - 01), date!(2027 - 02 - 01))
        );
        assert_eq!(zone.to_string(), "Asia/Kolkata");
    }
}
