//! How calls to AWS are made and counted.

use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use metrics::{counter, histogram};

use super::errors::outcome;
use crate::domain::ports::{AwsError, Clock};
use crate::telemetry::metrics::{AWS_CALL_SECONDS, AWS_CALLS};

/// A connection to AWS takes a fraction of this, or does not come.
const CONNECT: Duration = Duration::from_secs(3);
/// One try of a call.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A call with its retries.
pub(super) const OPERATION: Duration = Duration::from_secs(30);
/// Tries of calls that change nothing.
const TRIES: u32 = 4;

/// How long calls may take.
pub(super) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build()
}

/// Whether the SDK may repeat a call by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It reads, or mints a role session: as often as is usual, with back-off.
    Yes,
    /// It starts, changes or deletes. A repeat of one that was lost on the way back could do it twice, or answer that
    /// it is in use; whoever asked looks first and asks again.
    No,
}

impl Repeat {
    pub(super) fn config(self) -> RetryConfig {
        match self {
            Self::Yes => RetryConfig::standard().with_max_attempts(TRIES),
            Self::No => RetryConfig::disabled(),
        }
    }
}

/// Makes a call and counts it.
pub(super) async fn observed<T>(
    clock: &dyn Clock,
    operation: &'static str,
    call: impl Future<Output = Result<T, AwsError>>,
) -> Result<T, AwsError> {
    let began = clock.elapsed();
    let result = call.await;
    let took = clock.elapsed().saturating_sub(began);
    let outcome = result.as_ref().err().map_or("ok", outcome);
    counter!(AWS_CALLS, "operation" => operation, "outcome" => outcome).increment(1);
    histogram!(AWS_CALL_SECONDS, "operation" => operation).record(took.as_secs_f64());
    result
}
