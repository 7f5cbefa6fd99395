//! Worked messages, byte for byte, both ways.

use bytes::Bytes;
use ssm_datachannel::frame::{self, FLAG_SYN, FLAG_SYN_FIN, Frame, MessageType, payload_type};
use ssm_datachannel::handshake;
use ssm_datachannel::payload::{Acknowledge, TERMINATE_SESSION};
use uuid::{Uuid, uuid};

use crate::support::wire::{Msg, PORT};

const ID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

fn bytes(hex: &str) -> Bytes {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn input(created_ms: u64, sequence: i64, payload_type: u32, payload: impl Into<Bytes>) -> Frame {
    let payload = payload.into();
    Frame {
        message_type: MessageType::InputStreamData,
        created_ms,
        sequence,
        flags: 0,
        id: ID,
        payload_type,
        payload,
    }
}

/// Encodes to the vector, parses to what was encoded, and the tests' own codec agrees.
fn check(frame: &Frame, vector: &str) {
    let vector = bytes(vector);
    assert_eq!(frame::encode(frame), vector);
    assert_eq!(frame::parse(vector.clone()).as_ref(), Ok(frame));
    let second_opinion = Msg::decode(&vector);
    assert_eq!(second_opinion.encode(), vector);
    assert_eq!(second_opinion.id, *frame.id.as_bytes());
}

#[test]
fn v1_client_data() {
    check(&input(1_700_000_000_000, 1, payload_type::OUTPUT, "SSH-2.0-x\r\n"), V1);
}

#[test]
fn v2_acknowledgement() {
    let payload = serde_json::to_vec(&Acknowledge::of("output_stream_data", ID, 7)).unwrap();
    let frame = Frame {
        message_type: MessageType::Acknowledge,
        created_ms: 1_700_000_000_001,
        sequence: 0,
        flags: FLAG_SYN_FIN,
        id: uuid!("0f1e2d3c-4b5a-4687-8796-a5b4c3d2e1f0"),
        payload_type: payload_type::NONE,
        payload: payload.into(),
    };
    check(&frame, V2);
    let read: Acknowledge = serde_json::from_slice(&frame::parse(bytes(V2)).unwrap().payload).unwrap();
    assert_eq!(read, Acknowledge::of("output_stream_data", ID, 7));
}

#[test]
fn v3_terminate_session() {
    check(&input(1_700_000_000_002, 42, payload_type::FLAG, TERMINATE_SESSION.to_vec()), V3);
}

#[test]
fn v4_handshake_response() {
    let request = format!(r#"{{"AgentVersion":"3.3.1.0","RequestedClientActions":[{PORT}]}}"#);
    let answer = handshake::answer(request.as_bytes()).unwrap();
    assert_eq!(answer.refused, None);
    check(&input(1_700_000_000_003, 0, payload_type::HANDSHAKE_RESPONSE, answer.response), V4);
}

#[test]
fn v5_empty_output() {
    let mut frame = input(1_700_000_000_000, 0, payload_type::OUTPUT, Bytes::new());
    frame.message_type = MessageType::OutputStreamData;
    frame.flags = FLAG_SYN;
    check(&frame, V5);
}

const V1: &str = "
    00 00 00 74 69 6e 70 75 74 5f 73 74 72 65 61 6d
    5f 64 61 74 61 20 20 20 20 20 20 20 20 20 20 20
    20 20 20 20 00 00 00 01 00 00 01 8b cf e5 68 00
    00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00
    88 99 aa bb cc dd ee ff 00 11 22 33 44 55 66 77
    2f c6 32 b5 e5 3a d7 94 95 31 c5 7e 3f 12 2e c7
    42 9e 3a 5a 99 1a ee 06 16 63 fb 85 3b 64 1d 45
    00 00 00 01 00 00 00 0b 53 53 48 2d 32 2e 30 2d
    78 0d 0a";

const V2: &str = "
    00 00 00 74 61 63 6b 6e 6f 77 6c 65 64 67 65 20
    20 20 20 20 20 20 20 20 20 20 20 20 20 20 20 20
    20 20 20 20 00 00 00 01 00 00 01 8b cf e5 68 01
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 03
    87 96 a5 b4 c3 d2 e1 f0 0f 1e 2d 3c 4b 5a 46 87
    62 d5 7c a2 df b7 aa 0e ee 6a 8e 12 49 1c 3e 9f
    ef fd 16 6f 2b 0f 36 b9 6e ba 41 86 66 69 e8 54
    00 00 00 00 00 00 00 b0 7b 22 41 63 6b 6e 6f 77
    6c 65 64 67 65 64 4d 65 73 73 61 67 65 54 79 70
    65 22 3a 22 6f 75 74 70 75 74 5f 73 74 72 65 61
    6d 5f 64 61 74 61 22 2c 22 41 63 6b 6e 6f 77 6c
    65 64 67 65 64 4d 65 73 73 61 67 65 49 64 22 3a
    22 30 30 31 31 32 32 33 33 2d 34 34 35 35 2d 36
    36 37 37 2d 38 38 39 39 2d 61 61 62 62 63 63 64
    64 65 65 66 66 22 2c 22 41 63 6b 6e 6f 77 6c 65
    64 67 65 64 4d 65 73 73 61 67 65 53 65 71 75 65
    6e 63 65 4e 75 6d 62 65 72 22 3a 37 2c 22 49 73
    53 65 71 75 65 6e 74 69 61 6c 4d 65 73 73 61 67
    65 22 3a 74 72 75 65 7d";

const V3: &str = "
    00 00 00 74 69 6e 70 75 74 5f 73 74 72 65 61 6d
    5f 64 61 74 61 20 20 20 20 20 20 20 20 20 20 20
    20 20 20 20 00 00 00 01 00 00 01 8b cf e5 68 02
    00 00 00 00 00 00 00 2a 00 00 00 00 00 00 00 00
    88 99 aa bb cc dd ee ff 00 11 22 33 44 55 66 77
    43 3e bf 5b c0 3d ff a3 85 36 67 32 07 a2 12 81
    61 2c ef 5f aa 9b c7 a4 d5 b9 be 2f db 12 cf 1a
    00 00 00 0a 00 00 00 04 00 00 00 02";

const V4: &str = "
    00 00 00 74 69 6e 70 75 74 5f 73 74 72 65 61 6d
    5f 64 61 74 61 20 20 20 20 20 20 20 20 20 20 20
    20 20 20 20 00 00 00 01 00 00 01 8b cf e5 68 03
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    88 99 aa bb cc dd ee ff 00 11 22 33 44 55 66 77
    65 15 94 cb d5 93 23 94 f3 4f 33 0d 73 68 76 4e
    50 a5 57 7b 04 52 18 5c 35 31 f7 79 96 61 5a 46
    00 00 00 06 00 00 00 93 7b 22 43 6c 69 65 6e 74
    56 65 72 73 69 6f 6e 22 3a 22 31 2e 32 2e 37 36
    34 2e 30 22 2c 22 50 72 6f 63 65 73 73 65 64 43
    6c 69 65 6e 74 41 63 74 69 6f 6e 73 22 3a 5b 7b
    22 41 63 74 69 6f 6e 54 79 70 65 22 3a 22 53 65
    73 73 69 6f 6e 54 79 70 65 22 2c 22 41 63 74 69
    6f 6e 53 74 61 74 75 73 22 3a 31 2c 22 41 63 74
    69 6f 6e 52 65 73 75 6c 74 22 3a 6e 75 6c 6c 2c
    22 45 72 72 6f 72 22 3a 22 22 7d 5d 2c 22 45 72
    72 6f 72 73 22 3a 6e 75 6c 6c 7d";

const V5: &str = "
    00 00 00 74 6f 75 74 70 75 74 5f 73 74 72 65 61
    6d 5f 64 61 74 61 20 20 20 20 20 20 20 20 20 20
    20 20 20 20 00 00 00 01 00 00 01 8b cf e5 68 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
    88 99 aa bb cc dd ee ff 00 11 22 33 44 55 66 77
    e3 b0 c4 42 98 fc 1c 14 9a fb f4 c8 99 6f b9 24
    27 ae 41 e4 64 9b 93 4c a4 95 99 1b 78 52 b8 55
    00 00 00 01 00 00 00 00";
