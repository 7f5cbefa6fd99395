//! What the agent does with messages that arrive: order, acknowledgement, handshake, and the write to the SSH server.
//! One message at a time, as the agent's own reader does: while a write blocks, acknowledgements wait too.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::Agent;
use crate::stream::clock::now_ms;
use crate::stream::frame::{HEADER, Message, kind, payload};
use crate::stream::room::{Ending, Inbound};
use crate::stream::tally::add;
use crate::stream::words::{self, Acknowledgement, HandshakeResponse};

/// Messages that may wait for an earlier one.
const PARKED: usize = 100_000;
const DISCONNECT_TO_PORT: u32 = 1;
const TERMINATE_SESSION: u32 = 2;

/// What became of a message.
enum Outcome {
    Accepted,
    /// Not taken: no acknowledgement, no progress; the sender has to try again.
    Refused,
    /// Taken, and the session is over by it.
    Ends(Ending),
}

/// The receiving half of the agent.
pub(super) struct Receiver<'a> {
    agent: &'a Agent,
    expected: i64,
    parked: BTreeMap<i64, Message>,
    dialled: oneshot::Receiver<OwnedWriteHalf>,
    writer: Option<OwnedWriteHalf>,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(agent: &'a Agent, dialled: oneshot::Receiver<OwnedWriteHalf>) -> Self {
        Self { agent, expected: 0, parked: BTreeMap::new(), dialled, writer: None }
    }

    /// Receives until a message ends the session.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Inbound>) -> Ending {
        let room = &self.agent.room;
        loop {
            room.behaviour.may_read().await;
            let Some(inbound) = inbox.recv().await else { return Ending::with("") };
            sleep_until(inbound.due).await;
            room.behaviour.may_read().await;
            let gate = *room.gate.borrow();
            if !gate.up || gate.leg != inbound.leg {
                continue;
            }
            if let Some(ending) = self.receive(&inbound.frame).await {
                return ending;
            }
        }
    }

    async fn receive(&mut self, frame: &Bytes) -> Option<Ending> {
        let tally = &self.agent.room.tally;
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                tally.violation(format!("the client sent a frame that is no message: {error}"));
                return None;
            }
        };
        if message.created_ms == 0 || (message.payload_length != 0 && !message.digest_matches()) {
            add(&tally.agent_corrupt, 1);
            return None;
        }
        self.judge(&message, frame.len());
        match message.kind.as_str() {
            kind::ACKNOWLEDGE => {
                self.agent.room.unpause_agent();
                self.acknowledged(&message);
                None
            }
            kind::INPUT => {
                self.agent.room.unpause_agent();
                self.stream_message(message).await
            }
            _ => None,
        }
    }

    /// Notes what AWS's agent would let pass but no right client sends.
    fn judge(&self, message: &Message, frame_length: usize) {
        let mut wrong = Vec::new();
        if message.header_length != 116 {
            wrong.push(format!("HeaderLength {}", message.header_length));
        }
        if message.schema != 1 {
            wrong.push(format!("SchemaVersion {}", message.schema));
        }
        if message.payload_length as usize != frame_length.saturating_sub(HEADER) {
            wrong.push(format!("PayloadLength {} of {}", message.payload_length, message.payload.len()));
        }
        if message.payload.is_empty() && !message.digest_matches() {
            wrong.push("a wrong digest of nothing".to_owned());
        }
        let flags = if message.kind == kind::ACKNOWLEDGE { 3 } else { 0 };
        if message.flags != flags {
            wrong.push(format!("Flags {}", message.flags));
        }
        if message.sequence < 0 || (message.kind == kind::ACKNOWLEDGE && message.sequence != 0) {
            wrong.push(format!("SequenceNumber {}", message.sequence));
        }
        for what in wrong {
            self.agent.room.tally.violation(format!("{} with {what}", message.kind));
        }
    }

    fn acknowledged(&self, message: &Message) {
        let tally = &self.agent.room.tally;
        match serde_json::from_slice::<Acknowledgement>(&message.payload) {
            Ok(ack) => {
                let sequence = ack.acknowledged_message_sequence_number;
                if ack.acknowledged_message_type != kind::OUTPUT {
                    tally.violation(format!("an acknowledgement of {}", ack.acknowledged_message_type));
                } else if !ack.is_sequential_message {
                    tally.violation("an acknowledgement with IsSequentialMessage false");
                } else if !self.agent.outgoing.was_sent(sequence) {
                    tally
                        .violation(format!("an acknowledgement of message {sequence}, which was never sent"));
                }
                self.agent.outgoing.acknowledged(sequence);
            }
            Err(error) => tally.violation(format!("an acknowledgement that is not understood: {error}")),
        }
    }

    async fn stream_message(&mut self, message: Message) -> Option<Ending> {
        let tally = &self.agent.room.tally;
        if message.sequence < self.expected {
            add(&tally.agent_duplicates, 1);
            self.acknowledge(&message).await;
            return None;
        }
        if message.sequence > self.expected {
            if self.parked.len() < PARKED {
                self.acknowledge(&message).await;
                self.parked.insert(message.sequence, message);
            }
            return None;
        }
        let mut next = message;
        let mut fresh = true;
        loop {
            match self.process(&next).await {
                Outcome::Accepted => {
                    if fresh {
                        self.acknowledge(&next).await;
                    }
                    self.expected += 1;
                }
                Outcome::Refused => {
                    if !fresh {
                        self.parked.insert(next.sequence, next);
                    }
                    return None;
                }
                Outcome::Ends(ending) => {
                    if fresh {
                        self.acknowledge(&next).await;
                    }
                    return Some(ending);
                }
            }
            // Those that waited were acknowledged when they came.
            fresh = false;
            next = self.parked.remove(&self.expected)?;
        }
    }

    async fn acknowledge(&self, message: &Message) {
        self.agent.room.relay_down(words::acknowledge(message, now_ms()).encode()).await;
    }

    async fn process(&mut self, message: &Message) -> Outcome {
        if self.agent.complete.is_cancelled() {
            return self.deliver(message).await;
        }
        if message.payload_type != payload::HANDSHAKE_RESPONSE {
            // Accepted, acknowledged, and thrown away: so the agent does.
            let what = message.payload_type;
            self.agent.room.tally.violation(format!("payload type {what} before the handshake was complete"));
            return Outcome::Accepted;
        }
        match HandshakeResponse::parse(&message.payload) {
            Ok(response) => {
                tracing::debug!(client.version = %response.client_version, "handshake answered");
                self.agent.complete_handshake().await;
                Outcome::Accepted
            }
            Err(why) => {
                self.agent.room.tally.violation(format!("the handshake failed: {why}"));
                Outcome::Ends(Ending::with(format!("Encountered error while initiating handshake. {why}")))
            }
        }
    }

    async fn deliver(&mut self, message: &Message) -> Outcome {
        if message.payload_type == payload::HANDSHAKE_RESPONSE {
            return Outcome::Accepted;
        }
        if self.writer.is_none() {
            self.writer = self.dialled.try_recv().ok();
        }
        let Some(writer) = &mut self.writer else {
            add(&self.agent.room.tally.agent_not_ready, 1);
            return Outcome::Refused;
        };
        match message.payload_type {
            payload::OUTPUT => match writer.write_all(&message.payload).await {
                Ok(()) => Outcome::Accepted,
                // The reading side will see the end and close the session.
                Err(_) => Outcome::Refused,
            },
            payload::FLAG => match message.payload.first_chunk().map(|flag| u32::from_be_bytes(*flag)) {
                Some(TERMINATE_SESSION | DISCONNECT_TO_PORT) => Outcome::Ends(Ending::with("")),
                other => {
                    self.agent.room.tally.violation(format!("flag {other:?}"));
                    Outcome::Accepted
                }
            },
            other => {
                self.agent.room.tally.violation(format!("payload type {other} on a port session"));
                Outcome::Accepted
            }
        }
    }
}
