//! What was counted on a stream, and what its client did wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

/// Violations kept per stream: enough to name the first mistakes without growing on a client that repeats one.
const VIOLATIONS_KEPT: usize = 64;

/// Counters of one stream or the sum of many. "Up" is from the client to the space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Stream messages that the gateway received from the client, repeats included.
    pub up_messages: u64,
    /// Bytes of payload in them.
    pub up_bytes: u64,
    /// Acknowledgements received from the client.
    pub up_acks: u64,
    /// Stream messages from the client whose sequence number had been seen before.
    pub up_retransmits: u64,
    /// Stream messages that the gateway received from the agent, repeats included.
    pub down_messages: u64,
    /// Bytes of payload in them.
    pub down_bytes: u64,
    /// Acknowledgements received from the agent.
    pub down_acks: u64,
    /// Stream messages that the agent sent again.
    pub down_retransmits: u64,
    /// Messages that the agent acknowledged again because it had them already.
    pub agent_duplicates: u64,
    /// Times that the agent refused a message because its SSH connection was not up yet.
    pub agent_not_ready: u64,
    /// Messages with a wrong digest that the agent dropped.
    pub agent_corrupt: u64,
    /// `pause_publication` messages sent to the client.
    pub pauses: u64,
    /// Messages that faults made away with.
    pub lost_by_fault: u64,
    /// WebSockets that clients opened for this session, resumed ones included.
    pub attaches: u64,
    /// WebSocket pings received.
    pub pings: u64,
}

/// The live counters of one stream.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) up_messages: AtomicU64,
    pub(crate) up_bytes: AtomicU64,
    pub(crate) up_acks: AtomicU64,
    pub(crate) up_retransmits: AtomicU64,
    pub(crate) down_messages: AtomicU64,
    pub(crate) down_bytes: AtomicU64,
    pub(crate) down_acks: AtomicU64,
    pub(crate) down_retransmits: AtomicU64,
    pub(crate) agent_duplicates: AtomicU64,
    pub(crate) agent_not_ready: AtomicU64,
    pub(crate) agent_corrupt: AtomicU64,
    pub(crate) pauses: AtomicU64,
    pub(crate) lost_by_fault: AtomicU64,
    pub(crate) attaches: AtomicU64,
    pub(crate) pings: AtomicU64,
    /// One more than the highest sequence number that came up.
    up_next: AtomicI64,
    violations: Mutex<Vec<String>>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Tally {
    /// Counts a stream message from the client.
    pub(crate) fn message_up(&self, sequence: i64, payload_bytes: usize) {
        add(&self.up_messages, 1);
        add(&self.up_bytes, payload_bytes as u64);
        let seen = self.up_next.fetch_max(sequence.saturating_add(1), Ordering::Relaxed);
        if sequence < seen {
            add(&self.up_retransmits, 1);
        }
    }

    /// Remembers something that a client must not do.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::warn!(violation = %what, "the client broke the protocol");
        let mut kept = self.violations.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.len() < VIOLATIONS_KEPT {
            kept.push(what);
        }
    }

    /// What the client did wrong so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The counters now.
    pub(crate) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            up_messages: read(&self.up_messages),
            up_bytes: read(&self.up_bytes),
            up_acks: read(&self.up_acks),
            up_retransmits: read(&self.up_retransmits),
            down_messages: read(&self.down_messages),
            down_bytes: read(&self.down_bytes),
            down_acks: read(&self.down_acks),
            down_retransmits: read(&self.down_retransmits),
            agent_duplicates: read(&self.agent_duplicates),
            agent_not_ready: read(&self.agent_not_ready),
            agent_corrupt: read(&self.agent_corrupt),
            pauses: read(&self.pauses),
            lost_by_fault: read(&self.lost_by_fault),
            attaches: read(&self.attaches),
            pings: read(&self.pings),
        }
    }
}
