//! When a StartSession that failed is worth another try.

use std::time::Duration;

use crate::domain::ports::AwsError;

/// Waits between tries while the agent registers; the last one repeats.
const REGISTERING_MS: [u64; 6] = [1_500, 2_300, 3_400, 5_000, 7_600, 10_000];

/// Tries after a failure of AWS at a space that has been up for long.
const TRIES_WHEN_UP: usize = 3;

/// Waits between tries when AWS throttles, before jitter.
const THROTTLED_MS: [u64; 4] = [800, 1_600, 3_200, 6_400];

/// The failures of one opening so far.
#[derive(Debug)]
pub(super) struct Tries {
    registering_until: Option<Duration>,
    internal: usize,
    throttled: usize,
}

impl Tries {
    /// No try yet. `registering_until` is the `Clock::elapsed` up to which AWS's failures are routine.
    pub(super) const fn new(registering_until: Option<Duration>) -> Self {
        Self { registering_until, internal: 0, throttled: 0 }
    }

    /// How long to wait before the next try; nothing when there is no use. `jitter` is between 0 and 1.
    pub(super) fn next(&mut self, error: &AwsError, now: Duration, jitter: f64) -> Option<Duration> {
        match error {
            AwsError::Internal { .. } => {
                let last = REGISTERING_MS.len() - 1;
                let wait = Duration::from_millis(*REGISTERING_MS.get(self.internal.min(last))?);
                self.internal += 1;
                let registering = self.registering_until.is_some_and(|until| now + wait <= until);
                (registering || self.internal <= TRIES_WHEN_UP).then_some(wait)
            }
            AwsError::Throttled(_) => {
                let wait = Duration::from_millis(*THROTTLED_MS.get(self.throttled)?);
                self.throttled += 1;
                Some(wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERNAL: fn() -> AwsError =
        || AwsError::Internal { operation: "sagemaker:StartSession", message: String::new() };

    fn waits(tries: &mut Tries, error: &AwsError, mut now: Duration) -> Vec<u64> {
        let mut waits = Vec::new();
        while let Some(wait) = tries.next(error, now, 1.0) {
            now += wait;
            waits.push(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        waits
    }

    #[test]
    fn a_registering_agent_is_waited_for_until_three_minutes_after_in_service() {
        let now = Duration::from_secs(1000);
        let waits = waits(&mut Tries::new(Some(now + Duration::from_secs(180))), &INTERNAL(), now);
        assert_eq!(waits.get(..7), Some([1_500, 2_300, 3_400, 5_000, 7_600, 10_000, 10_000].as_slice()));
        let total: u64 = waits.iter().sum();
        assert!((170_000..=180_000).contains(&total), "{total}");
    }

    #[test]
    fn a_failure_at_a_space_that_is_long_up_gets_three_tries() {
        assert_eq!(waits(&mut Tries::new(None), &INTERNAL(), Duration::ZERO), [1_500, 2_300, 3_400]);
    }

    #[test]
    fn throttling_is_waited_out_a_few_times_with_jitter() {
        let throttled = AwsError::Throttled("sagemaker:StartSession");
        assert_eq!(waits(&mut Tries::new(None), &throttled, Duration::ZERO), THROTTLED_MS);
        let half = Tries::new(None).next(&throttled, Duration::ZERO, 0.0);
        assert_eq!(half, Some(Duration::from_millis(400)));
    }

    #[test]
    fn a_refusal_is_final() {
        let denied = AwsError::AccessDenied { operation: "sagemaker:StartSession", message: String::new() };
        let fresh = Some(Duration::from_secs(180));
        assert_eq!(Tries::new(fresh).next(&denied, Duration::ZERO, 0.5), None);
        let limit = AwsError::LimitExceeded(String::new());
        assert_eq!(Tries::new(fresh).next(&limit, Duration::ZERO, 0.5), None);
    }
}
