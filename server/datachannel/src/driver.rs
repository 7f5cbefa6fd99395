//! Joins the state machine to a WebSocket, a pipe and a clock. One task per channel, polled by hand: whatever
//! is ready is moved in each turn, so that many acknowledgements share one flush.

mod closing;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tracing::{debug, info};

use crate::channel::{Channel, End, Event};
use crate::clock::{Clock, wall_ms};
use crate::ended::{ConnectError, Ended};
use crate::limits::Limits;
use crate::moment::Moment;
use crate::reconnect::{Loss, Reconnect};
use crate::stream::{Facts, Greeting, Opening};

/// Each way between the user and the task: one large read or write of an SSH implementation.
const PIPE: usize = 64 * 1024;
/// Read from the pipe at once.
const SCRATCH: usize = 16 * 1024;
/// Messages read before acknowledgements are written: enough to share a flush, few enough to stay prompt.
const MESSAGES_PER_TURN: usize = 64;
/// Turns before other tasks get theirs.
const TURNS: usize = 32;
/// Proxies and address translators forget idle connections after as little as a minute.
const PING_EVERY: Duration = Duration::from_secs(15);
/// With a ping every 15 s, three answers are missing by then, and the loss is noticed within a minute.
const SILENCE: Duration = Duration::from_secs(55);

/// A WebSocket as the driver needs it.
pub(crate) trait WebSocket:
    Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Unpin + Send + 'static
{
}
impl<T> WebSocket for T where
    T: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Unpin + Send + 'static
{
}

/// The connection, or the attempt to get it back.
enum Link<R: Reconnect> {
    Up { socket: R::Socket, redial: R },
    Down(BoxFuture<'static, (R, Result<R::Socket, Ended>)>),
    Gone,
}

/// The task of one channel.
pub(crate) struct Driver<R: Reconnect> {
    core: Channel,
    clock: Clock,
    link: Link<R>,
    heard_at: Moment,
    ping_at: Moment,
    /// Something was written and not flushed.
    unflushed: bool,
    pipe: DuplexStream,
    user_writes: bool,
    scratch: Box<[u8]>,
    timer: Pin<Box<Sleep>>,
    handshake_secs: u64,
    greeted: Option<oneshot::Sender<Result<Greeting, ConnectError>>>,
    ended: Option<oneshot::Sender<Ended>>,
    facts: Arc<Facts>,
}

impl<R: Reconnect> Driver<R>
where
    R::Socket: WebSocket,
{
    /// A driver for an open socket on which the opening frame was written.
    pub(crate) fn new(socket: R::Socket, redial: R, limits: Limits, facts: Arc<Facts>) -> (Self, Opening) {
        let clock = Clock::start();
        let now = clock.now();
        let handshake_secs = limits.handshake.as_secs();
        let mut core = Channel::new(limits, rand::random(), wall_ms());
        core.opened(now);
        let (user_pipe, pipe) = duplex(PIPE);
        let (greeted, on_greeted) = oneshot::channel();
        let (ended, on_ended) = oneshot::channel();
        let driver = Self {
            core,
            clock,
            link: Link::Up { socket, redial },
            heard_at: now,
            ping_at: now + PING_EVERY,
            unflushed: false,
            pipe,
            user_writes: true,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            timer: Box::pin(sleep_until(clock.instant(now))),
            handshake_secs,
            greeted: Some(greeted),
            ended: Some(ended),
            facts: Arc::clone(&facts),
        };
        (driver, Opening { pipe: user_pipe, greeted: on_greeted, ended: on_ended, facts })
    }

    /// Runs the channel to its end.
    pub(crate) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.close(end).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..TURNS {
            let now = self.clock.now();
            if self.core.is_stalled() {
                self.heard_at = now;
            }
            self.core.timer(now);
            let mut moved = self.take_from_user(cx, now);
            moved |= self.take_from_socket(cx, now);
            moved |= self.give_to_socket(cx, now);
            moved |= self.give_to_user(cx, now);
            moved |= self.poll_reconnect(cx, now);
            self.report_events();
            if let Some(end) = self.core.end() {
                return Poll::Ready(end.clone());
            }
            if !moved && self.poll_timer(cx, now).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_from_user(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut moved = false;
        while self.user_writes && self.core.room() > 0 {
            let room = self.core.room().min(self.scratch.len());
            let mut buf = ReadBuf::new(self.scratch.get_mut(..room).unwrap_or_default());
            match Pin::new(&mut self.pipe).poll_read(cx, &mut buf) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.core.write(buf.filled());
                }
                Poll::Ready(_) => {
                    self.user_writes = false;
                    self.core.finish(now);
                }
            }
            moved = true;
        }
        moved
    }

