//! Logs: lines on standard error, for people or as JSON. An event is one line, and nothing in it steers a terminal:
//! clients, people and AWS chose much of what is logged.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::domain::plain::{json, steers};

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
    let layer = tracing_subscriber::fmt::layer();
    let layer = match format {
        Format::Text => {
            let layer = layer.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
            layer.fmt_fields(debug_fn(field).delimited(" ")).boxed()
        }
        Format::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(true);
            layer.with_writer(|| JsonLines(io::stderr())).boxed()
        }
    };
    registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}

/// A field as the usual format has it, with what steers a terminal spelled out.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(out, "{}=", field.name())?;
    }
    write!(Spelled(out), "{value:?}")
}

/// Writes characters that steer as Rust spells them, `\u{1b}`.
struct Spelled<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Spelled<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(steers) {
            let mut rest = part.chars();
            match rest.next_back().filter(|c| steers(*c)) {
                Some(c) => write!(self.0, "{}{}", rest.as_str(), c.escape_default())?,
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Writes lines of JSON with what steers as JSON's own escapes: serde_json escapes only the controls of ASCII.
struct JsonLines<W>(W);

impl<W: io::Write> io::Write for JsonLines<W> {
    /// Each event comes as one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        self.0.write_all(format!("{}{end}", json(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_that_see_secrets_stay_quiet_whatever_is_asked_for() {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = EnvFilter::try_new("trace").unwrap().and(filter_fn(may_be_said));
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
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

    const HOSTILE: &str = "x\u{1b}[31m\u{9b}2J\r\n2026-01-01 ERROR forged\u{202e}\0\u{7f} \"é\"";

    fn logged<L: Layer<tracing_subscriber::Registry> + Send + Sync>(layer: L, lines: &Lines) -> String {
        tracing::subscriber::with_default(registry().with(layer), || {
            let span = tracing::info_span!("asked", by = HOSTILE, %HOSTILE);
            let _in = span.enter();
            tracing::info!(text = HOSTILE, shown = %HOSTILE, debug = ?HOSTILE, n = 7, "it said {HOSTILE}");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_steers_nothing() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let text = logged(layer.fmt_fields(debug_fn(field).delimited(" ")), &lines);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(steers), "{line:?}");
        assert!(line.contains("it said x\\u{1b}[31m\\u{9b}2J\\r\\n2026-01-01 ERROR forged"), "{line}");
        assert!(line.contains(" shown=x\\u{1b}") && line.contains(" n=7"), "{line}");
    }

    #[test]
    fn an_event_of_json_says_the_same_without_steering() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(true);
        let text = logged(layer.with_writer(move || JsonLines(writer.clone())), &lines);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(steers), "{line:?}");
        let said: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&said["text"], &said["shown"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert_eq!(said["message"], format!("it said {HOSTILE}"));
        assert_eq!(said["span"]["by"], HOSTILE);
    }
}
