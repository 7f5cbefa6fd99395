//! What has been learnt about a domain and is not asked again at every stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::ports::Clock;

/// How long a denied resume is believed before one stream tries again: policies change, but not by the minute.
const BELIEVE_DENIAL: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Default)]
struct Learnt {
    resume_denied_at: Option<Duration>,
    unsigned: bool,
}

/// What has been learnt about one domain, until the process ends.
pub(super) struct Memory {
    learnt: Mutex<Learnt>,
    clock: Arc<dyn Clock>,
}

impl Memory {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { learnt: Mutex::default(), clock }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Learnt) -> T) -> T {
        // Two plain values cannot be left half changed.
        look(&mut self.learnt.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A resume was denied.
    pub(super) fn resume_was_denied(&self) {
        let now = self.clock.elapsed();
        self.with(|learnt| learnt.resume_denied_at = Some(now));
    }

    /// Whether there is no use in trying to resume.
    pub(super) fn resume_is_denied(&self) -> bool {
        let now = self.clock.elapsed();
        self.with(|learnt| learnt.resume_denied_at.is_some_and(|at| now.saturating_sub(at) < BELIEVE_DENIAL))
    }

    /// A signed dial was refused and an unsigned one was not, or the other way round.
    pub(super) fn dial_unsigned(&self, unsigned: bool) {
        self.with(|learnt| learnt.unsigned = unsigned);
    }

    /// Whether the next dial goes without a signature.
    pub(super) fn dials_unsigned(&self) -> bool {
        self.with(|learnt| learnt.unsigned)
    }
}
