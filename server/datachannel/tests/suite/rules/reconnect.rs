//! A new socket for the same session.

use ssm_datachannel::limits::Limits;

use crate::support::bench::Bench;
use crate::support::wire::{Msg, OUTPUT};

fn bench() -> Bench {
    Bench::open(Limits::default())
}

#[test]
fn the_whole_window_is_sent_again_and_numbers_go_on() {
    let mut bench = bench();
    let mut sent = Vec::new();
    for byte in 0..10 {
        bench.channel.write(&[byte]);
        sent.extend(bench.sent_data());
    }
    bench.ack(sent[4].seq);
    bench.lose_connection();
    bench.wait_ms(20_000);
    bench.reconnect();
    sent.remove(4);
    assert_eq!(bench.sent_data(), sent);
    bench.channel.write(b"next");
    assert_eq!(bench.sent_data()[0].seq, sent[8].seq + 1);
}

#[test]
fn nothing_is_written_while_there_is_no_socket_but_the_user_may_go_on() {
    let mut bench = bench();
    bench.lose_connection();
    assert_eq!(bench.channel.write(b"typed in the dark"), 17);
    assert_eq!(bench.wait_ms(25_000), []);
    bench.reconnect();
    assert_eq!(bench.sent_data()[0].payload, b"typed in the dark");
}

#[test]
fn the_agents_numbers_go_on_and_what_it_repeats_is_dropped() {
    let mut bench = bench();
    let seq = bench.output(b"before");
    bench.give(&Msg::output(seq + 2, OUTPUT, "parked"));
    bench.lose_connection();
    bench.reconnect();
    bench.give(&Msg::output(seq, OUTPUT, "before"));
    bench.give(&Msg::output(seq + 1, OUTPUT, "-gap-"));
    // What was owed when the socket died is paid on the new one.
    assert_eq!(bench.sent_acks(), [seq, seq + 2, seq, seq + 1]);
    assert_eq!(bench.read(), b"before-gap-parked");
}

#[test]
fn time_without_a_socket_counts_against_nobody() {
    let mut bench = bench();
    bench.channel.write(b"x");
    let msg = bench.sent_data().remove(0);
    bench.wait_ms(80_000);
    bench.lose_connection();
    bench.wait_ms(80_000);
    bench.reconnect();
    assert_eq!(bench.wait_ms(80_000)[0], (0, msg));
    assert_eq!(bench.end(), None);
}

#[test]
fn a_new_socket_starts_without_the_old_ones_pause_and_patience() {
    let mut bench = bench();
    bench.channel.write(b"x");
    let msg = bench.sent_data().remove(0);
    bench.wait_ms(20_000);
    bench.give(&Msg::control("pause_publication", ""));
    bench.lose_connection();
    bench.reconnect();
    bench.channel.write(b"y");
    let again = bench.wait_ms(250);
    assert_eq!(again[0], (0, msg.clone()));
    assert_eq!(again[1].1.payload, b"y");
    assert_eq!(again[2], (200, msg), "the time-outs are short again");
}
