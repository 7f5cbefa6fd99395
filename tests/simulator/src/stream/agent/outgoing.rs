//! What the agent has sent and not seen acknowledged, and the resending of its oldest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::stream::clock::now_ms;
use crate::stream::frame::{FLAG_SYN, Message, kind};
use crate::stream::room::{Gate, Room};
use crate::stream::rto::Rto;
use crate::stream::tally::add;

/// How often the agent looks whether its oldest message is overdue.
const TICK: Duration = Duration::from_millis(100);
/// Unacknowledged messages that the agent keeps track of; beyond, messages are sent and forgotten.
const TRACKED: usize = 100_000;

/// The sending half of the agent's reliability.
pub(super) struct Outgoing {
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: i64,
    unacknowledged: VecDeque<Sent>,
    rto: Rto,
}

struct Sent {
    sequence: i64,
    at: Instant,
    frame: Bytes,
}

impl Outgoing {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn may_send(gate: &Gate) -> bool {
        gate.up && !gate.paused
    }

    /// Sends a payload as the next message of the sequence. While paused it only joins the unacknowledged ones.
    pub(super) async fn send(&self, payload_type: u32, payload: Bytes) {
        let frame = {
            let mut state = self.state();
            let sequence = state.next;
            state.next += 1;
            let mut message = Message::new(kind::OUTPUT, now_ms(), sequence, payload_type, payload);
            message.flags = if sequence == 0 { FLAG_SYN } else { 0 };
            let frame = message.encode();
            // Noted before it is written, so that a fast acknowledgement finds it.
            if state.unacknowledged.len() < TRACKED {
                state.unacknowledged.push_back(Sent { sequence, at: Instant::now(), frame: frame.clone() });
            }
            frame
        };
        if Self::may_send(&self.room.gate.borrow()) {
            self.room.relay_down(frame).await;
        }
    }

    /// Leaves out sequence numbers.
    pub(super) fn skip(&self, by: i64) {
        self.state().next += by;
    }

    /// Takes an acknowledgement; of a message that is not waiting for one it means nothing.
    pub(super) fn acknowledged(&self, sequence: i64) {
        let mut state = self.state();
        let Ok(at) = state.unacknowledged.binary_search_by_key(&sequence, |sent| sent.sequence) else {
            return;
        };
        if let Some(sent) = state.unacknowledged.remove(at) {
            state.rto.sample(sent.at.elapsed());
        }
    }

    /// Whether everything sent was acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.state().unacknowledged.is_empty()
    }

    /// Whether a sequence number was ever sent.
    pub(super) fn was_sent(&self, sequence: i64) -> bool {
        (0..self.state().next).contains(&sequence)
    }

    /// Resends the oldest message, and only that one, whenever it is overdue; for ever.
    pub(super) async fn resend(&self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !Self::may_send(&self.room.gate.borrow()) {
                continue;
            }
            if let Some(frame) = self.overdue() {
                add(&self.room.tally.down_retransmits, 1);
                self.room.relay_down(frame).await;
            }
        }
    }

    fn overdue(&self) -> Option<Bytes> {
        let mut state = self.state();
        let wait = state.rto.wait();
        let head = state.unacknowledged.front_mut()?;
        if head.at.elapsed() <= wait {
            return None;
        }
        head.at = Instant::now();
        Some(head.frame.clone())
    }
}
