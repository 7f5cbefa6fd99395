//! Time of the simulated account: wall-clock time that can be shifted, and delays that run faster than AWS's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// The only source of time. It follows tokio's clock, so a paused runtime pauses the account as well.
#[derive(Debug)]
pub struct Clock {
    started_wall: OffsetDateTime,
    started: Instant,
    offset_ms: AtomicI64,
    scale: f64,
}

impl Clock {
    /// A clock on which delays pass `scale` times faster than on AWS.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
    pub fn new(scale: f64) -> Self {
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        Self {
            started_wall: OffsetDateTime::now_utc(),
            started: Instant::now(),
            offset_ms: AtomicI64::new(0),
            scale,
        }
    }

    /// What the account's wall clock says.
    pub fn now(&self) -> OffsetDateTime {
        let offset = time::Duration::milliseconds(self.offset_ms.load(Ordering::Relaxed));
        self.started_wall + self.started.elapsed() + offset
    }

    /// Shifts the account's wall clock against the machine's, as when a client's clock is wrong.
    pub fn set_offset(&self, offset: time::Duration) {
        let ms = i64::try_from(offset.whole_milliseconds()).unwrap_or(i64::MAX);
        self.offset_ms.store(ms, Ordering::Relaxed);
    }

    /// How long a delay of AWS takes here.
    pub fn scaled(&self, delay: Duration) -> Duration {
        delay.div_f64(self.scale)
    }

    /// Waits for a delay of AWS to pass here.
    pub async fn pass(&self, delay: Duration) {
        tokio::time::sleep(self.scaled(delay)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn delays_are_scaled_and_the_wall_clock_follows() {
        let clock = Clock::new(100.0);
        let before = clock.now();
        clock.pass(Duration::from_secs(200)).await;
        let passed = clock.now() - before;
        assert!(passed >= time::Duration::seconds(2) && passed < time::Duration::seconds(3), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_offset_shifts_the_wall_clock_only() {
        let clock = Clock::new(1.0);
        let before = clock.now();
        clock.set_offset(time::Duration::minutes(-10));
        assert!(clock.now() <= before - time::Duration::minutes(9));
    }
}
