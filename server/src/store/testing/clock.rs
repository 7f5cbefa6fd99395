//! A clock that tests move by hand.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::domain::ports::Clock;

/// Stands still until it is moved on.
#[derive(Debug, Default)]
pub(crate) struct HandClock {
    elapsed: watch::Sender<Duration>,
}

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        time::macros::datetime!(2026-05-01 12:00 UTC) + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.elapsed() + duration;
        let _ = self.elapsed.subscribe().wait_for(|elapsed| *elapsed >= until).await;
    }
}
