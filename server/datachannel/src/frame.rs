//! One message on the wire: a 120-byte header and a payload. Encoding and parsing only; no meaning.

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::MAX_FRAME;

/// Bytes before the payload.
pub const HEADER: usize = 120;
/// The value of the header's first field: the offset of the payload's length.
const HEADER_LENGTH: u32 = 116;
const SCHEMA_VERSION: u32 = 1;

/// Flags of a stream's first message.
pub const FLAG_SYN: u64 = 1;
/// Flags of a message outside the sequence.
pub const FLAG_SYN_FIN: u64 = 3;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Sequenced, from us to the agent.
    InputStreamData,
    /// Sequenced, from the agent to us.
    OutputStreamData,
    /// A message was accepted.
    Acknowledge,
    /// The service ends the session.
    ChannelClosed,
    /// The service says that both ends are connected.
    StartPublication,
    /// The service says that the other end is away.
    PausePublication,
    /// Anything else.
    Other,
}

impl MessageType {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputStreamData => "input_stream_data",
            Self::OutputStreamData => "output_stream_data",
            Self::Acknowledge => "acknowledge",
            Self::ChannelClosed => "channel_closed",
            Self::StartPublication => "start_publication",
            Self::PausePublication => "pause_publication",
            Self::Other => "other",
        }
    }

    fn from_field(field: &[u8]) -> Option<Self> {
        // Senders pad with spaces, some with NULs.
        let is_nul = |byte: &u8| *byte == 0;
        let start = field.iter().position(|byte| !is_nul(byte))?;
        let end = field.iter().rposition(|byte| !is_nul(byte))?;
        let name = field.get(start..=end)?.trim_ascii();
        let known = [
            Self::InputStreamData,
            Self::OutputStreamData,
            Self::Acknowledge,
            Self::ChannelClosed,
            Self::StartPublication,
            Self::PausePublication,
        ];
        if name.is_empty() {
            return None;
        }
        Some(known.into_iter().find(|known| known.name().as_bytes() == name).unwrap_or(Self::Other))
    }

    /// Whether the header may be trusted to describe the payload. The service sends control messages with
    /// wrong lengths, wrong digests and payload types that do not exist.
    const fn is_validated(self) -> bool {
        !matches!(self, Self::ChannelClosed | Self::StartPublication | Self::PausePublication)
    }
}

/// Payload types. Others exist; a Port session acknowledges and drops them.
pub mod payload_type {
    /// Acknowledgements carry none.
    pub const NONE: u32 = 0;
    /// Bytes of the stream.
    pub const OUTPUT: u32 = 1;
    /// The agent asks for session type and encryption.
    pub const HANDSHAKE_REQUEST: u32 = 5;
    /// Our answer.
    pub const HANDSHAKE_RESPONSE: u32 = 6;
    /// From here on bytes may be sent.
    pub const HANDSHAKE_COMPLETE: u32 = 7;
    /// A four-byte order, such as to end the session.
    pub const FLAG: u32 = 10;
}

/// A parsed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub message_type: MessageType,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Its place in the sequence, for sequenced types.
    pub sequence: i64,
    /// SYN, FIN; nobody acts on them.
    pub flags: u64,
    /// Its identity.
    pub id: Uuid,
    /// One of [`payload_type`], or anything.
    pub payload_type: u32,
    /// The payload.
    pub payload: Bytes,
}

/// Why a message was dropped. It is not acknowledged then, so the sender tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a header.
    #[error("a message of {0} bytes is shorter than its header")]
    Short(usize),
    /// Longer than [`MAX_FRAME`].
    #[error("a message of {0} bytes is longer than any that is expected")]
    Long(usize),
    /// The payload would start before the header ends, or after the message.
    #[error("a message claims a header of {0} bytes")]
    HeaderLength(u32),
    /// No message type.
    #[error("a message has no type")]
    NoType,
    /// No creation date.
    #[error("a message has no date")]
    NoDate,
    /// The digest is not the payload's.
    #[error("a message's digest does not match its payload")]
    Digest,
}

/// Parses a message.
///
/// # Errors
/// When it is malformed.
pub fn parse(bytes: Bytes) -> Result<Frame, FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::Long(bytes.len()));
    }
    let short = FrameError::Short(bytes.len());
    if bytes.len() < HEADER {
        return Err(short);
    }
    let header_length = u32::from_be_bytes(field(&bytes, 0).ok_or(short)?);
    let type_field: [u8; 32] = field(&bytes, 4).ok_or(short)?;
    let created_ms = u64::from_be_bytes(field(&bytes, 40).ok_or(short)?);
    let digest: [u8; 32] = field(&bytes, 80).ok_or(short)?;
    let message_type = MessageType::from_field(&type_field).ok_or(FrameError::NoType)?;

    let start = payload_start(header_length, bytes.len());
    let payload = if message_type.is_validated() {
        let start = start.ok_or(FrameError::HeaderLength(header_length))?;
        if created_ms == 0 {
            return Err(FrameError::NoDate);
        }
        let payload = bytes.slice(start..);
        let length = u32::from_be_bytes(field(&bytes, start - 4).ok_or(short)?);
        if length != 0 && sha256(&payload) != digest {
            return Err(FrameError::Digest);
        }
        payload
    } else {
        bytes.slice(start.unwrap_or(HEADER)..)
    };
    Ok(Frame {
        message_type,
        created_ms,
        sequence: i64::from_be_bytes(field(&bytes, 48).ok_or(short)?),
        flags: u64::from_be_bytes(field(&bytes, 56).ok_or(short)?),
        id: swap_halves(field(&bytes, 64).ok_or(short)?),
        payload_type: u32::from_be_bytes(field(&bytes, 112).ok_or(short)?),
        payload,
    })
}

/// Encodes a message.
#[must_use]
pub fn encode(frame: &Frame) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + frame.payload.len());
    out.put_u32(HEADER_LENGTH);
    let name = frame.message_type.name();
    out.put_slice(name.as_bytes());
    out.put_bytes(b' ', 32_usize.saturating_sub(name.len()));
    out.put_u32(SCHEMA_VERSION);
    out.put_u64(frame.created_ms);
    out.put_i64(frame.sequence);
    out.put_u64(frame.flags);
    out.put_slice(swap_halves(*frame.id.as_bytes()).as_bytes());
    out.put_slice(&sha256(&frame.payload));
    out.put_u32(frame.payload_type);
    out.put_u32(u32::try_from(frame.payload.len()).unwrap_or(u32::MAX));
    out.put_slice(&frame.payload);
    out.freeze()
}

/// Where the payload starts: after the length that follows the header. Its length field is not used to slice.
fn payload_start(header_length: u32, message_length: usize) -> Option<usize> {
    let start = usize::try_from(header_length).ok()?.checked_add(4)?;
    (start >= HEADER && start <= message_length).then_some(start)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The wire carries the second half of the UUID first.
fn swap_halves(bytes: [u8; 16]) -> Uuid {
    Uuid::from_u128(u128::from_be_bytes(bytes).rotate_left(64))
}

fn sha256(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}