    fn give_to_user(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut moved = false;
        while !self.core.readable().is_empty() {
            match Pin::new(&mut self.pipe).poll_write(cx, self.core.readable()) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => self.core.consume(now, count),
                // The user dropped the stream.
                Poll::Ready(_) => self.core.discard(now),
            }
            moved = true;
        }
        moved
    }

    fn take_from_socket(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut moved = false;
        for _ in 0..MESSAGES_PER_TURN {
            let Link::Up { socket, .. } = &mut self.link else { break };
            if !self.core.wants_input() {
                break;
            }
            let Poll::Ready(message) = Pin::new(socket).poll_next(cx) else { break };
            moved = true;
            self.heard_at = now;
            match message {
                Some(Ok(Message::Binary(bytes))) => self.core.receive(now, bytes),
                Some(Ok(Message::Text(text))) => self.core.receive(now, Bytes::from(text)),
                Some(Ok(Message::Close(frame))) => {
                    let words = frame.map_or_else(String::new, |frame| frame.to_string());
                    self.on_closed_socket(now, words);
                }
                Some(Ok(_)) => {}
                Some(Err(WsError::Capacity(error))) => {
                    self.core.end_with(End::Ended(Ended::Protocol(error.to_string())));
                }
                Some(Err(error)) => self.on_lost(now, Loss::Dropped(error.to_string())),
                None => self.on_lost(now, Loss::Dropped("the connection ended".to_owned())),
            }
        }
        moved
    }

    fn give_to_socket(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut moved = false;
        let failed = loop {
            let Link::Up { socket, .. } = &mut self.link else { return moved };
            match Pin::new(&mut *socket).poll_ready(cx) {
                Poll::Pending => break None,
                Poll::Ready(Err(error)) => break Some(error),
                Poll::Ready(Ok(())) => {}
            }
            let message = if self.ping_at <= now {
                self.ping_at = now + PING_EVERY;
                Message::Ping(Bytes::from_static(b"keepalive"))
            } else if let Some(frame) = self.core.transmit(now) {
                Message::Binary(frame)
            } else {
                break None;
            };
            moved = true;
            self.unflushed = true;
            if let Err(error) = Pin::new(socket).start_send(message) {
                break Some(error);
            }
        };
        if let Some(error) = failed {
            self.on_lost(now, Loss::Dropped(error.to_string()));
            return true;
        }
        moved | self.flush(cx, now)
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let Link::Up { socket, .. } = &mut self.link else { return false };
        if !self.unflushed {
            return false;
        }
        match Pin::new(socket).poll_flush(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                false
            }
            Poll::Ready(Err(error)) => {
                self.on_lost(now, Loss::Dropped(error.to_string()));
                true
            }
        }
    }

    fn poll_reconnect(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let Link::Down(reconnect) = &mut self.link else { return false };
        let Poll::Ready((redial, result)) = reconnect.as_mut().poll(cx) else { return false };
        match result {
            Ok(socket) => {
                info!("the data channel was resumed");
                self.link = Link::Up { socket, redial };
                self.heard_at = now;
                self.ping_at = now + PING_EVERY;
                self.unflushed = false;
                self.core.opened(now);
            }
            Err(ended) => {
                self.link = Link::Gone;
                self.core.end_with(End::Ended(ended));
            }
        }
        true
    }

    /// Sets the timer; ready if the time has come already.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Moment) -> Poll<()> {
        let mut deadline = self.core.deadline(now);
        if let Link::Up { .. } = self.link {
            let silent_at = self.heard_at + SILENCE;
            if silent_at <= now {
                self.on_lost(now, Loss::Silent);
                return Poll::Ready(());
            }
            // A ping that is due waits for the socket to take it.
            let ping_at = Some(self.ping_at).filter(|at| *at > now);
            let silent_at = Some(silent_at).filter(|_| !self.core.is_stalled());
            deadline = [deadline, ping_at, silent_at].into_iter().flatten().min();
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        let deadline = self.clock.instant(deadline);
        if self.timer.deadline() != deadline || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    /// The service closed the socket in words.
    fn on_closed_socket(&mut self, now: Moment, words: String) {
        if self.core.is_open() {
            self.on_lost(now, Loss::Dropped(words));
        } else {
            // A bad token, say. There is nothing to resume yet.
            self.core.end_with(End::Ended(Ended::ClosedByService(words)));
            self.link = Link::Gone;
        }
    }

    fn on_lost(&mut self, now: Moment, loss: Loss) {
        let Link::Up { redial, .. } = std::mem::replace(&mut self.link, Link::Gone) else { return };
        debug!(?loss, "the data channel lost its connection");
        let was_open = self.core.is_open();
        self.core.lost(now);
        if self.core.end().is_some() {
            return;
        }
        if was_open {
            self.link = Link::Down(redial.reconnect(loss));
            return;
        }
        if let (Loss::Dropped(why), Some(greeted)) = (loss, self.greeted.take()) {
            // Nobody is left to tell if this fails.
            let _ = greeted.send(Err(ConnectError::Unreachable(why)));
        }
        self.core.end_with(End::Ended(Ended::Closed));
    }

    fn report_events(&mut self) {
        while let Some(event) = self.core.event() {
            match event {
                Event::HandshakeComplete { agent_version, customer_message } => {
                    if let Some(greeted) = self.greeted.take() {
                        // If nobody waits any more, the pipe is closed and the channel ends by that.
                        let _ = greeted.send(Ok(Greeting { agent_version, customer_message }));
                    }
                }
                Event::PeerAbsent => info!("the agent is away"),
                Event::PeerBack => info!("the agent is back"),
                Event::LargePayloadsRefused => {
                    self.facts.large_refused.store(true, Ordering::Relaxed);
                    info!("large payloads seem to be refused, falling back to small ones")
                }
                Event::Dropped(error) => debug!(%error, "a malformed message was dropped"),
            }
        }
    }
}
