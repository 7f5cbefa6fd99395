//! Hours of the week, in a time zone, with an idle time of their own.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use time::OffsetDateTime;

/// How many days ahead an answer is looked for: a week and what daylight saving may add.
const AHEAD: i64 = 9;

/// Hours of the week with an idle time of their own, as "weekdays from 8 to 18 o'clock in Berlin".
#[derive(Debug, Clone, PartialEq)]
pub struct Hours {
    zone: TimeZone,
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    /// The idle time within them; nothing means that a space is not stopped before they are over.
    idle: Option<Duration>,
}

impl Hours {
    /// Hours of these days, from one time of day to another. If that is not later, they end on the next day.
    #[must_use]
    pub const fn new(
        zone: TimeZone,
        days: Vec<Weekday>,
        (from, to): (Time, Time),
        idle: Option<Duration>,
    ) -> Self {
        Self { zone, days, from, to, idle }
    }

    /// The idle time within them; nothing means that a space is not stopped before they are over.
    #[must_use]
    pub const fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// The end of the hours that a time is in.
    #[must_use]
    pub fn end_if_in(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        let day = self.date_of(at)?;
        let around = [day.yesterday().ok()?, day];
        around
            .into_iter()
            .filter_map(|day| self.on(day))
            .find(|(from, to)| *from <= at && at < *to)
            .map(|x| x.1)
    }

    /// When a space that is idle since then may be stopped, with this idle time outside the hours. Nothing if there is
    /// no such time within a week.
    #[must_use]
    pub fn due(&self, since: OffsetDateTime, outside: Duration) -> Option<OffsetDateTime> {
        let mut at = since + outside.min(self.idle.unwrap_or(outside));
        for _ in 0..AHEAD * 2 {
            let (idle, end) = match self.end_if_in(at) {
                Some(end) => (self.idle, Some(end)),
                None => (Some(outside), self.next_begin(at)),
            };
            let due = idle.map(|idle| (since + idle).max(at));
            match (due, end) {
                (Some(due), Some(end)) if due < end => return Some(due),
                (due, None) => return due,
                (_, Some(end)) => at = end,
            }
        }
        None
    }

    fn next_begin(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        let day = self.date_of(at)?;
        (0..AHEAD)
            .filter_map(|ahead| self.on(day.checked_add(ahead.days()).ok()?))
            .map(|(from, _)| from)
            .find(|from| *from > at)
    }

    fn date_of(&self, at: OffsetDateTime) -> Option<Date> {
        let stamp = Timestamp::from_second(at.unix_timestamp()).ok()?;
        Some(stamp.to_zoned(self.zone.clone()).date())
    }

    /// The hours that begin on a day. Times that a clock change skips are those after it.
    fn on(&self, day: Date) -> Option<(OffsetDateTime, OffsetDateTime)> {
        if !self.days.contains(&day.weekday()) {
            return None;
        }
        let end = if self.to > self.from { day } else { day.tomorrow().ok()? };
        Some((self.instant(day, self.from)?, self.instant(end, self.to)?))
    }

    fn instant(&self, day: Date, time: Time) -> Option<OffsetDateTime> {
        let zoned = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
        OffsetDateTime::from_unix_timestamp(zoned.timestamp().as_second()).ok()
    }
}

/// `Mon, Tue from 08:00 to 18:00 of Europe/Berlin`.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let week = names.iter().zip(Weekday::Monday.cycle_forward());
        let days: Vec<&str> =
            week.filter(|(_, day)| self.days.contains(day)).map(|(name, _)| *name).collect();
        let clock = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} from {} to {} of {zone}", days.join(", "), clock(self.from), clock(self.to))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const WEEK: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    fn hours(from: i8, to: i8, idle_min: Option<u64>) -> Hours {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let idle = idle_min.map(|minutes| Duration::from_secs(minutes * 60));
        Hours::new(zone, WEEK.to_vec(), (Time::constant(from, 0, 0, 0), Time::constant(to, 0, 0, 0)), idle)
    }

    fn due(hours: &Hours, since: OffsetDateTime) -> OffsetDateTime {
        hours.due(since, Duration::from_secs(30 * 60)).unwrap()
    }

    #[test]
    fn within_hours_their_own_idle_time_counts_and_outside_the_other() {
        // 8 to 18 in Berlin is 7 to 17 UTC in winter. 2026-11-26 is a Thursday.
        let patient = hours(8, 18, Some(120));
        assert_eq!(due(&patient, datetime!(2026-11-26 09:00 UTC)), datetime!(2026-11-26 11:00 UTC));
        assert_eq!(due(&patient, datetime!(2026-11-26 16:00 UTC)), datetime!(2026-11-26 17:00 UTC));
        assert_eq!(due(&patient, datetime!(2026-11-26 16:45 UTC)), datetime!(2026-11-26 17:15 UTC));
        assert_eq!(due(&patient, datetime!(2026-11-26 20:00 UTC)), datetime!(2026-11-26 20:30 UTC));
        assert_eq!(due(&patient, datetime!(2026-11-26 06:45 UTC)), datetime!(2026-11-26 08:45 UTC));
    }

    #[test]
    fn hours_are_told_in_the_order_of_the_week() {
        assert_eq!(
            hours(8, 18, None).to_string(),
            "Mon, Tue, Wed, Thu, Fri from 08:00 to 18:00 of Europe/Berlin"
        );
    }

    #[test]
    fn hours_without_an_idle_time_keep_spaces_up_to_their_end() {
        let kept = hours(8, 18, None);
        assert_eq!(due(&kept, datetime!(2026-11-26 08:00 UTC)), datetime!(2026-11-26 17:00 UTC));
        assert_eq!(
            due(&kept, datetime!(2026-11-28 08:00 UTC)),
            datetime!(2026-11-28 08:30 UTC),
            "a Saturday"
        );
        let night = hours(18, 8, None);
        assert_eq!(
            due(&night, datetime!(2026-11-26 23:00 UTC)),
            datetime!(2026-11-27 07:00 UTC),
            "overnight"
        );
    }

    #[test]
    fn a_change_of_clocks_moves_the_hours() {
        // Clocks went forward on Sunday 2026-03-29: 8 o'clock is 7 UTC on Friday and 6 UTC on Monday.
        let kept = hours(8, 18, None);
        assert_eq!(kept.end_if_in(datetime!(2026-03-27 06:30 UTC)), None);
        assert_eq!(kept.end_if_in(datetime!(2026-03-30 06:30 UTC)), Some(datetime!(2026-03-30 16:00 UTC)));
    }

    #[test]
    fn hours_that_never_end_never_are_due() {
        let mut always = hours(0, 0, None);
        always.days = WEEK.into_iter().chain([Weekday::Saturday, Weekday::Sunday]).collect();
        assert_eq!(always.due(datetime!(2026-11-26 08:00 UTC), Duration::from_secs(60)), None);
    }
}
