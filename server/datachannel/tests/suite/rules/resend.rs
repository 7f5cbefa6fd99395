//! Our sequence: acknowledgements, time-outs, the window.

use std::time::Duration;

use ssm_datachannel::Ended;
use ssm_datachannel::channel::End;
use ssm_datachannel::limits::Limits;

use crate::support::bench::{Bench, times};
use crate::support::wire::Msg;

fn bench() -> Bench {
    Bench::open(Limits::default())
}

/// Writes one small message and gives it back.
fn write(bench: &mut Bench, bytes: &[u8]) -> Msg {
    bench.channel.write(bytes);
    let mut sent = bench.sent_data();
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

#[test]
fn a_message_is_registered_before_it_is_written_so_a_fast_acknowledgement_counts() {
    let mut bench = bench();
    bench.channel.write(b"x");
    // Between handing out the message and the next call, no time passes and nothing else happens.
    let msg = Msg::decode(&bench.channel.transmit(bench.now).unwrap());
    bench.ack(msg.seq);
    assert_eq!(bench.wait_ms(60_000), []);
}

#[test]
fn a_resend_is_the_same_bytes_with_the_same_id_and_date() {
    let mut bench = bench();
    let first = write(&mut bench, b"x");
    let again = bench.wait_ms(3_000);
    assert!(again.len() >= 2);
    assert!(again.iter().all(|(_, msg)| *msg == first));
}

#[test]
fn time_outs_double_from_200_ms_up_to_5_s() {
    let mut bench = bench();
    // The round trips of the bench are zero, so the floor counts.
    write(&mut bench, b"x");
    let written = bench.wait_ms(20_000);
    assert_eq!(times(&written), [200, 600, 1_400, 3_000, 6_200, 11_200, 16_200]);
}

#[test]
fn the_time_out_follows_the_round_trip() {
    let mut bench = bench();
    for _ in 0..40 {
        let msg = write(&mut bench, b"x");
        bench.wait_ms(400);
        bench.ack(msg.seq);
    }
    write(&mut bench, b"x");
    let first_resend = bench.wait_ms(2_000)[0].0;
    assert!((410..600).contains(&first_resend), "{first_resend}");
}

#[test]
fn acknowledgements_of_resent_messages_do_not_tell_the_round_trip() {
    let mut bench = bench();
    let msg = write(&mut bench, b"x");
    // Resent many times; its acknowledgement comes after 10 s. By Karn's rule that is no sample.
    bench.wait_ms(10_000);
    bench.ack(msg.seq);
    let msg = write(&mut bench, b"y");
    bench.ack(msg.seq);
    write(&mut bench, b"z");
    assert_eq!(bench.wait_ms(300)[0].0, 200);
}

#[test]
fn a_round_trip_that_jumps_beyond_the_time_out_is_learnt() {
    let mut bench = bench();
    let mut resends = 0;
    for _ in 0..10 {
        let msg = write(&mut bench, b"x");
        resends += bench.wait_ms(2_000).len();
        bench.ack(msg.seq);
    }
    assert!(resends <= 8, "{resends}");
}

#[test]
fn only_the_oldest_message_times_out_since_agents_park_the_others() {
    let mut bench = bench();
    let first = write(&mut bench, b"a");
    let second = write(&mut bench, b"b");
    let third = write(&mut bench, b"c");
    let written = bench.wait_ms(200);
    assert_eq!(written, [(200, first.clone())]);
    // The next one's turn comes when the oldest is gone, counted from when it was sent itself.
    bench.ack(first.seq);
    assert_eq!(bench.wait_ms(200), [(200, second.clone())]);
    bench.ack(third.seq);
    bench.ack(second.seq);
    assert_eq!(bench.wait_ms(60_000), []);
}

#[test]
fn unknown_and_repeated_acknowledgements_are_harmless() {
    let mut bench = bench();
    let msg = write(&mut bench, b"x");
    for seq in [msg.seq, msg.seq, 0, 999, -1, i64::MAX, i64::MIN] {
        bench.ack(seq);
    }
    assert_eq!((bench.end(), bench.wait_ms(60_000)), (None, vec![]));
}

#[test]
fn a_full_window_slows_the_user_and_evicts_nothing() {
    let limits = Limits { messages_per_second: None, ..Limits::default() };
    let mut bench = Bench::open(limits.clone());
    let mut accepted = 0;
    let mut sent = Vec::new();
    let pattern: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    loop {
        let count = bench.channel.write(&pattern[accepted..]);
        accepted += count;
        let data = bench.sent_data();
        if count == 0 && data.is_empty() {
            break;
        }
        sent.extend(data);
        assert!(bench.channel.held() <= limits.most_held());
    }
    assert_eq!(bench.channel.room(), 0);
    assert!(accepted < limits.window_bytes + limits.upload_buffer + 64 * 1024, "{accepted}");
    // Everything that was accepted arrives, in order, whatever it takes.
    let mut got = Vec::new();
    while !sent.is_empty() {
        for msg in std::mem::take(&mut sent) {
            bench.ack(msg.seq);
            got.extend(msg.payload);
        }
        sent.extend(bench.sent_data());
    }
    assert_eq!(got, pattern[..accepted]);
    assert!(bench.channel.room() > 0);
}

#[test]
fn the_window_counts_messages_from_the_oldest_unacknowledged_one() {
    let limits = Limits { messages_per_second: None, window_messages: 10, ..Limits::default() };
    let mut bench = Bench::open(limits);
    let mut seqs: Vec<i64> = (0..20)
        .flat_map(|_| {
            bench.channel.write(b"x");
            bench.sent_data()
        })
        .map(|msg| msg.seq)
        .collect();
    assert_eq!(seqs.len(), 10);
    // All but the oldest are acknowledged: it still bounds what the agent has to park.
    let oldest = seqs.remove(0);
    seqs.iter().for_each(|seq| bench.ack(*seq));
    assert_eq!(bench.sent_data(), []);
    bench.ack(oldest);
    assert_eq!(bench.sent_data().len(), 1);
}

#[test]
fn after_90_s_without_any_acknowledgement_the_stream_is_given_up() {
    let mut bench = bench();
    write(&mut bench, b"x");
    bench.wait(Duration::from_millis(89_999));
    assert_eq!(bench.end(), None);
    bench.wait_ms(1);
    assert_eq!(bench.end(), Some(End::Ended(Ended::Unacknowledged)));
}

#[test]
fn progress_anywhere_in_the_window_postpones_giving_up() {
    let mut bench = bench();
    write(&mut bench, b"never acknowledged");
    for _ in 0..5 {
        bench.wait_ms(60_000);
        let msg = write(&mut bench, b"x");
        bench.ack(msg.seq);
    }
    assert_eq!(bench.end(), None);
}

#[test]
fn an_idle_channel_waits_for_nothing() {
    let bench = bench();
    assert_eq!(bench.channel.deadline(bench.now), None);
}
