//! What terminals would read, for pages: the same words.

use time::OffsetDateTime;

use super::{Address, messages};
use crate::domain::names::COMMAND_LINE;
use crate::domain::space::SpaceState;
use crate::gateway::AskError;
use crate::gateway::idle::Stopping;

impl Address {
    /// `ssh NAME@HOST`, with the port where it is not the usual one.
    #[must_use]
    pub fn ssh(&self, name: &str) -> String {
        match self.port {
            22 => format!("ssh {name}@{}", self.host),
            port => format!("ssh -p {port} {name}@{}", self.host),
        }
    }

    /// A command of the gateway's own command line.
    #[must_use]
    pub fn command(&self, command: &str) -> String {
        format!("{} {command}", self.ssh(COMMAND_LINE))
    }

    /// Lines for `~/.ssh/config` by which a space is reached under its name.
    #[must_use]
    pub fn config_block(&self, name: &str) -> String {
        messages::config_block(name, self)
    }
}

/// Why a wish about a space was not fulfilled.
#[must_use]
pub fn refusal(error: &AskError, space: &str, now: OffsetDateTime, address: &Address) -> String {
    messages::ask_failed(error, space, "", now, address).sentences()
}

/// Why a space was not stopped.
#[must_use]
pub fn not_stopped(outcome: &Stopping, space: &str, state: SpaceState) -> String {
    messages::not_stopped(outcome, space, state).sentences()
}
