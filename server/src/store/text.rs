//! What Postgres cannot keep, made keepable: NUL in text, and numbers above its largest.

use std::borrow::Cow;

use serde_json::Value;

/// Text without NUL, which Postgres refuses; clients may send it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for text that may be missing.
pub(super) fn plain_option(text: Option<&str>) -> Option<String> {
    text.map(|text| plain(text).into_owned())
}

/// JSON without NUL in any text or key.
pub(super) fn plain_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(text).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(plain_json).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(k, v)| (plain(k).into_owned(), plain_json(v))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The shortest end of an id that is taken for one.
const SHORT_ID_CHARS: usize = 4;

/// The digits of an id, or of the end of one, as people quote it; nothing if it is neither.
pub(super) fn id_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let is_one = digits.len() >= SHORT_ID_CHARS && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_one.then_some(digits)
}

/// A count as `bigint`.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A `bigint` that a check keeps from being negative, as a count.
pub(super) fn counted(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nul_is_replaced_wherever_it_hides() {
        assert_eq!(plain("a\0b"), "a\u{fffd}b");
        assert!(matches!(plain("ab"), Cow::Borrowed("ab")));
        assert_eq!(
            plain_json(&json!({ "k\0": ["\0", 1, null] })),
            json!({ "k\u{fffd}": ["\u{fffd}", 1, null] })
        );
    }

    #[test]
    fn counts_stop_at_the_largest_bigint() {
        assert_eq!(count(u64::MAX), i64::MAX);
        assert_eq!(counted(count(7)), 7);
        assert_eq!(counted(-1), 0);
    }
}
