//! Anything may arrive: nothing panics, memory stays bounded.

use proptest::prelude::*;
use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::frame::FrameError;
use ssm_datachannel::limits::{Limits, MAX_FRAME};

use crate::support::bench::Bench;
use crate::support::wire::{HANDSHAKE_REQUEST, Msg, OUTPUT, PORT};

#[test]
fn a_message_shorter_than_its_header_is_dropped() {
    let mut bench = Bench::open(Limits::default());
    let message = Msg::output(3, OUTPUT, "").encode();
    for length in 0..120 {
        bench.give_raw(&message[..length]);
        assert_eq!(bench.events(), [Event::Dropped(FrameError::Short(length))]);
    }
    assert_eq!((bench.end(), bench.sent()), (None, vec![]));
}

#[test]
fn a_header_that_ends_outside_the_message_is_dropped() {
    let mut bench = Bench::open(Limits::default());
    for length in [0_u32, 1, 115, 127, 128, u32::MAX - 3, u32::MAX] {
        let mut message = Msg::output(3, OUTPUT, "payload").encode();
        message[..4].copy_from_slice(&length.to_be_bytes());
        bench.give_raw(&message);
        assert_eq!(bench.events(), [Event::Dropped(FrameError::HeaderLength(length))]);
    }
}

#[test]
fn a_message_without_type_or_date_is_dropped() {
    let mut bench = Bench::open(Limits::default());
    for padding in [b' ', 0] {
        let mut message = Msg::output(3, OUTPUT, "x").encode();
        message[4..36].fill(padding);
        bench.give_raw(&message);
        assert_eq!(bench.events(), [Event::Dropped(FrameError::NoType)]);
    }
    bench.give(&Msg { created: 0, ..Msg::output(3, OUTPUT, "x") });
    assert_eq!(bench.events(), [Event::Dropped(FrameError::NoDate)]);
}

#[test]
fn an_oversized_message_is_dropped() {
    let mut bench = Bench::open(Limits::default());
    bench.give(&Msg::output(3, OUTPUT, vec![7; MAX_FRAME]));
    assert_eq!(bench.events(), [Event::Dropped(FrameError::Long(MAX_FRAME + 120))]);
    bench.give(&Msg::output(3, OUTPUT, vec![7; MAX_FRAME - 120]));
    assert_eq!(bench.read().len(), MAX_FRAME - 120);
}

#[test]
fn messages_of_other_kinds_are_ignored() {
    let mut bench = Bench::open(Limits::default());
    for kind in ["agent_session_state", "input_stream_data", "interactive_shell", "x"] {
        bench.give(&Msg::control(kind, "{}"));
    }
    assert_eq!((bench.end(), bench.sent(), bench.events()), (None, vec![], vec![]));
}

#[test]
fn an_acknowledgement_that_is_not_json_is_ignored() {
    let mut bench = Bench::open(Limits::default());
    for payload in ["", "{", "{}", "null", r#"{"AcknowledgedMessageSequenceNumber":"1"}"#] {
        bench.give(&Msg::control("acknowledge", payload));
    }
    assert_eq!(bench.end(), None);
}

#[test]
fn a_handshake_request_that_cannot_be_read_is_a_break_of_protocol() {
    let deep = "[".repeat(100_000);
    let many = format!(r#"{{"RequestedClientActions":[{}]}}"#, [PORT; 17].join(","));
    let endless = format!(r#"{{"RequestedClientActions":[{{"ActionType":"{}"}}]}}"#, "x".repeat(65));
    for payload in ["", "{", "null", r#"{"RequestedClientActions":7}"#, &deep, &many, &endless] {
        let mut bench = Bench::new(Limits::default());
        bench.give(&Msg::output(0, HANDSHAKE_REQUEST, payload));
        assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(_)))));
    }
}

#[test]
fn words_of_the_other_side_are_cut() {
    let mut bench = Bench::open(Limits::default());
    bench.give(&Msg::closed(&"é".repeat(50_000)));
    let Some(End::Ended(Ended::ClosedByService(words))) = bench.end() else { panic!() };
    assert_eq!(words.len(), 4096);
}

/// A message in which anything may be wrong.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        4 => Just("output_stream_data"),
        2 => Just("acknowledge"),
        1 => Just("pause_publication"),
        1 => Just("start_publication"),
        1 => Just("other"),
    ];
    let ptype = prop_oneof![4 => Just(OUTPUT), 1 => Just(5_u32), 1 => Just(7_u32), 1 => any::<u32>()];
    let payload = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => Just(vec![7; 20_000]),
        1 => Just(Msg::handshake_request(0, PORT).payload),
        2 => (0_i64..40).prop_map(|seq| Msg::ack("input_stream_data", &[1; 16], seq).payload),
    ];
    let seq = prop_oneof![8 => 0_i64..60, 1 => any::<i64>()];
    let damage = proptest::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
    (kind, seq, ptype, payload, damage).prop_map(|(kind, seq, ptype, payload, damage)| {
        let mut message = Msg { kind: kind.into(), ..Msg::output(seq, ptype, payload) }.encode();
        if let Some((at, byte)) = damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ssm_datachannel::frame::parse(bytes.into());
    }

    #[test]
    fn no_sequence_of_messages_panics_the_channel_or_outgrows_its_bounds(
        messages in proptest::collection::vec((any_message(), 0..2_000_u64, any::<bool>()), 1..200),
        open in any::<bool>(),
    ) {
        let limits = Limits {
            receive_buffer: 64 * 1024,
            reorder_buffer: 64 * 1024,
            window_bytes: 64 * 1024,
            ..Limits::default()
        };
        let mut bench = if open { Bench::open(limits.clone()) } else { Bench::new(limits.clone()) };
        for (message, wait, busy) in messages {
            bench.give_raw(&message);
            if busy {
                bench.channel.write(&[7; 3_000]);
                bench.wait_ms(wait);
            }
            prop_assert!(bench.channel.held() <= limits.most_held());
        }
        bench.channel.finish(bench.now);
        bench.wait_ms(200_000);
        // A reader that never reads and a peer that is never heard: it ends all the same.
        prop_assert!(bench.end().is_some());
    }
}
