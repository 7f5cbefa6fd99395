//! The JSON inside messages, and the flags.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// To the agent: end the session. Sequenced, so that all earlier bytes are delivered first.
pub const TERMINATE_SESSION: [u8; 4] = 2_u32.to_be_bytes();

/// What an `acknowledge` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Acknowledge {
    /// The type of the accepted message.
    #[serde(default)]
    pub acknowledged_message_type: String,
    /// Its id.
    #[serde(default)]
    pub acknowledged_message_id: String,
    /// Its place in the sequence: the only part that receivers look at.
    pub acknowledged_message_sequence_number: i64,
    /// Always true.
    #[serde(default)]
    pub is_sequential_message: bool,
}

impl Acknowledge {
    /// For a message that was accepted.
    #[must_use]
    pub fn of(message_type: &str, id: Uuid, sequence: i64) -> Self {
        Self {
            acknowledged_message_type: message_type.to_owned(),
            acknowledged_message_id: id.hyphenated().to_string(),
            acknowledged_message_sequence_number: sequence,
            is_sequential_message: true,
        }
    }
}

/// What of a `channel_closed` matters: the words for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ChannelClosed {
    /// May be empty, and agents leave it out.
    #[serde(rename = "Output", default)]
    pub output: Option<String>,
}

/// The agent's end of the handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct HandshakeComplete {
    /// For people; never for the stream.
    #[serde(rename = "CustomerMessage", default)]
    pub customer_message: Option<String>,
}

/// The text frame that opens the channel, before all messages.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OpenDataChannel<'a> {
    pub(crate) message_schema_version: &'static str,
    pub(crate) request_id: Uuid,
    pub(crate) token_value: &'a str,
    pub(crate) client_id: Uuid,
    pub(crate) client_version: &'static str,
}

/// The other side's words, cut to a length that may be kept.
pub(crate) fn cut(mut words: String, most: usize) -> String {
    words.truncate(words.floor_char_boundary(most));
    words
}

/// JSON of one of ours. These types have no map and no foreign serializer in them, so it cannot fail.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
