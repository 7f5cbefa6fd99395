use std::time::Duration;

use tokio::net::TcpListener;

use super::client::{Client, Seen};
use super::rig::{Rig, SPACE, until};
use crate::stream::frame::{kind, payload};
use crate::stream::{Fault, Options};

#[tokio::test]
async fn a_terminate_flag_ends_the_session_after_all_that_was_sent_before_it() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    client.send(payload::OUTPUT, &b"last words"[..]).await;
    let flag = client.send(payload::FLAG, &[0, 0, 0, 2][..]).await;
    client.acked(&flag).await;
    let (words, close) = client.closed().await;
    assert_eq!((words.as_str(), close.map(|(code, _)| code)), ("", Some(1000)));
    until("the place is free", || rig.account.released() == ["one"]).await;
    assert!(rig.streams.live(Some(SPACE)).is_empty());
    assert_eq!(rig.info("one").counters.up_messages, 3);
    rig.no_violations();
}

#[tokio::test]
async fn a_server_that_closes_is_drained_before_the_session_ends() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    client.deliver(b"one\n").await;
    client.deliver(b"bye\n").await;
    let (words, _) = client.closed().await;
    assert_eq!(words, "");
    assert_eq!(rig.account.released(), ["one"]);
}

#[tokio::test]
async fn what_is_never_acknowledged_is_lost_when_the_drain_is_over() {
    let rig = Rig::echo(Options { drain: Duration::from_millis(100), ..Options::default() }).await;
    let mut client = Client::greeted(&rig, "one").await;
    client.send(payload::OUTPUT, &b"unheard"[..]).await;
    client.message_of(kind::OUTPUT).await;
    client.send(payload::OUTPUT, &b"bye\n"[..]).await;
    loop {
        match client.seen().await {
            Seen::Message(message) if message.kind == kind::CHANNEL_CLOSED => break,
            Seen::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn silence_ends_a_session_and_pings_do_not_prevent_it() {
    let rig = Rig::echo(Options { idle_timeout: Duration::from_millis(400), ..Options::default() }).await;
    let mut client = Client::greeted(&rig, "one").await;
    let ping = tokio_tungstenite::tungstenite::Message::Ping(Vec::new().into());
    let words = loop {
        futures_util::SinkExt::send(&mut client.socket, ping.clone()).await.unwrap();
        if let Ok(closed) = tokio::time::timeout(Duration::from_millis(50), client.closed()).await {
            break closed.0;
        }
    };
    assert_eq!(words, "Your session timed out due to inactivity and has been terminated.");
    assert!(rig.info("one").counters.pings > 2);
    until("the place is free", || rig.account.released() == ["one"]).await;
}

#[tokio::test]
async fn a_client_that_vanishes_keeps_its_place_until_the_session_is_idle_or_given_up() {
    let rig =
        Rig::echo(Options { keep_without_client: Some(Duration::from_millis(200)), ..Options::default() })
            .await;
    let client = Client::greeted(&rig, "one").await;
    drop(client);
    until("detached", || !rig.info("one").client_connected).await;
    assert!(rig.account.released().is_empty());
    until("given up", || rig.account.released() == ["one"]).await;
    // Nobody comes back into a session that is over.
    let mut late = Client::open(&rig, "one").await;
    assert!(matches!(late.seen().await, Seen::Closed(Some((1008, _)))));
}

#[tokio::test]
async fn nobody_listening_ends_the_session_with_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = listener.local_addr().unwrap();
    drop(listener);
    let rig = Rig::reaching(nowhere, Options::default()).await;
    let mut client = Client::ready(&rig, "one").await;
    let (words, _) = client.closed().await;
    assert!(words.starts_with("Unable to connect to specified port: "), "{words}");
}

#[tokio::test]
async fn an_end_with_words_waits_its_turn_or_overtakes() {
    for overtake in [false, true] {
        let rig = Rig::echo(Options::default()).await;
        let mut client = Client::greeted(&rig, "one").await;
        rig.fault(Fault::Delay { direction: crate::stream::Direction::Down, ms: 200, jitter_ms: 0 });
        let echoed = client.send(payload::OUTPUT, &b"data"[..]).await;
        until("on its way", || rig.info("one").counters.down_messages >= 4).await;
        rig.fault(Fault::ChannelClosed { output: "over".to_owned(), overtake });
        let mut kinds = Vec::new();
        while let Seen::Message(message) = client.seen().await {
            kinds.push(message.kind);
        }
        assert_eq!(kinds.last().map(String::as_str), Some(kind::CHANNEL_CLOSED));
        assert_eq!(kinds.iter().any(|kind| kind == kind::OUTPUT), !overtake, "{kinds:?}");
        assert_eq!(echoed.sequence, 1);
    }
}

#[tokio::test]
async fn a_shutdown_ends_everything() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    rig.streams.shutdown().await;
    assert!(matches!(client.seen().await, Seen::Broken(_) | Seen::Closed(_)));
}
