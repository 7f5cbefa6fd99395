//! Spans of time, and how people read their length.

use time::OffsetDateTime;

/// From one moment to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: OffsetDateTime,
    /// Its end.
    pub until: OffsetDateTime,
}

/// `1 min 49 s`.
#[must_use]
pub fn shown(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} min"),
        (m, s) => format!("{m} min {s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_nothing_is_left_out() {
        assert_eq!([0, 59, 60, 109].map(shown), ["0 s", "59 s", "1 min", "1 min 49 s"]);
    }
}
