//! Words for terminals about their space: that it is about to stop, that it does not, and who stops it.

use time::OffsetDateTime;

use super::{Address, Message, clock_time, duration};
use crate::domain::idle::{Because, Calm, Hold, Seen, Trigger};
use crate::domain::space_news::SpaceNews;

/// Who reads, and when.
pub(in crate::ssh) struct Reader<'a> {
    /// Their name.
    pub(in crate::ssh) name: &'a str,
    /// The time.
    pub(in crate::ssh) now: OffsetDateTime,
}

/// What becomes of a space.
pub(in crate::ssh) fn space_news(
    news: &SpaceNews,
    space: &str,
    reader: &Reader<'_>,
    address: &Address,
) -> Message {
    match news {
        SpaceNews::StopsSoon { since, stop_at, why } => {
            let left = until(*stop_at - reader.now);
            let since = format!("idle since {}", clock_time(*since));
            let why = if why.is_empty() { format!("{since}.") } else { format!("{since}: {why}.") };
            Message::new(format!("{space} stops at {}{left}.", clock_time(*stop_at)))
                .why(why)
                .field("Keep:", "press any key here, or")
                .more(address.command(&format!("hold {space} 1h")))
        }
        SpaceNews::StaysUp(calm) => Message::new(format!("{space} stays up: {}.", why_up(calm, reader))),
        SpaceNews::Stopping(Trigger::Person { by }) => {
            Message::new(format!("{space} is being stopped by {by}. Files are kept."))
        }
        SpaceNews::Stopping(Trigger::Idle { since, .. }) => {
            Message::new(format!("{space} is being stopped. Files are kept."))
                .detail(format!("Idle since {}.", clock_time(*since)))
        }
    }
}

/// A space is gone, and it is known who or what stopped it.
pub(in crate::ssh) fn stopped(
    space: &str,
    at: OffsetDateTime,
    trigger: &Trigger,
    address: &Address,
) -> Message {
    let why = match trigger {
        Trigger::Idle { since, .. } => format!("Idle since {}.", clock_time(*since)),
        Trigger::Person { by } => format!("{by} stopped it."),
    };
    Message::new(format!("{space} stopped at {}. Files are kept.", clock_time(at)))
        .detail(format!("{why} Start again: {}", address.ssh(space)))
}

/// `, in 5 min`; nothing for what is due already.
fn until(left: time::Duration) -> String {
    let seconds = u64::try_from(left.whole_seconds()).unwrap_or_default();
    match seconds {
        0 => String::new(),
        1..=44 => format!(", in {}", duration(seconds)),
        // Rounded: the news took a moment to come.
        _ => format!(", in {}", duration((seconds + 30) / 60 * 60)),
    }
}

fn why_up(calm: &Calm, reader: &Reader<'_>) -> String {
    match calm {
        Calm::Active(Because::Seen(Seen { sign, by: Some(by), .. })) if sign.from_outside() => {
            if by == reader.name { "you are back".to_owned() } else { format!("{by} is back") }
        }
        Calm::Active(Because::Seen(seen)) => seen.sign.to_string(),
        Calm::Active(Because::Held(hold)) => held(hold, reader),
        Calm::Unknown(doubt) => format!("whether it is idle is unknown, {doubt}"),
        Calm::Policy => "its policy has changed".to_owned(),
        Calm::NotDone => "it could not be stopped".to_owned(),
    }
}

