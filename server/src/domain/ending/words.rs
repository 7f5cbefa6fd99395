//! What the record keeps of a session's end, in words.

use super::EndReason;

/// A kind of end, as the record names it and as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndKind {
    /// The word that rows keep.
    pub code: &'static str,
    /// What people choose by.
    pub text: &'static str,
}

/// Every kind of end, the most usual first.
pub const END_KINDS: [EndKind; 8] = [
    EndKind { code: EndReason::ClientLeft.code(), text: "Client left" },
    EndKind { code: EndReason::SpaceStopped.code(), text: "Space stopped" },
    EndKind { code: "ended_by_admin", text: "Admin" },
    EndKind { code: "no_longer_allowed", text: "Access ended" },
    EndKind { code: "stream_lost", text: "AWS or network" },
    EndKind { code: EndReason::Drained.code(), text: "Gateway updated" },
    EndKind { code: EndReason::GatewayCrashed.code(), text: "Gateway crashed" },
    EndKind { code: EndReason::NotOpened("").code(), text: "Never opened" },
];

/// Why a session ended, as a row of a table says it: `client left`, `ended by chen: "old key"`.
#[must_use]
pub fn briefly(code: &str, reason: &str) -> String {
    match code {
        "client_left" => "client left".to_owned(),
        "stream_lost" => format!("way to the space lost: {}", after_colon(reason)),
        "space_stopped" => "space stopped".to_owned(),
        "drained" => "gateway closed for an update".to_owned(),
        "not_opened" => format!("never opened: {}", after_colon(reason).replace('_', " ")),
        _ => reason.to_owned(),
    }
}

/// The same as the head of a page says it: what happened, and what it means.
#[must_use]
pub fn at_length(code: &str, reason: &str) -> (String, &'static str) {
    let (what, meaning) = match code {
        "client_left" => ("Ended because the client left".to_owned(), ""),
        "ended_by_admin" => (capital(reason), "The space stayed up."),
        "stream_lost" => {
            let why = after_colon(reason);
            (format!("Ended because the way to the space broke: {why}"), "The space may have stayed up.")
        }
        "space_stopped" => ("Ended because the space stopped".to_owned(), "Files are kept."),
        "no_longer_allowed" => (
            format!("Ended because access to the space ended: {}", after_colon(reason)),
            "Unsaved work in the space was left untouched.",
        ),
        "drained" => ("Ended because the gateway closed for an update".to_owned(), "The space stayed up."),
        "gateway_crashed" => (
            "Ended because the gateway crashed".to_owned(),
            "The time is when it was last heard of. The space stayed up.",
        ),
        "not_opened" => (
            format!("Never reached the space: {}", after_colon(reason).replace('_', " ")),
            "The audit rows say more.",
        ),
        _ => (capital(reason), ""),
    };
    let stop = if what.ends_with(['.', '"', '”']) { "" } else { "." };
    (format!("{what}{stop}"), meaning)
}

/// What stands behind the first colon, or all of it.
fn after_colon(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(_, rest)| rest)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Because;
    use crate::domain::ending::StreamEnd;

    fn all() -> [EndReason; 8] {
        [
            EndReason::ClientLeft,
            EndReason::SpaceStopped,
            EndReason::EndedByAdmin { by: "chen".parse().unwrap(), reason: "old key".to_owned() },
            EndReason::NoLongerAllowed(Because::PrivateTo(Some("bo".to_owned()))),
            EndReason::StreamLost(StreamEnd::AgentGone),
            EndReason::Drained,
            EndReason::GatewayCrashed,
            EndReason::NotOpened("no_capacity"),
        ]
    }

    #[test]
    fn every_end_that_rows_keep_has_words() {
        assert_eq!(all().map(|end| end.code()), END_KINDS.map(|kind| kind.code));
        let brief = all().map(|end| briefly(end.code(), &end.to_string()));
        assert_eq!(
            brief,
            [
                "client left",
                "space stopped",
                "ended by chen: \"old key\"",
                "no longer allowed: it is private to bo",
                "way to the space lost: the agent in the space is gone",
                "gateway closed for an update",
                "the gateway crashed",
                "never opened: no capacity",
            ]
        );
        let long = all().map(|end| at_length(end.code(), &end.to_string()).0);
        assert_eq!(
            long,
            [
                "Ended because the client left.",
                "Ended because the space stopped.",
                "Ended by chen: \"old key\"",
                "Ended because access to the space ended: it is private to bo.",
                "Ended because the way to the space broke: the agent in the space is gone.",
                "Ended because the gateway closed for an update.",
                "Ended because the gateway crashed.",
                "Never reached the space: no capacity.",
            ]
        );
    }
}
