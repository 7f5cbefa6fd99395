use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::client::{Client, RESPONSE, Seen, open_frame};
use super::rig::{BANNER, Rig};
use crate::stream::frame::{FLAG_SYN, kind, payload};
use crate::stream::{Fault, Options};

#[tokio::test]
async fn a_stream_opens_shakes_hands_and_carries_bytes_both_ways() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::open(&rig, "one").await;
    let request = client.output().await;
    assert_eq!((request.kind.as_str(), request.sequence, request.flags), (kind::OUTPUT, 0, FLAG_SYN));
    let body: Value = serde_json::from_slice(&request.payload).unwrap();
    let action = &body["RequestedClientActions"][0];
    assert_eq!(action["ActionType"], "SessionType");
    assert_eq!(action["ActionParameters"]["SessionType"], "Port");
    assert_eq!(action["ActionParameters"]["Properties"]["portNumber"], rig.ssh.port().to_string());
    assert!(body["AgentVersion"].as_str().unwrap().starts_with("3.3."));
    let response = client.send(payload::HANDSHAKE_RESPONSE, RESPONSE.as_bytes()).await;
    let complete = client.output().await;
    assert_eq!(
        (complete.payload_type, complete.sequence, complete.flags),
        (payload::HANDSHAKE_COMPLETE, 1, 0)
    );
    client.acked(&response).await;
    assert_eq!(client.read(BANNER.len()).await, BANNER);
    client.deliver(b"hello").await;
    assert_eq!(client.read(5).await, b"hello");
    assert_eq!(client.publications, [kind::START]);
    rig.no_violations();
    let info = rig.info("one");
    assert!(info.client_connected && info.agent_connected);
    assert_eq!((info.counters.up_messages, info.counters.attaches), (2, 1));
}

#[tokio::test]
async fn first_frames_that_are_not_right_are_refused() {
    let rig = Rig::echo(Options::default()).await;
    let good = open_frame(&rig.token("one"));
    let with = |key: &str, value: Value| {
        let mut frame = good.clone();
        frame[key] = value;
        frame.to_string()
    };
    let without = |key: &str| {
        let mut frame = good.clone();
        frame.as_object_mut().unwrap().remove(key);
        frame.to_string()
    };
    let bad = [
        "nonsense".to_owned(),
        with("MessageSchemaVersion", json!("1")),
        with("RequestId", json!("1")),
        with("RequestId", json!("7C5D7E0C-4D2F-4F8E-9D3A-2F1F6F0A8B11")),
        with("ClientId", json!("7c5d7e0c4d2f4f8e9d3a2f1f6f0a8b11")),
        with("ClientVersion", json!("1.2")),
        with("TokenValue", json!("stolen")),
        with("Extra", json!(true)),
        without("ClientVersion"),
        without("RequestId"),
    ];
    for frame in bad {
        let mut client = Client::dial(&rig, "one").await.unwrap();
        client.text(&frame).await;
        match client.seen().await {
            Seen::Closed(Some((1008, _))) => {}
            other => panic!("{frame}: {other:?}"),
        }
    }
    // None of them used the token up.
    let mut client = Client::dial(&rig, "one").await.unwrap();
    client.text(&good.to_string()).await;
    client.shake().await;
    // It is used up now.
    let mut second = Client::dial(&rig, "one").await.unwrap();
    second.text(&good.to_string()).await;
    assert!(matches!(second.seen().await, Seen::Closed(Some((1008, _)))));
}

#[tokio::test]
async fn a_client_id_that_is_no_uuid_passes_only_where_it_may() {
    let rig = Rig::echo(Options { any_client_id: true, ..Options::default() }).await;
    let mut open = open_frame(&rig.token("one"));
    open["ClientId"] = json!("one");
    let mut client = Client::dial(&rig, "one").await.unwrap();
    client.text(&open.to_string()).await;
    client.shake().await;
}

#[tokio::test]
async fn a_binary_first_frame_and_silence_are_refused() {
    let options = Options { open_timeout: Duration::from_millis(50), ..Options::default() };
    let rig = Rig::echo(options).await;
    let mut client = Client::dial(&rig, "one").await.unwrap();
    futures_util::SinkExt::send(&mut client.socket, Frame::Binary(vec![1, 2, 3].into())).await.unwrap();
    assert!(matches!(client.seen().await, Seen::Closed(Some((1008, _)))));
    let mut silent = Client::dial(&rig, "one").await.unwrap();
    assert!(matches!(silent.seen().await, Seen::Closed(Some((1008, _)))));
}

