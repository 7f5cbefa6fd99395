//! What arrives.

use bytes::Bytes;

use super::{Channel, Drain, End, Event, Owed, Stage};
use crate::ended::Ended;
use crate::frame::{self, Frame, HEADER, MessageType, payload_type};
use crate::handshake;
use crate::limits::{MAX_HANDSHAKES, MAX_WAITING_ACKS, MAX_WORDS, SMALL_PAYLOAD};
use crate::moment::Moment;
use crate::payload::{Acknowledge, HandshakeComplete, cut};
use crate::receiver::{Arrival, Sequenced};
use crate::sender::Acked;

impl Channel {
    /// Takes one message from the socket.
    pub fn receive(&mut self, now: Moment, message: Bytes) {
        if self.end.is_some() {
            return;
        }
        let frame = match frame::parse(message) {
            Ok(frame) => frame,
            Err(error) => return self.note(Event::Dropped(error)),
        };
        match frame.message_type {
            MessageType::OutputStreamData => self.on_output(now, frame),
            MessageType::Acknowledge => self.on_acknowledge(now, &frame.payload),
            MessageType::ChannelClosed => self.on_channel_closed(now, &frame.payload),
            MessageType::StartPublication => self.on_peer_heard(now),
            MessageType::PausePublication => self.on_pause(now),
            MessageType::InputStreamData | MessageType::Other => {}
        }
    }

    /// Before the handshake is complete the agent may simply not have connected yet, and a pause means
    /// nothing.
    fn on_pause(&mut self, now: Moment) {
        if self.stage == Stage::Open && self.absent_since.is_none() {
            self.absent_since = Some(now);
            self.note(Event::PeerAbsent);
        }
    }

    /// Anything from the agent ends a pause, since the service's own word for it may be missing.
    fn on_peer_heard(&mut self, now: Moment) {
        if self.absent_since.take().is_some() {
            self.sender.resend_window(now);
            self.note(Event::PeerBack);
        }
    }

    fn on_acknowledge(&mut self, now: Moment, payload: &[u8]) {
        let Ok(ack) = serde_json::from_slice::<Acknowledge>(payload) else { return };
        let Ok(sequence) = u64::try_from(ack.acknowledged_message_sequence_number) else { return };
        let acked = self.sender.acknowledge(now, sequence);
        if let Acked::Message { frame_bytes } = acked
            && frame_bytes > HEADER + SMALL_PAYLOAD
        {
            self.large.acknowledged();
        }
        self.on_peer_heard(now);
        if matches!(self.drain, Drain::Terminating { sequence: Some(terminate), .. } if terminate == sequence)
        {
            self.end_with(End::Ended(Ended::Closed));
        }
        self.step_drain(now);
    }

    fn on_output(&mut self, now: Moment, frame: Frame) {
        let Ok(sequence) = u64::try_from(frame.sequence) else { return };
        self.on_peer_heard(now);
        if self.stalled || self.acks.len() >= MAX_WAITING_ACKS {
            // Not acknowledged, so it comes again. A driver that heeds `wants_input` does not get here.
            return;
        }
        let message = Sequenced { payload_type: frame.payload_type, payload: frame.payload };
        let arrival = self.receiver.arrive(now, sequence, message);
        if arrival != Arrival::Dropped {
            self.acks.push_back(Owed { id: frame.id, sequence: frame.sequence });
        }
        if let Arrival::Next(message) = arrival {
            self.handle(now, &message);
            while let Some(message) = self.receiver.take_parked(now) {
                self.handle(now, &message);
            }
            self.stalled |= self.inbound.len() >= self.limits.receive_buffer;
            self.end_if_all_has_arrived();
        }
    }

    /// Takes a message of the agent's sequence, in order. Types that are not named are of no use to a Port
    /// session; in the stream they would break the SSH connection.
    fn handle(&mut self, now: Moment, message: &Sequenced) {
        if self.end.is_some() {
            return;
        }
        match message.payload_type {
            payload_type::OUTPUT => self.on_stream_bytes(&message.payload),
            payload_type::HANDSHAKE_REQUEST => self.on_handshake_request(&message.payload),
            payload_type::HANDSHAKE_COMPLETE => self.on_handshake_complete(now, &message.payload),
            _ => {}
        }
    }

    fn on_stream_bytes(&mut self, bytes: &[u8]) {
        match self.stage {
            Stage::Open => {}
            Stage::AwaitRequest => {
                return self.end_with(End::Unsupported("a session without a handshake".to_owned()));
            }
            Stage::AwaitComplete => {
                let what = "bytes before the end of the handshake".to_owned();
                return self.end_with(End::Ended(Ended::Protocol(what)));
            }
        }
        if bytes.is_empty() {
            return;
        }
        if !self.heard_output {
            // The SSH server's banner: its TCP connection is up, so nothing that we send is thrown away.
            self.heard_output = true;
            self.held_until = None;
        }
        if !self.discards {
            self.inbound.extend_from_slice(bytes);
        }
    }

    fn on_handshake_request(&mut self, payload: &[u8]) {
        self.handshakes += 1;
        if self.handshakes > MAX_HANDSHAKES {
            let what = format!("more than {MAX_HANDSHAKES} handshake requests");
            return self.end_with(End::Ended(Ended::Protocol(what)));
        }
        let answer = match handshake::answer(payload) {
            Ok(answer) => answer,
            Err(what) => return self.end_with(End::Ended(Ended::Protocol(what))),
        };
        self.agent_version = answer.agent_version;
        self.answers.push_back(answer.response);
        if self.stage == Stage::AwaitRequest {
            self.stage = Stage::AwaitComplete;
        }
        if let Some(what) = answer.refused {
            // The answer still goes out, so that the agent ends its side too.
            self.end_with(End::Unsupported(what));
        }
    }

    fn on_handshake_complete(&mut self, now: Moment, payload: &[u8]) {
        match self.stage {
            Stage::Open => return,
            Stage::AwaitComplete => {}
            Stage::AwaitRequest => {
                let what = "the end of a handshake that never began".to_owned();
                return self.end_with(End::Ended(Ended::Protocol(what)));
            }
        }
        // Only words are in it; unreadable ones are no reason to fail.
        let complete: HandshakeComplete = serde_json::from_slice(payload).unwrap_or_default();
        self.stage = Stage::Open;
        self.held_until = Some(now + self.limits.hold);
        self.note(Event::HandshakeComplete {
            agent_version: self.agent_version.clone(),
            customer_message: cut(complete.customer_message.unwrap_or_default(), MAX_WORDS),
        });
    }
}
