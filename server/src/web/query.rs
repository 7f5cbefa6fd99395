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
    fn cursors_are_read_back_and_others_are_none() {
        assert_eq!(read_cursor(&cursor("a b", "1")), Some(("a b".to_owned(), "1".to_owned())));
        assert_eq!(read_cursor("%%"), None);
        assert_eq!(read_cursor(""), None);
    }
}
