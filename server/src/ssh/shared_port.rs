//! One port for SSH and the pages: clients are told apart by the first bytes that they send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Shared, listener};

/// How long a client may take to speak first. Some that speak SSH wait for the server; those of pages never do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon too few bytes are looked at again: they stay in the socket, so nothing tells of further ones.
const AGAIN: Duration = Duration::from_millis(50);
/// Clients that wait while the SSH server has no place: its own port has the kernel's queue for that.
pub(super) const QUEUE: usize = 64;

/// A connection to be served as SSH.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    /// Who is at the other end.
    pub(super) from: SocketAddr,
    /// Whether a load balancer's header has been looked for already.
    pub(super) introduced: bool,
}

/// The way in for SSH at the port of the pages.
#[derive(Clone)]
pub struct SharedPort {
    pub(super) shared: Arc<Shared>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Ssh,
    /// HTTP, or TLS before it.
    Pages,
    /// A load balancer begins to say for whom it connects.
    Proxy,
    Neither,
}

impl Speaks {
    /// By the first four bytes.
    fn of(first: [u8; 4]) -> Self {
        match &first {
            b"SSH-" => Self::Ssh,
            // Version 1 is not taken, which the log then says.
            b"\r\n\r\n" | b"PROX" => Self::Proxy,
            [0x16, 0x03, ..] => Self::Pages,
            // A method, with the space behind it if it is short.
            [b'A'..=b'Z', rest @ ..] if rest.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b' ')) => {
                Self::Pages
            }
            _ => Self::Neither,
        }
    }
}

impl SharedPort {
    /// Has clients of SSH served like those of the SSH server's own port, and gives back those of the pages with their
    /// address. Others are closed.
    pub async fn sort(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
        let mut from = peer;
        let mut speaks = self.listen(&stream).await;
        let introduced = speaks == Speaks::Proxy;
        if introduced {
            // Nothing is read from who is not listed, so the bytes are then found again, and are neither.
            (stream, from) = listener::introduced(&self.shared, stream, peer).await?;
            speaks = self.listen(&stream).await;
        }
        match speaks {
            Speaks::Pages => return Some((stream, from)),
            Speaks::Ssh => self.hand_over(Arrival { stream, from, introduced }),
            Speaks::Proxy | Speaks::Neither => {}
        }
        None
    }

    /// Looks at the beginning of what a client says and leaves it where it is.
    async fn listen(&self, stream: &TcpStream) -> Speaks {
        let clock = &self.shared.clock;
        let (mut first, end) = ([0; 4], clock.elapsed() + PATIENCE);
        loop {
            let left = end.saturating_sub(clock.elapsed());
            let seen = tokio::select! {
                biased;
                seen = stream.peek(&mut first) => seen,
                () = clock.sleep(left) => return Speaks::Ssh,
            };
            match seen {
                Ok(4..) => return Speaks::of(first),
                Ok(1..) if !left.is_zero() => clock.sleep(AGAIN.min(left)).await,
                // It left, or stopped in the middle of a word.
                Ok(_) | Err(_) => return Speaks::Neither,
            }
        }
    }

    /// Never waits: who waits here would keep clients of the pages out.
    fn hand_over(&self, arrival: Arrival) {
        match self.arrivals.try_send(arrival) {
            Err(TrySendError::Full(Arrival { stream, from, .. })) => {
                listener::turn_away(&stream, from, "max_connections");
            }
            // In a drain the receiver is gone, and the connection with it.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_tell_clients_apart() {
        for (first, speaks) in [
            (b"SSH-", Speaks::Ssh),
            (b"\x16\x03\x01\x02", Speaks::Pages),
            (b"\x16\x03\x03\x00", Speaks::Pages),
            (b"GET ", Speaks::Pages),
            (b"POST", Speaks::Pages),
            (b"OPTI", Speaks::Pages),
            (b"PRI ", Speaks::Pages),
            (b"\r\n\r\n", Speaks::Proxy),
            (b"PROX", Speaks::Proxy),
            (b"\x16\x02\x01\x02", Speaks::Neither),
            (b"ssh-", Speaks::Neither),
            (b" GET", Speaks::Neither),
            (b"EHL\0", Speaks::Neither),
            (b"\0\0\0\0", Speaks::Neither),
        ] {
            assert_eq!(Speaks::of(*first), speaks, "{first:?}");
        }
    }
}
