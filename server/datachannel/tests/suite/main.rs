//! The crate against an independent other side: messages, rules, random schedules, and a WebSocket server on
//! loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod support;

mod rules;
mod schedules;
mod stream;
mod vectors;
