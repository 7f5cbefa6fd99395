//! Logs: lines on standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directives are malformed.
    #[error("the log level is malformed")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody set them up before.
    #[error("logs are set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// The most that libraries may say, whatever the directives: below these levels they would print requests and frames,
/// and with them stream tokens and what people type.
const CAPS: &[(&str, Level)] = &[
    ("aws_", Level::INFO),
    ("h2", Level::INFO),
    ("hyper", Level::INFO),
    ("lettre", Level::INFO),
    ("reqwest", Level::INFO),
    ("rustls", Level::INFO),
    ("tokio_tungstenite", Level::INFO),
    ("tungstenite", Level::INFO),
    ("russh", Level::DEBUG),
    ("sqlx", Level::DEBUG),
];

/// Sets up the process's logs. `directives` is a level, or `info,spaceport::gateway=debug`.
///
/// # Errors
/// When the directives are malformed, or logs are set up already.
pub fn init(format: Format, directives: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(directives)?.and(filter_fn(may_be_said));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(true).boxed(),
    };
    registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}

fn may_be_said(line: &Metadata<'_>) -> bool {
    let cap = CAPS.iter().find(|(library, _)| line.target().starts_with(library));
    cap.is_none_or(|(_, most)| *line.level() <= LevelFilter::from_level(*most))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_that_see_secrets_stay_quiet_whatever_is_asked_for() {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = EnvFilter::try_new("trace").unwrap().and(filter_fn(may_be_said));
        let layer = fmt::layer().with_writer(move || writer.clone());
        let subscriber = registry().with(layer.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "aws_smithy_runtime::client", "a token");
            tracing::debug!(target: "tungstenite::protocol", "a frame");
            tracing::info!(target: "aws_config", "a profile");
            tracing::trace!(target: "spaceport", "our own");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("a token") && !text.contains("a frame"), "{text}");
        assert!(text.contains("a profile") && text.contains("our own"), "{text}");
    }
}
