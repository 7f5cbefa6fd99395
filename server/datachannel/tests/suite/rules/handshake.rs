//! From the open socket to the first bytes.

use ssm_datachannel::Ended;
use ssm_datachannel::channel::{End, Event};
use ssm_datachannel::limits::Limits;

use crate::support::bench::{Bench, times};
use crate::support::wire::{self, Msg, PORT};

fn bench() -> Bench {
    Bench::new(Limits::default())
}

fn session(session_type: &str, properties: &str) -> String {
    format!(
        r#"{{"ActionType":"SessionType","ActionParameters":{{"SessionType":"{session_type}","Properties":{properties}}}}}"#
    )
}

/// What the client answers to these actions, and how it ends.
fn answer_to(actions: &str) -> (serde_json::Value, Option<End>) {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, actions));
    let response = bench.sent_data().remove(0);
    assert_eq!(response.ptype, wire::HANDSHAKE_RESPONSE);
    (serde_json::from_slice(&response.payload).unwrap(), bench.end())
}

#[test]
fn the_request_is_acknowledged_before_it_is_answered() {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, PORT));
    let sent = bench.sent();
    assert_eq!(sent[0].acks(), Some(0));
    assert_eq!((sent[1].kind.as_str(), sent[1].seq, sent[1].flags), ("input_stream_data", 0, 0));
    assert_eq!(sent.len(), 2);
}

#[test]
fn nothing_is_sent_before_the_handshake_is_complete_since_it_would_be_acknowledged_and_lost() {
    let mut bench = bench();
    assert_eq!(bench.channel.write(b"SSH-2.0-early\r\n"), 15);
    assert_eq!(bench.wait_ms(3_000), []);
    bench.give(&Msg::handshake_request(0, PORT));
    bench.accept_all();
    assert_eq!(bench.wait_ms(3_000), []);
    bench.give(&Msg::handshake_complete(1));
    bench.output(b""); // seq 0 again: a duplicate, no banner
    assert_eq!(bench.sent_data(), []);
    bench.give(&Msg::output(2, wire::OUTPUT, "SSH-2.0-Go\r\n"));
    assert_eq!(bench.sent_data()[0].payload, b"SSH-2.0-early\r\n");
}

#[test]
fn the_users_bytes_wait_for_the_banner_which_proves_that_the_agents_connection_is_up() {
    let mut bench = Bench::after_handshake(Limits::default());
    bench.channel.write(b"SSH-2.0-x\r\n");
    assert_eq!(bench.wait_ms(400), []);
    bench.output(b"SSH-2.0-Go\r\n");
    assert_eq!(bench.sent_data()[0].payload, b"SSH-2.0-x\r\n");
    // The agent is ready, so a late acknowledgement is just late: no fast resends.
    assert_eq!(bench.wait_ms(190), []);
}

#[test]
fn without_a_banner_bytes_go_after_a_second_and_the_first_message_is_resent_fast() {
    let mut bench = Bench::after_handshake(Limits::default());
    bench.channel.write(b"a client that speaks first");
    let written = bench.wait_ms(1_400);
    assert_eq!(times(&written), [1_000, 1_025, 1_075, 1_175, 1_375]);
    assert!(written.iter().all(|(_, msg)| *msg == written[0].1), "the same message each time");
    // What follows it was parked and acknowledged by the agent, and is not resent.
    bench.channel.write(b"more");
    let second = bench.sent_data().remove(0);
    bench.ack(second.seq);
    let later = bench.wait_ms(1_000);
    assert!(!later.is_empty() && later.iter().all(|(_, msg)| msg.seq == second.seq - 1));
}

#[test]
fn an_empty_output_is_no_banner() {
    let mut bench = Bench::after_handshake(Limits::default());
    bench.channel.write(b"x");
    bench.output(b"");
    assert_eq!(bench.sent_data(), []);
}

#[test]
fn a_repeated_request_is_acknowledged_again_and_answered_once() {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, PORT));
    bench.give(&Msg::handshake_request(0, PORT));
    let sent = bench.sent();
    assert_eq!(sent.iter().filter(|msg| msg.acks() == Some(0)).count(), 2);
    assert_eq!(sent.iter().filter(|msg| msg.kind == "input_stream_data").count(), 1);
}

#[test]
fn an_agent_that_asks_anew_is_answered_but_not_for_ever() {
    let mut bench = bench();
    for seq in 0..4 {
        bench.give(&Msg::handshake_request(seq, PORT));
        assert_eq!(bench.accept_all().len(), 1);
    }
    bench.give(&Msg::handshake_request(4, PORT));
    assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(_)))));
}

