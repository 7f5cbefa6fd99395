//! Faults by name: what can go wrong on a stream, for typed callers and for the control API alike.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which way a message travels.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to the space.
    Up,
    /// From the space to the client.
    Down,
}

/// Whom a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One session.
    Session(String),
    /// Every stream of a space, by its ARN.
    Space(String),
    /// Every stream.
    All,
}

impl Target {
    /// Whether a stream is struck.
    pub(crate) fn hits(&self, session_id: &str, space_arn: &str) -> bool {
        match self {
            Self::Session(id) => id == session_id,
            Self::Space(arn) => arn == space_arn,
            Self::All => true,
        }
    }
}

/// How the gateway rids itself of a client's WebSocket.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CloseHow {
    /// A close frame with 1000 "Bye", as the service does about hourly.
    Bye,
    /// The end of TCP without a close frame (the client's library reports 1006).
    Drop,
    /// A TCP reset.
    Reset,
    /// The end of TCP in the middle of a frame.
    MidFrame,
}

/// Something sent to a client that does not belong there.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// A binary frame shorter than a header.
    ShortFrame,
    /// A message whose `HeaderLength` leads outside of it.
    BadHeaderLength,
    /// A ping of more than 125 bytes.
    LongPing,
    /// A text frame that is no message.
    Text,
    /// A text frame that holds a whole message, as far as text can.
    TextMessage,
    /// A message of a type that does not exist.
    UnknownMessageType,
    /// A well-formed stream message whose digest is wrong.
    BadDigest,
    /// A reserved WebSocket opcode.
    ReservedOpcode,
    /// An acknowledgement of a sequence number that was never sent.
    StrayAck,
    /// An acknowledgement whose payload is no JSON.
    BrokenAck,
    /// A `pause_publication` although both sides are there.
    Pause,
    /// A `start_publication` although nothing was paused.
    Start,
}

