//! The state machine of one data channel.
//!
//! Inputs: messages from the socket, bytes from the user, the socket opening and dying, the passing of time.
//! Outputs: messages to write ([`Channel::transmit`]), bytes in order ([`Channel::readable`]), the next
//! moment at which time matters ([`Channel::deadline`]), events, and the end. Whatever arrives, memory stays
//! within [`Limits`].

mod ending;
mod incoming;
mod large;
mod outgoing;

use std::collections::VecDeque;

use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use uuid::Uuid;

use large::LargePayloads;

use crate::bucket::Bucket;
use crate::ended::Ended;
use crate::frame::FrameError;
use crate::limits::{Limits, MAX_PAYLOAD, MAX_WAITING_ACKS, MESSAGE_OVERHEAD};
use crate::moment::Moment;
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Events that may wait for the driver; it takes them after every input, and they are for logs.
const MAX_EVENTS: usize = 64;

/// How a channel ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In one of the ways that a user is told.
    Ended(Ended),
    /// The agent asked for something that is not done here.
    Unsupported(String),
    /// The agent never shook hands.
    NoHandshake,
}

/// Something to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes may flow.
    HandshakeComplete {
        /// The agent's version.
        agent_version: String,
        /// Words of the account's owner for people; never part of the stream.
        customer_message: String,
    },
    /// The service says that the agent's connection is gone. It usually comes back.
    PeerAbsent,
    /// The agent is back, and the window is sent again.
    PeerBack,
    /// The socket died right after the first large payload; from now on payloads are small.
    LargePayloadsRefused,
    /// A malformed message was dropped.
    Dropped(FrameError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AwaitRequest,
    AwaitComplete,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    Open,
    Flushing { until: Moment },
    Terminating { sequence: Option<u64>, until: Moment },
}

/// An acknowledgement to be sent.
#[derive(Debug)]
struct Owed {
    id: Uuid,
    sequence: i64,
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Channel {
    limits: Limits,
    /// Message ids only have to differ; nothing is secret about them.
    ids: SmallRng,
    /// Milliseconds since 1970 at [`Moment::START`].
    epoch_ms: u64,
    stage: Stage,
    agent_version: String,
    opened_at: Option<Moment>,
    acks: VecDeque<Owed>,
    answers: VecDeque<Vec<u8>>,
    handshakes: u32,
    sender: Sender,
    receiver: Receiver,
    bucket: Bucket,
    outbound: BytesMut,
    held_until: Option<Moment>,
    heard_output: bool,
    inbound: BytesMut,
    /// The user reads too slowly: until there is room again nothing is read from the socket.
    stalled: bool,
    discards: bool,
    absent_since: Option<Moment>,
    /// An empty message is to ask for the agent.
    probe: bool,
    large: LargePayloads,
    closed: Option<(String, Moment)>,
    drain: Drain,
    end: Option<End>,
    events: VecDeque<Event>,
}

impl Channel {
    /// A channel whose socket is not open yet. `seed` makes the message ids; `epoch_ms` is the wall clock, in
    /// milliseconds since 1970, at [`Moment::START`].
    #[must_use]
    pub fn new(mut limits: Limits, seed: u64, epoch_ms: u64) -> Self {
        limits.max_payload = limits.max_payload.clamp(1, MAX_PAYLOAD);
        Self {
            sender: Sender::new(&limits),
            receiver: Receiver::new(limits.reorder_buffer),
            bucket: Bucket::new(limits.messages_per_second, limits.message_burst),
            ids: SmallRng::seed_from_u64(seed),
            epoch_ms,
            stage: Stage::AwaitRequest,
            agent_version: String::new(),
            opened_at: None,
            acks: VecDeque::new(),
            answers: VecDeque::new(),
            handshakes: 0,
            outbound: BytesMut::new(),
            held_until: None,
            heard_output: false,
            inbound: BytesMut::new(),
            stalled: false,
            discards: false,
            absent_since: None,
            probe: false,
            large: LargePayloads::new(),
            closed: None,
            drain: Drain::Open,
            end: None,
            events: VecDeque::new(),
            limits,
        }
    }

    /// The socket is open and the opening frame was written. Later calls mean a new socket: the window is
    /// sent again.
    pub fn opened(&mut self, now: Moment) {
        self.opened_at = Some(now);
        self.absent_since = None;
        self.receiver.restart_gap(now);
        self.sender.reconnected(now);
    }

    /// The socket died.
    pub fn lost(&mut self, now: Moment) {
        self.opened_at = None;
        self.end_if_socket_was_expected_to_die();
        self.suspect_large_payloads(now);
    }

    /// How many bytes of the user's [`Self::write`] takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        let takes = self.end.is_none() && self.drain == Drain::Open;
        if takes { self.limits.upload_buffer.saturating_sub(self.outbound.len()) } else { 0 }
    }

    /// Takes bytes from the user, as many as there is room for, and says how many.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.get(..self.room()).unwrap_or(bytes);
        self.outbound.extend_from_slice(taken);
        taken.len()
    }

    /// Bytes for the user.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        &self.inbound
    }

    /// The user took the first `count` of [`Self::readable`].
    pub fn consume(&mut self, now: Moment, count: usize) {
        let count = count.min(self.inbound.len());
        drop(self.inbound.split_to(count));
        if self.inbound.is_empty() {
            // Otherwise an idle channel would keep what its busiest moment needed.
            self.inbound = BytesMut::new();
        }
        if self.stalled && self.inbound.len() <= self.limits.receive_buffer / 2 {
            self.stalled = false;
            self.excuse_silence(now);
        }
    }

    /// The user reads no more: bytes that arrive are acknowledged and dropped.
    pub fn discard(&mut self, now: Moment) {
        self.discards = true;
        self.consume(now, usize::MAX);
    }

    /// Whether the socket is to be read.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.end.is_none() && !self.stalled && self.acks.len() < MAX_WAITING_ACKS
    }

    /// Whether the user reads so slowly that the socket is not read. Silence on it means nothing then.
    #[must_use]
    pub const fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Bytes held in buffers: never more than [`Limits::most_held`].
    #[must_use]
    pub fn held(&self) -> usize {
        let answers: usize = self.answers.iter().map(Vec::len).sum();
        let waiting = answers + self.acks.len() * MESSAGE_OVERHEAD;
        self.inbound.len() + self.outbound.len() + self.sender.held() + self.receiver.held() + waiting
    }

    /// What is readable, for a user that takes all of it at the end.
    pub fn take_readable(&mut self) -> BytesMut {
        std::mem::take(&mut self.inbound)
    }

    /// The next event.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether and how it has ended. What is readable stays readable; what is to be transmitted may still be.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the handshake is complete.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// While the socket was not read, the peer could not be heard: what waits for it starts to wait now.
    fn excuse_silence(&mut self, now: Moment) {
        self.sender.excuse(now);
        self.receiver.restart_gap(now);
        if self.absent_since.is_some() {
            self.absent_since = Some(now);
        }
        if let Some((_, until)) = &mut self.closed {
            *until = now + self.limits.closed_grace;
        }
    }

    fn note(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    /// Ends it, for a reason that the channel cannot see itself. The first reason counts.
    pub fn end_with(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}
