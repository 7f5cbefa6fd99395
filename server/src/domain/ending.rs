//! How sessions and streams end: the reasons that rows keep and terminals show.

mod words;

use std::fmt;

use super::access::Because;
use super::ids::UserName;

pub use words::{END_KINDS, EndKind, at_length, briefly};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed its connection.
    ClientLeft,
    /// An admin ended it.
    EndedByAdmin {
        /// Who.
        by: UserName,
        /// In their words; may be empty.
        reason: String,
    },
    /// The way to the space broke.
    StreamLost(StreamEnd),
    /// The space's app went away.
    SpaceStopped,
    /// The policy no longer allows it.
    NoLongerAllowed(Because),
    /// The gateway was shut down.
    Drained,
    /// The gateway died; written by whoever closed its rows.
    GatewayCrashed,
    /// The connection never reached the space; the kind of refusal, as the audit row names it.
    NotOpened(&'static str),
}

impl EndReason {
    /// The word that the row keeps.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::EndedByAdmin { .. } => "ended_by_admin",
            Self::StreamLost(_) => "stream_lost",
            Self::SpaceStopped => "space_stopped",
            Self::NoLongerAllowed(_) => "no_longer_allowed",
            Self::Drained => "drained",
            Self::GatewayCrashed => "gateway_crashed",
            Self::NotOpened(_) => "not_opened",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientLeft => f.write_str("the client left"),
            Self::EndedByAdmin { by, reason } if reason.is_empty() => write!(f, "ended by {by}"),
            Self::EndedByAdmin { by, reason } => write!(f, "ended by {by}: \"{reason}\""),
            Self::StreamLost(end) => write!(f, "the stream was lost: {end}"),
            Self::SpaceStopped => f.write_str("the space was stopped"),
            Self::NoLongerAllowed(because) => write!(f, "no longer allowed: {because}"),
            Self::Drained => f.write_str("the gateway was shut down"),
            Self::GatewayCrashed => f.write_str("the gateway crashed"),
            Self::NotOpened(kind) => write!(f, "not opened: {kind}"),
        }
    }
}

/// Why a stream to a space ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// We closed it.
    Closed,
    /// The service closed the channel, with these words.
    ClosedByService(String),
    /// The service closed the WebSocket and a resume was denied.
    ResumeDenied,
    /// The service closed the WebSocket and no resume succeeded, for this reason.
    ResumeFailed(String),
    /// The agent in the space has been away for too long.
    AgentGone,
    /// Nothing was heard from the service for too long.
    Silent,
    /// What was sent has not been acknowledged for too long.
    Unacknowledged,
    /// The service broke the protocol.
    Protocol(String),
    /// The SSH server in the space closed its connection.
    SshClosed,
}

impl StreamEnd {
    /// Whether it ended as it does when the space's end hangs up: the service then closes the channel and has nothing
    /// to say. What it closes for reasons of its own, it says why.
    #[must_use]
    pub fn is_hang_up(&self) -> bool {
        match self {
            Self::SshClosed => true,
            Self::ClosedByService(words) => words.is_empty(),
            _ => false,
        }
    }

    /// The word that metrics keep.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClosedByService(_) => "closed_by_service",
            Self::ResumeDenied => "resume_denied",
            Self::ResumeFailed(_) => "resume_failed",
            Self::AgentGone => "agent_gone",
            Self::Silent => "silent",
            Self::Unacknowledged => "unacknowledged",
            Self::Protocol(_) => "protocol",
            Self::SshClosed => "ssh_closed",
        }
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the gateway"),
            Self::ClosedByService(words) if words.is_empty() => f.write_str("the other end closed it"),
            Self::ClosedByService(words) => write!(f, "AWS closed it: {words:?}"),
            Self::ResumeDenied => f.write_str("AWS closed it, and its policy does not allow to resume"),
            Self::ResumeFailed(why) => write!(f, "AWS closed it, and it could not be resumed: {why}"),
            Self::AgentGone => f.write_str("the agent in the space is gone"),
            Self::Silent => f.write_str("nothing was heard from AWS for a minute"),
            Self::Unacknowledged => f.write_str("the space took nothing for too long"),
            Self::Protocol(what) => write!(f, "AWS sent something unexpected: {what}"),
            Self::SshClosed => f.write_str("the SSH server in the space closed the connection"),
        }
    }
}
