//! Links against OpenSSH's server, over shaped and plain streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and end with their runtime"
)]

mod life;
mod requests;
mod shape;
mod sharing;
mod spooling;
pub(crate) mod sshd;