#[tokio::test]
async fn upgrades_are_refused_by_the_account_or_by_a_fault() {
    let rig = Rig::echo(Options::default()).await;
    let status = |result: Result<Client, Error>| match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    };
    assert_eq!(status(Client::dial(&rig, "forbidden").await), 403);
    rig.fault(Fault::RefuseUpgrade { status: 503, times: Some(2) });
    assert_eq!(status(Client::dial(&rig, "one").await), 503);
    assert_eq!(status(Client::dial(&rig, "one").await), 503);
    assert_eq!(status(Client::dial(&rig, "one").await), 101);
}

#[tokio::test]
async fn bytes_before_the_end_of_the_handshake_are_acknowledged_and_thrown_away() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::open(&rig, "one").await;
    let early = client.send(payload::OUTPUT, &b"early"[..]).await;
    client.acked(&early).await;
    client.shake().await;
    assert_eq!(client.read(BANNER.len()).await, BANNER);
    client.deliver(b"late").await;
    assert_eq!(client.read(4).await, b"late");
    let violations = rig.info("one").violations;
    assert_eq!(violations, ["payload type 1 before the handshake was complete"]);
}

#[tokio::test]
async fn data_is_not_ready_until_the_dial_is_answered() {
    let rig = Rig::echo(Options { dial_delay: Duration::from_millis(300), ..Options::default() }).await;
    let mut client = Client::ready(&rig, "one").await;
    let first = client.send(payload::OUTPUT, &b"first"[..]).await;
    let second = client.send(payload::OUTPUT, &b"second"[..]).await;
    // The second waits for the first, and is acknowledged for that.
    client.acked(&second).await;
    assert!(!client.acked.contains(&first.sequence));
    client.acked(&first).await;
    assert_eq!(client.read(BANNER.len() + 11).await, [BANNER, b"firstsecond"].concat());
    assert!(rig.info("one").counters.agent_not_ready >= 1);
    rig.no_violations();
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_or_fails_ends_the_session() {
    let rig =
        Rig::echo(Options { handshake_timeout: Duration::from_millis(300), ..Options::default() }).await;
    let mut client = Client::open(&rig, "late").await;
    let (words, close) = client.closed().await;
    assert!(words.contains("Handshake timed out"), "{words}");
    assert_eq!(close.map(|(code, _)| code), Some(1000));

    let mut client = Client::open(&rig, "failed").await;
    client.output().await;
    let response = RESPONSE.replace("\"ActionStatus\":1", "\"ActionStatus\":3");
    client.send(payload::HANDSHAKE_RESPONSE, response.into_bytes()).await;
    let (words, _) = client.closed().await;
    assert!(words.contains("initiating handshake"), "{words}");
    super::rig::until("both places are free", || rig.account.released().len() == 2).await;
}

#[tokio::test]
async fn agents_skip_repeat_or_never_offer_the_handshake() {
    let rig =
        Rig::echo(Options { handshake_timeout: Duration::from_millis(200), ..Options::default() }).await;
    rig.fault(Fault::NeverHandshake);
    let mut client = Client::open(&rig, "never").await;
    assert_eq!(client.message_of(kind::START).await.kind, kind::START);
    let silent = tokio::time::timeout(Duration::from_millis(400), client.seen()).await;
    assert!(silent.is_err(), "{silent:?}");
    rig.fault(Fault::Clear);

    rig.fault(Fault::NoHandshake);
    let mut client = Client::open(&rig, "none").await;
    assert_eq!(client.read(BANNER.len()).await, BANNER);
    rig.fault(Fault::Clear);

    rig.fault(Fault::HandshakeTwice);
    let mut client = Client::ready(&rig, "twice").await;
    let again = client.output().await;
    assert_eq!((again.payload_type, again.sequence), (payload::HANDSHAKE_REQUEST, 2));
    client.send(payload::HANDSHAKE_RESPONSE, RESPONSE.as_bytes()).await;
    assert_eq!(client.read(BANNER.len()).await, BANNER);
}

#[tokio::test]
async fn the_agent_may_start_before_or_after_the_client() {
    let rig = Rig::echo(Options { agent_connect: Duration::from_millis(100), ..Options::default() }).await;
    let mut client = Client::greeted(&rig, "agent-late").await;
    assert_eq!(client.publications, [kind::PAUSE, kind::START]);
    client.deliver(b"x").await;

    let rig = Rig::echo(Options::default()).await;
    rig.fault(Fault::AttachLate { ms: 150 });
    let mut client = Client::greeted(&rig, "client-late").await;
    assert_eq!(client.publications, [kind::PAUSE, kind::START]);
    client.deliver(b"x").await;
    rig.no_violations();
}
