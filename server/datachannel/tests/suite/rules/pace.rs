//! Sizes and rates.

use std::time::Duration;

use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::limits::Limits;

use crate::support::bench::Bench;
use crate::support::wire::Msg;

/// Writes as much as is taken for this long, acknowledging everything, and counts messages and bytes.
fn upload(bench: &mut Bench, chunk: &[u8], time: Duration) -> (usize, usize) {
    let end = bench.now + time;
    let (mut messages, mut bytes) = (0, 0);
    while bench.now < end {
        bench.channel.write(chunk);
        for msg in bench.accept_all() {
            messages += 1;
            bytes += msg.payload.len();
        }
        bench.wait(Duration::from_micros(100)).iter().for_each(|(_, msg)| {
            messages += 1;
            bytes += msg.payload.len();
            bench.ack(msg.seq);
        });
    }
    (messages, bytes)
}

#[test]
fn keystrokes_go_at_once_in_messages_of_their_own() {
    let mut bench = Bench::open(Limits::default());
    for key in [b"l", b"s"] {
        bench.channel.write(key);
        let sent = bench.sent_data();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].payload, key);
    }
}

#[test]
fn a_lone_line_feed_stays_a_line_feed() {
    let mut bench = Bench::open(Limits::default());
    bench.channel.write(b"\n");
    assert_eq!(bench.sent_data()[0].payload, b"\n");
}

#[test]
fn messages_stay_below_the_rate_that_the_gateway_punishes() {
    let mut bench = Bench::open(Limits::default());
    let (messages, _) = upload(&mut bench, &[7; 64 * 1024], Duration::from_secs(4));
    assert!((3_400..=3_500).contains(&messages), "{messages}");
}

#[test]
fn queued_bytes_share_large_messages() {
    let mut bench = Bench::open(Limits::default());
    let (messages, bytes) = upload(&mut bench, &[7; 1000], Duration::from_secs(2));
    // 10 MB/s in portions of 1000 bytes: with small payloads, 0.87 MB/s would be the most.
    assert!(bytes > 15_000_000 && messages <= 1_800, "{messages} {bytes}");
}

#[test]
fn resends_take_from_the_rate_and_acknowledgements_do_not() {
    let limits = Limits { messages_per_second: Some(10), message_burst: 1, ..Limits::default() };
    let mut bench = Bench::open(limits);
    bench.wait_ms(1_000);
    bench.channel.write(b"a");
    assert_eq!(bench.sent_data().len(), 1);
    for _ in 0..50 {
        bench.output(b"x");
    }
    assert_eq!(bench.sent_acks().len(), 50);
    bench.lose_connection();
    bench.reconnect();
    // The resend waits for its token, a tenth of a second.
    assert_eq!(bench.sent_data(), []);
    assert_eq!(bench.wait_ms(150)[0].0, 100);
}

#[test]
fn the_rate_can_be_switched_off() {
    let mut bench = Bench::open(Limits { messages_per_second: None, ..Limits::default() });
    let (_, bytes) = upload(&mut bench, &[7; 64 * 1024], Duration::from_millis(100));
    assert!(bytes > 50_000_000, "{bytes}");
}

#[test]
fn payloads_are_at_most_16_kib_and_never_above_32_whatever_is_configured() {
    let largest = |limits| {
        let mut bench = Bench::open(limits);
        bench.channel.write(&[7; 256 * 1024]);
        bench.sent_data().iter().map(|msg| msg.payload.len()).max().unwrap()
    };
    assert_eq!(largest(Limits::default()), 16 * 1024);
    assert_eq!(largest(Limits { max_payload: 1 << 20, ..Limits::default() }), 32 * 1024);
    assert_eq!(largest(Limits { max_payload: 1024, ..Limits::default() }), 1024);
    assert_eq!(largest(Limits { max_payload: 0, ..Limits::default() }), 1);
}

#[test]
fn an_ssh_handshake_never_depends_on_large_payloads() {
    let mut bench = Bench::open(Limits::default());
    bench.channel.write(&[7; 3_000]);
    let sizes: Vec<usize> = bench.sent_data().iter().map(|msg| msg.payload.len()).collect();
    assert_eq!(sizes, [1024, 1024, 952]);
}

fn write_bulk(bench: &mut Bench) -> Vec<Msg> {
    bench.channel.write(&[7; 20_000]);
    bench.sent_data()
}

#[test]
fn a_socket_that_dies_of_the_first_large_payload_leaves_small_ones_for_the_rest_of_the_session() {
    let mut bench = Bench::open(Limits::default());
    let sent = write_bulk(&mut bench);
    assert_eq!(sent[0].payload.len(), 16 * 1024);
    bench.wait_ms(1_500);
    bench.lose_connection();
    assert_eq!(bench.events(), [Event::LargePayloadsRefused]);
    bench.reconnect();
    // What is on its way keeps its size, since the agent may have it already.
    assert_eq!(bench.accept_all().iter().map(|msg| msg.payload.len()).max(), Some(16 * 1024));
    assert_eq!(write_bulk(&mut bench).iter().map(|msg| msg.payload.len()).max(), Some(1024));
}

#[test]
fn a_gateway_that_keeps_closing_on_large_payloads_ends_the_stream_in_words() {
    let mut bench = Bench::open(Limits::default());
    write_bulk(&mut bench);
    for _ in 0..3 {
        bench.lose_connection();
        assert_eq!(bench.end(), None, "networks fail by themselves, too");
        bench.reconnect();
        assert!(!bench.sent_data().is_empty());
        bench.wait_ms(1_000);
    }
    bench.lose_connection();
    assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(words))) if words.contains("1 KiB")));
}

#[test]
fn a_large_payload_that_was_acknowledged_proves_that_they_work() {
    let mut bench = Bench::open(Limits::default());
    write_bulk(&mut bench).iter().for_each(|msg| bench.ack(msg.seq));
    bench.lose_connection();
    bench.reconnect();
    assert_eq!(bench.events(), []);
    assert_eq!(write_bulk(&mut bench)[0].payload.len(), 16 * 1024);
}
