//! Answers about the person who asks: who they are, their keys, their logins.

use time::{OffsetDateTime, UtcOffset};

use super::{Address, Message, clean, clock_time};
use crate::domain::cost::{Cost, shown};
use crate::domain::user::{Standing, User};
use crate::identity::MyKeys;

/// What somebody proved who they are with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum ProvenBy {
    /// A key that counts until it is removed.
    Key,
    /// A key that counts for a time.
    KeyUntil(OffsetDateTime),
    /// A certificate of a key.
    Certificate,
    /// An approval in a browser, for one connection.
    Approval,
}

/// A day and a time, in UTC.
fn day_time(at: OffsetDateTime) -> String {
    format!("{} {}", at.to_offset(UtcOffset::UTC).date(), clock_time(at))
}

/// Who somebody is.
pub(in crate::ssh) fn whoami(user: &User, key: &str, proven: ProvenBy, spent: Option<&Cost>) -> String {
    let groups: Vec<&str> = user.groups.iter().map(|group| group.as_str()).collect();
    let groups = match groups.as_slice() {
        [] => String::new(),
        [one] => format!(", group {one}"),
        several => format!(", groups {}", several.join(", ")),
    };
    let key = match proven {
        ProvenBy::Key => format!("key {key}"),
        ProvenBy::KeyUntil(until) => format!("key {key}\nkey counts until {}", day_time(until)),
        ProvenBy::Certificate => format!("certificate of key {key}"),
        ProvenBy::Approval => "no key, approved in a browser for this connection".to_owned(),
    };
    let standing = match user.standing {
        Standing::Configured => "listed in the gateway's configuration".to_owned(),
        Standing::Until(until) => format!("signed in until {}", day_time(until)),
        Standing::Withdrawn { at, .. } => format!("no longer signed in since {}", day_time(at)),
    };
    let who = clean(&format!("{}, {}{groups}", user.name, user.role));
    let spent = spent.map(|cost| format!("month {}\n", month(cost))).unwrap_or_default();
    format!("{who}\n{}\n{standing}\n{spent}", key.lines().map(clean).collect::<Vec<_>>().join("\n"))
}

/// What was spent since the month began: `$41.33, of it idle $9.72`.
pub(in crate::ssh) fn month(cost: &Cost) -> String {
    let idle = shown(cost.spent.idle, cost.unpriced_us.idle > 0);
    if cost.time_us.idle == 0 { cost.shown() } else { format!("{}, of it idle {idle}", cost.shown()) }
}

/// Somebody's keys, a few lines each.
pub(in crate::ssh) fn keys(keys: &MyKeys, address: &Address) -> String {
    let mut out = String::new();
    for key in &keys.added {
        let until = key.expires_at.map_or_else(|| "you remove it".to_owned(), day_time);
        out += &format!(
            "{}\n  {}\n  added {} from {}\n  counts until {until}\n",
            clean(&key.name),
            clean(&key.fingerprint),
            day_time(key.added_at),
            clean(&key.added_from),
        );
    }
    for key in &keys.listed {
        let comment = key.key.comment().to_string();
        let name = if comment.is_empty() { "key" } else { &comment };
        out += &format!(
            "{}\n  {}\n  listed in the gateway's configuration\n",
            clean(name),
            clean(&key.fingerprint)
        );
    }
    match (out.is_empty(), &address.pages) {
        (false, _) => out,
        (true, Some(pages)) => format!("You have no key here. Add one at {pages}/keys\n"),
        (true, None) => "You have no key here.\n".to_owned(),
    }
}

/// A key that is none of the person's.
pub(in crate::ssh) fn no_such_key(which: &str, address: &Address) -> Message {
    Message::new(format!("you have no key \"{which}\".")).field("All:", address.command("keys"))
}

/// A name that several keys have.
pub(in crate::ssh) fn several_keys(which: &str, fingerprints: &[&str]) -> Message {
    let message = Message::new(format!("several of your keys are called \"{which}\"."));
    fingerprints.iter().fold(message.next("name one by its fingerprint:"), |message, one| message.more(one))
}

/// A key that only an operator can take away.
pub(in crate::ssh) fn key_is_listed(which: &str) -> Message {
    Message::new(format!("\"{which}\" stays."))
        .why("it is listed in the gateway's configuration.")
        .next("ask an admin.")
}

