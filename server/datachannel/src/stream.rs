//! What users of the crate hold: the byte stream, and why it ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;

use crate::ended::{ConnectError, Ended};

/// Completes when the channel has ended, for as many as ask.
pub type EndedFuture = Shared<BoxFuture<'static, Ended>>;

/// What the handshake told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Greeting {
    pub(crate) agent_version: String,
    pub(crate) customer_message: String,
}

/// An open data channel: bytes to and from a TCP port behind the agent.
///
/// The reader sees the end of the stream when the channel ends in any way; [`Self::ended`] says which. A
/// shutdown of the writer, or dropping the channel, starts an orderly close: what was written is delivered,
/// the session is terminated. There is no half-close in this protocol: reading goes on only until that is
/// done. A reader that stops reading also stops the writer in the end, since acknowledgements come on the
/// same socket.
pub struct DataChannel {
    pipe: DuplexStream,
    ended: EndedFuture,
    greeting: Greeting,
    facts: Arc<Facts>,
}

/// What a channel learns about the service while it lives.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The service refused a signed dial and took an unsigned one.
    pub(crate) unsigned: AtomicBool,
    /// The socket died of a large payload.
    pub(crate) large_refused: AtomicBool,
}

impl DataChannel {
    /// Why the channel ended; completes when it has. Bytes that arrived before may still be unread then.
    pub fn ended(&self) -> EndedFuture {
        self.ended.clone()
    }

    /// The agent's version.
    #[must_use]
    pub fn agent_version(&self) -> &str {
        &self.greeting.agent_version
    }

    /// Words of the account's owner for people, from the handshake; usually empty.
    #[must_use]
    pub fn customer_message(&self) -> &str {
        &self.greeting.customer_message
    }

    /// Whether the service refused a signed dial and took an unsigned one: then sign no more in this domain.
    #[must_use]
    pub fn dialled_unsigned(&self) -> bool {
        self.facts.unsigned.load(Ordering::Relaxed)
    }

    /// Whether the connection died right after the first payload above 1 KiB: then set `Limits::max_payload`
    /// to that in this domain.
    #[must_use]
    pub fn large_payloads_refused(&self) -> bool {
        self.facts.large_refused.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannel").field("greeting", &self.greeting).finish_non_exhaustive()
    }
}

impl AsyncRead for DataChannel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for DataChannel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// A channel whose handshake is under way.
pub(crate) struct Opening {
    pub(crate) pipe: DuplexStream,
    pub(crate) greeted: oneshot::Receiver<Result<Greeting, ConnectError>>,
    pub(crate) ended: oneshot::Receiver<Ended>,
    pub(crate) facts: Arc<Facts>,
}

impl Opening {
    /// Waits for the handshake. Dropping this closes the channel.
    pub(crate) async fn wait(self) -> Result<DataChannel, ConnectError> {
        // The driver always answers; if its runtime is shut down, the channel was closed.
        let greeting = self.greeted.await.unwrap_or(Err(ConnectError::Ended(Ended::Closed)))?;
        let ended = self.ended;
        let ended = async move { ended.await.unwrap_or(Ended::Closed) }.boxed().shared();
        Ok(DataChannel { pipe: self.pipe, ended, greeting, facts: self.facts })
    }
}
