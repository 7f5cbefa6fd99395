//! The windows of one connection.
//!
//! russh knows one target for all windows of a connection, and asks for the next one only just after it has granted
//! a window. While no queue is long, the target is wide. While one is, it is two bytes: the smallest target that can
//! be left again, because russh then grants two bytes whenever a window is used up, and each of these grants is a
//! chance to widen it. A stalled sender thus ticks, two bytes per round trip, and costs the others nothing that
//! travels towards the client; other uploads of the same connection tick along until the stall ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use russh::ChannelId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::intake::{Cut, Inbound, Intake, Push};
use super::{FlowLimits, Paced, ProcessBudget, locked};

/// The smallest target that is not a dead end: with 1, russh would never grant again, nor ask.
const TICK: u32 = 2;

/// What became of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// They are queued.
    Kept,
    /// They were too many: the queue is closed, and so must the channel be.
    OverCap,
    /// Nobody takes bytes from this channel any more.
    Unknown,
}

/// Queues and windows of one client connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Windows(Arc<Connection>);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) limits: FlowLimits,
    pub(super) process: ProcessBudget,
    /// How many queues are long.
    hoarders: AtomicUsize,
    /// Bytes in all queues.
    bytes: AtomicUsize,
    intakes: Mutex<HashMap<ChannelId, Arc<Intake>>>,
}

impl Windows {
    /// For one connection.
    #[must_use]
    pub fn new(limits: FlowLimits, process: ProcessBudget) -> Self {
        Self(Arc::new(Connection {
            limits,
            process,
            hoarders: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            intakes: Mutex::default(),
        }))
    }

    /// Wraps the socket for `russh::server::run_stream`.
    pub fn socket<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> Paced<S> {
        Paced::new(socket, Arc::clone(&self.0))
    }

    /// Whether memory is left for another channel; if not, its open is to be refused as a resource shortage.
    #[must_use]
    pub fn accepts_channels(&self) -> bool {
        !self.0.process.is_tight()
    }

    /// Begins to keep what a channel receives. To be called before the channel is accepted.
    #[must_use]
    pub fn open(&self, id: ChannelId) -> Inbound {
        let intake = Arc::new(Intake::new(Arc::clone(&self.0)));
        let seat = self.0.process.enter(&intake);
        locked(&self.0.intakes).insert(id, Arc::clone(&intake));
        Inbound::new(id, intake, seat)
    }

    /// For `Handler::data`: keeps a copy. Never waits. `_sender_window` is what the client may still send
    /// (`Session::sender_window_size`).
    pub fn received(&self, id: ChannelId, data: &[u8], _sender_window: u32) -> Received {
        let Some(intake) = self.0.intake(id) else { return Received::Unknown };
        let now = Instant::now();
        let pushed = intake.push(data, now);
        self.0.relieve(now);
        match pushed {
            Push::Kept => Received::Kept,
            Push::OverCap => Received::OverCap,
            Push::Ended => Received::Unknown,
        }
    }

    /// For `Handler::channel_eof`.
    pub fn eof(&self, id: ChannelId) {
        if let Some(intake) = self.0.intake(id) {
            intake.end();
        }
    }

    /// For `Handler::channel_close`.
    pub fn closed(&self, id: ChannelId) {
        let intake = locked(&self.0.intakes).remove(&id);
        if let Some(intake) = intake {
            intake.close();
        }
    }

    /// For `Handler::adjust_window`: the target for the next data packet of any channel. `_id` has just been granted
    /// `_current`.
    #[must_use]
    pub fn granted(&self, _id: ChannelId, _current: u32) -> u32 {
        if self.0.is_throttled() { TICK } else { self.0.limits.window }
    }
}

impl Connection {
    fn intake(&self, id: ChannelId) -> Option<Arc<Intake>> {
        locked(&self.intakes).get(&id).cloned()
    }

    /// The connection is over, and so is every channel.
    pub(super) fn close(&self) {
        let intakes = std::mem::take(&mut *locked(&self.intakes));
        for intake in intakes.into_values() {
            intake.close();
        }
    }

    /// Whether senders are to be slowed down.
    pub(super) fn is_throttled(&self) -> bool {
        self.hoarders.load(Ordering::Relaxed) > 0 || self.process.is_tight()
    }

    pub(super) fn hoarder_came(&self) {
        self.hoarders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hoarder_left(&self) {
        self.hoarders.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn held(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.process.add(bytes);
    }

    pub(super) fn released(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.process.sub(bytes);
    }

    /// Forgets a channel whose consumer is gone, unless its id is in use again.
    pub(super) fn forget(&self, id: ChannelId, intake: &Arc<Intake>) {
        let mut intakes = locked(&self.intakes);
        if intakes.get(&id).is_some_and(|i| Arc::ptr_eq(i, intake)) {
            intakes.remove(&id);
        }
    }

    fn relieve(&self, now: Instant) {
        if self.bytes.load(Ordering::Relaxed) > self.limits.connection_bytes {
            let intakes: Vec<_> = locked(&self.intakes).values().cloned().collect();
            Intake::cut_longest(intakes.iter(), now, Cut::Connection);
        }
        if self.process.is_over() {
            self.process.relieve(now);
        }
    }
}
