//! Logs and metrics: how they are set up, and the name of every metric.
//!
//! What is *not* here: serving metrics over HTTP (`web`), and what is counted where it happens.

pub mod logs;
pub mod metrics;

pub use self::metrics::Metrics;
