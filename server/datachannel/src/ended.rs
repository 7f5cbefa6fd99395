//! How a data channel fails to open, and how it ends.

/// Why a data channel ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// We closed it.
    #[error("it was closed")]
    Closed,
    /// The service closed it, with these words; may be empty.
    #[error("the service closed it: {0:?}")]
    ClosedByService(String),
    /// The service closed the WebSocket, and a resume is not allowed.
    #[error("the service closed the connection and a resume is not allowed")]
    ResumeDenied,
    /// The service closed the WebSocket, and no resume succeeded.
    #[error("the service closed the connection and it could not be resumed: {0}")]
    ResumeFailed(String),
    /// The agent has been away for too long.
    #[error("the agent has been away for too long")]
    AgentGone,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the service for too long")]
    Silent,
    /// What was sent has not been acknowledged for too long.
    #[error("what was sent has not been acknowledged for too long")]
    Unacknowledged,
    /// The other side broke the protocol.
    #[error("a break of protocol: {0}")]
    Protocol(String),
}

/// Why a data channel could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one of Session Manager's in the region, and not among the extra hosts.
    #[error("the stream's host {0:?} is not Session Manager's")]
    ForeignHost(String),
    /// The service refused the WebSocket, with this HTTP status.
    #[error("the stream was refused: HTTP {0}")]
    Refused(u16),
    /// It could not be reached in time.
    #[error("the stream could not be reached: {0}")]
    Unreachable(String),
    /// The agent did not shake hands within so many seconds.
    #[error("the agent did not answer within {0} s")]
    NoHandshake(u64),
    /// The agent asked for something other than raw bytes.
    #[error("the agent asked for {0}")]
    Unsupported(String),
    /// It ended before it was open.
    #[error("the stream ended while opening: {0}")]
    Ended(Ended),
}
