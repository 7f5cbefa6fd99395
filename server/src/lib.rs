//! Spaceport: plain `ssh` to Amazon SageMaker Studio spaces through one shared host name.
//!
//! [`app`] puts the parts together. [`domain`] holds the rules and the traits at the edge of the process,
//! [`gateway`] is the product, [`ssh`] and [`web`] are its two faces, [`aws`] and [`store`] its two supports.
//! Which module may import which is a table in `docs/architecture.md`, kept true by a test.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock"))]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod app;
pub mod aws;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod identity;
pub mod jobs;
pub mod notify;
pub mod ssh;
pub mod store;
pub mod telemetry;
pub mod web;
