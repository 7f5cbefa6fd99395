use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::client::{Client, Seen};
use super::rig::{Rig, SPACE, until};
use crate::sessions::StreamFaults as _;
use crate::stream::clock::now_ms;
use crate::stream::frame::{HEADER, Message, kind, payload};
use crate::stream::{CloseHow, Fault, Options, Target};

#[tokio::test]
async fn closed_websockets_leave_a_session_that_can_be_resumed() {
    for how in [CloseHow::Bye, CloseHow::Drop, CloseHow::Reset, CloseHow::MidFrame] {
        let rig = Rig::echo(Options::default()).await;
        let mut client = Client::greeted(&rig, "one").await;
        rig.streams.fault(Target::Space(SPACE.to_owned()), Fault::CloseClients { how });
        match (how, client.seen().await) {
            (CloseHow::Bye, Seen::Closed(Some((1000, reason)))) => assert_eq!(reason, "Bye"),
            (CloseHow::Drop | CloseHow::Reset | CloseHow::MidFrame, Seen::Broken(_)) => {}
            (_, other) => panic!("{how:?}: {other:?}"),
        }
        until("detached", || !rig.info("one").client_connected).await;
        assert!(rig.account.released().is_empty());
        let mut client = client.resume(&rig, "one").await;
        client.deliver(b"again").await;
        assert_eq!(client.read(5).await, b"again");
        assert_eq!(rig.info("one").counters.attaches, 2);
        rig.no_violations();
    }
}

#[tokio::test]
async fn what_was_said_while_the_client_was_away_comes_after_it_resumed() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    client.send(payload::OUTPUT, &b"before"[..]).await;
    client.socket.close(None).await.unwrap();
    until("detached", || !rig.info("one").client_connected).await;
    let mut client = client.resume(&rig, "one").await;
    client.deliver(b"after").await;
    assert_eq!(client.read(11).await, b"beforeafter");
}

#[tokio::test]
async fn a_session_that_resumes_as_somebody_else_is_noted() {
    let rig = Rig::echo(Options::default()).await;
    let _client = Client::ready(&rig, "one").await;
    let mut other = Client::dial(&rig, "one").await.unwrap();
    let mut open = super::client::open_frame(&rig.token("one"));
    open["ClientId"] = json!(uuid::Uuid::new_v4());
    other.text(&open.to_string()).await;
    until("noted", || !rig.info("one").violations.is_empty()).await;
    assert_eq!(rig.info("one").violations, ["a resumed session came with another ClientId"]);
}

#[tokio::test]
async fn the_old_websocket_is_closed_when_a_session_is_resumed_beside_it() {
    let rig = Rig::echo(Options::default()).await;
    let mut old = Client::greeted(&rig, "one").await;
    let _new = Client::open(&rig, "one").await;
    loop {
        match old.seen().await {
            Seen::Message(_) => {}
            Seen::Closed(Some((1000, _))) => break,
            other => panic!("{other:?}"),
        }
    }
    until("the new one stays", || rig.info("one").client_connected).await;
}

#[tokio::test]
async fn a_missing_agent_means_a_pause_for_each_message_until_it_is_back() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    rig.fault(Fault::KillAgent { ms: None });
    client.message_of(kind::PAUSE).await;
    let lost = client.send(payload::OUTPUT, &b"lost"[..]).await;
    client.message_of(kind::PAUSE).await;
    client.put(&lost).await;
    client.message_of(kind::PAUSE).await;
    assert!(!rig.info("one").agent_connected);

    rig.fault(Fault::KillAgent { ms: Some(50) });
    client.message_of(kind::START).await;
    client.acked(&lost).await;
    assert_eq!(client.read(4).await, b"lost");
    rig.no_violations();
}

#[tokio::test]
async fn a_half_open_socket_answers_nothing_and_stays_open() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    rig.fault(Fault::HalfOpen);
    client.socket.send(Frame::Ping(Bytes::new())).await.unwrap();
    client.send(payload::OUTPUT, &b"x"[..]).await;
    let silent = timeout(Duration::from_millis(300), client.seen()).await;
    assert!(silent.is_err(), "{silent:?}");
    // A new socket is not struck.
    let mut client = client.resume(&rig, "one").await;
    client.deliver(b"y").await;
}

#[tokio::test]
async fn a_websocket_is_closed_when_it_is_old() {
    let rig =
        Rig::echo(Options { close_every: Some(Duration::from_millis(300)), ..Options::default() }).await;
    let mut client = Client::ready(&rig, "one").await;
    loop {
        match client.seen().await {
            Seen::Message(_) => {}
            Seen::Closed(Some((1000, reason))) => break assert_eq!(reason, "Bye"),
            other => panic!("{other:?}"),
        }
    }
    client.resume(&rig, "one").await.deliver(b"on").await;
}

#[tokio::test]
async fn an_agent_that_stalls_acknowledges_nothing() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    rig.fault(Fault::StallAgent);
    let message = client.send(payload::OUTPUT, &b"x"[..]).await;
    // It may repeat what it said before, since it does not hear that that was acknowledged.
    let heard = timeout(Duration::from_millis(300), client.message_of(kind::ACKNOWLEDGE)).await;
    assert!(heard.is_err(), "{heard:?}");
    rig.fault(Fault::ResumeAgent);
    client.acked(&message).await;
}

#[tokio::test]
async fn messages_over_the_size_limit_close_the_websocket() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let largest = client.send(payload::OUTPUT, vec![1; 32 * 1024]).await;
    client.acked(&largest).await;
    let too_big =
        Message::new(kind::INPUT, now_ms(), client.next, payload::OUTPUT, vec![1; 32 * 1024 + 1].into());
    assert!(too_big.encode().len() > 32 * 1024 + HEADER);
    client.put(&too_big).await;
    loop {
        match client.seen().await {
            Seen::Message(_) => {}
            Seen::Closed(Some((code, _))) => break assert_eq!(code, 1009),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_too_many_messages_is_paused_and_cut_off() {
    let rig = Rig::echo(Options { message_limit: Some(50), ..Options::unpaced(1024) }).await;
    let mut client = Client::greeted(&rig, "one").await;
    let sample = Message::new(kind::INPUT, now_ms(), 0, payload::HANDSHAKE_RESPONSE, Bytes::new());
    let mut paused = false;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            seen = client.seen() => match seen {
                Seen::Message(message) => paused |= message.kind == kind::PAUSE,
                Seen::Closed(_) | Seen::Broken(_) => break,
                other => panic!("{other:?}"),
            },
            _ = pace.tick() => if client.socket.send(Frame::Binary(sample.encode())).await.is_err() { break },
        }
    }
    assert!(paused);
    let violations = rig.info("one").violations;
    assert!(violations.iter().any(|what| what.contains("more messages a second")), "{violations:?}");
}

#[tokio::test]
async fn faults_come_by_the_control_api_and_strike_only_their_target() {
    let rig = Rig::echo(Options::default()).await;
    let mut spared = Client::greeted(&rig, "spared").await;
    let mut struck = Client::greeted(&rig, "struck").await;
    let body = json!({"session": "struck", "fault": "channel_closed", "output": "enough", "overtake": true});
    assert_eq!(rig.streams.apply(body), Ok(()));
    assert_eq!(struck.closed().await.0, "enough");
    spared.deliver(b"x").await;
    assert!(rig.streams.apply(json!({"fault": "no such thing"})).is_err());
}
