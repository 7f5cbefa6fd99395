//! The agent's sequence.

use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::frame::FrameError;
use ssm_datachannel::limits::Limits;

use crate::support::bench::Bench;
use crate::support::wire::{Msg, OUTPUT};

fn bench() -> Bench {
    Bench::open(Limits::default())
}

/// The next sequence number of a bench that is open.
const NEXT: i64 = 3;

#[test]
fn every_message_is_acknowledged_by_itself() {
    let mut bench = bench();
    for _ in 0..3 {
        bench.output(b"x");
    }
    assert_eq!(bench.sent_acks(), [NEXT, NEXT + 1, NEXT + 2]);
}

#[test]
fn a_duplicate_is_acknowledged_again_or_the_agent_would_resend_it_for_ever() {
    let mut bench = bench();
    let seq = bench.output(b"once");
    for _ in 0..3 {
        bench.give(&Msg::output(seq, OUTPUT, "once"));
    }
    assert_eq!(bench.sent_acks(), [seq; 4]);
    assert_eq!(bench.read(), b"once");
}

#[test]
fn messages_out_of_order_are_acknowledged_at_once_and_delivered_in_order() {
    let mut bench = bench();
    for seq in [NEXT + 2, NEXT + 1, NEXT + 2] {
        bench.give(&Msg::output(seq, OUTPUT, seq.to_string()));
    }
    assert_eq!(bench.sent_acks(), [NEXT + 2, NEXT + 1, NEXT + 2]);
    assert_eq!(bench.read(), b"");
    bench.give(&Msg::output(NEXT, OUTPUT, "3"));
    assert_eq!(bench.read(), b"345");
}

#[test]
fn what_does_not_fit_behind_a_gap_is_not_acknowledged_and_memory_stays_bounded() {
    let limits = Limits { reorder_buffer: 64 * 1024, ..Limits::default() };
    let mut bench = Bench::open(limits.clone());
    for seq in NEXT + 1..NEXT + 200 {
        bench.give(&Msg::output(seq, OUTPUT, vec![seq as u8; 1024]));
        assert!(bench.channel.held() <= limits.most_held());
    }
    let acked = bench.sent_acks();
    assert_eq!(acked.len(), 64 * 1024 / (1024 + 256));
    // The gap closes, the agent resends the others: nothing is missing.
    bench.give(&Msg::output(NEXT, OUTPUT, vec![NEXT as u8; 1024]));
    let mut got = bench.read();
    for seq in NEXT + 1..NEXT + 200 {
        bench.give(&Msg::output(seq, OUTPUT, vec![seq as u8; 1024]));
        got.extend(bench.read());
    }
    let expected: Vec<u8> = (NEXT..NEXT + 200).flat_map(|seq| vec![seq as u8; 1024]).collect();
    assert!(got == expected);
}

#[test]
fn tiny_messages_behind_a_gap_cost_their_overhead_too() {
    let limits = Limits { reorder_buffer: 64 * 1024, ..Limits::default() };
    let mut bench = Bench::open(limits);
    (NEXT + 1..NEXT + 1000).for_each(|seq| bench.give(&Msg::output(seq, OUTPUT, "")));
    assert_eq!(bench.sent_acks().len(), 256);
}

#[test]
fn numbers_that_no_agent_reaches_are_not_parked() {
    let mut bench = bench();
    for seq in [NEXT + 100_001, i64::MAX, -1, i64::MIN] {
        bench.give(&Msg::output(seq, OUTPUT, "x"));
    }
    assert_eq!((bench.sent_acks(), bench.end()), (vec![], None));
}

#[test]
fn only_output_reaches_the_stream_and_every_other_type_is_acknowledged_and_dropped() {
    let mut bench = bench();
    let mut acked = Vec::new();
    for ptype in (0..20).filter(|ptype| ![OUTPUT, 5, 7].contains(ptype)).chain([261, u32::MAX]) {
        let seq = bench.take_seq();
        bench.give(&Msg::output(seq, ptype, [0, 0, 0, 3]));
        acked.push(seq);
    }
    assert_eq!(bench.sent_acks(), acked);
    bench.output(b"stream");
    assert_eq!(bench.read(), b"stream");
}

