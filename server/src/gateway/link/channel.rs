//! One channel to a space.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf};

use super::budget::CHUNK;
use super::registry::Entry;
use super::signals;
use super::{LinkError, Output, Parts, Pty};

/// A channel to a space, not yet in use. Dropped, it is closed.
pub struct SpaceChannel(Arc<Shared>);

/// Towards the space.
pub struct SpaceInput(Arc<Shared>);

/// From the space.
pub struct SpaceOutput(Arc<Shared>);

struct Shared {
    write: Arc<ChannelWriteHalf<Msg>>,
    entry: Arc<Entry>,
    parts: Parts,
    closed: AtomicBool,
}

impl SpaceChannel {
    /// One that we have opened.
    pub(super) async fn opened(channel: Channel<Msg>, parts: &Parts) -> Result<Self, LinkError> {
        let write = write_half(channel);
        let entry = parts.registry.claim(write.id()).await?;
        Ok(Self::new(write, entry, parts))
    }

    /// One that the space opens, not accepted yet.
    pub(super) fn incoming(channel: Channel<Msg>, parts: &Parts) -> Self {
        let write = write_half(channel);
        let entry = parts.registry.add(write.id());
        Self::new(write, entry, parts)
    }

    fn new(write: ChannelWriteHalf<Msg>, entry: Arc<Entry>, parts: &Parts) -> Self {
        let closed = AtomicBool::new(false);
        Self(Arc::new(Shared { write: Arc::new(write), entry, parts: parts.clone(), closed }))
    }

    /// Asks for a terminal.
    pub async fn pty(&self, pty: &Pty) -> Result<(), LinkError> {
        let request = self.0.write.request_pty(
            true,
            &pty.term,
            pty.columns,
            pty.rows,
            pty.pixel_width,
            pty.pixel_height,
            &pty.modes,
        );
        self.0.ask("a terminal", request).await
    }

    /// Sets an environment variable. No reply is asked for: servers refuse most, and that is no failure.
    pub async fn env(&self, name: &str, value: &str) -> Result<(), LinkError> {
        self.0.send(self.0.write.set_env(false, name, value)).await
    }

    /// Asks the space to offer the person's agent.
    pub async fn agent(&self) -> Result<(), LinkError> {
        self.0.ask("agent forwarding", self.0.write.agent_forward(true)).await
    }

    /// Starts a login shell.
    pub async fn shell(&self) -> Result<(), LinkError> {
        self.0.ask("a shell", self.0.write.request_shell(true)).await
    }

    /// Runs a command, byte for byte.
    pub async fn exec(&self, command: &[u8]) -> Result<(), LinkError> {
        self.0.ask("the command", self.0.write.exec(true, command)).await
    }

    /// Starts a subsystem.
    pub async fn subsystem(&self, name: &str) -> Result<(), LinkError> {
        self.0.ask("the subsystem", self.0.write.request_subsystem(true, name)).await
    }

    /// Splits it for two pumps. When both halves are dropped the channel is closed.
    #[must_use]
    pub fn split(self) -> (SpaceInput, SpaceOutput) {
        (SpaceInput(Arc::clone(&self.0)), SpaceOutput(self.0))
    }
}

impl SpaceInput {
    /// Hands bytes on; waits while the space's window or the stream has no room.
    pub async fn data(&self, mut data: Bytes) -> Result<(), LinkError> {
        while !data.is_empty() {
            let window = self.0.until_gone(self.0.window()).await?;
            let piece = data.split_to(data.len().min(window).min(CHUNK));
            let permission = self.0.until_gone(self.0.parts.budget.take(piece.len())).await?;
            self.0.send(self.0.write.data_bytes(piece)).await?;
            permission.used();
        }
        Ok(())
    }

    /// No more bytes will come.
    pub async fn eof(&self) -> Result<(), LinkError> {
        self.0.send(self.0.write.eof()).await
    }

    /// The terminal changed its size.
    pub async fn window_change(&self, pty: &Pty) -> Result<(), LinkError> {
        let (width, height) = (pty.pixel_width, pty.pixel_height);
        self.0.send(self.0.write.window_change(pty.columns, pty.rows, width, height)).await
    }

    /// Sends the command a signal, `INT`.
    pub async fn signal(&self, name: &str) -> Result<(), LinkError> {
        self.0.send(self.0.write.signal(signals::named(name))).await
    }

    /// Closes the channel. What the space has sent until now can still be taken.
    pub async fn close(&self) -> Result<(), LinkError> {
        if self.0.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let sent = self.0.send(self.0.write.close()).await;
        // The space's own close will not be reported for a channel that we have closed.
        self.0.entry.close();
        sent
    }
}

impl SpaceOutput {
    /// What the space sends next; nothing once the channel is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Output> {
        let next = self.0.entry.queue.pop().await;
        self.0.parts.registry.weigh();
        next
    }
}

impl Drop for SpaceOutput {
    fn drop(&mut self) {
        self.0.entry.queue.discard();
        self.0.parts.registry.weigh();
    }
}

impl Shared {
    async fn until_gone<T>(&self, waiting: impl Future<Output = T>) -> Result<T, LinkError> {
        tokio::select! {
            biased;
            () = self.entry.gone.cancelled() => Err(LinkError::Gone),
            done = waiting => Ok(done),
        }
    }

    async fn send(&self, message: impl Future<Output = Result<(), russh::Error>>) -> Result<(), LinkError> {
        self.until_gone(message).await?.map_err(LinkError::from)
    }

    /// Sends a request and awaits its answer.
    async fn ask(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<(), russh::Error>>,
    ) -> Result<(), LinkError> {
        let _company = self.parts.registry.company();
        let (number, answered) = self.entry.ask();
        let unsent = Unsent { entry: &self.entry, number };
        self.send(request).await?;
        std::mem::forget(unsent);
        // Not raced against the channel's end: a command may be answered and over before we look, and an answer that
        // will never come is dropped with the channel.
        match answered.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LinkError::Refused(what)),
            Err(_) => Err(LinkError::Gone),
        }
    }

    /// Waits until the space takes bytes; how many. (A write half would wait too, but with the budget in its hand.)
    async fn window(&self) -> usize {
        loop {
            let widened = self.entry.window.notified();
            let window = self.write.writable_packet_size().await;
            if window > 0 {
                return window;
            }
            widened.await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.parts.registry.remove(self.write.id());
        if !self.closed.load(Ordering::Relaxed) && !self.parts.registry.over().is_cancelled() {
            let write = Arc::clone(&self.write);
            let over = self.parts.registry.over().clone();
            let close = async move {
                tokio::select! {
                    _ = write.close() => (),
                    () = over.cancelled() => (),
                }
            };
            self.parts.tracker.spawn_on(close, &self.parts.runtime);
        }
    }
}

/// With no reader russh's loop does not wait for one; the callbacks carry everything.
fn write_half(channel: Channel<Msg>) -> ChannelWriteHalf<Msg> {
    channel.split().1
}

/// A request that lines up for an answer and may never be sent.
struct Unsent<'a> {
    entry: &'a Entry,
    number: u64,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.entry.unask(self.number);
    }
}
