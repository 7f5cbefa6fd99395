//! How pages show times: what is read, and the exact time for machines and on hover.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

use crate::domain::day::Zone;
use crate::domain::span::rough;

/// The longest name of a zone that is looked up. Those of IANA's list have half of it.
const LONGEST_ZONE: usize = 64;

/// The clock on the wall before whoever reads a page: its zone, and what it shows now.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    zone: Zone,
    now: OffsetDateTime,
}

impl WallClock {
    pub(super) const fn new(zone: Zone, now: OffsetDateTime) -> Self {
        Self { zone, now }
    }

    pub(super) const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(super) const fn now(&self) -> OffsetDateTime {
        self.now
    }

    pub(super) fn today(&self) -> Date {
        self.zone.date(self.now)
    }

    /// The name of a zone, if it is another than the clock's.
    pub(super) fn other(&self, zone: &Zone) -> Option<String> {
        (zone.name() != self.zone.name()).then(|| zone.to_string())
    }

    /// `14:32`.
    pub(super) fn clock(&self, at: OffsetDateTime) -> String {
        self.zone.local(at).format(format_description!("[hour]:[minute]")).unwrap_or_default()
    }

    /// `Tue 24 Nov`.
    pub(super) fn day(&self, at: OffsetDateTime) -> String {
        let day = format_description!("[weekday repr:short] [day padding:none] [month repr:short]");
        self.zone.local(at).format(day).unwrap_or_default()
    }
}

/// `27 Nov 2026, 14:32 UTC+1`: a time in full, to the minute.
pub(super) fn minute(at: OffsetDateTime, zone: &Zone) -> String {
    let local = zone.local(at);
    let minute = format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]");
    format!("{} {}", local.format(minute).unwrap_or_default(), offset(local))
}

/// A zone by the name that a browser or an address gives it.
pub(super) fn zone_called(name: &str) -> Option<Zone> {
    if name.len() > LONGEST_ZONE {
        return None;
    }
    name.parse().ok()
}

/// A moment as a page shows it; `templates/parts.html` has the element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    pub(super) machine: String,
    pub(super) exact: String,
    pub(super) text: String,
}

impl When {
    /// A time of today; of another day, the day and the time.
    pub(super) fn at(at: OffsetDateTime, wall: &WallClock) -> Self {
        let (local, today) = (wall.zone.local(at), wall.today());
        let text = if local.date() == today {
            local.format(format_description!("[hour]:[minute]"))
        } else if local.year() == today.year() {
            local.format(format_description!(
                "[weekday repr:short] [day padding:none] [month repr:short], [hour]:[minute]"
            ))
        } else {
            local.format(format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]"))
        };
        Self::reading(local, text.unwrap_or_default())
    }

    /// The same, to the second.
    pub(super) fn second(at: OffsetDateTime, wall: &WallClock) -> Self {
        let seconds = wall.zone.local(at).format(format_description!(":[second]")).unwrap_or_default();
        let mut when = Self::at(at, wall);
        when.text.push_str(&seconds);
        when
    }

    /// To the second: `24 Nov 2026, 09:05:12 UTC+1`.
    pub(super) fn exactly(at: OffsetDateTime, wall: &WallClock) -> Self {
        let local = wall.zone.local(at);
        let text = local.format(format_description!(
            "[day padding:none] [month repr:short] [year], [hour]:[minute]:[second]"
        ));
        Self::reading(local, format!("{} {}", text.unwrap_or_default(), offset(local)))
    }

    fn reading(local: OffsetDateTime, text: String) -> Self {
        let exact = format_description!(
            "[weekday repr:short] [day padding:none] [month repr:short] [year], [hour]:[minute]:[second]"
        );
        let exact = format!("{} {}", local.format(exact).unwrap_or_default(), offset(local));
        let utc = local.to_offset(UtcOffset::UTC);
        let machine = utc.replace_nanosecond(0).unwrap_or(utc).format(&Rfc3339);
        Self { machine: machine.unwrap_or_default(), exact, text }
    }
}

/// `UTC+1`, `UTC-3:30`, `UTC`: abbreviations such as IST stand for several.
fn offset(local: OffsetDateTime) -> String {
    let minutes = local.offset().whole_minutes();
    let sign = if minutes < 0 { '-' } else { '+' };
    match (minutes.abs() / 60, minutes.abs() % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    }
}

