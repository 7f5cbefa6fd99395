//! Kinds of audit rows in words, and why each was written.

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::day::Zone;
use crate::web::show::minute;

/// A group of kinds: its name, what the kinds in it begin with, and each kind with its words.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Kinds that are looked for together: their name, what they begin with, and each with its words.
pub(super) const KINDS: [Group; 13] = [
    ("Access", "access.", &[("access.allowed", "asked for access"), ("access.denied", "was denied access")]),
    (
        "Sessions",
        "session.",
        &[
            ("session.opened", "opened a session"),
            ("session.ended", "session ended"),
            ("session.reopened", "session goes on"),
            ("session.messaged", "wrote to a session’s terminals"),
        ],
    ),
    (
        "Spaces",
        "space.",
        &[
            ("space.held", "held the space"),
            ("space.released", "let go of the space"),
            ("space.stopped", "stopped the space"),
            ("space.would_have_stopped", "would have stopped the space"),
            ("space.stop_failed", "could not stop the space"),
            ("space.unknown", "asked for an unknown space"),
            ("space.ambiguous", "asked for a name of several spaces"),
        ],
    ),
    ("Connections", "auth.", &[("auth.refused", "key was refused")]),
    (
        "Sign-ins",
        "login.",
        &[
            ("login.began", "signed in"),
            ("login.ended", "signed out"),
            ("login.refused", "was not signed in"),
        ],
    ),
    (
        "Approvals",
        "approval.",
        &[
            ("approval.granted", "approved a key"),
            ("approval.used", "used an approval"),
            ("approval.denied", "denied a key"),
            ("approval.wrong_code", "typed a wrong code"),
            ("approval.refused", "approval was refused"),
            ("approval.expired", "approval expired"),
            ("approval.unused", "approval was not used"),
        ],
    ),
    (
        "Keys",
        "key.",
        &[
            ("key.added", "added a key"),
            ("key.bound", "bound a key"),
            ("key.removed", "removed a key"),
            ("key.revoked", "revoked a key"),
            ("key.refused", "key was refused"),
        ],
    ),
    (
        "Grants",
        "grant.",
        &[
            ("grant.added", "granted a space"),
            ("grant.ended", "ended a grant"),
            ("grant.refused", "grant was refused"),
        ],
    ),
    (
        "People",
        "user.",
        &[
            ("user.suspended", "suspended a person"),
            ("user.resumed", "let a person in again"),
            ("user.exported", "exported the list of people"),
        ],
    ),
    (
        "Budgets",
        "budget.",
        &[("budget.refused", "start refused by a budget"), ("budget.warned", "budget warning")],
    ),
    (
        "Tokens",
        "token.",
        &[("token.made", "made a token for the API"), ("token.revoked", "revoked a token for the API")],
    ),
    ("Pages", "web.", &[("web.refused", "page was refused")]),
    ("The log", "audit.", &[("audit.exported", "exported the audit log")]),
];

/// Kinds that the form does not offer.
const MORE: [(&str, &str); 9] = [
    ("api.asked", "had a program act"),
    ("certificate.issued", "got a certificate"),
    ("config.reloaded", "configuration was read again"),
    ("name.malformed", "asked for a malformed name"),
    ("probe.opened", "looked inside"),
    ("sessions.exported", "exported sessions"),
    ("profile.read", "profile's owner was read"),
    ("standing.ended", "may no longer sign in"),
    ("auth.refused", "key was refused"),
];

/// What was done; the kind itself where it is new to this page.
pub(super) fn did(kind: &str) -> String {
    let offered = KINDS.iter().flat_map(|(_, _, kinds)| kinds.iter());
    let known = offered.chain(&MORE).find(|(name, _)| *name == kind);
    known.map_or_else(|| kind.replace(['.', '_'], " "), |(_, words)| (*words).to_owned())
}

/// Fields that are told in a sentence of their own, in this order.
const SENTENCES: [&str; 5] = ["text", "because", "reason", "why", "error"];
/// Fields that only machines need: what they say stands in other columns or is no word.
const LEFT_OUT: [&str; 3] = ["run", "connection", "login"];

/// Why, as far as a row says it: its reason, and then whatever else it has.
pub(super) fn because(kind: &str, detail: &Value, zone: &Zone) -> String {
    let Value::Object(fields) = detail else { return said(detail) };
    let mut parts = Vec::new();
    for name in SENTENCES {
        if let Some(text) = fields.get(name).map(said).filter(|text| !text.is_empty()) {
            // What people wrote stands in quotes.
            let quoted = match name {
                "text" => true,
                "reason" => !matches!(kind, "session.ended" | "session.reopened" | "login.ended"),
                _ => false,
            };
            parts.push(if quoted { format!("“{text}”") } else { text });
        }
    }
    for (name, value) in fields {
        if SENTENCES.contains(&name.as_str()) || LEFT_OUT.contains(&name.as_str()) || value.is_null() {
            continue;
        }
        let text = if name == "until" { until(value, zone) } else { said(value) };
        if !text.is_empty() {
            parts.push(format!("{}: {text}", name.replace('_', " ")));
        }
    }
    parts.join("; ")
}

/// A time that a row has as seconds since 1970, or as it is.
fn until(value: &Value, zone: &Zone) -> String {
    let at = value.as_i64().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(|| said(value), |at| minute(at, zone))
}

/// A value in one line.
fn said(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            items.iter().map(said).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(name, value)| match said(value) {
                text if text.is_empty() => name.replace('_', " "),
                text => format!("{} {text}", name.replace('_', " ")),
            });
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reason_comes_first_and_the_rest_is_told_with_its_name() {
        let because = |kind: &str, detail: &Value| because(kind, detail, &Zone::UTC);
        let decided = json!({ "action": "connect", "because": "owner" });
        assert_eq!(because("access.allowed", &decided), "owner; action: connect");
        let held = json!({ "until": 1_795_000_000, "reason": "it must finish" });
        assert_eq!(because("space.held", &held), "“it must finish”; until: 18 Nov 2026, 11:06 UTC");
        let tokyo = "Asia/Tokyo".parse().unwrap();
        assert_eq!(
            super::because("space.held", &held, &tokyo),
            "“it must finish”; until: 18 Nov 2026, 20:06 UTC+9"
        );
        let ended = json!({ "code": "client_left", "reason": "the client left" });
        assert_eq!(because("session.ended", &ended), "the client left; code: client_left");
        let stopped = json!({ "run": "x", "trigger": { "idle": {} }, "policy": "the default" });
        assert_eq!(because("space.stopped", &stopped), "policy: the default; trigger: idle");
        let messaged = json!({ "terminals": 2, "text": "please save" });
        assert_eq!(because("session.messaged", &messaged), "“please save”; terminals: 2");
        let odd = json!({ "a": [1, null, "b"], "flag": true, "none": null });
        assert_eq!(because("x.y", &odd), "a: 1, b; flag: yes");
    }

    #[test]
    fn kinds_are_told_in_words() {
        assert_eq!(did("grant.added"), "granted a space");
        assert_eq!(did("some.new_kind"), "some new kind");
        for (_, prefix, kinds) in KINDS {
            assert!(kinds.iter().all(|(kind, _)| kind.starts_with(prefix)), "{prefix}");
        }
    }
}
