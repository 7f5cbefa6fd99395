//! From messages in any order to messages in order, once each.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::{MAX_AHEAD, MESSAGE_OVERHEAD};
use crate::moment::Moment;

/// A message of the agent's sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub(crate) payload_type: u32,
    pub(crate) payload: Bytes,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one: handle it now, acknowledge it.
    Next(Sequenced),
    /// Kept for later: acknowledge it.
    Parked,
    /// Seen before: acknowledge it again, since the acknowledgement may have been lost, and an agent resends
    /// only its oldest message and would be stuck on this one for ever.
    Duplicate,
    /// No room: do not acknowledge it, so that it comes again.
    Dropped,
}

/// The agent's sequence as far as it has come.
#[derive(Debug)]
pub(crate) struct Receiver {
    expected: u64,
    parked: BTreeMap<u64, Sequenced>,
    parked_cost: usize,
    budget: usize,
    gap_since: Option<Moment>,
}

impl Receiver {
    pub(crate) const fn new(budget: usize) -> Self {
        Self { expected: 0, parked: BTreeMap::new(), parked_cost: 0, budget, gap_since: None }
    }

    /// Takes a message. After `Next`, ask [`Self::take_parked`] until it has no more.
    pub(crate) fn arrive(&mut self, now: Moment, sequence: u64, message: Sequenced) -> Arrival {
        if sequence < self.expected || self.parked.contains_key(&sequence) {
            return Arrival::Duplicate;
        }
        if sequence == self.expected {
            self.expected += 1;
            return Arrival::Next(message);
        }
        let cost = message.payload.len() + MESSAGE_OVERHEAD;
        if sequence - self.expected > MAX_AHEAD || self.parked_cost + cost > self.budget {
            return Arrival::Dropped;
        }
        self.parked_cost += cost;
        self.gap_since.get_or_insert(now);
        // A copy: the original is a slice of the socket's read buffer and would keep all of it alive.
        let payload = Bytes::copy_from_slice(&message.payload);
        self.parked.insert(sequence, Sequenced { payload, ..message });
        Arrival::Parked
    }

    /// The next message, if it was parked.
    pub(crate) fn take_parked(&mut self, now: Moment) -> Option<Sequenced> {
        let Some(message) = self.parked.remove(&self.expected) else {
            // Whatever is left waits behind another gap, whose time starts here.
            self.gap_since = (!self.parked.is_empty()).then_some(now);
            return None;
        };
        self.expected += 1;
        self.parked_cost = self.parked_cost.saturating_sub(message.payload.len() + MESSAGE_OVERHEAD);
        Some(message)
    }

    /// Bytes held.
    pub(crate) const fn held(&self) -> usize {
        self.parked_cost
    }

    /// Since when something is missing.
    pub(crate) const fn gap_since(&self) -> Option<Moment> {
        self.gap_since
    }

    /// Time in which nothing could arrive does not count.
    pub(crate) fn restart_gap(&mut self, now: Moment) {
        if self.gap_since.is_some() {
            self.gap_since = Some(now);
        }
    }
}
