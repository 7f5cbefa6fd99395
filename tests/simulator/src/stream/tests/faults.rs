use super::client::{Client, Seen};
use super::rig::{BANNER, Rig};
use crate::stream::frame::{kind, payload};
use crate::stream::{Direction, Fault, Oddity, Options};

#[tokio::test]
async fn odd_messages_reach_the_client_and_the_stream_goes_on() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let send = |what| rig.fault(Fault::Send { what });

    send(Oddity::ShortFrame);
    assert!(matches!(client.seen().await, Seen::Junk));
    send(Oddity::BadHeaderLength);
    assert!(matches!(client.seen().await, Seen::Junk));
    send(Oddity::Text);
    assert!(matches!(client.seen().await, Seen::Text(_)));
    send(Oddity::TextMessage);
    assert!(
        matches!(client.seen().await, Seen::Text(text) if text.len() == 120 && text.contains("pause_publication"))
    );
    send(Oddity::UnknownMessageType);
    assert_eq!(client.message().await.kind, "agent_job_reply_ack");
    send(Oddity::BadDigest);
    assert!(!client.message().await.digest_matches());
    send(Oddity::StrayAck);
    assert_eq!(super::client::acked(&client.message().await), 1 << 40);
    send(Oddity::BrokenAck);
    assert_eq!(client.message().await.kind, kind::ACKNOWLEDGE);
    send(Oddity::Pause);
    client.message_of(kind::PAUSE).await;
    send(Oddity::Start);
    client.message_of(kind::START).await;

    client.deliver(b"still here").await;
    assert_eq!(client.read(10).await, b"still here");
}

#[tokio::test]
async fn frames_that_no_library_writes_are_written() {
    for what in [Oddity::LongPing, Oddity::ReservedOpcode] {
        let rig = Rig::echo(Options::default()).await;
        let mut client = Client::greeted(&rig, "one").await;
        rig.fault(Fault::Send { what });
        match client.seen().await {
            Seen::Broken(error) => assert!(error.to_string().contains("protocol"), "{error}"),
            other => panic!("{what:?}: {other:?}"),
        }
        client.resume(&rig, "one").await.deliver(b"on").await;
    }
}

#[tokio::test]
async fn agents_send_small_payloads_other_types_and_gaps() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    rig.fault(Fault::SmallPayloads { bytes: 1, count: 3 });
    client.deliver(b"\n.").await;
    // One read was under way when the fault was set, so the first may be whole.
    client.read(2).await;
    client.deliver(b"\n\n").await;
    assert_eq!(client.output().await.payload, &b"\n"[..]);
    assert_eq!(client.output().await.payload, &b"\n"[..]);

    rig.fault(Fault::AgentPayload { payload_type: payload::FLAG, payload: vec![0, 0, 0, 3] });
    let flag = client.output().await;
    assert_eq!((flag.payload_type, flag.payload.as_ref()), (payload::FLAG, &[0, 0, 0, 3][..]));
    rig.fault(Fault::AgentPayload { payload_type: 99, payload: Vec::new() });
    let unknown = client.output().await;
    assert_eq!((unknown.payload_type, unknown.sequence), (99, flag.sequence + 1));

    rig.fault(Fault::SkipSequence { by: 2 });
    rig.fault(Fault::AgentPayload { payload_type: 99, payload: Vec::new() });
    let after = client.message_of(kind::OUTPUT).await;
    assert_eq!(after.sequence, unknown.sequence + 3);
}

#[tokio::test]
async fn a_refused_dial_ends_the_session_with_words() {
    let rig = Rig::echo(Options::default()).await;
    rig.fault(Fault::RefuseDial);
    let mut client = Client::ready(&rig, "one").await;
    let (words, _) = client.closed().await;
    assert!(words.starts_with("Unable to connect to specified port: "), "{words}");
}

#[tokio::test]
async fn a_late_dial_and_lost_acknowledgements_are_survived() {
    let rig = Rig::echo(Options::default()).await;
    rig.fault(Fault::DialDelay { ms: 100 });
    rig.fault(Fault::LoseAcks { direction: Direction::Up, count: Some(3) });
    let mut client = Client::ready(&rig, "one").await;
    client.deliver(b"x").await;
    assert_eq!(client.read(BANNER.len() + 1).await, [BANNER, b"x"].concat());
    assert!(rig.info("one").counters.down_retransmits >= 1);
}
