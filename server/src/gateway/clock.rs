//! The system's clock, and waiting with a limit.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::domain::ports::Clock;

/// The machine's clock: wall time for rows, tokio's monotonic time for waiting.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose `elapsed` begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// What a future answers within a time, or nothing.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        answer = work => Some(answer),
        () = clock.sleep(limit) => None,
    }
}
