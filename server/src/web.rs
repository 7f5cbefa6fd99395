//! HTTP: for now the operators' listener with health, readiness and metrics.
//!
//! It is a listener of its own, so that metrics are never published by mistake.

mod ops;

pub use ops::{Ops, serve};