#[test]
fn a_message_with_a_wrong_digest_is_not_acknowledged_and_taken_when_it_comes_right() {
    let mut bench = bench();
    let mut message = Msg::output(NEXT, OUTPUT, "payload").encode();
    message[121] ^= 1;
    bench.give_raw(&message);
    assert_eq!((bench.sent_acks(), bench.read()), (vec![], vec![]));
    assert_eq!(bench.events(), [Event::Dropped(FrameError::Digest)]);
    bench.output(b"payload");
    assert_eq!((bench.sent_acks(), bench.read()), (vec![NEXT], b"payload".to_vec()));
}

#[test]
fn the_payload_runs_to_the_end_of_the_message_whatever_its_length_field_says() {
    let mut bench = bench();
    let mut message = Msg::output(NEXT, OUTPUT, "payload").encode();
    message[116..120].copy_from_slice(&3_u32.to_be_bytes());
    bench.give_raw(&message);
    assert_eq!(bench.read(), b"payload");
}

#[test]
fn a_longer_header_moves_the_payload() {
    let mut bench = bench();
    let mut message = Msg::output(NEXT, OUTPUT, "payload").encode();
    message[..4].copy_from_slice(&120_u32.to_be_bytes());
    message.splice(116..116, [9, 9, 9, 9]);
    bench.give_raw(&message);
    assert_eq!(bench.read(), b"payload");
}

#[test]
fn types_may_be_padded_with_nuls() {
    let mut bench = bench();
    let mut message = Msg::output(NEXT, OUTPUT, "payload").encode();
    message[4 + 18..36].fill(0);
    bench.give_raw(&message);
    assert_eq!(bench.read(), b"payload");
}

#[test]
fn a_slow_reader_stops_the_socket_and_is_not_taken_for_a_silent_peer() {
    let limits = Limits { receive_buffer: 10_000, ..Limits::default() };
    let mut bench = Bench::open(limits.clone());
    bench.channel.write(b"a message whose acknowledgement waits on the socket");
    let msg = bench.sent_data().remove(0);
    while bench.channel.wants_input() {
        bench.output(&[7; 1024]);
    }
    bench.sent();
    assert!(bench.channel.is_stalled());
    // More would not be acknowledged: a driver that ignores `wants_input` loses nothing either.
    let seq = bench.output(&[8; 1024]);
    assert_eq!(bench.sent_acks(), Vec::<i64>::new());
    // However long it takes: no resend, no end.
    assert_eq!(bench.wait_ms(1_000_000), []);
    assert_eq!(bench.end(), None);
    bench.channel.consume(bench.now, 4_000);
    assert!(bench.channel.is_stalled(), "not at every byte");
    bench.channel.consume(bench.now, 4_000);
    assert!(bench.channel.wants_input());
    // The acknowledgement has time to come before anything is resent.
    assert_eq!(bench.wait_ms(199), []);
    bench.ack(msg.seq);
    bench.give(&Msg::output(seq, OUTPUT, [8; 1024]));
    assert_eq!(bench.sent_acks(), [seq]);
}

#[test]
fn acknowledgements_that_the_socket_does_not_take_stop_the_reading() {
    let mut bench = bench();
    let mut count = 0;
    while bench.channel.wants_input() {
        bench.output(b"x");
        count += 1;
    }
    assert_eq!(count, 4096);
    bench.output(b"y");
    assert_eq!(bench.sent_acks().len(), 4096);
    assert!(bench.channel.wants_input());
}

#[test]
fn a_gap_that_is_never_filled_ends_the_stream() {
    let mut bench = bench();
    bench.give(&Msg::output(NEXT + 1, OUTPUT, "x"));
    bench.wait_ms(89_999);
    assert_eq!(bench.end(), None);
    bench.wait_ms(1);
    assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(_)))));
}

#[test]
fn a_user_that_reads_no_more_does_not_stop_the_agent() {
    let mut bench = Bench::open(Limits { receive_buffer: 10_000, ..Limits::default() });
    bench.output(&[7; 20_000]);
    assert!(!bench.channel.wants_input());
    bench.channel.discard(bench.now);
    for _ in 0..100 {
        bench.output(&[7; 20_000]);
    }
    assert_eq!(bench.sent_acks().len(), 101);
    assert_eq!(bench.read(), b"");
}
