//! The whole account: control plane, streams, and the SSH servers of its spaces.

use std::sync::Arc;

use anyhow::Context as _;

use crate::sessions::Spaces;
use crate::simulator::{Config, Simulator, StreamSide};
use crate::stream::{Fault, Options, Streams, Target};

/// A running account.
pub struct Studio {
    /// The control plane: its spaces, roles, faults and CloudTrail.
    pub simulator: Simulator,
    /// The message gateway and the agents.
    pub streams: Streams,
}

impl Studio {
    /// Starts an account whose spaces have these SSH servers.
    pub async fn start(config: Config, options: Options, spaces: Arc<dyn Spaces>) -> anyhow::Result<Self> {
        let mut streams = None;
        let simulator = Simulator::start_with(config, spaces, |sessions| {
            let made = Streams::new(sessions, options);
            let attached = StreamSide { router: made.router(), faults: Arc::new(made.clone()) };
            streams = Some(made);
            Some(attached)
        });
        let simulator = simulator.await?;
        let streams = streams.context("the simulator attaches its streams")?;
        Ok(Self { simulator, streams })
    }

    /// ARN of a space of the default domain.
    pub fn arn(&self, space: &str) -> String {
        self.simulator.space_arn(space)
    }

    /// Strikes every stream to a space of the default domain.
    pub fn fault(&self, space: &str, fault: Fault) {
        self.streams.fault(Target::Space(self.arn(space)), fault);
    }

    /// Ends everything that the account started.
    pub async fn shutdown(self) {
        self.streams.shutdown().await;
        self.simulator.shutdown().await;
    }
}
