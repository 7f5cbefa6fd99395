use serde_json::Value;
use time::macros::datetime;

use super::*;
use crate::config::notify::{Email, MailTls};
use crate::domain::notice::About;

fn failed(said: &str) -> Notice {
    let about = About {
        space: "graph-big".parse().unwrap(),
        domain: "research".parse().unwrap(),
        owner: Some("<!channel> & co".to_owned()),
    };
    Notice::StopFailed { about, tries: 3, said: Some(said.to_owned()) }
}

fn told(notice: Notice) -> Told {
    Told { id: Uuid::now_v7(), at: datetime!(2026-11-26 14:44 UTC), notice }
}

#[test]
fn slack_reads_no_markup_in_anybodys_text() {
    let message = slack::message(&failed("<!here> <https://evil.example|click> a&b"));
    let text = message.to_string();
    for evil in ["<!", "<http", "a&b", "& co"] {
        assert!(!text.contains(evil), "{evil}: {text}");
    }
    assert!(text.contains("&lt;!here&gt;") && text.contains("a&amp;b"), "{text}");
    for block in message["blocks"].as_array().unwrap() {
        assert_eq!(block["text"]["verbatim"], true);
    }
}

#[test]
fn slack_links_to_the_page_that_keeps_a_space_up_and_to_nothing_else() {
    let soon = |page: &str| {
        let Notice::StopFailed { about, .. } = failed("") else { panic!("it is") };
        let at = datetime!(2026-11-26 14:44 UTC);
        let text = || String::from("x");
        let page = Some(page.to_owned());
        Notice::StopsSoon { about, since: at, stop_at: at, why: text(), hold: text(), page, cost: None }
    };
    let message = slack::message(&soon("https://gateway.example.com/spaces/a?b=1&c=2"));
    let link = "<https://gateway.example.com/spaces/a?b=1&amp;c=2|Keep it up>";
    assert_eq!(message["blocks"][2]["text"]["text"], link);
    assert!(slack::message(&soon("javascript:x"))["blocks"].get(2).is_none());
}

#[test]
fn slack_takes_the_longest_text() {
    let message = slack::message(&failed(&"&".repeat(5_000)));
    for block in message["blocks"].as_array().unwrap() {
        assert!(block["text"]["text"].as_str().unwrap().len() <= 3_000);
    }
}

#[test]
fn the_signed_form_is_stable_and_its_mac_is_openssls() {
    let told = told(failed("no"));
    let body: Value = serde_json::from_str(&signed::body(&told)).unwrap();
    assert_eq!((&body["event"], &body["at"]), (&"space.stop_failed".into(), &"2026-11-26T14:44:00Z".into()));
    assert_eq!((&body["space"]["name"], &body["tries"]), (&"graph-big".into(), &3.into()));
    // Computed with: printf '1764168240.{}' | openssl dgst -sha256 -hmac key
    let signature = signed::signature(&"key".to_owned().into(), datetime!(2025-11-26 14:44 UTC), "{}");
    assert_eq!(signature, "t=1764168240,v1=20220a8da30f1e020a270fda445bd525724801ec0b1ce75adb1ee946317d213c");
}

#[test]
fn a_mail_has_only_its_own_headers_whoever_wrote_its_text() {
    let settings = Email {
        host: "localhost".to_owned(),
        port: 25,
        tls: MailTls::None,
        from: "spaceport@example.com".parse().unwrap(),
        login: None,
        admins: Vec::new(),
    };
    let mailer = Mailer::new(&settings, Duration::from_secs(1)).unwrap();
    let notice = Notice::BudgetReached {
        whose: "équipe\r\nBcc: eve@evil.example\r\n\r\n<script>".to_owned(),
        percent: 80,
        spent: "$1\r\n.\r\nMAIL FROM:<x@y>".to_owned(),
        limit: "$2".to_owned(),
        month: "2026-11".to_owned(),
    };
    let mail = mailer.message(&told(notice), &"anna@example.com".parse().unwrap()).unwrap();
    let text = String::from_utf8(mail.formatted()).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut names: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_once(':').unwrap().0)
        .collect();
    names.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    assert_eq!(names, expected, "{head}");
    assert!(head.is_ascii());
    let recipients: Vec<String> = mail.envelope().to().iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["anna@example.com"]);
}
