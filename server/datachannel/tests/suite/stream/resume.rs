//! Dialling again for the same session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use ssm_datachannel::{Credentials, DataChannel, Ended, Resume, ResumeError, Resumed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{Open, credentials};
use crate::support::gateway::{Gateway, Leg};

/// Answers as scripted, then that it is unavailable.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Resumed, ResumeError>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Result<Resumed, ResumeError>>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Resume for Script {
    async fn resume(&self, session_id: &str) -> Result<Resumed, ResumeError> {
        self.asked.lock().unwrap().push(session_id.to_owned());
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Err(ResumeError::Unavailable("the script is over".into())))
    }
}

fn resumed(url: Option<String>) -> Resumed {
    Resumed { stream_url: url, token: SecretString::from("second"), credentials: None }
}

fn unavailable() -> Result<Resumed, ResumeError> {
    Err(ResumeError::Unavailable("busy".into()))
}

async fn open(
    gateway: &Gateway,
    script: &Arc<Script>,
    credentials: Option<Credentials>,
) -> (DataChannel, Leg) {
    let resume: Arc<dyn Resume> = Arc::<Script>::clone(script);
    Open { resume, credentials, ..Open::on(gateway) }.pair(gateway).await
}

#[tokio::test]
async fn the_hourly_close_is_routine_and_the_same_client_comes_back_with_the_new_token() {
    let (gateway, elsewhere) = (Gateway::new().await, Gateway::new().await);
    let script = Script::of([unavailable(), Ok(resumed(Some(elsewhere.url())))]);
    let mut open = Open { resume: Arc::<Script>::clone(&script), ..Open::on(&gateway) };
    open.options.extra_hosts.push(elsewhere.address.to_string());
    let (mut channel, mut leg) = open.pair(&gateway).await;
    leg.output(b"SSH-2.0-Go\r\n").await;
    leg.expect_ack(2).await;
    let hello = leg.hello.clone();
    leg.close(1000, "Bye").await;
    channel.write_all(b"typed meanwhile").await.unwrap();

    let mut second = elsewhere.accept().await;
    assert_eq!(second.hello["TokenValue"], "second");
    assert_eq!(second.hello["ClientId"], hello["ClientId"]);
    assert_ne!(second.hello["RequestId"], hello["RequestId"]);
    assert_eq!(*script.asked.lock().unwrap(), ["s-1", "s-1"]);
    assert_eq!(second.receive_data().await.payload, b"typed meanwhile");
    second.continue_at(3);
    second.output(b"and back").await;
    let mut all = [0; 20];
    channel.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"SSH-2.0-Go\r\nand back");
}

#[tokio::test]
async fn every_dial_is_signed_anew_with_the_newest_credentials() {
    let gateway = Gateway::new().await;
    let fresh = Credentials::new("AKIDFRESH", "other", None, None, "test");
    let script = Script::of([Ok(Resumed { credentials: Some(fresh), ..resumed(None) }), Ok(resumed(None))]);
    let (_channel, first) = open(&gateway, &script, Some(credentials())).await;
    let signer = |leg: &Leg| leg.headers["authorization"].to_str().unwrap().to_owned();
    assert!(signer(&first).contains("Credential=AKIDEXAMPLE/"));
    first.close(1000, "Bye").await;
    let second = gateway.accept().await;
    assert!(signer(&second).contains("Credential=AKIDFRESH/"));
    drop(second);
    assert!(signer(&gateway.accept().await).contains("Credential=AKIDFRESH/"));
}

#[tokio::test]
async fn a_broken_connection_is_resumed_like_a_closed_one() {
    let gateway = Gateway::new().await;
    let script = Script::of([Ok(resumed(None))]);
    let (mut channel, leg) = open(&gateway, &script, None).await;
    drop(leg);
    let mut second = gateway.accept().await;
    second.continue_at(2);
    second.output(b"x").await;
    assert_eq!(channel.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_denial_or_an_end_of_the_session_is_final() {
    for (error, ended) in [
        (ResumeError::Denied, Ended::ResumeDenied),
        (ResumeError::Gone, Ended::ResumeFailed("the session is over".into())),
    ] {
        let gateway = Gateway::new().await;
        let script = Script::of([Err(error)]);
        let (mut channel, leg) = open(&gateway, &script, None).await;
        leg.close(1000, "Bye").await;
        assert_eq!(channel.ended().await, ended);
        assert_eq!(channel.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(script.asked(), 1);
    }
}

#[tokio::test]
async fn a_presigned_address_needs_a_new_one() {
    let gateway = Gateway::new().await;
    let script = Script::of([Ok(resumed(None))]);
    let mut open = Open { resume: Arc::<Script>::clone(&script), ..Open::on(&gateway) };
    open.grant.stream_url.push_str("&X-Amz-Algorithm=AWS4-HMAC-SHA256");
    let (channel, leg) = open.pair(&gateway).await;
    drop(leg);
    let Ended::ResumeFailed(why) = channel.ended().await else { panic!() };
    assert!(why.contains("signed address"), "{why}");
}

#[tokio::test]
async fn a_new_address_is_checked_like_the_first() {
    let gateway = Gateway::new().await;
    let script = Script::of([Ok(resumed(Some("wss://evil.example/x".into())))]);
    let (channel, leg) = open(&gateway, &script, None).await;
    drop(leg);
    let Ended::ResumeFailed(why) = channel.ended().await else { panic!() };
    assert!(why.contains("evil.example"), "{why}");
}

#[tokio::test]
async fn a_service_that_stays_unavailable_is_given_up_after_30_s_of_slower_and_slower_tries() {
    let gateway = Gateway::new().await;
    let script = Script::of([]);
    let (channel, leg) = open(&gateway, &script, None).await;
    leg.close(1000, "Bye").await;
    tokio::time::pause();
    let start = Instant::now();
    assert_eq!(channel.ended().await, Ended::ResumeFailed("the script is over".into()));
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_secs(25) && elapsed <= Duration::from_secs(31), "{elapsed:?}");
    assert!((8..=16).contains(&script.asked()), "{}", script.asked());
}
