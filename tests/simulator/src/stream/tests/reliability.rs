use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::client::Client;
use super::rig::{BANNER, Rig, until};
use crate::stream::clock::now_ms;
use crate::stream::frame::{Message, kind, payload};
use crate::stream::{Direction, Fault, Options};

#[tokio::test]
async fn messages_out_of_order_are_parked_and_acknowledged_at_once() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let bodies: Vec<Message> = (0..4)
        .map(|n| {
            Message::new(kind::INPUT, now_ms(), client.next + n, payload::OUTPUT, Bytes::from(format!("{n}")))
        })
        .collect();
    for at in [2, 3, 1] {
        client.put(&bodies[at]).await;
        client.acked(&bodies[at]).await;
    }
    client.put(&bodies[0]).await;
    assert_eq!(client.read(4).await, b"0123");
    rig.no_violations();
}

#[tokio::test]
async fn duplicates_are_acknowledged_again_and_written_once() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let message = client.send(payload::OUTPUT, &b"once"[..]).await;
    client.acked(&message).await;
    client.acked.clear();
    client.put(&message).await;
    client.acked(&message).await;
    client.deliver(b"!").await;
    assert_eq!(client.read(5).await, b"once!");
    let counters = rig.info("one").counters;
    assert_eq!((counters.agent_duplicates, counters.up_retransmits), (1, 1));
}

#[tokio::test]
async fn the_agent_resends_only_its_oldest_message_and_with_the_same_bytes() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    client.send(payload::OUTPUT, &b"a"[..]).await;
    client.send(payload::OUTPUT, &b"b"[..]).await;
    let mut seen: Vec<Message> = Vec::new();
    while seen.iter().filter(|message| message.sequence == seen[0].sequence).count() < 4 {
        let message = client.message().await;
        if message.kind == kind::OUTPUT {
            seen.push(message);
        }
    }
    let head: Vec<_> = seen.iter().filter(|message| message.sequence == seen[0].sequence).collect();
    assert!(head.iter().all(|message| *message == head[0]), "{head:?}");
    assert!(seen.iter().filter(|message| message.sequence > seen[0].sequence).count() <= 1, "{seen:?}");
    assert!(rig.info("one").counters.down_retransmits >= 3);
}

#[tokio::test]
async fn wrong_digests_are_dropped_without_an_acknowledgement() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let good = Message::new(kind::INPUT, now_ms(), client.next, payload::OUTPUT, Bytes::from_static(b"ok"));
    client.put(&Message { digest: [1; 32], ..good.clone() }).await;
    client.put(&Message { created_ms: 0, ..good.clone() }).await;
    until("both dropped", || rig.info("one").counters.agent_corrupt == 2).await;
    assert!(client.acked.is_empty() || !client.acked.contains(&good.sequence));
    client.put(&good).await;
    client.acked(&good).await;
    assert_eq!(client.read(2).await, b"ok");
}

#[tokio::test]
async fn lost_doubled_swapped_and_broken_messages_arrive_all_the_same() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    for direction in [Direction::Up, Direction::Down] {
        rig.fault(Fault::Drop { direction, nth: 1, count: 1 });
        rig.fault(Fault::Duplicate { direction, nth: 2, count: 1 });
        rig.fault(Fault::Corrupt { direction, nth: 3, count: 1 });
        rig.fault(Fault::Reorder { direction, nth: 4, count: 2 });
        rig.fault(Fault::LoseAcks { direction, count: Some(2) });
    }
    let words: [&'static [u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
    for word in words {
        client.deliver(word).await;
    }
    assert_eq!(client.read(8).await, b"abcdefgh");
    let counters = rig.info("one").counters;
    assert!(counters.agent_corrupt >= 1 && counters.agent_duplicates >= 1, "{counters:?}");
    assert!(counters.down_retransmits >= 1 && counters.lost_by_fault >= 4, "{counters:?}");
    rig.no_violations();
}

#[tokio::test]
async fn delays_apply_per_direction() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    for direction in [Direction::Up, Direction::Down] {
        rig.fault(Fault::Delay { direction, ms: 100, jitter_ms: 20 });
    }
    let started = Instant::now();
    client.send(payload::OUTPUT, &b"x"[..]).await;
    assert_eq!(client.read(1).await, b"x");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn downloads_are_paced_as_on_aws_unless_told_otherwise() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let started = Instant::now();
    client.send(payload::OUTPUT, vec![7; 30 * 1024]).await;
    let mut left = 30 * 1024;
    while left > 0 {
        let message = client.output().await;
        assert!(message.payload.len() <= 1024);
        left -= message.payload.len();
    }
    assert!(started.elapsed() >= Duration::from_millis(29), "{:?}", started.elapsed());

    let rig = Rig::echo(Options::unpaced(16 * 1024)).await;
    let mut client = Client::greeted(&rig, "one").await;
    for _ in 0..8 {
        client.send(payload::OUTPUT, vec![7; 32 * 1024]).await;
    }
    let (mut left, mut largest) = (8 * 32 * 1024, 0);
    while left > 0 {
        let message = client.output().await;
        largest = largest.max(message.payload.len());
        left -= message.payload.len();
    }
    assert!((1025..=16 * 1024).contains(&largest), "{largest}");
}

#[tokio::test]
async fn what_a_client_does_wrong_is_written_down() {
    let rig = Rig::echo(Options::default()).await;
    let mut client = Client::greeted(&rig, "one").await;
    let input =
        |sequence| Message::new(kind::INPUT, now_ms(), sequence, payload::OUTPUT, Bytes::from_static(b"x"));
    let next = client.next;
    client.put(&Message { flags: 1, ..input(next) }).await;
    client.put(&Message { schema: 2, payload_length: 9, ..input(next + 1) }).await;
    client.put(&Message { payload_type: 3, ..input(next + 2) }).await;
    client.put(&Message { kind: kind::OUTPUT.to_owned(), ..input(next + 3) }).await;
    client.text("hello").await;
    let never = Message::new(kind::OUTPUT, now_ms(), 1000, payload::OUTPUT, Bytes::new());
    client.ack(&never).await;
    until("all seen", || rig.info("one").violations.len() >= 7).await;
    let all = rig.info("one").violations.join("\n");
    for part in [
        "Flags 1",
        "SchemaVersion 2",
        "PayloadLength 9 of 1",
        "payload type 3",
        "\"output_stream_data\"",
        "second text",
        "message 1000, which was never sent",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    // As AWS's agent, it took what it could.
    assert_eq!(client.read(2).await, b"xx");
    assert_eq!(BANNER.len(), 14);
}
