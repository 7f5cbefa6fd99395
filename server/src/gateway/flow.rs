//! Flow control towards clients, on russh's public interface.
//!
//! russh re-opens a channel's window when bytes *arrive*, not when they are taken, and waits on a full channel
//! queue inside its only loop. Used plainly, one channel whose reader has stopped freezes its whole connection.
//! Here every channel has a queue of its own that counts bytes ([`Inbound`]), the loop never waits for one, and
//! the windows follow consumption as far as the library lets them: see [`Windows`].
//!
//! `ssh` uses it like this, and nothing else in the crate knows of it:
//! - [`server_config`] completes the configuration, [`Windows::socket`] wraps the socket;
//! - a channel opens: split it, *drop the read half* (that is what makes russh never wait), [`Windows::open`],
//!   then accept;
//! - `Handler::data` calls [`Windows::received`], `adjust_window` calls [`Windows::granted`], `channel_eof` and
//!   `channel_close` their namesakes;
//! - bytes for the client go through the channel's write half only, raced against [`Inbound::gone`]: a write half
//!   that waits for window does not notice that its channel has closed.
//!
//! A russh that grants windows on consumption makes all of it superfluous except the queues.

mod budget;
mod config;
mod intake;
mod paced;
mod segments;
mod windows;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use budget::ProcessBudget;
pub(in crate::gateway) use config::rekeys_left_to_the_peer;
pub use config::server_config;
pub use intake::{Cut, Inbound};
pub use paced::Paced;
pub(in crate::gateway) use segments::Segments;
pub use windows::{Received, Windows};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How much one connection may hold, and when its senders are slowed down.
#[derive(Debug, Clone)]
pub struct FlowLimits {
    /// The window that a channel is given while nobody is stalled: what may be under way.
    pub window: u32,
    /// A queue longer than this slows the connection's senders down…
    pub hoard_above: usize,
    /// …until it is shorter than this. More than one round trip's worth, or a slow reader runs dry between grants.
    pub hoard_below: usize,
    /// A channel with more than this waiting is closed. Reached only by a client that ignores its window.
    pub channel_bytes: usize,
    /// With more than this waiting on one connection, its longest queue that makes no progress is closed.
    pub connection_bytes: usize,
    /// A socket that takes no byte for this long is given up.
    pub write_timeout: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            window: 2 * MIB as u32,
            hoard_above: 512 * KIB,
            hoard_below: 256 * KIB,
            channel_bytes: 16 * MIB,
            connection_bytes: 64 * MIB,
            write_timeout: Duration::from_secs(180),
        }
    }
}

impl FlowLimits {
    /// For clients far away: at 50 ms a window of 2 MiB carries 40 MB/s, one of 8 MiB 160.
    #[must_use]
    pub fn long_paths() -> Self {
        Self {
            window: 8 * MIB as u32,
            hoard_above: 2 * MIB,
            hoard_below: MIB,
            channel_bytes: 32 * MIB,
            connection_bytes: 128 * MIB,
            ..Self::default()
        }
    }
}

/// Locks; what these locks guard is consistent after every statement, so a panic elsewhere does not spoil it.
pub(in crate::gateway) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
