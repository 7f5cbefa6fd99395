//! Metrics: every name with its meaning, and the recorder that renders them for Prometheus.
//!
//! Labels take few values: kinds, outcomes, domains. Never users, spaces or addresses.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// SSH connections of clients that are logged in.
pub const CONNECTIONS: &str = "spaceport_connections";
/// Connections that were turned away, by `reason`.
pub const CONNECTIONS_REFUSED: &str = "spaceport_connections_refused_total";
/// Attempts to log in, by `outcome`.
pub const LOGINS: &str = "spaceport_logins_total";
/// Live sessions, by `mode`: `session` or `jump`.
pub const SESSIONS: &str = "spaceport_sessions";
/// Sessions that ended, by `reason`.
pub const SESSIONS_ENDED: &str = "spaceport_sessions_ended_total";
/// Open channels, by `kind`.
pub const CHANNELS: &str = "spaceport_channels";
/// Open links to spaces.
pub const LINKS: &str = "spaceport_links";
/// Open streams to spaces.
pub const STREAMS: &str = "spaceport_streams";
/// Streams that ended, by `reason`.
pub const STREAMS_ENDED: &str = "spaceport_streams_ended_total";
/// Time that a pass over all running spaces took: looks, judgements, and what followed at once.
pub const JUDGEMENT_SECONDS: &str = "spaceport_judgement_seconds";
/// Looks inside spaces that showed nothing.
pub const LOOKS_FAILED: &str = "spaceport_looks_failed_total";
/// Bytes bridged, by `direction`: `in` towards spaces, `out` towards clients.
pub const BYTES: &str = "spaceport_bytes_total";
/// Bytes that wait in queues between clients and spaces.
pub const QUEUED_BYTES: &str = "spaceport_queued_bytes";
/// From the wish for a channel to the open channel, in a running space, by `outcome`.
pub const OPEN_SECONDS: &str = "spaceport_open_seconds";
/// From the wish for a stopped space to the open channel, by `outcome`.
pub const START_SECONDS: &str = "spaceport_start_seconds";
/// Calls to AWS, by `operation` and `outcome`.
pub const AWS_CALLS: &str = "spaceport_aws_calls_total";
/// How long calls to AWS took, by `operation`.
pub const AWS_CALL_SECONDS: &str = "spaceport_aws_call_seconds";
/// Streams dialled, by `outcome`.
pub const DIALS: &str = "spaceport_dials_total";
/// Attempts to resume a stream, by `outcome`.
pub const RESUMES: &str = "spaceport_resumes_total";
/// Spaces in the catalogue, by `domain` and `state`.
pub const SPACES: &str = "spaceport_spaces";
/// Age of the last complete listing, by `domain`.
pub const CATALOGUE_AGE_SECONDS: &str = "spaceport_catalogue_age_seconds";
/// Whether Postgres answered last time: 1 or 0.
pub const DATABASE_UP: &str = "spaceport_database_up";
/// Bytes of changes that wait on disk for Postgres.
pub const SPOOL_BYTES: &str = "spaceport_spool_bytes";
/// Changes that were lost because the spool was full or its disk failed.
pub const CHANGES_DROPPED: &str = "spaceport_changes_dropped_total";
/// Changes that Postgres refuses and that were set aside for a person to look at.
pub const CHANGES_SET_ASIDE: &str = "spaceport_changes_set_aside_total";
/// Notices to people outside terminals, by `channel` (`slack`, `signed`, `email`) and `outcome`.
pub const NOTICES: &str = "spaceport_notices_total";
/// Whether the process drains: 1 or 0.
pub const DRAINING: &str = "spaceport_draining";
/// Always 1, with the `version`.
pub const BUILD: &str = "spaceport_build_info";

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric with its kind, its unit and what an operator reads about it.
const DESCRIPTIONS: &[(&str, Kind, Unit, &str)] = &[
    (CONNECTIONS, Kind::Gauge, Unit::Count, "SSH connections that are logged in"),
    (CONNECTIONS_REFUSED, Kind::Counter, Unit::Count, "Connections turned away"),
    (LOGINS, Kind::Counter, Unit::Count, "Attempts to log in"),
    (SESSIONS, Kind::Gauge, Unit::Count, "Live sessions"),
    (SESSIONS_ENDED, Kind::Counter, Unit::Count, "Sessions that ended"),
    (CHANNELS, Kind::Gauge, Unit::Count, "Open channels"),
    (LINKS, Kind::Gauge, Unit::Count, "Open links to spaces"),
    (STREAMS, Kind::Gauge, Unit::Count, "Open streams to spaces"),
    (STREAMS_ENDED, Kind::Counter, Unit::Count, "Streams that ended"),
    (JUDGEMENT_SECONDS, Kind::Histogram, Unit::Seconds, "Time to look at all running spaces and judge them"),
    (LOOKS_FAILED, Kind::Counter, Unit::Count, "Looks inside spaces that showed nothing"),
    (BYTES, Kind::Counter, Unit::Bytes, "Bytes bridged"),
    (QUEUED_BYTES, Kind::Gauge, Unit::Bytes, "Bytes waiting between clients and spaces"),
    (OPEN_SECONDS, Kind::Histogram, Unit::Seconds, "Time to open a channel in a running space"),
    (START_SECONDS, Kind::Histogram, Unit::Seconds, "Time to open a channel in a stopped space"),
    (AWS_CALLS, Kind::Counter, Unit::Count, "Calls to AWS"),
    (AWS_CALL_SECONDS, Kind::Histogram, Unit::Seconds, "Time that calls to AWS took"),
    (DIALS, Kind::Counter, Unit::Count, "Streams dialled"),
    (RESUMES, Kind::Counter, Unit::Count, "Attempts to resume a stream"),
    (SPACES, Kind::Gauge, Unit::Count, "Spaces in the catalogue"),
    (CATALOGUE_AGE_SECONDS, Kind::Gauge, Unit::Seconds, "Age of the last complete listing"),
    (DATABASE_UP, Kind::Gauge, Unit::Count, "Whether Postgres answered last time"),
    (SPOOL_BYTES, Kind::Gauge, Unit::Bytes, "Changes that wait on disk for Postgres"),
    (CHANGES_DROPPED, Kind::Counter, Unit::Count, "Changes lost because the spool was full or failed"),
    (CHANGES_SET_ASIDE, Kind::Counter, Unit::Count, "Changes set aside because Postgres refuses them"),
    (NOTICES, Kind::Counter, Unit::Count, "Notices to people outside terminals"),
    (DRAINING, Kind::Gauge, Unit::Count, "Whether the process drains"),
    (BUILD, Kind::Gauge, Unit::Count, "The version that runs"),
];