#[test]
fn words_for_customers_are_an_event_and_not_in_the_stream() {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, PORT));
    bench.give(&Msg::handshake_complete(1));
    let complete =
        Event::HandshakeComplete { agent_version: "3.3.1.0".into(), customer_message: "be nice".into() };
    assert_eq!(bench.events(), [complete]);
    assert_eq!(bench.read(), b"");
}

#[test]
fn encryption_with_a_kms_key_is_answered_failed() {
    let kms = r#"{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k","Challenge":"c"}}"#;
    let (answer, end) = answer_to(&format!("{kms},{PORT}"));
    assert_eq!(answer["ProcessedClientActions"][0]["ActionStatus"], 2);
    assert_eq!(answer["ProcessedClientActions"][1]["ActionStatus"], 1);
    assert_eq!(end, Some(End::Unsupported("encryption with a KMS key".into())));
}

#[test]
fn an_unknown_action_is_answered_unsupported_in_its_status() {
    let (answer, end) = answer_to(&format!(r#"{PORT},{{"ActionType":"Dance"}}"#));
    assert_eq!(answer["ClientVersion"], "1.2.764.0");
    assert_eq!(answer["ProcessedClientActions"][1]["ActionStatus"], 3);
    assert_eq!(answer["ProcessedClientActions"][1]["ActionResult"], serde_json::Value::Null);
    assert_eq!(end, Some(End::Unsupported("the action \"Dance\"".into())));
}

#[test]
fn a_shell_session_is_refused_in_words() {
    for other in ["Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", ""] {
        let (answer, end) = answer_to(&session(other, "null"));
        assert_eq!(answer["ProcessedClientActions"][0]["ActionStatus"], 3);
        assert_eq!(end, Some(End::Unsupported(format!("a session of type {other:?}"))));
    }
}

#[test]
fn a_multiplexed_port_session_is_refused_in_words() {
    let (answer, end) = answer_to(&session("Port", r#"{"portNumber":"22","type":"LocalPortForwarding"}"#));
    assert_eq!(answer["ProcessedClientActions"][0]["ActionStatus"], 3);
    assert_eq!(end, Some(End::Unsupported("a Port session of type \"LocalPortForwarding\"".into())));
}

#[test]
fn a_port_session_needs_no_properties() {
    assert_eq!(answer_to(&session("Port", "null")).1, None);
    assert_eq!(
        answer_to(r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}}"#).1,
        None
    );
}

#[test]
fn bytes_without_any_handshake_are_a_kind_of_session_that_is_not_supported() {
    let mut bench = bench();
    bench.give(&Msg::output(0, wire::OUTPUT, "$ "));
    assert_eq!(bench.end(), Some(End::Unsupported("a session without a handshake".into())));
    assert_eq!(bench.read(), b"");
}

#[test]
fn bytes_amid_the_handshake_are_a_break_of_protocol() {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, PORT));
    bench.give(&Msg::output(1, wire::OUTPUT, "x"));
    assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(_)))));
}

#[test]
fn an_end_of_a_handshake_that_never_began_is_a_break_of_protocol() {
    let mut bench = bench();
    bench.give(&Msg::handshake_complete(0));
    assert!(matches!(bench.end(), Some(End::Ended(Ended::Protocol(_)))));
}

#[test]
fn an_agent_that_never_shakes_hands_is_given_up_after_25_s() {
    let mut bench = bench();
    bench.wait_ms(24_999);
    assert_eq!(bench.end(), None);
    bench.wait_ms(1);
    assert_eq!(bench.end(), Some(End::NoHandshake));
}

#[test]
fn an_answer_that_was_lost_is_resent() {
    let mut bench = bench();
    bench.give(&Msg::handshake_request(0, PORT));
    let first = bench.sent_data();
    assert_eq!(first, bench.wait_ms(1_000).into_iter().map(|(_, msg)| msg).collect::<Vec<_>>());
}

#[test]
fn a_pause_before_the_handshake_means_only_that_the_agent_is_not_there_yet() {
    let mut bench = bench();
    bench.give(&Msg::control("pause_publication", ""));
    bench.wait_ms(20_000);
    assert_eq!((bench.end(), bench.events()), (None, vec![]));
    bench.give(&Msg::handshake_request(0, PORT));
    assert_eq!(bench.sent_data().len(), 1);
}
