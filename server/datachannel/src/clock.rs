//! The one place where this crate reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::moment::Moment;

/// Monotonic time for the channel, which tests can pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::after_start(self.started.elapsed())
    }

    pub(crate) fn instant(&self, at: Moment) -> Instant {
        // Far beyond any wait of ours; an overflow would be a panic.
        self.started + at.since_start().min(Duration::from_secs(86_400 * 365 * 30))
    }
}

/// The wall clock: messages and signatures carry dates.
pub(crate) fn wall() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the crate's wall clock")]
    SystemTime::now()
}

/// The wall clock in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
