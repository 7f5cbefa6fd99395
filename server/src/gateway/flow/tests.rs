//! The windows under OpenSSH's and PuTTY's clients, which decide when a connection counts as frozen. Where it
//! says something, the same is asked of OpenSSH's own server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and end with their runtime"
)]

mod ceilings;
mod client;
mod rekeys;
mod server;
mod sockets;
mod stalls;
