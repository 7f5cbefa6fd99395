//! What an agent was told to do wrong, and the orders that reach it from outside.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// Orders waiting for an agent; a test gives few.
const ORDERS: usize = 64;

/// Something the agent does once, when told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Leaves out sequence numbers.
    SkipSequence(i64),
    /// Sends a sequenced message.
    Send(u32, Bytes),
}

/// Standing misbehaviour of one agent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    pub(crate) never_handshake: bool,
    pub(crate) no_handshake: bool,
    pub(crate) handshake_twice: bool,
    pub(crate) refuse_dial: bool,
    pub(crate) dial_delay: Duration,
    pub(crate) attach_late: Duration,
    /// Bytes in each of the next so many outputs.
    pub(crate) small: Option<(usize, u64)>,
}

/// The switches of one agent.
pub(crate) struct Behaviour {
    habits: Mutex<Habits>,
    stalled: watch::Sender<bool>,
    orders: mpsc::Sender<Order>,
    orders_out: Mutex<Option<mpsc::Receiver<Order>>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let (orders, orders_out) = mpsc::channel(ORDERS);
        Self {
            habits: Mutex::default(),
            stalled: watch::Sender::new(false),
            orders,
            orders_out: Mutex::new(Some(orders_out)),
        }
    }
}

impl Behaviour {
    /// The habits now.
    pub(crate) fn habits(&self) -> Habits {
        *self.habits.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes the habits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.habits.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// How many bytes the next output may have, if it was told to be small.
    pub(crate) fn next_small(&self) -> Option<usize> {
        let mut habits = self.habits.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (bytes, left) = habits.small?;
        habits.small = (left > 1).then(|| (bytes, left - 1));
        Some(bytes.max(1))
    }

    /// Stops or resumes the agent's reading of its WebSocket.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Returns when the agent may read.
    pub(crate) async fn may_read(&self) {
        if *self.stalled.borrow() {
            // The sender is in `self`, so waiting cannot fail.
            let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
        }
    }

    /// Gives an order; one too many is lost.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }

    /// Where the agent reads its orders; the first taker gets it.
    pub(crate) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.orders_out.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}
