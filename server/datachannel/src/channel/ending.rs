//! Time, and how it all ends.

use super::{Channel, Drain, End, Stage};
use crate::ended::Ended;
use crate::limits::MAX_WORDS;
use crate::moment::Moment;
use crate::payload::{ChannelClosed, cut};

impl Channel {
    /// The user closes: what was written is still delivered, then the agent is told to end the session.
    pub fn finish(&mut self, now: Moment) {
        if self.end.is_some() || self.drain != Drain::Open {
            return;
        }
        if self.stage != Stage::Open {
            // The agent would throw the order away.
            return self.end_with(End::Ended(Ended::Closed));
        }
        self.release_hold();
        self.drain = Drain::Flushing { until: now + self.limits.drain };
        self.step_drain(now);
    }

    /// Does what time demands. Afterwards [`Self::deadline`] is in the future.
    pub fn timer(&mut self, now: Moment) {
        if self.end.is_some() {
            return;
        }
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        self.step_drain(now);
        if self.opened_at.is_none() || self.stalled {
            return;
        }
        if due(self.closed.as_ref().map(|(_, until)| *until)) {
            return self.end_as_closed();
        }
        if due(self.handshake_deadline()) {
            return self.end_with(End::NoHandshake);
        }
        if due(self.held_until) {
            self.release_hold();
        }
        if due(self.absent_deadline()) {
            return self.end_with(End::Ended(Ended::AgentGone));
        }
        if due(self.probe_deadline()) {
            self.probe = true;
        }
        if due(self.unacknowledged_deadline()) {
            return self.end_with(End::Ended(Ended::Unacknowledged));
        }
        if due(self.gap_deadline()) {
            let what = "a message of the agent's never arrived".to_owned();
            return self.end_with(End::Ended(Ended::Protocol(what)));
        }
        self.sender.on_timer(now, self.absent_since.is_some());
    }

    /// When [`Self::timer`] is to be called, or [`Self::transmit`] again, at the latest.
    #[must_use]
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        if self.end.is_some() {
            return None;
        }
        let drain = match self.drain {
            Drain::Open => None,
            Drain::Flushing { until } | Drain::Terminating { until, .. } => Some(until),
        };
        if self.opened_at.is_none() || self.stalled {
            return drain;
        }
        let resend = (!self.sender.has_resends()).then(|| self.sender.resend_at(self.absent_since.is_some()));
        let token = self.has_something_to_send().then(|| self.bucket.ready_at()).filter(|at| *at > now);
        let waits = [
            drain,
            self.closed.as_ref().map(|(_, until)| *until),
            self.handshake_deadline(),
            self.held_until,
            self.absent_deadline(),
            self.probe_deadline().filter(|_| !self.probe),
            self.unacknowledged_deadline(),
            self.gap_deadline(),
            resend.flatten(),
            token,
        ];
        waits.into_iter().flatten().min()
    }

    fn handshake_deadline(&self) -> Option<Moment> {
        let opened = self.opened_at.filter(|_| self.stage != Stage::Open)?;
        Some(opened + self.limits.handshake)
    }

    fn absent_deadline(&self) -> Option<Moment> {
        self.absent_since.map(|since| since + self.limits.peer_absent)
    }

    /// Only an idle channel needs to ask: otherwise the oldest message does.
    fn probe_deadline(&self) -> Option<Moment> {
        let idle = self.sender.is_empty() && self.outbound.is_empty() && self.drain == Drain::Open;
        self.absent_since.filter(|_| idle).map(|since| since + self.limits.absence_probe)
    }

    fn unacknowledged_deadline(&self) -> Option<Moment> {
        self.sender.waiting_since().map(|since| since + self.limits.unacknowledged)
    }

    fn gap_deadline(&self) -> Option<Moment> {
        self.receiver.gap_since().map(|since| since + self.limits.gap)
    }

    /// Lets the user's bytes go although no banner came: the agent's TCP connection may not be up.
    fn release_hold(&mut self) {
        if self.held_until.take().is_some() {
            self.sender.resend_next_fast();
        }
    }

    pub(super) fn step_drain(&mut self, now: Moment) {
        match self.drain {
            Drain::Open => {}
            Drain::Flushing { until } => {
                let flushed = self.outbound.is_empty() && self.sender.is_empty() && self.answers.is_empty();
                if flushed || until <= now {
                    let until = now + self.limits.terminate;
                    self.drain = Drain::Terminating { sequence: None, until };
                }
            }
            Drain::Terminating { until, .. } => {
                if until <= now {
                    self.end_with(End::Ended(Ended::Closed));
                }
            }
        }
    }

    /// The service ends the session. Its message is outside the sequence and may overtake bytes.
    pub(super) fn on_channel_closed(&mut self, now: Moment, payload: &[u8]) {
        if matches!(self.drain, Drain::Terminating { .. }) {
            return self.end_with(End::Ended(Ended::Closed));
        }
        let words: ChannelClosed = serde_json::from_slice(payload).unwrap_or_default();
        let until = now + self.limits.closed_grace;
        self.closed.get_or_insert_with(|| (cut(words.output.unwrap_or_default(), MAX_WORDS), until));
        self.end_if_all_has_arrived();
    }

    pub(super) fn end_if_all_has_arrived(&mut self) {
        if self.receiver.gap_since().is_none() {
            self.end_as_closed();
        }
    }

    /// Ends it in the service's words, if it has said any.
    fn end_as_closed(&mut self) {
        if let Some((words, _)) = self.closed.take() {
            self.end_with(End::Ended(Ended::ClosedByService(words)));
        }
    }

    /// A socket that dies after the service or we said that it is over needs no successor.
    pub(super) fn end_if_socket_was_expected_to_die(&mut self) {
        if let Drain::Terminating { sequence: Some(_), .. } = self.drain {
            self.end_with(End::Ended(Ended::Closed));
        }
        self.end_as_closed();
    }
}
