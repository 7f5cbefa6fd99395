//! Things that a client receives from a service in trouble, byte by byte.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;
use uuid::Uuid;

use crate::stream::clock::now_ms;
use crate::stream::fault::Oddity;
use crate::stream::frame::{FLAGS_BOTH, Message, kind, payload};
use crate::stream::room::Out;
use crate::stream::words::{acknowledge, publication};

/// The start of a frame whose rest never comes: 1000 bytes announced, 16 sent.
pub(super) fn half_a_frame() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0x82, 126]);
    bytes.put_u16(1000);
    bytes.put_slice(&[0; 16]);
    bytes.freeze()
}

/// What to write for an oddity.
pub(crate) fn oddity(what: Oddity) -> Out {
    let sample = || Message::new(kind::OUTPUT, now_ms(), 0, payload::OUTPUT, Bytes::from_static(b"odd"));
    let message = |message: Message| Out::Message(Instant::now(), message.encode());
    match what {
        Oddity::ShortFrame => {
            Out::Message(Instant::now(), Bytes::from_static(&[0, 0, 0, 116, b'o', b'u', b't']))
        }
        Oddity::BadHeaderLength => message(Message { header_length: 60_000, ..sample() }),
        Oddity::LongPing => {
            let mut bytes = BytesMut::new();
            bytes.put_slice(&[0x89, 126]);
            bytes.put_u16(200);
            bytes.put_bytes(b'p', 200);
            Out::Raw(bytes.freeze())
        }
        Oddity::ReservedOpcode => Out::Raw(Bytes::from_static(&[0x83, 0])),
        Oddity::Text => Out::Text("{\"message\":\"Internal server error\"}".to_owned()),
        Oddity::TextMessage => {
            // Only zero bytes and ASCII fit into text: an empty pause has no others.
            let pause = Message { id: Uuid::nil(), ..publication(kind::PAUSE, true) };
            Out::Text(String::from_utf8_lossy(&pause.encode()).into_owned())
        }
        Oddity::UnknownMessageType => message(Message { kind: "agent_job_reply_ack".to_owned(), ..sample() }),
        Oddity::BadDigest => message(Message { digest: [7; 32], ..sample() }),
        Oddity::StrayAck => {
            let never_sent = Message::new(kind::INPUT, now_ms(), 1 << 40, payload::OUTPUT, Bytes::new());
            message(acknowledge(&never_sent, now_ms()))
        }
        Oddity::BrokenAck => {
            let body = Bytes::from_static(b"{\"AcknowledgedMessageSequenceNumber\":");
            let mut ack = Message::new(kind::ACKNOWLEDGE, now_ms(), 0, payload::NONE, body);
            ack.flags = FLAGS_BOTH;
            message(ack)
        }
        Oddity::Pause => message(publication(kind::PAUSE, false)),
        Oddity::Start => message(publication(kind::START, false)),
    }
}