/// `4 h 20 min`, short enough for a column.
pub(super) fn length(time: time::Duration) -> String {
    if time < time::Duration::MINUTE { "< 1 min".to_owned() } else { rough(time) }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn wall(zone: &str, now: OffsetDateTime) -> WallClock {
        WallClock::new(zone.parse().unwrap(), now)
    }

    #[test]
    fn a_time_is_as_short_as_its_day_allows() {
        let wall = wall("UTC", datetime!(2026-11-27 14:32 UTC));
        let text = |at| When::at(at, &wall).text;
        assert_eq!(text(datetime!(2026-11-27 09:05 UTC)), "09:05");
        assert_eq!(text(datetime!(2026-11-24 09:05 UTC)), "Tue 24 Nov, 09:05");
        assert_eq!(text(datetime!(2025-11-24 09:05 UTC)), "24 Nov 2025, 09:05");
        let second = When::second(datetime!(2026-11-27 10:12:30.5 UTC), &wall);
        assert_eq!(second.text, "10:12:30");
        assert_eq!(
            (second.machine.as_str(), second.exact.as_str()),
            ("2026-11-27T10:12:30Z", "Fri 27 Nov 2026, 10:12:30 UTC")
        );
        assert_eq!(minute(datetime!(2026-11-05 10:12 UTC), &Zone::UTC), "5 Nov 2026, 10:12 UTC");
    }

    #[test]
    fn the_day_and_the_year_are_those_of_the_reader() {
        // In Tokyo it is the first morning of the year, in Los Angeles still the day before.
        let now = datetime!(2026-12-31 16:00 UTC);
        let (tokyo, angeles) = (wall("Asia/Tokyo", now), wall("America/Los_Angeles", now));
        let at = |wall: &WallClock, at| When::at(at, wall).text;
        assert_eq!(at(&tokyo, datetime!(2026-12-31 15:00 UTC)), "00:00");
        assert_eq!(at(&tokyo, datetime!(2026-12-31 14:59 UTC)), "31 Dec 2026, 23:59");
        assert_eq!(at(&angeles, datetime!(2026-12-31 15:00 UTC)), "07:00");
        assert_eq!(at(&angeles, datetime!(2026-12-31 07:59 UTC)), "Wed 30 Dec, 23:59");
        assert_eq!(at(&angeles, datetime!(2027-01-01 08:00 UTC)), "1 Jan 2027, 00:00");
        assert_eq!((tokyo.day(now), angeles.day(now)), ("Fri 1 Jan".to_owned(), "Thu 31 Dec".to_owned()));
        let when = When::exactly(now, &tokyo);
        assert_eq!(when.text, "1 Jan 2027, 01:00:00 UTC+9");
        assert_eq!(when.exact, "Fri 1 Jan 2027, 01:00:00 UTC+9");
        assert_eq!(when.machine, "2026-12-31T16:00:00Z", "machines read UTC");
    }

    #[test]
    fn the_offset_is_that_of_the_moment_shown() {
        // Read in winter: what was in summer has summer's clocks.
        let berlin = wall("Europe/Berlin", datetime!(2026-11-27 14:32 UTC));
        let summer = When::at(datetime!(2026-07-01 12:00 UTC), &berlin);
        assert_eq!(
            (summer.text.as_str(), summer.exact.as_str()),
            ("Wed 1 Jul, 14:00", "Wed 1 Jul 2026, 14:00:00 UTC+2")
        );
        assert_eq!(minute(datetime!(2026-11-27 12:00 UTC), berlin.zone()), "27 Nov 2026, 13:00 UTC+1");
        // The hour that comes twice reads the same, and the exact time tells which it was.
        let (first, second) = (datetime!(2026-10-25 00:30 UTC), datetime!(2026-10-25 01:30 UTC));
        assert_eq!([first, second].map(|at| berlin.clock(at)), ["02:30", "02:30"]);
        assert_eq!(
            [first, second].map(|at| When::at(at, &berlin).exact),
            ["Sun 25 Oct 2026, 02:30:00 UTC+2", "Sun 25 Oct 2026, 02:30:00 UTC+1"]
        );
        // The hour that is skipped.
        let (last, next) = (datetime!(2026-03-29 00:59 UTC), datetime!(2026-03-29 01:00 UTC));
        assert_eq!([last, next].map(|at| berlin.clock(at)), ["01:59", "03:00"]);
    }

    #[test]
    fn offsets_are_told_as_people_know_them() {
        let at = datetime!(2026-11-27 12:00 UTC);
        let told = |zone: &str| offset(wall(zone, at).zone.local(at));
        assert_eq!(
            ["UTC", "Europe/London", "Asia/Kolkata", "America/St_Johns", "America/New_York", "Etc/GMT+12"]
                .map(told),
            ["UTC", "UTC", "UTC+5:30", "UTC-3:30", "UTC-5", "UTC-12"]
        );
    }

    #[test]
    fn only_a_name_of_the_list_is_a_zone() {
        for name in ["UTC", "Europe/Berlin", "Asia/Calcutta", "America/Argentina/ComodRivadavia", "Etc/GMT+1"]
        {
            assert_eq!(zone_called(name).map(|zone| zone.name().to_owned()).as_deref(), Some(name));
        }
        let long = "Europe/Berlin".repeat(1_000);
        for name in [
            "",
            " ",
            "Mars/Olympus",
            "Europe",
            "Europe/Berlin ",
            "Europe/Berlin\0",
            "Europe\\Berlin",
            "../etc/passwd",
            "/usr/share/zoneinfo/Europe/Berlin",
            "EST5EDT,M3.2.0,M11.1.0",
            "<script>alert(1)</script>",
            "+01:00",
            "%45urope",
            "Ευρώπη/Αθήνα",
            &long,
        ] {
            assert!(zone_called(name).is_none(), "{name:?}");
        }
        // It has a name of its own in no list, and is none.
        assert_eq!(zone_called("Etc/Unknown"), None);
    }
}
