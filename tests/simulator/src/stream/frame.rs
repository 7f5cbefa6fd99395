//! One message of the data channel as bytes: the 120-byte header and its payload. Written from the wire description alone.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Bytes from the start of a message to its payload.
pub(crate) const HEADER: usize = 120;
/// What `HeaderLength` says: where `PayloadLength` starts.
const HEADER_LENGTH: u32 = 116;
const TYPE_LENGTH: usize = 32;

/// The message types that exist on a data channel.
pub(crate) mod kind {
    pub(crate) const INPUT: &str = "input_stream_data";
    pub(crate) const OUTPUT: &str = "output_stream_data";
    pub(crate) const ACKNOWLEDGE: &str = "acknowledge";
    pub(crate) const CHANNEL_CLOSED: &str = "channel_closed";
    pub(crate) const START: &str = "start_publication";
    pub(crate) const PAUSE: &str = "pause_publication";
    pub(crate) const AGENT_STATE: &str = "agent_session_state";
}

/// The payload types that we use; others pass as numbers.
pub(crate) mod payload {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const OUTPUT: u32 = 1;
    pub(crate) const HANDSHAKE_REQUEST: u32 = 5;
    pub(crate) const HANDSHAKE_RESPONSE: u32 = 6;
    pub(crate) const HANDSHAKE_COMPLETE: u32 = 7;
    pub(crate) const FLAG: u32 = 10;
    /// What the service was seen to put on `channel_closed`.
    pub(crate) const CLOSED_BY_SERVICE: u32 = 261;
}

/// `Flags` of acknowledgements and session states: first and last at once.
pub(crate) const FLAGS_BOTH: u64 = 3;
/// `Flags` of the first message of a sequence.
pub(crate) const FLAG_SYN: u64 = 1;

/// A decoded message; the fields that only describe the others are kept to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) header_length: u32,
    pub(crate) kind: String,
    pub(crate) schema: u32,
    pub(crate) created_ms: u64,
    pub(crate) sequence: i64,
    pub(crate) flags: u64,
    pub(crate) id: Uuid,
    pub(crate) digest: [u8; 32],
    pub(crate) payload_type: u32,
    pub(crate) payload_length: u32,
    pub(crate) payload: Bytes,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("{0} bytes are shorter than a header")]
    Short(usize),
    #[error("HeaderLength {0} leads outside of the message")]
    HeaderLength(u32),
}

impl Message {
    /// A message with a right digest and lengths.
    pub(crate) fn new(kind: &str, created_ms: u64, sequence: i64, payload_type: u32, payload: Bytes) -> Self {
        Self {
            header_length: HEADER_LENGTH,
            kind: kind.to_owned(),
            schema: 1,
            created_ms,
            sequence,
            flags: 0,
            id: Uuid::new_v4(),
            digest: sha256(&payload),
            payload_type,
            payload_length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload,
        }
    }

    /// The message as one WebSocket frame's content.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER + self.payload.len());
        out.put_u32(self.header_length);
        let mut name = [b' '; TYPE_LENGTH];
        let used = self.kind.len().min(TYPE_LENGTH);
        name[..used].copy_from_slice(&self.kind.as_bytes()[..used]);
        out.put_slice(&name);
        out.put_u32(self.schema);
        out.put_u64(self.created_ms);
        out.put_i64(self.sequence);
        out.put_u64(self.flags);
        let id = self.id.as_bytes();
        out.put_slice(&id[8..]);
        out.put_slice(&id[..8]);
        out.put_slice(&self.digest);
        out.put_u32(self.payload_type);
        out.put_u32(self.payload_length);
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// Reads a frame as the agent does: the payload is whatever follows the header, `PayloadLength` slices nothing.
    pub(crate) fn decode(frame: &Bytes) -> Result<Self, FrameError> {
        if frame.len() < HEADER {
            return Err(FrameError::Short(frame.len()));
        }
        let header_length = u32::from_be_bytes(field(frame, 0));
        let start = usize::try_from(header_length).unwrap_or(usize::MAX).saturating_add(4);
        if start > frame.len() || header_length == 0 {
            return Err(FrameError::HeaderLength(header_length));
        }
        let mut id = [0; 16];
        id[8..].copy_from_slice(&frame[64..72]);
        id[..8].copy_from_slice(&frame[72..80]);
        Ok(Self {
            header_length,
            kind: peek_kind(frame).into_owned(),
            schema: u32::from_be_bytes(field(frame, 36)),
            created_ms: u64::from_be_bytes(field(frame, 40)),
            sequence: i64::from_be_bytes(field(frame, 48)),
            flags: u64::from_be_bytes(field(frame, 56)),
            id: Uuid::from_bytes(id),
            digest: field(frame, 80),
            payload_type: u32::from_be_bytes(field(frame, 112)),
            payload_length: u32::from_be_bytes(field(frame, start - 4)),
            payload: frame.slice(start..),
        })
    }

    /// Whether the digest is that of the payload.
    pub(crate) fn digest_matches(&self) -> bool {
        sha256(&self.payload) == self.digest
    }
}

/// The type of a message, without decoding it.
pub(crate) fn peek_kind(frame: &[u8]) -> Cow<'_, str> {
    let name = frame.get(4..4 + TYPE_LENGTH).unwrap_or_default();
    match String::from_utf8_lossy(name) {
        Cow::Borrowed(text) => text.trim_matches('\0').trim().into(),
        Cow::Owned(text) => text.trim_matches('\0').trim().to_owned().into(),
    }
}

/// The sequence number of a message, without decoding it.
pub(crate) fn peek_sequence(frame: &[u8]) -> Option<i64> {
    (frame.len() >= HEADER).then(|| i64::from_be_bytes(field(frame, 48)))
}

fn field<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&frame[at..at + N]);
    out
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
