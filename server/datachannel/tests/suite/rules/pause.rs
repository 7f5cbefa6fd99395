//! The service's word that the agent is away is a state, not an end.

use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::limits::Limits;

use crate::support::bench::{Bench, times};
use crate::support::wire::Msg;

fn pause() -> Msg {
    Msg::control("pause_publication", "")
}

fn start() -> Msg {
    Msg::control("start_publication", "")
}

/// Two messages are on their way when the pause comes.
fn paused() -> (Bench, Vec<Msg>) {
    let mut bench = Bench::open(Limits::default());
    bench.channel.write(b"one");
    let mut sent = bench.sent_data();
    bench.channel.write(b"two");
    sent.extend(bench.sent_data());
    bench.give(&pause());
    assert_eq!(bench.events(), [Event::PeerAbsent]);
    (bench, sent)
}

#[test]
fn while_the_agent_is_away_only_the_oldest_message_asks_for_it_once_a_second() {
    let (mut bench, sent) = paused();
    bench.channel.write(b"three");
    let written = bench.wait_ms(5_500);
    assert_eq!(times(&written), [1_000, 2_000, 3_000, 4_000, 5_000]);
    assert!(written.iter().all(|(_, msg)| *msg == sent[0]));
}

#[test]
fn repeated_pauses_are_one_and_do_not_postpone_its_limit() {
    let (mut bench, _) = paused();
    for _ in 0..74 {
        bench.wait_ms(1_000);
        bench.give(&pause());
        assert_eq!((bench.end(), bench.events()), (None, vec![]));
    }
    bench.wait_ms(1_000);
    assert_eq!(bench.end(), Some(End::Ended(Ended::AgentGone)));
}

#[test]
fn a_start_resumes_and_sends_the_window_again() {
    let (mut bench, sent) = paused();
    bench.wait_ms(30_000);
    bench.give(&start());
    assert_eq!(bench.events(), [Event::PeerBack]);
    assert_eq!(bench.sent_data(), sent);
}

#[test]
fn a_message_of_the_agents_resumes_without_a_start() {
    let (mut bench, sent) = paused();
    bench.output(b"here");
    assert_eq!(bench.sent_data(), sent);
    assert_eq!(bench.read(), b"here");
}

#[test]
fn an_acknowledgement_resumes_and_the_rest_of_the_window_is_sent_again() {
    let (mut bench, sent) = paused();
    bench.ack(sent[0].seq);
    assert_eq!(bench.sent_data(), sent[1..]);
    bench.channel.write(b"three");
    assert_eq!(bench.sent_data()[0].payload, b"three");
}

#[test]
fn with_nothing_on_its_way_one_new_message_asks_for_the_agent() {
    let mut bench = Bench::open(Limits::default());
    bench.give(&pause());
    bench.channel.write(b"a");
    assert_eq!(bench.sent_data().len(), 1);
    bench.channel.write(b"b");
    assert_eq!(bench.sent_data(), []);
}

#[test]
fn an_idle_channel_asks_for_the_agent_with_an_empty_message_before_it_gives_it_up() {
    let mut bench = Bench::open(Limits::default());
    bench.give(&pause());
    let written = bench.wait_ms(7_000);
    assert_eq!(times(&written), [5_000, 6_000, 7_000]);
    let (_, probe) = &written[0];
    assert_eq!((probe.ptype, probe.payload.as_slice()), (1, b"".as_slice()));
    // The service never says that the agent is back; its answer does.
    bench.ack(probe.seq);
    assert_eq!(bench.wait_ms(1_000_000), []);
    assert_eq!(bench.end(), None);
}

#[test]
fn an_agent_that_comes_and_goes_does_not_make_us_flood_it() {
    let (mut bench, sent) = paused();
    let mut messages = 0;
    for _ in 0..100 {
        bench.give(&start());
        bench.give(&pause());
        messages += bench.wait_ms(10).len();
    }
    assert!(messages <= 3 * sent.len(), "{messages}");
}

#[test]
fn a_pause_without_end_is_none_after_the_agent_came_back() {
    let (mut bench, sent) = paused();
    bench.wait_ms(70_000);
    bench.give(&start());
    sent.iter().for_each(|msg| bench.ack(msg.seq));
    bench.wait_ms(70_000);
    assert_eq!(bench.end(), None);
}

#[test]
fn the_services_control_messages_may_have_any_length_and_digest() {
    let mut bench = Bench::open(Limits::default());
    for kind in ["pause_publication", "start_publication"] {
        let mut message = Msg::control(kind, "x").encode();
        message[40..48].fill(0); // no date
        message[80..112].fill(0); // no digest
        message[116..120].copy_from_slice(&1_u32.to_le_bytes());
        bench.give_raw(&message);
        message[..4].fill(0xff);
        bench.give_raw(&message);
    }
    assert_eq!(bench.events(), [Event::PeerAbsent, Event::PeerBack]);
}