/// After a key was removed.
pub(in crate::ssh) fn key_removed(name: &str) -> String {
    format!("\"{}\" is removed. Connections made with it end now.\n", clean(name))
}

/// After the end of somebody's web logins.
pub(in crate::ssh) fn logged_out(ended: u64, standing: Standing, address: &Address) -> String {
    let logins = match ended {
        0 => return "You are signed in nowhere on the web.\n".to_owned(),
        1 => "1 web login is ended.".to_owned(),
        several => format!("{several} web logins are ended."),
    };
    match (standing, &address.pages) {
        (Standing::Until(until), Some(pages)) => {
            format!("{logins} ssh goes on until {}.\nSign in again at {pages}/\n", day_time(until))
        }
        _ => format!("{logins}\n"),
    }
}

/// A question that only the database can answer.
pub(in crate::ssh) fn database_away() -> Message {
    Message::new("that cannot be done right now.")
        .why("the gateway's database does not answer. Sessions that are open go on.")
        .next("try again in a minute.")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::cost::Split;
    use crate::domain::ids::{KeyId, UserId};
    use crate::domain::money::Money;
    use crate::domain::testing::user;
    use crate::identity::AddedKeyRow;

    const AT: OffsetDateTime = datetime!(2026-12-01 14:32 UTC);

    #[test]
    fn a_person_reads_who_they_are_and_until_when() {
        let mut anna = user("anna@example.com", &["okta/ml"]);
        assert_eq!(
            whoami(&anna, "SHA256:x", ProvenBy::Key, None),
            "anna@example.com, user, group okta/ml\nkey SHA256:x\nlisted in the gateway's configuration\n"
        );
        anna.standing = Standing::Until(AT);
        assert_eq!(
            whoami(&anna, "SHA256:x", ProvenBy::KeyUntil(AT), None),
            "anna@example.com, user, group okta/ml\nkey SHA256:x\nkey counts until 2026-12-01 14:32 UTC\n\
             signed in until 2026-12-01 14:32 UTC\n"
        );
    }

    #[test]
    fn what_was_spent_is_told_with_what_is_missing_in_it() {
        let spent = |active: i64, idle: i64, unpriced_us: i64| {
            month(&Cost {
                time_us: Split { active: 1, idle, unknown: 0 },
                spent: Split {
                    active: Money::from_nano_usd(active),
                    idle: Money::from_nano_usd(idle),
                    ..Split::default()
                },
                unpriced_us: Split { active: unpriced_us, ..Split::default() },
                ..Cost::default()
            })
        };
        assert_eq!(spent(31_610_000_000, 9_720_000_000, 0), "$41.33, of it idle $9.72");
        assert_eq!(spent(31_610_000_000, 0, 0), "$31.61");
        assert_eq!(spent(31_610_000_000, 9_720_000_000, 5), "at least $41.33, of it idle $9.72");
        assert_eq!(spent(0, 0, 5), "unknown");
    }

    #[test]
    fn keys_are_listed_without_what_would_paint_over_the_screen() {
        let key = AddedKeyRow {
            id: KeyId::generate(),
            user: UserId::generate(),
            provider: "okta".to_owned(),
            owner: "anna".to_owned(),
            fingerprint: "SHA256:x".to_owned(),
            name: "desk\u{1b}[2J".to_owned(),
            added_at: AT,
            added_from: "203.0.113.24".to_owned(),
            expires_at: None,
        };
        let address = super::super::refused::tests::address();
        let text = keys(&MyKeys { added: vec![key], listed: Vec::new() }, &address);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.ends_with(
            "\n  SHA256:x\n  added 2026-12-01 14:32 UTC from 203.0.113.24\n  counts until you remove it\n"
        ));
    }

    #[test]
    fn signing_out_says_what_goes_on() {
        let address = super::super::refused::tests::address();
        assert_eq!(logged_out(0, Standing::Configured, &address), "You are signed in nowhere on the web.\n");
        let text =
            logged_out(2, Standing::Until(AT), &Address { pages: Some("https://g".to_owned()), ..address });
        assert_eq!(
            text,
            "2 web logins are ended. ssh goes on until 2026-12-01 14:32 UTC.\nSign in again at https://g/\n"
        );
    }
}
