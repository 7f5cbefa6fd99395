//! Idleness, by one replica for all: looks and stops, again and again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::lead::Leadership;
use crate::domain::ports::Clock;
use crate::gateway::idle::Idle;
use crate::store::Store;
use crate::telemetry::metrics as names;

/// Between two looks for stops whose time has come.
const WAKE: Duration = Duration::from_secs(1);
/// Between two times that old looks are forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// The job.
pub struct IdleJob {
    /// What it does.
    pub idle: Idle,
    /// Whether it is ours to do.
    pub lead: Leadership,
    /// Postgres.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Between two passes.
    pub every: Duration,
    /// How long looks are kept.
    pub kept: Duration,
}

impl IdleJob {
    /// Does it until it is stopped, and then leaves it to others.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.rounds() => {}
        }
        self.lead.release().await;
    }

    async fn rounds(&self) {
        let (mut well, mut passed, mut forgot) = (true, None::<Duration>, None::<Duration>);
        loop {
            let now = self.clock.elapsed();
            self.idle.watch_clock();
            let due =
                |last: Option<Duration>, every| last.is_none_or(|last| now.saturating_sub(last) >= every);
            if self.lead.held().await {
                let looked = if due(passed, self.every) {
                    // Counted from its beginning, so that looks keep their distance however long one takes.
                    passed = Some(now);
                    let passed = self.idle.pass().await;
                    let took = self.clock.elapsed().saturating_sub(now);
                    metrics::histogram!(names::JUDGEMENT_SECONDS).record(took.as_secs_f64());
                    passed
                } else {
                    Ok(())
                };
                // However often there is a look, stops are carried on.
                let done = match looked {
                    Ok(()) => self.idle.wake().await,
                    Err(error) => Err(error),
                };
                if due(forgot, FORGET) && done.is_ok() {
                    forgot = Some(now);
                    let _ = self.store.forget_looks(self.clock.now(), self.kept).await;
                }
                match (&done, well) {
                    (Err(error), true) => {
                        warn!(
                            error = error as &dyn Error,
                            "spaces cannot be judged: nothing is stopped for idleness"
                        );
                    }
                    (Ok(()), false) => info!("spaces are judged again"),
                    _ => {}
                }
                well = done.is_ok();
            } else {
                passed = None;
            }
            self.clock.sleep(WAKE.min(self.every)).await;
        }
    }
}
