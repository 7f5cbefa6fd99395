//! A client's socket: it can be cut, since russh offers no way to end a connection whose client does not let go; it
//! hears how the client introduces itself; and the system watches whether anybody is still there.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a connection may be quiet before the system asks whether the other end is there, and how often it asks.
const QUIET: Duration = Duration::from_secs(30);
/// Questions without an answer after which it is gone.
const UNANSWERED: u32 = 3;
/// The longest version line (RFC 4253 section 4.2).
const LINE: usize = 255;

/// Has the system find out when the other end of a connection has vanished.
pub(super) fn watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, QUIET)?;
    sockopt::set_tcp_keepintvl(stream, QUIET)?;
    sockopt::set_tcp_keepcnt(stream, UNANSWERED)?;
    Ok(())
}

/// The first line of a client, its version: russh tells it only after the login.
#[derive(Default)]
pub(super) struct Greeting(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    line: Vec<u8>,
    whole: bool,
}

impl Greeting {
    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if heard.whole {
                return;
            }
            heard.whole = *byte == b'\n' || heard.line.len() == LINE;
            if !heard.whole {
                heard.line.push(*byte);
            }
        }
    }

    /// The line, as far as it has been heard.
    pub(super) fn line(&self) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        super::messages::clean(&String::from_utf8_lossy(&heard.line))
    }
}

/// A stream that ends when its token is cancelled: reads see the end, writes fail.
pub(super) struct Cuttable<S> {
    inner: S,
    greeting: Arc<Greeting>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
}

impl<S> Cuttable<S> {
    pub(super) fn new(inner: S, cut: CancellationToken, greeting: Arc<Greeting>) -> Self {
        Self { inner, greeting, cut: Box::pin(cut.cancelled_owned()), is_cut: false }
    }

    /// Whether it was cut; registers the task to be woken when it is.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(cx).is_ready();
        self.is_cut
    }
}

fn was_cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the gateway ended the connection")
}

impl<S: AsyncRead + Unpin> AsyncRead for Cuttable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.greeting.hear(buffer.filled().get(before..).unwrap_or_default());
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cuttable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Pending if self.poll_cut(cx) => Poll::Ready(Err(was_cut())),
            outcome => outcome,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Pending if self.poll_cut(cx) => Poll::Ready(Err(was_cut())),
            outcome => outcome,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_reader_sees_the_end_when_it_is_cut() {
        let (near, _far) = tokio::io::duplex(16);
        let token = CancellationToken::new();
        let mut socket = Cuttable::new(near, token.clone(), Arc::default());
        let mut buffer = [0; 4];
        let (read, ()) = tokio::join!(socket.read(&mut buffer), async { token.cancel() });
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_stuck_writer_fails_when_it_is_cut() {
        let (near, _far) = tokio::io::duplex(4);
        let token = CancellationToken::new();
        let mut socket = Cuttable::new(near, token.clone(), Arc::default());
        let (written, ()) = tokio::join!(socket.write_all(b"more than fits"), async { token.cancel() });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn the_first_line_is_heard_and_nothing_more() {
        let (near, mut far) = tokio::io::duplex(64);
        let greeting = Arc::new(Greeting::default());
        let mut socket = Cuttable::new(near, CancellationToken::new(), Arc::clone(&greeting));
        let mut buffer = [0; 8];
        for part in [&b"SSH-2.0-"[..], b"x\x1b y\r\n", b"binary"] {
            far.write_all(part).await.unwrap();
            let mut left = part.len();
            while left > 0 {
                left -= socket.read(&mut buffer).await.unwrap();
            }
        }
        assert_eq!(greeting.line(), "SSH-2.0-x y");
    }
}
