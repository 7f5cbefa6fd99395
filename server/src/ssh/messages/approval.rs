//! Words for a client whose key a person is to approve in a browser.

use time::{OffsetDateTime, UtcOffset};

use super::{Message, duration};
use crate::domain::approval::ApprovalCode;

/// What to do, and what never to do. Without a fingerprint, for a client that has no key.
pub(in crate::ssh) fn approve(
    url: &str,
    code: &ApprovalCode,
    fingerprint: Option<&str>,
    left_s: u64,
) -> Message {
    let headline = match fingerprint {
        Some(_) => "this key is new. Is it yours?",
        None => "you have no key here. Is it you?",
    };
    let message = Message::new(headline)
        .blank()
        .step("1. Open", url)
        .step("2. Type", code.shown())
        .blank()
        .detail("Type the code yourself. Never send it to anyone: whoever has it approved works as you.");
    let message = match fingerprint {
        Some(fingerprint) => message.detail("Your key:").detail(fingerprint),
        None => message,
    };
    message.blank().detail(format!("Waiting, {} left. Press Enter after approving.", duration(left_s)))
}

/// After Enter was pressed too early.
pub(in crate::ssh) fn not_yet_approved(left_s: u64) -> Message {
    Message::new(format!("not approved yet, {} left.", duration(left_s)))
}

/// The question itself.
pub(in crate::ssh) fn approve_question(url: &str, code: &ApprovalCode) -> String {
    format!("Approve {} at {url}, then press Enter: ", code.shown())
}

/// A person approved. Without a time, for this connection only.
pub(in crate::ssh) fn approved(by: &str, until: Option<OffsetDateTime>) -> Message {
    match until {
        Some(until) => {
            Message::new(format!("approved by {by} until {}. You will not be asked till then.", day(until)))
        }
        None => Message::new(format!("approved by {by}, for this connection.")),
    }
}

/// A person denied.
pub(in crate::ssh) fn approval_denied() -> Message {
    Message::new("denied in the browser. Your admins know. This connection ends.")
}

/// Nobody answered.
pub(in crate::ssh) fn nobody_approved() -> Message {
    Message::new("nobody approved within 5 min. Connect again for a new code.")
}

/// Too many wrong codes were typed.
pub(in crate::ssh) fn approval_void() -> Message {
    Message::new("too many wrong codes were typed. Connect again for a new code.")
}

/// It was approved, and then something came between.
pub(in crate::ssh) fn not_bound(why: &str) -> Message {
    Message::new("you are not let in.").why(format!("{why}.")).next("connect again.")
}

/// `Tue 1 Dec, 14:32 UTC`: a server does not know a terminal's zone, so it names its own.
fn day(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short] [day padding:none] [month repr:short], [hour]:[minute] UTC"
    );
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const URL: &str = "https://gateway.example.com/k/H7RD2M";

    #[test]
    fn a_new_key_is_asked_about_as_it_is_written_down() {
        let code = ApprovalCode::typed("QMXP-4RTD").unwrap();
        let key = "SHA256:4mWq8tHk1Rz0cXy7LpVb2NfUe9sJdGa5oKiTw3QxEvM";
        let text = approve(URL, &code, Some(key), 292).render("\n");
        assert_eq!(
            text,
            "spaceport: this key is new. Is it yours?\n\n\
             \x20 1. Open    https://gateway.example.com/k/H7RD2M\n\
             \x20 2. Type    QMXP-4RTD\n\n\
             \x20 Type the code yourself. Never send it to anyone: whoever has it approved works\n\
             \x20 as you.\n\
             \x20 Your key:\n\
             \x20 SHA256:4mWq8tHk1Rz0cXy7LpVb2NfUe9sJdGa5oKiTw3QxEvM\n\n\
             \x20 Waiting, 4 min 52 s left. Press Enter after approving.\n"
        );
        assert!(text.lines().all(|line| line.len() <= 80));
        assert_eq!(
            approve_question(URL, &code),
            "Approve QMXP-4RTD at https://gateway.example.com/k/H7RD2M, then press Enter: "
        );
    }

    #[test]
    fn every_end_is_one_line() {
        let until = datetime!(2026-12-01 14:32 UTC);
        for (message, says) in [
            (approved("alice", Some(until)), "approved by alice until Tue 1 Dec, 14:32 UTC."),
            (approved("alice", None), "for this connection"),
            (approval_denied(), "Your admins know"),
            (nobody_approved(), "within 5 min"),
            (approval_void(), "wrong codes"),
        ] {
            assert!(message.headline().contains(says), "{message:?}");
            assert!(message.render("\n").lines().all(|line| line.len() <= 80), "{message:?}");
        }
    }
}
