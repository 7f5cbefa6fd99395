//! Faults and switches: what tests ask to go wrong, and what the account is set to allow.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ApiError;

/// What the account allows where AWS's behaviour is unknown or configurable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Whether `ssm:ResumeSession` is decided by policy (else it is always denied).
    pub resume: bool,
    /// Whether a stream may be opened without a signature.
    pub unsigned_open: bool,
    /// Whether `StartSession` answers with a presigned URL.
    pub presigned_urls: bool,
    /// Whether a stream token is good for one opening only.
    pub single_use_tokens: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { resume: true, unsigned_open: false, presigned_urls: false, single_use_tokens: true }
    }
}

/// How many calls of SageMaker an account takes; AWS keeps such limits and does not publish them.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRate {
    /// In a second, in real time.
    pub per_s: f64,
    /// At once, after a pause.
    pub burst: f64,
}

/// What an account may still call.
#[derive(Debug)]
struct Room {
    left: f64,
    at: Instant,
}

#[derive(Debug)]
struct Failure {
    code: String,
    message: Option<String>,
    left: u32,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    failures: BTreeMap<String, Vec<Failure>>,
    delays: BTreeMap<String, Duration>,
    /// Why apps of an instance type, or of the space with this name, fail to start.
    pub(crate) capacity: BTreeMap<String, String>,
    /// How long role sessions last at most, whatever was asked for.
    pub(crate) longest_role_session: Option<Duration>,
    pub(crate) switches: Switches,
    rate: Option<RequestRate>,
    rooms: BTreeMap<String, Room>,
}

impl Faults {
    /// Makes the next `times` calls of an operation fail; asked for twice, one comes after the other.
    pub(crate) fn fail_next(&mut self, operation: &str, code: &str, message: Option<String>, times: u32) {
        let failure = Failure { code: code.to_owned(), message, left: times };
        self.failures.entry(operation.to_owned()).or_default().push(failure);
    }

    /// Makes every call of an operation wait; zero takes that back.
    pub(crate) fn delay(&mut self, operation: &str, delay: Duration) {
        self.delays.insert(operation.to_owned(), delay);
    }

    /// How long this call has to wait.
    pub(crate) fn delay_of(&self, operation: &str) -> Duration {
        self.delays.get(operation).copied().unwrap_or_default()
    }

    /// The failure of this call, if it is one of those that should fail.
    pub(crate) fn failure_of(&mut self, operation: &str) -> Option<ApiError> {
        let queue = self.failures.get_mut(operation)?;
        queue.retain(|failure| failure.left > 0);
        let failure = queue.first_mut()?;
        failure.left -= 1;
        let mut error = ApiError::injected(&failure.code);
        if let Some(message) = &failure.message {
            error.message.clone_from(message);
        }
        Some(error)
    }

    /// Limits the calls of each account from now on; nothing takes that back.
    pub(crate) fn limit_rate(&mut self, rate: Option<RequestRate>) {
        self.rate = rate;
        self.rooms.clear();
    }

    /// Counts a call of an account, and refuses it if there were too many.
    pub(crate) fn throttle(&mut self, account: &str, now: Instant) -> Result<(), ApiError> {
        let Some(rate) = self.rate else { return Ok(()) };
        let full = Room { left: rate.burst, at: now };
        let room = self.rooms.entry(account.to_owned()).or_insert(full);
        let since = now.duration_since(room.at).as_secs_f64();
        room.left = (room.left + since * rate.per_s).min(rate.burst);
        room.at = now;
        if room.left < 1.0 {
            return Err(ApiError::injected("ThrottlingException"));
        }
        room.left -= 1.0;
        Ok(())
    }

    /// Takes every failure and delay back; switches, rates and capacity stay.
    pub(crate) fn clear(&mut self) {
        self.failures.clear();
        self.delays.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_come_in_their_order_and_end() {
        let mut faults = Faults::default();
        faults.fail_next("StartSession", "ThrottlingException", None, 2);
        faults.fail_next("StartSession", "InternalFailure", Some("no".to_owned()), 1);
        let mut next = || faults.failure_of("StartSession").map(|e| (e.code.into_owned(), e.status));
        assert_eq!(next(), Some(("ThrottlingException".to_owned(), 400)));
        assert_eq!(next(), Some(("ThrottlingException".to_owned(), 400)));
        assert_eq!(next(), Some(("InternalFailure".to_owned(), 500)));
        assert_eq!(next(), None);
        assert_eq!(faults.failure_of("ListSpaces"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_rate_are_throttled_for_each_account() {
        let mut faults = Faults::default();
        faults.limit_rate(Some(RequestRate { per_s: 2.0, burst: 3.0 }));
        let mut taken =
            |account: &str, now| (0..10).filter(|_| faults.throttle(account, now).is_ok()).count();
        let begin = Instant::now();
        assert_eq!((taken("1", begin), taken("2", begin)), (3, 3));
        assert_eq!(taken("1", begin + Duration::from_secs(1)), 2);
        assert_eq!(taken("1", begin + Duration::from_secs(60)), 3);
        faults.limit_rate(None);
        assert!((0..10).all(|_| faults.throttle("1", begin).is_ok()));
    }

    #[test]
    fn delays_can_be_taken_back() {
        let mut faults = Faults::default();
        faults.delay("ListApps", Duration::from_secs(3));
        assert_eq!(faults.delay_of("ListApps"), Duration::from_secs(3));
        faults.clear();
        assert_eq!(faults.delay_of("ListApps"), Duration::ZERO);
    }
}
