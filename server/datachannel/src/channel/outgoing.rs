//! What leaves.

use bytes::Bytes;
use uuid::Uuid;

use super::large::Verdict;
use super::{Channel, Drain, End, Event, Owed, Stage};
use crate::ended::Ended;
use crate::frame::{self, FLAG_SYN_FIN, Frame, HEADER, MessageType, payload_type};
use crate::limits::{BULK, SMALL_PAYLOAD};
use crate::moment::Moment;
use crate::payload::{Acknowledge, TERMINATE_SESSION, json};

impl Channel {
    /// The next message to write to the socket, if any. It counts as sent from here on.
    pub fn transmit(&mut self, now: Moment) -> Option<Bytes> {
        self.opened_at?;
        if let Some(owed) = self.acks.pop_front() {
            return Some(self.acknowledgement(now, &owed));
        }
        if let Some(response) = self.answers.pop_front() {
            return Some(self.sequenced(now, payload_type::HANDSHAKE_RESPONSE, response.into()));
        }
        if self.end.is_some() {
            return None;
        }
        if let Drain::Terminating { sequence: None, until } = self.drain {
            self.drain = Drain::Terminating { sequence: Some(self.sender.next_sequence()), until };
            return Some(self.sequenced(now, payload_type::FLAG, Bytes::from_static(&TERMINATE_SESSION)));
        }
        if std::mem::take(&mut self.probe) && self.absent_since.is_some() && self.sender.is_empty() {
            return Some(self.sequenced(now, payload_type::OUTPUT, Bytes::new()));
        }
        if !self.has_something_to_send() || !self.bucket.take(now) {
            return None;
        }
        if !self.sender.has_resends() {
            return Some(self.next_data(now));
        }
        let again = self.sender.take_resend(now)?;
        self.note_large(now, again.len().saturating_sub(HEADER));
        Some(again)
    }

    /// Whether a message waits that only lacks a token.
    pub(super) fn has_something_to_send(&self) -> bool {
        self.sender.has_resends() || (!self.outbound.is_empty() && self.may_send_data())
    }

    /// Before the handshake is complete, the agent acknowledges bytes and throws them away. While the agent
    /// is away, one message at a time asks for it.
    fn may_send_data(&self) -> bool {
        let peer_listens = self.absent_since.is_none() || self.sender.is_empty();
        let still_open = self.stage == Stage::Open && !matches!(self.drain, Drain::Terminating { .. });
        still_open && self.held_until.is_none() && peer_listens && self.sender.has_room()
    }

    fn next_data(&mut self, now: Moment) -> Bytes {
        let large = self.large.are_allowed() && self.outbound.len() >= BULK;
        let limit = if large { self.limits.max_payload } else { self.limits.max_payload.min(SMALL_PAYLOAD) };
        let payload = self.outbound.split_to(limit.min(self.outbound.len())).freeze();
        self.note_large(now, payload.len());
        let frame = self.sequenced(now, payload_type::OUTPUT, payload);
        self.step_drain(now);
        frame
    }

    fn sequenced(&mut self, now: Moment, payload_type: u32, payload: Bytes) -> Bytes {
        let sequence = self.sender.next_sequence();
        let frame = frame::encode(&Frame {
            message_type: MessageType::InputStreamData,
            created_ms: self.wall_ms(now),
            sequence: i64::try_from(sequence).unwrap_or(i64::MAX),
            flags: 0,
            id: self.next_id(),
            payload_type,
            payload,
        });
        self.sender.register(now, frame.clone());
        frame
    }

    fn acknowledgement(&mut self, now: Moment, owed: &Owed) -> Bytes {
        let accepted = Acknowledge::of(MessageType::OutputStreamData.name(), owed.id, owed.sequence);
        frame::encode(&Frame {
            message_type: MessageType::Acknowledge,
            created_ms: self.wall_ms(now),
            sequence: 0,
            flags: FLAG_SYN_FIN,
            id: self.next_id(),
            payload_type: payload_type::NONE,
            payload: json(&accepted).into(),
        })
    }

    fn next_id(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(rand::Rng::random(&mut self.ids)).into_uuid()
    }

    fn wall_ms(&self, now: Moment) -> u64 {
        self.epoch_ms.saturating_add(u64::try_from(now.since_start().as_millis()).unwrap_or(u64::MAX))
    }

    fn note_large(&mut self, now: Moment, payload: usize) {
        if payload > SMALL_PAYLOAD {
            self.large.sent(now);
        }
    }

    pub(super) fn suspect_large_payloads(&mut self, now: Moment) {
        match self.large.socket_died(now, self.limits.large_payload_suspicion) {
            Verdict::Unrelated => {}
            Verdict::FallBack => self.note(Event::LargePayloadsRefused),
            Verdict::Hopeless => {
                let what = "the service closes on payloads above 1 KiB".to_owned();
                self.end_with(End::Ended(Ended::Protocol(what)));
            }
        }
    }
}
