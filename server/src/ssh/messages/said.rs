//! What an admin writes to the terminals of a session.

use time::OffsetDateTime;

use super::{Message, clock_time};
use crate::domain::message::LONGEST;

/// Their words, whole and in quotes: nobody can take them for the gateway's.
pub(in crate::ssh) fn said(by: &str, text: &str, at: OffsetDateTime) -> Message {
    Message::new(format!("{by} writes at {}:", clock_time(at))).quote(text, LONGEST)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-11-27 14:58 UTC);

    #[test]
    fn a_message_names_who_writes_and_is_quoted() {
        let text = "please save, the domain is updated at 15:00, and then come back to a gateway that is new";
        assert_eq!(
            said("ada@example.com", text, AT).render("\r\n"),
            "spaceport: ada@example.com writes at 14:58 UTC:\r\n\
             \x20 \"please save, the domain is updated at 15:00, and then come back to a gateway\r\n\
             \x20 that is new\"\r\n"
        );
    }

    #[test]
    fn the_longest_is_whole_and_a_hostile_one_is_plain() {
        let text = said("ada", &"word ".repeat(100), AT).render("\n");
        assert_eq!(text.matches("word").count(), 100);
        let text = said("ada", "a\u{1b}[2J\r\nspaceport: root\u{7}\u{202e}", AT).render("\n");
        assert!(text.ends_with("\n  \"a [2J spaceport: root ?\"\n"), "{text:?}");
    }
}
