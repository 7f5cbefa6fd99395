//! A socket that can be cut: russh offers no way to end a connection whose client does not let go.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream that ends when its token is cancelled: reads see the end, writes fail.
pub(super) struct Cuttable<S> {
    inner: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
}

impl<S> Cuttable<S> {
    pub(super) fn new(inner: S, cut: CancellationToken) -> Self {
        Self { inner, cut: Box::pin(cut.cancelled_owned()), is_cut: false }
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
        Pin::new(&mut self.inner).poll_read(cx, buffer)
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
        let mut socket = Cuttable::new(near, token.clone());
        let mut buffer = [0; 4];
        let (read, ()) = tokio::join!(socket.read(&mut buffer), async { token.cancel() });
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_stuck_writer_fails_when_it_is_cut() {
        let (near, _far) = tokio::io::duplex(4);
        let token = CancellationToken::new();
        let mut socket = Cuttable::new(near, token.clone());
        let (written, ()) = tokio::join!(socket.write_all(b"more than fits"), async { token.cancel() });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
