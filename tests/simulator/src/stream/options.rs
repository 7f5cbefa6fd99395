//! How the gateway and the agents behave when no fault is switched on.

use std::time::Duration;

/// How fast an agent reads from the space's SSH server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// At most 1024 bytes, then a sleep of nominally 1 ms, which on a real agent lasts about 1.3 ms.
    AsAws,
    /// As fast as it goes, for benchmarks, with at most so many bytes in a message.
    Unpaced {
        /// Largest payload of a message, in bytes.
        chunk: usize,
    },
}

impl Pacing {
    /// Largest payload of a message.
    pub(crate) fn chunk(self) -> usize {
        match self {
            Self::AsAws => 1024,
            Self::Unpaced { chunk } => chunk.max(1),
        }
    }

    /// Time that one message takes at least.
    pub(crate) fn step(self) -> Duration {
        match self {
            Self::AsAws => Duration::from_micros(1300),
            Self::Unpaced { .. } => Duration::ZERO,
        }
    }
}

/// Behaviour of every stream; the defaults are AWS's own figures, as far as they are known.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reading pace of the agents.
    pub pacing: Pacing,
    /// Version that the agent reports in its handshake.
    pub agent_version: String,
    /// Time from the client's open frame until the agent has connected as well.
    pub agent_connect: Duration,
    /// Time from the end of the handshake until the agent dials the SSH server; data is "not ready" until it answers.
    pub dial_delay: Duration,
    /// How long the agent waits for the client's answer to its handshake.
    pub handshake_timeout: Duration,
    /// How long the agent waits for acknowledgements after the SSH server has closed.
    pub drain: Duration,
    /// Whether the first frame may carry any `ClientId`, as the service was seen to allow, or only a UUID, as AWS's own
    /// client sends.
    pub any_client_id: bool,
    /// Whether start and pause messages come without a payload, or with one whose length is garbage: both were reported.
    pub plain_publications: bool,
    /// How long the gateway waits for the first frame.
    pub open_timeout: Duration,
    /// A stream without stream messages for so long is ended.
    pub idle_timeout: Duration,
    /// A session whose client is gone for so long is ended; `None` leaves it to the idle time, as AWS does.
    pub keep_without_client: Option<Duration>,
    /// A client's WebSocket of this age is closed with 1000 "Bye"; its session lives on.
    pub close_every: Option<Duration>,
    /// Largest WebSocket message that the gateway takes.
    pub max_frame: usize,
    /// Messages a second that a client may send; `None` is no limit.
    pub message_limit: Option<u32>,
    /// Whether acknowledgements count for `message_limit`.
    pub limit_counts_acks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pacing: Pacing::AsAws,
            agent_version: "3.3.3572.0".to_owned(),
            agent_connect: Duration::ZERO,
            dial_delay: Duration::ZERO,
            handshake_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(2),
            any_client_id: false,
            plain_publications: false,
            open_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(20 * 60),
            keep_without_client: None,
            close_every: Some(Duration::from_secs(60 * 60)),
            max_frame: 32 * 1024 + super::frame::HEADER,
            message_limit: Some(1000),
            limit_counts_acks: false,
        }
    }
}

impl Options {
    /// The defaults without pacing and without a message limit, for benchmarks.
    #[must_use]
    pub fn unpaced(chunk: usize) -> Self {
        Self { pacing: Pacing::Unpaced { chunk }, message_limit: None, ..Self::default() }
    }

    /// The same behaviour with the long times (idle, kept sessions, hourly close) multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.idle_timeout = self.idle_timeout.mul_f64(factor);
        self.keep_without_client = self.keep_without_client.map(|time| time.mul_f64(factor));
        self.close_every = self.close_every.map(|time| time.mul_f64(factor));
        self
    }
}
