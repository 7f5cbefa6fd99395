//! Faults and switches: what tests ask to go wrong, and what the account is set to allow.

use std::collections::BTreeMap;
use std::time::Duration;

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

    /// Takes every failure and delay back; switches and capacity stay.
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

    #[test]
    fn delays_can_be_taken_back() {
        let mut faults = Faults::default();
        faults.delay("ListApps", Duration::from_secs(3));
        assert_eq!(faults.delay_of("ListApps"), Duration::from_secs(3));
        faults.clear();
        assert_eq!(faults.delay_of("ListApps"), Duration::ZERO);
    }
}
