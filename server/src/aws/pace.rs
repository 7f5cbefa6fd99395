//! The service's own calls to a domain's control plane, paced: AWS's limits per account are unpublished, are shared with
//! people at the console, and cannot be raised.
//!
//! What goes on by itself waits for its turn, and backs off with jitter when AWS throttles or fails
//! (<https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>). What somebody waits for is
//! made at once, and what goes on by itself then waits the longer.

use std::future::Future;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sagemaker::config::http::HttpResponse;
use aws_sdk_sagemaker::error::{ProvideErrorMetadata, SdkError};

use super::clients::DomainClients;
use super::errors::from_sagemaker;
use crate::domain::ports::AwsError;
use crate::domain::rate::Allowance;

/// Tries of a call that goes on by itself.
const TRIES: u32 = 6;
/// The pause before the second try, at most; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl DomainClients {
    /// A call that goes on by itself: in its turn, and again after a pause if that may help.
    pub(super) async fn paced<T, E, Answer>(
        &self,
        operation: &'static str,
        call: impl Fn() -> Answer,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        Answer: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut tries = 1;
        loop {
            let turn = self.take_turn();
            if !turn.is_zero() {
                self.clock.sleep(turn).await;
            }
            let answer = async { call().await.map_err(|error| from_sagemaker(operation, &error)) };
            match self.observed(operation, answer).await {
                Err(error) if tries < TRIES && passes(&error) => {
                    if matches!(error, AwsError::Throttled(_)) {
                        self.allowance().empty(self.clock.elapsed());
                    }
                    self.clock.sleep(pause(tries, rand::random())).await;
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Takes a turn, and answers how long it is until then.
    pub(super) fn take_turn(&self) -> Duration {
        self.allowance().wait(self.clock.elapsed())
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether waiting may help.
const fn passes(error: &AwsError) -> bool {
    matches!(error, AwsError::Throttled(_) | AwsError::Internal { .. } | AwsError::Unreachable(_))
}

/// How long to wait after so many tries in vain; `dice` spreads callers that failed together.
fn pause(tries: u32, dice: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    longest / 2 + (longest / 2).mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_longest_and_differ() {
        let shortest: Vec<u128> = (1..8).map(|tries| pause(tries, 0).as_millis()).collect();
        assert_eq!(shortest, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(pause(3, u32::MAX), Duration::from_secs(4));
        assert_eq!(pause(40, u32::MAX), LONGEST_PAUSE);
    }
}