fn held(hold: &Hold, reader: &Reader<'_>) -> String {
    let until = clock_time(hold.until);
    let held = match hold.by == reader.name {
        true => format!("you hold it until {until}"),
        false => format!("{} holds it until {until}", hold.by),
    };
    if hold.reason.is_empty() { held } else { format!("{held}, \"{}\"", hold.reason) }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::refused::tests::address;
    use super::*;
    use crate::domain::idle::{Doubt, Sign};

    const SINCE: OffsetDateTime = datetime!(2026-11-26 14:09 UTC);
    const STOP_AT: OffsetDateTime = datetime!(2026-11-26 14:44 UTC);

    fn words(news: &SpaceNews) -> String {
        let reader = Reader { name: "alice", now: datetime!(2026-11-26 14:39:01 UTC) };
        space_news(news, "churn-eda", &reader, &address()).render("\n")
    }

    fn stays(calm: Calm) -> String {
        words(&SpaceNews::StaysUp(calm))
    }

    fn idle() -> Trigger {
        Trigger::Idle { since: SINCE, over_longest_run: false }
    }

    #[test]
    fn a_warning_says_when_why_and_how_to_keep_the_space() {
        let why = "no kernel is busy, 1 open, CPU 1 % of a core, GPU 0 %".to_owned();
        assert_eq!(
            words(&SpaceNews::StopsSoon { since: SINCE, stop_at: STOP_AT, why }),
            "spaceport: churn-eda stops at 14:44 UTC, in 5 min.\n\
             \x20 Why:  idle since 14:09 UTC: no kernel is busy, 1 open, CPU 1 % of a core, GPU\n\
             \x20       0 %.\n\
             \x20 Keep: press any key here, or\n\
             \x20       ssh spaceport@gateway.example.com hold churn-eda 1h\n"
        );
        let soon = SpaceNews::StopsSoon { since: SINCE, stop_at: SINCE, why: String::new() };
        let text = words(&soon);
        assert!(
            text.starts_with("spaceport: churn-eda stops at 14:09 UTC.\n  Why:  idle since 14:09 UTC.\n")
        );
        let shown = [0, 44, 45, 89, 90].map(|seconds| until(time::Duration::seconds(seconds)));
        assert_eq!(shown, ["", ", in 44 s", ", in 1 min", ", in 1 min", ", in 2 min"]);
    }

    #[test]
    fn the_command_has_the_port_where_it_is_not_the_usual_one() {
        let mut address = address();
        address.port = 2222;
        let news = SpaceNews::StopsSoon { since: SINCE, stop_at: STOP_AT, why: String::new() };
        let reader = Reader { name: "alice", now: SINCE };
        let text = space_news(&news, "churn-eda", &reader, &address).render("\r\n");
        let command = "        ssh -p 2222 spaceport@gateway.example.com hold churn-eda 1h\r\n";
        assert!(text.ends_with(command), "{text}");
    }

    #[test]
    fn a_space_that_stays_up_says_who_or_what_keeps_it() {
        let seen = |sign, by: Option<&str>| {
            Calm::Active(Because::Seen(Seen { sign, at: STOP_AT, by: by.map(str::to_owned) }))
        };
        let held = |by: &str, reason: &str| {
            Calm::Active(Because::Held(Hold {
                until: datetime!(2026-11-26 17:32 UTC),
                by: by.to_owned(),
                reason: reason.to_owned(),
            }))
        };
        for (calm, text) in [
            (seen(Sign::Keys, Some("alice")), "you are back"),
            (seen(Sign::Opened, Some("bo")), "bo is back"),
            (seen(Sign::Screen, Some("alice")), "last output in a terminal"),
            (seen(Sign::Gpu, None), "the GPU worked"),
            (held("alice", ""), "you hold it until 17:32 UTC"),
            (held("bo", "evaluation runs"), "bo holds it until 17:32 UTC, \"evaluation runs\""),
            (
                Calm::Unknown(Doubt::NoLook("no answer".to_owned())),
                "whether it is idle is unknown, no answer",
            ),
            (Calm::Policy, "its policy has changed"),
            (Calm::NotDone, "it could not be stopped"),
        ] {
            assert_eq!(stays(calm), format!("spaceport: churn-eda stays up: {text}.\n"));
        }
    }

    #[test]
    fn a_stop_names_who_stops_and_cannot_paint() {
        let by = Trigger::Person { by: "bo\u{1b}[2J\u{7}\r\nroot".to_owned() };
        assert_eq!(
            words(&SpaceNews::Stopping(by.clone())),
            "spaceport: churn-eda is being stopped by bo [2J root. Files are kept.\n"
        );
        assert_eq!(
            words(&SpaceNews::Stopping(idle())),
            "spaceport: churn-eda is being stopped. Files are kept.\n\
             \x20 Idle since 14:09 UTC.\n"
        );
        assert_eq!(
            stopped("churn-eda", STOP_AT, &idle(), &address()).render("\n"),
            "spaceport: churn-eda stopped at 14:44 UTC. Files are kept.\n\
             \x20 Idle since 14:09 UTC. Start again: ssh churn-eda@gateway.example.com\n"
        );
        assert_eq!(
            stopped("churn-eda", STOP_AT, &by, &address()).render("\n"),
            "spaceport: churn-eda stopped at 14:44 UTC. Files are kept.\n\
             \x20 bo [2J root stopped it. Start again: ssh churn-eda@gateway.example.com\n"
        );
    }
}
