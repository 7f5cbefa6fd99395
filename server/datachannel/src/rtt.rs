//! How long to wait for an acknowledgement: RFC 6298.

use std::time::Duration;

/// Below this, delays of the agent's own scheduler would look like loss.
const FLOOR: Duration = Duration::from_millis(200);
/// Above this, recovery from a lost message would be felt as a hang.
const CAP: Duration = Duration::from_secs(5);
/// Before the first sample, as the RFC says.
const INITIAL: Duration = Duration::from_secs(1);
/// The clock granularity term of AWS's own clients.
const GRANULARITY: Duration = Duration::from_millis(10);
/// `FLOOR` doubled this often is above `CAP`.
const MAX_SHIFT: u32 = 5;

/// The estimator of one channel.
#[derive(Debug)]
pub(crate) struct Rtt {
    smoothed: Option<(Duration, Duration)>,
    /// Doublings since the last clean sample. Without it a jump of the round trip beyond the time-out would
    /// leave every message resent, hence no clean sample, hence no way to learn.
    shift: u32,
}

impl Rtt {
    pub(crate) const fn new() -> Self {
        Self { smoothed: None, shift: 0 }
    }

    /// An acknowledgement of a message that was sent exactly once (Karn's rule: no other tells the round
    /// trip).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.shift = 0;
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, var)) => (srtt * 7 / 8 + rtt / 8, var * 3 / 4 + srtt.abs_diff(rtt) / 4),
        });
    }

    /// A message timed out.
    pub(crate) fn back_off(&mut self) {
        self.shift = (self.shift + 1).min(MAX_SHIFT);
    }

    /// The path is a new one: what was doubled on the old one does not count.
    pub(crate) fn forget_back_off(&mut self) {
        self.shift = 0;
    }

    /// How long to wait for a message that was sent this many times.
    pub(crate) fn timeout(&self, sends: u32) -> Duration {
        let base = match self.smoothed {
            None => INITIAL,
            Some((srtt, var)) => (srtt + GRANULARITY.max(var * 4)).clamp(FLOOR, CAP),
        };
        let shift = self.shift.max(sends.saturating_sub(1)).min(MAX_SHIFT);
        base.saturating_mul(1 << shift).min(CAP)
    }
}
