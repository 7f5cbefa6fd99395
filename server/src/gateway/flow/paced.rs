//! The socket that russh reads and writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::windows::Connection;

/// One read takes at most this much: two full packets.
const BUFFER: usize = 64 * 1024;
/// Larger reads, bodies of packets, go straight to russh.
const DIRECT: usize = 4096;
/// A read this short, while a sender is stalled, is its tick or a keystroke.
const SHORT: usize = 1024;
/// Ticks are let through at most this often: about 500 a second cost 4 % of one core.
const PACE: Duration = Duration::from_millis(2);
/// A stall that lasts this long…
const LONG_STALL: Duration = Duration::from_secs(5);
/// …is let tick less often, for the sake of batteries. Keystrokes wait as long at most.
const SLOW_PACE: Duration = Duration::from_millis(10);
/// How long a client may take to hang up once we have: russh itself would wait for ever.
const HANG_UP: Duration = Duration::from_secs(10);

/// A socket that spaces short reads while a sender is stalled, and fails when the peer takes no byte for too long
/// (russh's keepalives cannot notice that: they stand still while a flush does). russh drops it when the connection is
/// over, and then every channel is closed.
pub struct Paced<S> {
    socket: S,
    connection: Arc<Connection>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    stalled_since: Option<Instant>,
    pause: Option<Pin<Box<Sleep>>>,
    stuck: Option<Pin<Box<Sleep>>>,
    hanging_up: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S, connection: Arc<Connection>) -> Self {
        Self {
            socket,
            connection,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            stalled_since: None,
            pause: None,
            stuck: None,
            hanging_up: None,
        }
    }

    /// How long to wait after a short read.
    fn pace(&mut self) -> Option<Duration> {
        if !self.connection.is_throttled() {
            self.stalled_since = None;
            return None;
        }
        let now = Instant::now();
        let since = *self.stalled_since.get_or_insert(now);
        Some(if now - since < LONG_STALL { PACE } else { SLOW_PACE })
    }

    /// Fails a write that has been waiting for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let timeout = self.connection.limits.write_timeout;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
    }
}

impl<S> Drop for Paced<S> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if let Some(limit) = me.hanging_up.as_mut()
            && limit.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        if me.start == me.end {
            let throttled = me.connection.is_throttled();
            if let Some(pause) = me.pause.as_mut().filter(|_| throttled) {
                ready!(pause.as_mut().poll(cx));
            }
            me.pause = None;
            if !throttled && out.remaining() >= DIRECT {
                return Pin::new(&mut me.socket).poll_read(cx, out);
            }
            let mut read = ReadBuf::new(&mut me.buffer);
            ready!(Pin::new(&mut me.socket).poll_read(cx, &mut read))?;
            (me.start, me.end) = (0, read.filled().len());
            if (1..SHORT).contains(&me.end)
                && let Some(pace) = me.pace()
            {
                me.pause = Some(Box::pin(sleep_until(Instant::now() + pace)));
            }
        }
        let n = out.remaining().min(me.end - me.start);
        out.put_slice(me.buffer.get(me.start..me.start + n).unwrap_or_default());
        me.start += n;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, data);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.hanging_up.get_or_insert_with(|| Box::pin(sleep(HANG_UP)));
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}
