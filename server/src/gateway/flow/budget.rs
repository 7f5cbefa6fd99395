//! What all connections together may hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use super::intake::{Cut, Intake};
use super::locked;

/// The ceiling over the queues of every connection of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProcessBudget(Arc<Process>);

#[derive(Debug)]
struct Process {
    limit: usize,
    used: AtomicUsize,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    intakes: HashMap<u64, Weak<Intake>>,
}

/// A place in the registry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat(u64);

impl ProcessBudget {
    /// A budget of that many bytes. From three quarters on every sender is slowed down and no channel is opened;
    /// over the whole, the longest queue that makes no progress is closed.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Process { limit, used: AtomicUsize::new(0), registry: Mutex::default() }))
    }

    /// How many bytes wait at present.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether the budget is nearly spent.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.used() > self.0.limit / 4 * 3
    }

    pub(super) fn is_over(&self) -> bool {
        self.used() > self.0.limit
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn enter(&self, intake: &Arc<Intake>) -> Seat {
        let mut registry = locked(&self.0.registry);
        let seat = registry.next;
        registry.next += 1;
        registry.intakes.insert(seat, Arc::downgrade(intake));
        Seat(seat)
    }

    pub(super) fn leave(&self, seat: Seat) {
        locked(&self.0.registry).intakes.remove(&seat.0);
    }

    /// Closes the longest queue that makes no progress, if there is one.
    pub(super) fn relieve(&self, now: Instant) {
        let intakes: Vec<_> = locked(&self.0.registry).intakes.values().filter_map(Weak::upgrade).collect();
        Intake::cut_longest(intakes.iter(), now, Cut::Process);
    }
}
