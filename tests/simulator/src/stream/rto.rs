//! The agent's resend timer, by its own arithmetic.

use std::time::Duration;

/// No wait before a resend is longer.
const MAX: Duration = Duration::from_secs(1);
/// The variance term counts at least as much.
const GRANULARITY: Duration = Duration::from_millis(10);

/// Smoothed round-trip time and what follows from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rto {
    smoothed: Duration,
    variance: Duration,
    wait: Duration,
}

impl Default for Rto {
    fn default() -> Self {
        Self {
            smoothed: Duration::from_millis(100),
            variance: Duration::ZERO,
            wait: Duration::from_millis(200),
        }
    }
}

impl Rto {
    /// How long a message waits for its acknowledgement before it is sent again.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }

    /// Takes in the time from the last sending of a message to its acknowledgement.
    pub(crate) fn sample(&mut self, round_trip: Duration) {
        let off = self.smoothed.abs_diff(round_trip);
        self.variance = self.variance * 3 / 4 + off / 4;
        self.smoothed = self.smoothed * 7 / 8 + round_trip / 8;
        self.wait = MAX.min(self.smoothed + GRANULARITY.max(self.variance * 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_on_a_steady_round_trip_and_never_exceeds_a_second() {
        let mut rto = Rto::default();
        assert_eq!(rto.wait(), Duration::from_millis(200));
        for _ in 0..100 {
            rto.sample(Duration::from_millis(50));
        }
        assert!(rto.wait() < Duration::from_millis(65), "{:?}", rto.wait());
        rto.sample(Duration::from_secs(30));
        assert_eq!(rto.wait(), Duration::from_secs(1));
    }
}
