//! How pages show times: what is read, and the exact time for machines and on hover.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::domain::span::rough;

/// A moment as a page shows it; `templates/parts.html` has the element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    pub(super) machine: String,
    pub(super) exact: String,
    pub(super) text: String,
}

impl When {
    /// A time of today; of another day, the day and the time.
    pub(super) fn at(at: OffsetDateTime, now: OffsetDateTime) -> Self {
        let (utc, today) = (at.to_offset(UtcOffset::UTC), now.to_offset(UtcOffset::UTC).date());
        let text = if utc.date() == today {
            utc.format(format_description!("[hour]:[minute]"))
        } else if utc.year() == today.year() {
            utc.format(format_description!(
                "[weekday repr:short] [day padding:none] [month repr:short], [hour]:[minute]"
            ))
        } else {
            utc.format(format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]"))
        };
        Self::reading(utc, text.unwrap_or_default())
    }

    /// The same, to the second.
    pub(super) fn second(at: OffsetDateTime, now: OffsetDateTime) -> Self {
        let seconds =
            at.to_offset(UtcOffset::UTC).format(format_description!(":[second]")).unwrap_or_default();
        let mut when = Self::at(at, now);
        when.text.push_str(&seconds);
        when
    }

    /// To the second: `24 Nov 2026, 09:05:12 UTC`.
    pub(super) fn exactly(at: OffsetDateTime) -> Self {
        let utc = at.to_offset(UtcOffset::UTC);
        let text = utc.format(format_description!(
            "[day padding:none] [month repr:short] [year], [hour]:[minute]:[second] UTC"
        ));
        Self::reading(utc, text.unwrap_or_default())
    }

    fn reading(utc: OffsetDateTime, text: String) -> Self {
        let exact = format_description!(
            "[weekday repr:short] [day padding:none] [month repr:short] [year], [hour]:[minute]:[second] UTC"
        );
        let machine = utc.replace_nanosecond(0).unwrap_or(utc).format(&Rfc3339);
        Self { machine: machine.unwrap_or_default(), exact: utc.format(exact).unwrap_or_default(), text }
    }
}

/// `14:32`, of UTC.
pub(super) fn clock(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(format_description!("[hour]:[minute]")).unwrap_or_default()
}

/// `4 h 20 min`, short enough for a column.
pub(super) fn length(time: time::Duration) -> String {
    if time < time::Duration::MINUTE { "< 1 min".to_owned() } else { rough(time) }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_as_short_as_its_day_allows() {
        let now = datetime!(2026-11-27 14:32 UTC);
        let text = |at| When::at(at, now).text;
        assert_eq!(text(datetime!(2026-11-27 09:05 UTC)), "09:05");
        assert_eq!(text(datetime!(2026-11-24 09:05 UTC)), "Tue 24 Nov, 09:05");
        assert_eq!(text(datetime!(2025-11-24 09:05 UTC)), "24 Nov 2025, 09:05");
        let second = When::second(datetime!(2026-11-27 10:12:30.5 UTC), now);
        assert_eq!(second.text, "10:12:30");
        assert_eq!(
            (second.machine.as_str(), second.exact.as_str()),
            ("2026-11-27T10:12:30Z", "Fri 27 Nov 2026, 10:12:30 UTC")
        );
    }
}
