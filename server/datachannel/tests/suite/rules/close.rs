//! Ends: ours, the service's.

use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::limits::Limits;

use crate::support::bench::Bench;
use crate::support::wire::{FLAG, Msg, OUTPUT, PORT};

const CLOSED: Option<End> = Some(End::Ended(Ended::Closed));

fn bench() -> Bench {
    Bench::open(Limits::default())
}

fn by_service(words: &str) -> Option<End> {
    Some(End::Ended(Ended::ClosedByService(words.into())))
}

#[test]
fn closing_delivers_what_was_written_then_terminates_then_waits_for_the_answer() {
    let mut bench = bench();
    bench.channel.write(&[7; 50_000]);
    bench.channel.finish(bench.now);
    assert_eq!(bench.channel.write(b"too late"), 0);
    let data = bench.sent_data();
    assert_eq!(data.iter().map(|msg| msg.payload.len()).sum::<usize>(), 50_000);
    assert!(data.iter().all(|msg| msg.ptype == OUTPUT));
    data.iter().for_each(|msg| bench.ack(msg.seq));
    let flag = bench.sent_data().remove(0);
    assert_eq!((flag.ptype, flag.payload.as_slice()), (FLAG, [0, 0, 0, 2].as_slice()));
    assert_eq!(flag.seq, data.last().unwrap().seq + 1);
    assert_eq!(bench.end(), None);
    bench.ack(flag.seq);
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn what_arrives_while_closing_is_still_delivered() {
    let mut bench = bench();
    bench.channel.write(b"x");
    bench.channel.finish(bench.now);
    bench.output(b"last words");
    assert_eq!(bench.read(), b"last words");
}

#[test]
fn an_agent_that_acknowledges_nothing_is_told_to_terminate_after_5_s_and_left_after_7() {
    let mut bench = bench();
    bench.channel.write(b"x");
    bench.sent();
    bench.channel.finish(bench.now);
    let written = bench.wait_ms(6_999);
    let flags: Vec<u64> = written.iter().filter(|(_, msg)| msg.ptype == FLAG).map(|(at, _)| *at).collect();
    assert_eq!(flags, [5_000]);
    assert_eq!(bench.end(), None);
    bench.wait_ms(1);
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn closing_while_the_agent_is_away_does_not_take_longer() {
    let mut bench = bench();
    bench.give(&Msg::control("pause_publication", ""));
    bench.channel.write(&[7; 50_000]);
    bench.channel.finish(bench.now);
    let written = bench.wait_ms(7_000);
    assert!(written.iter().any(|(at, msg)| msg.ptype == FLAG && *at == 5_000));
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn closing_without_a_socket_does_not_take_longer() {
    let mut bench = bench();
    bench.channel.write(b"x");
    bench.lose_connection();
    bench.channel.finish(bench.now);
    bench.wait_ms(7_000);
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn a_new_socket_while_closing_still_delivers_and_terminates() {
    let mut bench = bench();
    bench.channel.write(b"x");
    bench.lose_connection();
    bench.channel.finish(bench.now);
    bench.wait_ms(1_000);
    bench.reconnect();
    let sent = bench.accept_all();
    assert_eq!(sent.iter().map(|msg| msg.ptype).collect::<Vec<_>>(), [OUTPUT, FLAG]);
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn bytes_that_wait_for_the_banner_go_out_when_the_user_closes() {
    let mut bench = Bench::after_handshake(Limits::default());
    bench.channel.write(b"x");
    bench.channel.finish(bench.now);
    assert_eq!(bench.accept_all().iter().map(|msg| msg.ptype).collect::<Vec<_>>(), [OUTPUT, FLAG]);
}

#[test]
fn the_answer_to_terminate_may_be_the_end_of_the_channel_or_of_the_socket() {
    let terminating = || {
        let mut bench = bench();
        bench.channel.finish(bench.now);
        assert_eq!(bench.sent_data()[0].ptype, FLAG);
        bench
    };
    let mut bench = terminating();
    bench.give(&Msg::closed("Exiting"));
    assert_eq!(bench.end(), CLOSED);
    let mut bench = terminating();
    bench.lose_connection();
    assert_eq!(bench.end(), CLOSED);
}

#[test]
fn no_order_is_sent_before_the_handshake_is_complete() {
    let mut bench = Bench::new(Limits::default());
    bench.give(&Msg::handshake_request(0, PORT));
    bench.accept_all();
    bench.channel.finish(bench.now);
    assert_eq!(bench.end(), CLOSED);
    assert_eq!(bench.sent_data(), []);
}

#[test]
fn the_services_close_ends_the_stream_in_its_words_after_all_bytes() {
    let mut bench = bench();
    let seq = bench.output(b"bye");
    bench.give(&Msg::closed("Your session timed out due to inactivity and has been terminated."));
    assert_eq!(bench.end(), by_service("Your session timed out due to inactivity and has been terminated."));
    assert_eq!(bench.read(), b"bye");
    assert_eq!(bench.sent_acks(), [seq], "the agent is not left waiting");
}

#[test]
fn a_close_that_overtakes_bytes_waits_for_them() {
    let mut bench = bench();
    let seq = bench.take_seq();
    bench.give(&Msg::output(seq + 1, OUTPUT, "tail"));
    bench.give(&Msg::closed("done"));
    bench.wait_ms(900);
    assert_eq!(bench.end(), None);
    bench.give(&Msg::output(seq, OUTPUT, "the "));
    assert_eq!(bench.end(), by_service("done"));
    assert_eq!(bench.read(), b"the tail");
}

#[test]
fn a_close_that_overtakes_bytes_waits_a_second_for_them_and_no_longer() {
    let mut bench = bench();
    let seq = bench.take_seq();
    bench.give(&Msg::output(seq + 1, OUTPUT, "tail"));
    bench.give(&Msg::closed("done"));
    bench.give(&Msg::closed("done again"));
    bench.wait_ms(1_000);
    assert_eq!(bench.end(), by_service("done"));
    assert_eq!(bench.read(), b"", "what is out of order is not delivered");
}

#[test]
fn after_the_services_close_a_dead_socket_is_not_replaced() {
    let mut bench = bench();
    let seq = bench.take_seq();
    bench.give(&Msg::output(seq + 1, OUTPUT, "tail"));
    bench.give(&Msg::closed("done"));
    bench.lose_connection();
    assert_eq!(bench.end(), by_service("done"));
}

#[test]
fn a_close_without_readable_words_still_closes() {
    for payload in ["", "{}", "{\"Output\":null}", "not json", "[1]"] {
        let mut bench = bench();
        let mut message = Msg::control("channel_closed", payload).encode();
        message[40..48].fill(0);
        message[80..112].fill(0);
        message[112..120].copy_from_slice(&[0, 0, 1, 5, 9, 0, 0, 0]);
        bench.give_raw(&message);
        assert_eq!(bench.end(), by_service(""), "{payload}");
    }
}

#[test]
fn a_failed_session_is_told_before_any_handshake() {
    let mut bench = Bench::new(Limits::default());
    bench.give(&Msg::closed("Plugin with name Port is not supported"));
    assert_eq!(bench.end(), by_service("Plugin with name Port is not supported"));
}

#[test]
fn after_the_end_nothing_moves() {
    let mut bench = bench();
    bench.give(&Msg::closed("done"));
    bench.output(b"late");
    bench.channel.write(b"late");
    bench.channel.finish(bench.now);
    assert_eq!((bench.sent(), bench.read(), bench.events()), (vec![], vec![], Vec::<Event>::new()));
    assert_eq!((bench.channel.room(), bench.channel.wants_input()), (0, false));
    assert_eq!(bench.channel.deadline(bench.now), None);
}
