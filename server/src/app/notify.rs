//! `spaceport notify test`: whether notices arrive.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::operator::say;
use crate::config::ConfigSource;
use crate::gateway::SystemClock;
use crate::notify::{Notifier, Pace};

/// Sends a test through every channel and prints what became of it; whether all were taken.
///
/// # Errors
/// When there is no channel.
pub async fn test(source: &ConfigSource) -> Result<bool> {
    let config = source.load()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let notifier = Notifier::new(&config.notify, Arc::new(SystemClock::start()), Pace::default())?;
    let tried = notifier.test().await;
    if tried.is_empty() {
        bail!("no channel is configured: add [[notify.webhooks]] or [notify.email]");
    }
    for one in &tried {
        match &one.taken {
            Ok(()) => say(&format!("{}: taken", one.channel)),
            Err(error) => say(&format!("{}: not taken: {error}", one.channel)),
        }
    }
    Ok(tried.iter().all(|one| one.taken.is_ok()))
}
