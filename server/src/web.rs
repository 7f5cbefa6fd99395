//! HTTP: the pages that people use, and the operators' listener with health, readiness and metrics.
//!
//! The operators' listener is one of its own, so that metrics are never published by mistake.

mod amounts;
mod api;
mod chart;
mod doors;
mod escape;
mod export;
mod find;
mod guard;
mod ledger;
mod live;
mod ops;
mod pages;
mod query;
mod rows;
mod serve;
mod show;
mod site;
mod space_view;
mod strip;
mod tell;
mod visit;

pub use doors::TlsError;
pub use ledger::Ledger;
pub use ops::{Ops, serve};
pub use site::{HostKey, Parts, Site};
