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

/// `4 h 20 min`.
#[must_use]
pub fn rough(time: time::Duration) -> String {
    let minutes = time.whole_minutes().max(0);
    let counts = [("d", minutes / 1_440), ("h", minutes / 60 % 24), ("min", minutes % 60)];
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = counts.map(|(unit, count)| format!("{count} {unit}")).collect();
    if words.is_empty() { "under a minute".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::{rough, shown};

    #[test]
    fn a_rough_length_has_whole_minutes() {
        let seconds = |seconds| rough(time::Duration::seconds(seconds));
        assert_eq!(
            [0, 59, 60, 15_600].map(seconds),
            ["under a minute", "under a minute", "1 min", "4 h 20 min"]
        );
        assert_eq!((seconds(86_400), seconds(90_060)), ("1 d".to_owned(), "1 d 1 h 1 min".to_owned()));
    }

    #[test]
    fn what_is_nothing_is_left_out() {
        assert_eq!([0, 59, 60, 109].map(shown), ["0 s", "59 s", "1 min", "1 min 49 s"]);
    }
}
