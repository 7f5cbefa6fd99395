//! The TCP side of a port session: dial, read, pace, and drain at the end.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Agent;
use crate::stream::frame::payload;
use crate::stream::room::Ending;

/// How often the end of a session looks whether everything was acknowledged.
const DRAIN_POLL: Duration = Duration::from_millis(10);

impl Agent {
    /// Connects to the SSH server after the handshake and sends what it says, until it has said everything.
    pub(super) async fn port(&self, writer: oneshot::Sender<OwnedWriteHalf>) -> Ending {
        self.complete.cancelled().await;
        let habits = self.room.behaviour.habits();
        tokio::time::sleep(self.room.options.dial_delay + habits.dial_delay).await;
        let dialled = if habits.refuse_dial {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused))
        } else {
            TcpStream::connect(self.ssh).await
        };
        let reader = match dialled {
            Ok(tcp) => {
                // The dialler of Go's standard library sets this; without it keystrokes would wait for each other.
                let _ = tcp.set_nodelay(true);
                let (reader, half) = tcp.into_split();
                let _ = writer.send(half);
                reader
            }
            Err(error) => {
                return Ending::with(format!(
                    "Unable to connect to specified port: dial tcp {}: {error}",
                    self.ssh
                ));
            }
        };
        self.pump(reader).await;
        self.drain().await;
        Ending::with("")
    }

    async fn pump(&self, mut reader: OwnedReadHalf) {
        let pacing = self.room.options.pacing;
        let mut due = Instant::now();
        loop {
            self.may_send().await;
            let limit = self.room.behaviour.next_small().unwrap_or(pacing.chunk());
            let mut buffer = BytesMut::with_capacity(limit);
            match (&mut reader).take(limit as u64).read_buf(&mut buffer).await {
                Ok(read) if read > 0 => self.outgoing.send(payload::OUTPUT, buffer.freeze()).await,
                Ok(_) | Err(_) => return,
            }
            // Sleeping until a time rather than for a time keeps the average right although timers are coarse.
            if !pacing.step().is_zero() {
                due = due.max(Instant::now()) + pacing.step();
                tokio::time::sleep_until(due).await;
            }
        }
    }

    /// Returns when the agent is connected and not paused.
    async fn may_send(&self) {
        let mut gate = self.room.gate.subscribe();
        // The sender lives in the room, so waiting cannot fail.
        let _ = gate.wait_for(|gate| gate.up && !gate.paused).await;
    }

    /// Waits a little for what is unacknowledged; what still is afterwards is lost.
    async fn drain(&self) {
        let until = Instant::now() + self.room.options.drain;
        while !self.outgoing.is_empty() && Instant::now() < until {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }
}
