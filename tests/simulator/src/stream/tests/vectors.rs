//! The worked examples of the wire description, both ways.

use std::time::Duration;

use bytes::Bytes;
use uuid::{Uuid, uuid};

use crate::stream::frame::{FrameError, HEADER, Message, kind, payload, peek_kind, peek_sequence};
use crate::stream::words::acknowledge;

const ID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");
const STARTED: u64 = 1_700_000_000_000;

/// Header of the examples: type in hex, then the fields as they stand on the wire.
fn wire(type_hex: &str, rest: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = "00000074".to_owned() + type_hex;
    text.push_str(&"20".repeat(32 - type_hex.len() / 2));
    text.extend(rest.iter().flat_map(|part| part.chars()).filter(|c| !c.is_whitespace()));
    let mut bytes: Vec<u8> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    bytes.extend_from_slice(body);
    bytes
}

const INPUT: &str = "696e7075745f73747265616d5f64617461";
const OUTPUT: &str = "6f75747075745f73747265616d5f64617461";
const WIRE_ID: &str = "8899aabbccddeeff0011223344556677";

fn check(bytes: Vec<u8>, message: &Message) {
    assert_eq!(message.encode().as_ref(), bytes);
    let frame = Bytes::from(bytes);
    assert_eq!(Message::decode(&frame).as_ref(), Ok(message));
    assert!(message.digest_matches());
    assert_eq!(peek_kind(&frame), message.kind);
    assert_eq!(peek_sequence(&frame), Some(message.sequence));
}

fn message(kind: &str, created: u64, sequence: i64, payload_type: u32, body: &'static [u8]) -> Message {
    Message { id: ID, ..Message::new(kind, created, sequence, payload_type, Bytes::from_static(body)) }
}

#[test]
fn v1_client_data() {
    let rest = [
        "00000001 0000018bcfe56800 0000000000000001 0000000000000000",
        WIRE_ID,
        "2fc632b5e53ad7949531c57e3f122ec7429e3a5a991aee061663fb853b641d45 00000001 0000000b",
    ];
    let body = b"SSH-2.0-x\r\n";
    check(wire(INPUT, &rest, body), &message(kind::INPUT, STARTED, 1, payload::OUTPUT, body));
}

#[test]
fn v2_acknowledgement() {
    let of = Message { id: ID, ..Message::new(kind::OUTPUT, STARTED, 7, payload::OUTPUT, Bytes::new()) };
    let ack = Message { id: uuid!("0f1e2d3c-4b5a-4687-8796-a5b4c3d2e1f0"), ..acknowledge(&of, STARTED + 1) };
    let body = br#"{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"00112233-4455-6677-8899-aabbccddeeff","AcknowledgedMessageSequenceNumber":7,"IsSequentialMessage":true}"#;
    let rest = [
        "00000001 0000018bcfe56801 0000000000000000 0000000000000003 8796a5b4c3d2e1f00f1e2d3c4b5a4687",
        "62d57ca2dfb7aa0eee6a8e12491c3e9feffd166f2b0f36b96eba41866669e854 00000000 000000b0",
    ];
    check(wire("61636b6e6f776c65646765", &rest, body), &ack);
    assert_eq!(ack.encode().len(), 296);
}

#[test]
fn v3_terminate_session() {
    let rest = [
        "00000001 0000018bcfe56802 000000000000002a 0000000000000000",
        WIRE_ID,
        "433ebf5bc03dffa38536673207a21281612cef5faa9bc7a4d5b9be2fdb12cf1a 0000000a 00000004",
    ];
    let body = &[0, 0, 0, 2];
    check(wire(INPUT, &rest, body), &message(kind::INPUT, STARTED + 2, 42, payload::FLAG, body));
}

#[test]
fn v4_handshake_response() {
    let rest = [
        "00000001 0000018bcfe56803 0000000000000000 0000000000000000",
        WIRE_ID,
        "651594cbd5932394f34f330d7368764e50a5577b0452185c3531f7799661 5a46 00000006 00000093",
    ];
    let body = super::client::RESPONSE.as_bytes();
    check(wire(INPUT, &rest, body), &message(kind::INPUT, STARTED + 3, 0, payload::HANDSHAKE_RESPONSE, body));
}

#[test]
fn v5_empty_output() {
    let rest = [
        "00000001 0000018bcfe56800 0000000000000000 0000000000000001",
        WIRE_ID,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 00000001 00000000",
    ];
    let expected = Message { flags: 1, ..message(kind::OUTPUT, STARTED, 0, payload::OUTPUT, b"") };
    check(wire(OUTPUT, &rest, b""), &expected);
}

#[test]
fn short_and_lying_frames_are_no_messages() {
    assert_eq!(Message::decode(&Bytes::from_static(&[0; HEADER - 1])), Err(FrameError::Short(HEADER - 1)));
    for length in [0, 117, u32::MAX] {
        let frame = Message { header_length: length, ..message(kind::INPUT, 1, 0, 1, b"") }.encode();
        assert_eq!(Message::decode(&frame), Err(FrameError::HeaderLength(length)));
    }
}

#[test]
fn publications_are_garbage_as_on_the_real_service() {
    let pause = crate::stream::words::publication(kind::PAUSE, false);
    assert_eq!((pause.created_ms, pause.digest), (0, [0; 32]));
    assert_ne!(pause.payload_length as usize, pause.payload.len());
    let plain = crate::stream::words::publication(kind::PAUSE, true);
    assert_eq!((plain.payload_length, plain.encode().len()), (0, HEADER));
    let complete = crate::stream::words::handshake_complete(Duration::from_millis(3));
    assert!(complete.starts_with(br#"{"CustomerMessage":"","HandshakeTimeToComplete":3000000"#));
}
