//! Addresses of our own pages with a query.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;

/// A path with those of these parameters that have a value.
pub(super) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let filled = parameters.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = filled
        .filter_map(|(name, value)| {
            Some(format!("{name}={}", askama::filters::urlencode_strict(value).ok()?))
        })
        .collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Which page of many this is, and where the ones beside it are. For lists that are held whole.
pub(super) struct Pages {
    pub(super) here: usize,
    pub(super) last: usize,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    each: usize,
}

impl Pages {
    /// The page that is asked for, from 1, or the last if there are not so many any more; `each` rows on one.
    pub(super) fn of(
        rows: usize,
        each: usize,
        asked: Option<usize>,
        (path, parameters): (&str, &[(&str, &str)]),
    ) -> Self {
        let last = rows.div_ceil(each).max(1);
        let here = asked.unwrap_or(1).clamp(1, last);
        let there = |page: usize| {
            let page = if page == 1 { String::new() } else { page.to_string() };
            address(path, &[parameters, &[("page", &page)]].concat())
        };
        Self {
            here,
            last,
            before: (here > 1).then(|| there(here - 1)),
            after: (here < last).then(|| there(here + 1)),
            each,
        }
    }

    /// Those of all rows that are on it.
    pub(super) fn part<'a, T>(&self, rows: &'a [T]) -> &'a [T] {
        rows.chunks(self.each).nth(self.here - 1).unwrap_or_default()
    }
}

/// Where a page of many begins, as a word in its address that nobody needs to read.
pub(super) fn cursor(key: &str, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{id} {key}"))
}

/// What a cursor was made of; nothing if it is none.
pub(super) fn read_cursor(cursor: &str) -> Option<(String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.split_once(' ').map(|(id, key)| (key.to_owned(), id.to_owned()))
}

/// A time in microseconds, as Postgres keeps it.
pub(super) fn micros(at: OffsetDateTime) -> i128 {
    at.unix_timestamp_nanos() / 1_000
}

/// A time of microseconds.
pub(super) fn of_micros(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_empty_ones_left_out() {
        let address = address("/sessions", &[("q", "a&b=\"c\" ü"), ("mode", ""), ("sort", "idle")]);
        assert_eq!(address, "/sessions?q=a%26b%3D%22c%22%20%C3%BC&sort=idle");
        assert_eq!(super::address("/sessions", &[("q", "")]), "/sessions");
    }

    #[test]
    fn pages_lead_to_each_other_and_keep_what_is_asked_for() {
        let pages = |rows, page| Pages::of(rows, 50, page, ("/spaces", &[("of", ""), ("q", "a b")]));
        let read = |rows, page| {
            let pages = pages(rows, page);
            (pages.here, pages.last, pages.before, pages.after)
        };
        let at = |page: &str| Some(format!("/spaces?q=a%20b{page}"));
        assert_eq!(read(0, None), (1, 1, None, None));
        assert_eq!(read(50, Some(7)), (1, 1, None, None));
        assert_eq!(read(51, None), (1, 2, None, at("&page=2")));
        assert_eq!(read(101, Some(2)), (2, 3, at(""), at("&page=3")));
        assert_eq!(read(101, Some(usize::MAX)), (3, 3, at("&page=2"), None));
        assert_eq!(read(101, Some(0)), (1, 3, None, at("&page=2")));
        let rows: Vec<usize> = (0..101).collect();
        assert_eq!(pages(101, Some(3)).part(&rows), [100]);
        assert_eq!(pages(101, Some(2)).part(&rows).len(), 50);
        assert!(pages(0, None).part::<usize>(&[]).is_empty());
    }

    #[test]
    fn cursors_are_read_back_and_others_are_none() {
        assert_eq!(read_cursor(&cursor("a b", "1")), Some(("a b".to_owned(), "1".to_owned())));
        assert_eq!(read_cursor("%%"), None);
        assert_eq!(read_cursor(""), None);
    }
}