/// From a keystroke's patience to that of a person who waits for an instance.
const SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// How often histograms are folded: between scrapes their samples are kept one by one.
const UPKEEP: Duration = Duration::from_secs(10);

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder could not be built.
    #[error("the metrics recorder could not be built")]
    Build(#[from] BuildError),
    /// Another recorder is in place.
    #[error("another metrics recorder is in place")]
    Taken,
}

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

impl Metrics {
    /// Sets up the process's recorder. The second call answers with the same one.
    ///
    /// # Errors
    /// When the recorder cannot be built, or another library put its own in place.
    pub fn install() -> Result<Self, MetricsError> {
        if let Some(handle) = INSTALLED.get() {
            return Ok(Self { handle: handle.clone() });
        }
        let recorder = PrometheusBuilder::new().set_buckets(SECONDS)?.build_recorder();
        let handle = recorder.handle();
        match metrics::set_global_recorder(recorder) {
            Ok(()) => {
                let handle = INSTALLED.get_or_init(|| handle).clone();
                describe();
                metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
                Ok(Self { handle })
            }
            // Somebody else may have been between the look and the try.
            Err(_) => {
                INSTALLED.get().map(|handle| Self { handle: handle.clone() }).ok_or(MetricsError::Taken)
            }
        }
    }

    /// Everything, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps memory flat while nobody scrapes, until told to stop.
    pub async fn run_upkeep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

fn describe() {
    for (name, kind, unit, text) in DESCRIPTIONS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *text),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *text),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_and_are_described_once() {
        let mut names: Vec<&str> = DESCRIPTIONS.iter().map(|(name, ..)| *name).collect();
        for (name, kind, ..) in DESCRIPTIONS {
            assert!(name.starts_with("spaceport_"), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DESCRIPTIONS.len());
    }

    #[test]
    fn what_is_counted_is_rendered_with_its_description() {
        let metrics = Metrics::install().unwrap();
        let again = Metrics::install().unwrap();
        metrics::counter!(DIALS, "outcome" => "connected").increment(2);
        metrics::histogram!(AWS_CALL_SECONDS, "operation" => "sts:AssumeRole").record(0.2);
        let text = again.render();
        assert!(text.contains("# HELP spaceport_dials_total Streams dialled"), "{text}");
        assert!(text.contains("spaceport_dials_total{outcome=\"connected\"} 2"), "{text}");
        assert!(
            text.contains("spaceport_aws_call_seconds_bucket{operation=\"sts:AssumeRole\",le=\"0.25\"} 1"),
            "{text}"
        );
        drop(metrics);
    }
}
