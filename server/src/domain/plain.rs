//! Text from elsewhere, shown so that it shows nothing but itself.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What stands where a character was that is not shown.
pub const INSTEAD: char = '\u{fffd}';

/// Whether a character shows nothing and changes how what is around it looks: controls, which terminals obey, and those
/// that set the direction of text or break lines (Unicode's property `Bidi_Control`, and its separators).
#[must_use]
pub const fn steers(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character steers more than where lines and columns begin.
#[must_use]
pub const fn steers_beyond_layout(c: char) -> bool {
    steers(c) && !matches!(c, '\t' | '\n' | '\r')
}

/// One line without what steers.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    without(text, steers)
}

/// The same for text that may have lines and columns.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, steers_beyond_layout)
}

fn without(text: &str, unwanted: fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(unwanted) {
        Cow::Owned(text.replace(unwanted, INSTEAD.encode_utf8(&mut [0; 4])))
    } else {
        Cow::Borrowed(text)
    }
}

/// JSON on one line in which what steers is written as an escape: the same JSON. Only texts of JSON hold such.
#[must_use]
pub fn json(written: &str) -> Cow<'_, str> {
    if !written.contains(steers) {
        return Cow::Borrowed(written);
    }
    let mut out = String::with_capacity(written.len() + 16);
    for c in written.chars() {
        if steers(c) {
            // All of them are in the first plane. Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEERING: [char; 18] = [
        '\0', '\u{7}', '\u{8}', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9d}',
        '\u{61c}', '\u{200e}', '\u{2028}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
    ];

    #[test]
    fn what_steers_is_replaced_and_what_shows_stays() {
        for c in STEERING {
            assert_eq!(line(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        // Arabic and Hebrew need no marks, emoji need the joiner, accents may be characters of their own.
        for text in ["", "Zoë", "e\u{301}", "👩\u{200d}💻", "שלום", "مرحبا", "数据"] {
            assert!(matches!(line(text), Cow::Borrowed(_)), "{text}");
        }
        assert_eq!(lines("a\tb\r\nc\u{1b}"), "a\tb\r\nc\u{fffd}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text: String = STEERING.iter().chain(&['"', '\\', 'ë', '👩']).collect();
        let value = serde_json::json!({ "text": text, "n": 1 });
        let written = value.to_string();
        let shown = json(&written);
        assert!(!shown.contains(steers), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
