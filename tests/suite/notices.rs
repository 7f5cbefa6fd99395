//! Webhooks and e-mail, against receivers that answer as they are told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use spaceport::config::ConfigSource;
use spaceport::domain::email::EmailAddress;
use spaceport::domain::notice::{About, Notice};
use spaceport::domain::ports::Notify;
use spaceport::gateway::SystemClock;
use spaceport::notify::{Notifier, Pace};
use spaceport::telemetry::Metrics;
use spaceport_tests::client::run;
use spaceport_tests::hook::{Answer, HookSink, Request};
use spaceport_tests::mail::MailSink;
use spaceport_tests::until::until;
use tokio::process::Command;

/// How long a notice may take to arrive.
const LIMIT: Duration = Duration::from_secs(20);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OK: Answer = Answer::Status(200, "", "ok");
/// Attempts follow each other quickly, and none is given up.
const QUICK: Pace = Pace {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(50),
    give_up: LIMIT,
    attempt: LIMIT,
    ending: LIMIT,
};

/// A file with the least that a configuration needs and these channels.
fn file(folder: &Path, channels: &str) -> Result<std::path::PathBuf> {
    let least = "[ssh]\nlisten = \"127.0.0.1:0\"\n[[domains]]\nalias = \"research\"\nid = \"d-abc\"\n\
                 account = \"111111111111\"\nregion = \"us-east-1\"\n\
                 user_role = \"arn:aws:iam::111111111111:role/spaceport-user\"\n";
    let path = folder.join("spaceport.toml");
    std::fs::write(&path, format!("{least}{channels}"))?;
    Ok(path)
}

fn notifier(channels: &str, pace: Pace) -> Result<Notifier> {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let config = ConfigSource::new(file(folder.path(), channels)?, std::iter::empty().collect()).load()?;
    Ok(Notifier::new(&config.notify, Arc::new(SystemClock::start()), pace)?)
}

fn signed(sink: &HookSink, path: &str) -> String {
    format!("[[notify.webhooks]]\nurl = \"{}\"\nform = \"signed\"\nsecret = \"{SECRET}\"\n", sink.url(path))
}

fn mail(sink: &MailSink) -> String {
    format!(
        "[notify.email]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"spaceport@example.com\"\n\
         admins = [\"ops@example.com\"]\n",
        sink.address.port()
    )
}

fn about() -> Result<About> {
    let owner = Some("eve\r\nBcc: all@example.com".to_owned());
    Ok(About { space: "churn-eda".parse()?, domain: "research".parse()?, owner })
}

fn stays_up(why: &str) -> Result<Notice> {
    Ok(Notice::StaysUp { about: about()?, why: why.to_owned() })
}

fn people(addresses: &[&str]) -> Vec<EmailAddress> {
    addresses.iter().filter_map(|address| address.parse().ok()).collect()
}

async fn got(sink: &HookSink, count: usize) -> Result<Vec<Request>> {
    let look = async || Ok(Some(sink.requests()).filter(|requests| requests.len() >= count));
    until("requests", LIMIT, look).await
}

async fn counted(channel: &str, outcome: &str) -> Result<()> {
    let wanted = format!("spaceport_notices_total{{channel=\"{channel}\",outcome=\"{outcome}\"}}");
    let metrics = Metrics::install()?;
    until(&wanted, LIMIT, async || Ok(metrics.render().contains(&wanted).then_some(()))).await
}

/// HMAC-SHA-256 by the letter of RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let hash = |pad: u8, text: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize()
    };
    hash(0x5c, &hash(0x36, text)).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a receiver does, as the guide says.
fn verified(request: &Request) -> Result<Value> {
    let header = request.headers.get("spaceport-signature").context("it is signed")?;
    let (at, mac) = header.split_once(",v1=").context("two parts")?;
    let at = at.strip_prefix("t=").context("a time")?;
    let age = time::OffsetDateTime::now_utc().unix_timestamp() - at.parse::<i64>()?;
    ensure!(age.abs() < 300, "it is {age} s old");
    let expected = hmac(SECRET.as_bytes(), format!("{at}.{}", request.body).as_bytes());
    ensure!(mac == expected, "the MAC is {mac}, not {expected}");
    Ok(serde_json::from_str(&request.body)?)
}

