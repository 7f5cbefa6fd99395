//! AWS Session Manager's data channel, for *Port* sessions: raw bytes to a TCP port behind an agent.
//!
//! The protocol is a state machine without I/O: [`channel::Channel`] with [`frame`], [`payload`] and
//! [`limits`]. It reads no clock, spawns nothing and logs nothing; time is an argument. A thin driver joins
//! it to a WebSocket and to a pipe, so that [`connect`] hands out a [`DataChannel`]: bytes in, bytes out, and
//! why it ended.
//!
//! Not here: `StartSession`, `ResumeSession` (see [`Resume`]), and anything about who may open a session.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock"))]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod address;
mod bucket;
pub mod channel;
mod clock;
mod dial;
mod driver;
mod ended;
pub mod frame;
pub mod handshake;
pub mod limits;
mod moment;
pub mod payload;
mod receiver;
mod reconnect;
mod resume;
mod rtt;
mod sender;
mod sign;
mod stream;
mod tls;

pub use aws_credential_types::Credentials;
pub use dial::{Grant, Options, Signing, connect};
pub use ended::{ConnectError, Ended};
pub use moment::Moment;
pub use resume::{NeverResume, Resume, ResumeError, Resumed};
pub use stream::{DataChannel, EndedFuture};
