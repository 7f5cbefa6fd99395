//! A simulated Studio account for one test.

use std::path::Path;

use anyhow::Result;
use studio_simulator::Studio;
use studio_simulator::simulator::Config;
use studio_simulator::stream::Options;

/// Starts an account; homes of spaces go below `folder`, their SSH server is built once for all tests.
///
/// # Errors
/// When a space's SSH server cannot be built or started.
pub async fn account(config: Config, options: Options, folder: &Path) -> Result<Studio> {
    let cache = crate::gateway::binary("spaceport")?.with_file_name("studio-space");
    Studio::start(config, options, &cache, &folder.join("spaces")).await
}
