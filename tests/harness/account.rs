//! A simulated Studio account for one test.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use studio_simulator::Studio;
use studio_simulator::fixture::{ACCOUNT, DOMAIN, REGION};
use studio_simulator::simulator::{Config, NoServers};
use studio_simulator::space::GoSpaces;
use studio_simulator::stream::Options;

/// What answers SSH in the spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Servers {
    /// A server in each running space.
    #[default]
    Usual,
    /// The same, and it listens on ports for clients (`ssh -R`).
    RemoteForward,
    /// Nothing: for accounts with more spaces than a machine has room for.
    None,
}

/// Starts an account; homes of spaces go below `folder`, their SSH server is built once for all tests.
///
/// # Errors
/// When a space's SSH server cannot be built or started.
pub async fn account(config: Config, options: Options, servers: Servers, folder: &Path) -> Result<Studio> {
    if servers == Servers::None {
        return Studio::start(config, options, Arc::new(NoServers)).await;
    }
    let cache = crate::gateway::binary("spaceport")?.with_file_name("studio-space");
    let spaces = GoSpaces::new(&cache, &folder.join("spaces")).await.context("the SSH server of spaces")?;
    let spaces = if servers == Servers::RemoteForward { spaces.with_remote_forward() } else { spaces };
    Studio::start(config, options, Arc::new(spaces)).await
}

/// The policy that `deploy/iam` has for people's role, for the account: whatever the gateway lets somebody open, AWS does.
///
/// # Errors
/// When the file is not there or no JSON.
pub fn user_policy() -> Result<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/iam/user-role.json");
    let text = std::fs::read_to_string(file).context(file)?;
    let text = text.replace("REGION", REGION).replace("ACCOUNT", ACCOUNT).replace("DOMAIN", DOMAIN);
    Ok(serde_json::from_str(&text)?)
}