#[tokio::test]
async fn a_signed_notice_is_sent_again_after_a_failure_with_the_same_id() -> Result<()> {
    let busy = Answer::Status(429, "retry-after: 0\r\n", "");
    let sink = HookSink::start(vec![Answer::Status(500, "", "oops"), busy, OK]).await?;
    let notifier = notifier(&signed(&sink, "/in?key=a"), QUICK)?;
    notifier.tell(&stays_up("<b>\"somebody\" typed\r\n</b>")?, &[]);
    let requests = got(&sink, 3).await?;
    notifier.stop().await;
    assert_eq!(sink.requests().len(), 3);
    let bodies = requests.iter().map(verified).collect::<Result<Vec<_>>>()?;
    assert_eq!(requests[0].line, "POST /in?key=a HTTP/1.1");
    assert_eq!(
        (&bodies[0]["event"], &bodies[0]["space"]["name"]),
        (&"space.stays_up".into(), &"churn-eda".into())
    );
    for (request, body) in requests.iter().zip(&bodies) {
        assert_eq!(body, &bodies[0]);
        assert_eq!(request.headers.get("idempotency-key").map(String::as_str), body["id"].as_str());
    }
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_refuses_or_points_elsewhere_is_not_asked_again() -> Result<()> {
    let elsewhere = HookSink::start(vec![OK]).await?;
    let location: &'static str = Box::leak(format!("location: {}\r\n", elsewhere.url("/")).into_boxed_str());
    let gone = HookSink::start(vec![Answer::Status(410, "", "channel_is_archived")]).await?;
    let moved = HookSink::start(vec![Answer::Status(307, location, "")]).await?;
    let channels = format!(
        "{}[[notify.webhooks]]\nurl = \"{}\"\nevents = [\"space.stays_up\"]\n",
        signed(&gone, "/"),
        moved.url("/")
    );
    let notifier = notifier(&channels, QUICK)?;
    notifier.tell(&stays_up("x")?, &[]);
    counted("signed", "refused").await?;
    counted("slack", "refused").await?;
    notifier.tell(&Notice::RunsTooLong { about: about()?, since: time::OffsetDateTime::UNIX_EPOCH }, &[]);
    got(&gone, 2).await?;
    notifier.stop().await;
    assert_eq!((gone.requests().len(), moved.requests().len(), elsewhere.requests().len()), (2, 1, 0));
    Ok(())
}

#[tokio::test]
async fn a_silent_receiver_is_given_up_and_holds_nobody() -> Result<()> {
    let silent = HookSink::start(vec![Answer::Silence]).await?;
    let slack = HookSink::start(vec![OK]).await?;
    let channels =
        format!("{}[[notify.webhooks]]\nurl = \"{}\"\n", signed(&silent, "/"), slack.url("/T0PSECRET"));
    let patient = notifier(&channels, QUICK)?;
    for _ in 0..10 {
        patient.tell(&stays_up("<!channel> & all")?, &[]);
    }
    let requests = got(&slack, 10).await?;
    let message: Value = serde_json::from_str(&requests[0].body)?;
    assert_eq!(message["text"], "churn-eda stays up");
    let body = message["blocks"][1]["text"]["text"].as_str().context("a body")?;
    assert!(body.contains("Why:  &lt;!channel&gt; &amp; all."), "{body}");
    let hasty = Pace { attempt: Duration::from_millis(50), give_up: Duration::from_millis(200), ..QUICK };
    let hasty = notifier(&signed(&silent, "/"), hasty)?;
    hasty.tell(&stays_up("x")?, &[]);
    counted("signed", "given_up").await?;
    hasty.stop().await;
    Ok(())
}

#[tokio::test]
async fn mail_goes_to_each_person_once_and_waits_for_a_server_that_is_busy() -> Result<()> {
    let sink = MailSink::start().await?;
    sink.answer("anna@example.com", "451 4.7.1 greylisted", 2);
    sink.answer("bo@example.com", "550 5.1.1 no such user", 9);
    let notifier = notifier(&mail(&sink), QUICK)?;
    let why = format!("\u{e9}\r\n.\r\nQUIT\r\n{}", "x".repeat(3_000));
    let to = people(&["anna@example.com", "bo@example.com", "anna@example.com", "cy@example.com"]);
    notifier.tell(&stays_up(&why)?, &to);
    let mails =
        until("mail", LIMIT, async || Ok(Some(sink.mails()).filter(|mails| mails.len() >= 2))).await?;
    counted("email", "refused").await?;
    notifier.stop().await;
    let mut told: Vec<_> = mails.iter().map(|mail| (mail.from.as_str(), mail.to.join(" "))).collect();
    told.sort();
    let from = "spaceport@example.com";
    assert_eq!(told, [(from, "anna@example.com".to_owned()), (from, "cy@example.com".to_owned())]);
    for mail in &mails {
        let (head, _) = mail.text.split_once("\n\n").context("a head")?;
        assert!(head.contains("Subject: churn-eda stays up"), "{head}");
        assert!(!head.to_lowercase().contains("bcc"), "{head}");
    }
    let asked = sink.commands().iter().filter(|command| command.contains("bo@example.com")).count();
    assert_eq!(
        (asked, sink.breaches()),
        (1, Vec::new()),
        "a refusal is final, and lines are as they must be"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_for_admins_goes_to_them_alone() -> Result<()> {
    let sink = MailSink::start().await?;
    let notifier = notifier(&mail(&sink), QUICK)?;
    let failed = Notice::StopFailed { about: about()?, tries: 3, said: None };
    notifier.tell(&failed, &people(&["anna@example.com"]));
    until("mail", LIMIT, async || Ok(sink.mails().pop())).await?;
    notifier.stop().await;
    assert_eq!(sink.mails().into_iter().flat_map(|mail| mail.to).collect::<Vec<_>>(), ["ops@example.com"]);
    Ok(())
}

#[tokio::test]
async fn no_mail_goes_without_the_tls_that_was_asked_for() -> Result<()> {
    let sink = MailSink::start().await?;
    let notifier = notifier(&mail(&sink).replace("\"none\"", "\"starttls\""), QUICK)?;
    let tried = notifier.test().await;
    assert!(tried[0].taken.is_err(), "{tried:?}");
    assert!(!sink.commands().iter().any(|command| command.starts_with("MAIL")), "{:?}", sink.commands());
    Ok(())
}

#[tokio::test]
async fn the_command_line_says_of_each_channel_whether_it_took_the_test() -> Result<()> {
    let (folder, mails) = (tempfile::tempdir()?, MailSink::start().await?);
    let hooks = HookSink::start(vec![OK, Answer::Status(403, "", "invalid_token"), OK]).await?;
    let hook =
        format!("[[notify.webhooks]]\nurl = \"{}\"\nevents = [\"space.stopped\"]\n", hooks.url("/T0PSECRET"));
    let path = file(folder.path(), &format!("{hook}{hook}{}", mail(&mails)))?;
    let test = async || {
        let mut command = Command::new(spaceport_tests::gateway::binary("spaceport")?);
        command.args(["notify", "test", "--config"]).arg(&path);
        run(command, &[]).await
    };
    let done = test().await?;
    assert_eq!(done.code, 1);
    let expected = "webhook 1 (127.0.0.1): taken\n\
                    webhook 2 (127.0.0.1): not taken: it answered 403, invalid_token\n\
                    e-mail (127.0.0.1) to ops@example.com: taken\n";
    assert_eq!(done.text(), expected);
    assert_eq!(test().await?.code, 0);
    assert_eq!(mails.mails().len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_not_repeated() -> Result<()> {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let hook = format!("[[notify.webhooks]]\nurl = \"http://user:T0PSECRET@{closed}/T0PSECRET\"\n");
    let tried = notifier(&hook, QUICK)?.test().await;
    let shown = format!("{tried:?}");
    assert!(tried[0].taken.is_err() && !shown.contains("T0PSECRET"), "{shown}");
    Ok(())
}