/// One fault. Standing faults also strike streams that open later, until they are cleared; the others strike once, now.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Standing: answers upgrade requests with a status; `times` is how often, for ever if absent.
    /// Strikes by session or all, since a request names no space.
    RefuseUpgrade {
        /// HTTP status.
        status: u16,
        /// How many requests.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Standing: the client's leg counts as absent for so long after its open frame, while the agent starts.
    AttachLate {
        /// Milliseconds.
        ms: u64,
    },
    /// Standing: makes away with stream messages, counted from 1 at the time the fault is set or the stream opens.
    Drop {
        /// Which way.
        direction: Direction,
        /// The first message.
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Standing: sends stream messages twice.
    Duplicate {
        /// Which way.
        direction: Direction,
        /// The first message.
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Standing: lets the message that follows overtake.
    Reorder {
        /// Which way.
        direction: Direction,
        /// The first message.
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Standing: changes a byte of the payload, so that the digest is wrong.
    Corrupt {
        /// Which way.
        direction: Direction,
        /// The first message.
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Standing: makes away with acknowledgements that travel this way; all of them if `count` is absent.
    LoseAcks {
        /// Which way the acknowledgements travel.
        direction: Direction,
        /// How many.
        #[serde(default)]
        count: Option<u64>,
    },
    /// Standing: delays everything; order is kept.
    Delay {
        /// Which way.
        direction: Direction,
        /// Milliseconds.
        ms: u64,
        /// Up to so many milliseconds more, at random.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// Standing: the agent connects but never sends a handshake.
    NeverHandshake,
    /// Standing: the agent sends a second handshake request after the first is complete.
    HandshakeTwice,
    /// Standing: the agent sends Output without any handshake, as for session types that have none.
    NoHandshake,
    /// Standing: the agent dials the SSH server so much later.
    DialDelay {
        /// Milliseconds.
        ms: u64,
    },
    /// Standing: the agent finds nobody listening on the port.
    RefuseDial,
    /// Standing: the next outputs carry at most so many bytes each.
    SmallPayloads {
        /// Bytes in each.
        bytes: usize,
        /// How many outputs.
        count: u64,
    },
    /// Standing while set: the agent reads nothing of what the gateway has for it.
    StallAgent,
    /// Ends [`Fault::StallAgent`] on live streams.
    ResumeAgent,
    /// Cuts the agent's leg; it comes back after `ms`, or never if absent.
    KillAgent {
        /// Milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// The agent leaves out sequence numbers, a gap that nothing fills.
    SkipSequence {
        /// How many.
        by: i64,
    },
    /// The agent sends a sequenced message of any payload type.
    AgentPayload {
        /// `PayloadType`.
        payload_type: u32,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// Closes the clients' WebSockets; the sessions live on.
    CloseClients {
        /// In which way.
        how: CloseHow,
    },
    /// Ends sessions with words.
    ChannelClosed {
        /// `Output` of the message.
        output: String,
        /// Whether it overtakes what is on its way to the client.
        #[serde(default)]
        overtake: bool,
    },
    /// Sends the clients something odd.
    Send {
        /// What.
        what: Oddity,
    },
    /// From now on the clients' sockets answer nothing and are not closed.
    HalfOpen,
    /// Forgets the standing faults of the target, and ends them on live streams.
    Clear,
}

fn one() -> u64 {
    1
}

impl Fault {
    /// Whether streams that open later are struck as well.
    pub(crate) fn stands(&self) -> bool {
        matches!(
            self,
            Self::RefuseUpgrade { .. }
                | Self::AttachLate { .. }
                | Self::Drop { .. }
                | Self::Duplicate { .. }
                | Self::Reorder { .. }
                | Self::Corrupt { .. }
                | Self::LoseAcks { .. }
                | Self::Delay { .. }
                | Self::NeverHandshake
                | Self::HandshakeTwice
                | Self::NoHandshake
                | Self::DialDelay { .. }
                | Self::RefuseDial
                | Self::SmallPayloads { .. }
                | Self::StallAgent
        )
    }
}

/// Reads what the control API was sent: a [`Fault`] with `"session"` or `"space"` beside it, or neither for all.
pub(crate) fn parse(mut body: Value) -> Result<(Target, Fault), String> {
    let fields = body.as_object_mut().ok_or("a fault is a JSON object")?;
    let mut take = |name: &str| match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name:?} is not a string")),
    };
    let target = match (take("session")?, take("space")?) {
        (Some(_), Some(_)) => return Err("name a session or a space, not both".to_owned()),
        (Some(id), None) => Target::Session(id),
        (None, Some(arn)) => Target::Space(arn),
        (None, None) => Target::All,
    };
    let fault: Fault = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
    // Serde lets anything stand beside the name of a variant without fields.
    let known = serde_json::to_value(&fault).map_err(|error| error.to_string())?;
    match body.as_object().into_iter().flatten().find(|(field, _)| known.get(field).is_none()) {
        Some((field, _)) => Err(format!("unknown field {field:?}")),
        None => Ok((target, fault)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_read_with_their_target() {
        let body = json!({"space": "arn:x", "fault": "drop", "direction": "up", "nth": 3});
        let expected = Fault::Drop { direction: Direction::Up, nth: 3, count: 1 };
        assert_eq!(parse(body), Ok((Target::Space("arn:x".to_owned()), expected)));
        assert_eq!(parse(json!({"fault": "half_open"})), Ok((Target::All, Fault::HalfOpen)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for body in [
            json!(1),
            json!({"fault": "nonsense"}),
            json!({"fault": "half_open", "ms": 1}),
            json!({"fault": "drop", "direction": "up", "nth": 3, "cuont": 2}),
            json!({"fault": "half_open", "session": "a", "space": "b"}),
            json!({"fault": "half_open", "session": 1}),
        ] {
            assert!(parse(body.clone()).is_err(), "{body}");
        }
    }
}
