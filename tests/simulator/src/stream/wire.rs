//! The socket below a client's WebSocket, with the ways in which a network can spoil it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that can be frozen, reset, or made to carry bytes that no WebSocket library would write.
pub(crate) struct Wire {
    io: Io,
    control: Arc<WireControl>,
}

enum Io {
    Tcp(TcpStream),
    /// A server that is not plain TCP (TLS, say) put something else below HTTP.
    Other(Box<TokioIo<hyper::upgrade::Upgraded>>),
}

/// The switches of a [`Wire`], held by whoever writes to it.
#[derive(Debug, Default)]
pub(crate) struct WireControl {
    frozen: AtomicBool,
    reset: AtomicBool,
    raw: Mutex<Bytes>,
}

impl WireControl {
    /// From now on nothing is read and what is written goes nowhere, while the socket stays open.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Closing will send RST instead of FIN.
    pub(crate) fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Bytes to put on the socket as they are at the next flush.
    pub(crate) fn raw(&self, bytes: Bytes) {
        *self.raw.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = bytes;
    }
}

impl Wire {
    /// Takes over the connection of an upgraded request; also returns what was read beyond the request already.
    pub(crate) fn new(upgraded: hyper::upgrade::Upgraded) -> (Self, Arc<WireControl>, Bytes) {
        let control = Arc::new(WireControl::default());
        let (io, read) = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => {
                let tcp = parts.io.into_inner();
                // Small messages are the rule here; waiting to fill packets would distort every time measured.
                let _ = tcp.set_nodelay(true);
                (Io::Tcp(tcp), parts.read_buf)
            }
            Err(other) => (Io::Other(Box::new(TokioIo::new(other))), Bytes::new()),
        };
        (Self { io, control: Arc::clone(&control) }, control, read)
    }

    fn io(&mut self) -> Pin<&mut (dyn Duplex + '_)> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp),
            Io::Other(other) => Pin::new(other.as_mut()),
        }
    }

    fn frozen(&self) -> bool {
        self.control.frozen.load(Ordering::Relaxed)
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let pending = self.control.raw.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            if pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = ready!(self.io().poll_write(cx, &pending))?;
            self.control.raw.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).advance(written);
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.frozen() {
            // Never woken for reading again: that is what a cut cable looks like from here.
            return Poll::Pending;
        }
        self.io().poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.frozen() {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_raw(cx))?;
        self.io().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frozen() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_raw(cx))?;
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frozen() {
            return Poll::Ready(Ok(()));
        }
        self.io().poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let (Io::Tcp(tcp), true) = (&self.io, self.control.reset.load(Ordering::Relaxed)) {
            let _ = tcp.set_zero_linger();
        }
    }
}
