use time::macros::datetime;

use super::*;

fn about() -> About {
    About {
        space: "churn-eda".parse().unwrap(),
        domain: "research".parse().unwrap(),
        owner: Some("ali\r\nBcc: eve".to_owned()),
    }
}

fn every(evil: &str) -> Vec<Notice> {
    let (since, at) = (datetime!(2026-11-26 14:09 UTC), datetime!(2026-11-26 15:44 +1));
    let text = || evil.to_owned();
    vec![
        Notice::StopsSoon {
            about: about(),
            since,
            stop_at: at,
            why: text(),
            hold: text(),
            page: Some(text()),
            cost: Some(text()),
        },
        Notice::StaysUp { about: about(), why: text() },
        Notice::Stopped { about: about(), since: Some(since), at, by: text(), cost: Some(text()) },
        Notice::Stopped { about: about(), since: None, at, by: text(), cost: None },
        Notice::StopFailed { about: about(), tries: 3, said: Some(text()) },
        Notice::RunsTooLong { about: about(), since },
        Notice::BudgetReached { whose: text(), percent: 80, spent: text(), limit: text(), month: text() },
        Notice::Test,
    ]
}

#[test]
fn a_warning_says_what_why_and_what_to_do() {
    let notice = &every("no keys")[0];
    assert_eq!(notice.title(), "churn-eda stops at 14:44 UTC");
    let body = notice.body().join("\n");
    assert!(
        body.starts_with(
            "churn-eda of ali  Bcc: eve in research stops at Thu 26 Nov, 14:44 UTC.\n\
         Why:  idle since 14:09 UTC: no keys."
        ),
        "{body}"
    );
    let fields = notice.fields();
    assert_eq!(fields["stop_at"], "2026-11-26T14:44:00Z");
    assert_eq!(fields["space"]["name"], "churn-eda");
}

#[test]
fn no_text_of_somebody_else_makes_a_line_or_turns_one() {
    let evil = format!("a\r\n\u{85}\u{2028}Subject: x\u{202e}\0\u{1b}[2J{}", "é".repeat(2_000));
    for notice in every(&evil) {
        for line in notice.body().iter().chain([&notice.title()]) {
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{line}");
            assert!(line.chars().count() < 4 * REPEATED + 100);
        }
    }
}

#[test]
fn every_event_has_its_name_and_is_found_by_it() {
    let seen: Vec<Event> = every("x").iter().map(Notice::event).collect();
    for event in Event::ALL {
        assert!(seen.contains(&event), "{event:?}");
        assert_eq!(event.as_str().parse::<Event>(), Ok(event));
    }
    assert!("space.stop".parse::<Event>().is_err());
}
