//! The service's limit on messages per second and connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::stream::frame::{kind, peek_kind};
use crate::stream::options::Options;

const WINDOW: Duration = Duration::from_secs(1);
/// Windows in a row over the limit before the client is told to pause.
const PATIENCE: u32 = 2;

/// What to do with a client after one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It was too fast for two seconds: told once.
    Pause,
    /// It went on.
    Close,
}

/// Counts messages in windows of a second.
pub(super) struct Limiter {
    limit: Option<u32>,
    counts_acks: bool,
    window: Option<Instant>,
    count: u32,
    over: u32,
}

impl Limiter {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            limit: options.message_limit,
            counts_acks: options.limit_counts_acks,
            window: None,
            count: 0,
            over: 0,
        }
    }

    pub(super) fn count(&mut self, frame: &[u8], now: Instant) -> Verdict {
        let Some(limit) = self.limit else { return Verdict::Fine };
        if !self.counts_acks && peek_kind(frame) == kind::ACKNOWLEDGE {
            return Verdict::Fine;
        }
        let window = *self.window.get_or_insert(now);
        let passed = now.duration_since(window);
        if passed >= WINDOW {
            // A window without any message in it breaks the row.
            if self.count <= limit || passed >= WINDOW * 2 {
                self.over = 0;
            }
            self.window = Some(now);
            self.count = 0;
        }
        self.count += 1;
        if self.count != limit.saturating_add(1) {
            return Verdict::Fine;
        }
        self.over += 1;
        match self.over {
            0..PATIENCE => Verdict::Fine,
            PATIENCE => Verdict::Pause,
            _ => Verdict::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream::frame::{Message, payload};

    fn seconds_of(rate: u32, seconds: u32) -> Vec<Verdict> {
        let mut limiter = Limiter::new(&Options::default());
        let frame = Message::new(kind::INPUT, 1, 0, payload::OUTPUT, Bytes::new()).encode();
        let start = Instant::now();
        (0..rate * seconds)
            .map(|n| limiter.count(&frame, start + WINDOW * n / rate))
            .filter(|verdict| *verdict != Verdict::Fine)
            .collect()
    }

    #[tokio::test]
    async fn a_client_within_the_limit_is_left_alone() {
        assert_eq!(seconds_of(950, 10), []);
    }

    #[tokio::test]
    async fn a_client_that_is_too_fast_is_paused_and_then_closed() {
        assert_eq!(seconds_of(1500, 2), [Verdict::Pause]);
        assert_eq!(seconds_of(1500, 3), [Verdict::Pause, Verdict::Close]);
    }

    #[tokio::test]
    async fn acknowledgements_do_not_count_unless_asked() {
        let frame = Message::new(kind::ACKNOWLEDGE, 1, 0, payload::NONE, Bytes::new()).encode();
        for (counts, expected) in [(false, Verdict::Fine), (true, Verdict::Close)] {
            let options = Options { limit_counts_acks: counts, ..Options::default() };
            let mut limiter = Limiter::new(&options);
            let start = Instant::now();
            let worst =
                (0..6000).map(|n| limiter.count(&frame, start + WINDOW * n / 2000)).max_by_key(|verdict| {
                    match verdict {
                        Verdict::Fine => 0,
                        Verdict::Pause => 1,
                        Verdict::Close => 2,
                    }
                });
            assert_eq!(worst, Some(expected));
        }
    }
}
