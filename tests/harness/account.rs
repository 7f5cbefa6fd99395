//! A simulated Studio account for one test.

use std::path::Path;

use anyhow::{Context, Result};
use studio_simulator::Studio;
use studio_simulator::simulator::Config;
use studio_simulator::space::GoSpaces;
use studio_simulator::stream::Options;

/// Starts an account; homes of spaces go below `folder`, their SSH server is built once for all tests.
///
/// # Errors
/// When a space's SSH server cannot be built or started.
pub async fn account(
    config: Config,
    options: Options,
    remote_forward: bool,
    folder: &Path,
) -> Result<Studio> {
    let cache = crate::gateway::binary("spaceport")?.with_file_name("studio-space");
    let spaces = GoSpaces::new(&cache, &folder.join("spaces")).await.context("the SSH server of spaces")?;
    let spaces = if remote_forward { spaces.with_remote_forward() } else { spaces };
    Studio::start(config, options, spaces).await
}
