//! The message rate that the gateway tolerates.

use std::time::Duration;

use crate::moment::Moment;

/// A token bucket, kept as the moment at which it would be full again.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Option<Duration>,
    depth: Duration,
    full_at: Moment,
}

impl Bucket {
    /// `rate` messages per second, `burst` at once; without a rate it never refuses.
    pub(crate) fn new(rate: Option<u32>, burst: u32) -> Self {
        let interval = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        let depth = interval.unwrap_or_default().saturating_mul(burst.max(1) - 1);
        Self { interval, depth, full_at: Moment::START }
    }

    /// When the next message may go.
    pub(crate) fn ready_at(&self) -> Moment {
        Moment::after_start(self.full_at.since_start().saturating_sub(self.depth))
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Moment) -> bool {
        let Some(interval) = self.interval else { return true };
        if self.ready_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + interval;
        true
    }
}
