//! A link: one SSH client connection of ours, over a stream, to the SSH server in a space.
//!
//! It offers authentication `none`, takes any host key (a space has a new one each run; the stream was opened for
//! this very space by a signed call), opens channels, and never lets one channel freeze another.
//!
//! The stream carries about 14 MB/s up and 0.8 MB/s down, and everything on it is in line behind everything before.
//! So little is ever handed to it at once: windows are small, uploads have a budget, and what a reader leaves
//! waiting is kept here, in memory first and then on disk, while the others go on. Only a channel that has the link
//! to itself is slowed down exactly, by not reading the stream.

mod budget;
mod channel;
mod connect;
mod handler;
mod queue;
mod registry;
mod run;
pub(crate) mod signals;
mod spool;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::ports::ByteStream;
use budget::UploadBudget;
pub use channel::{SpaceChannel, SpaceInput, SpaceOutput};
use handler::LinkHandler;
use registry::Registry;
pub use spool::{Spool, SpoolLimits};

/// How long the goodbye may take: the rest of what was written, and the stream's own ending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);

/// The terminal that a client asked for (RFC 4254 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pty {
    /// `TERM`.
    pub term: String,
    /// Width in characters.
    pub columns: u32,
    /// Height in rows.
    pub rows: u32,
    /// Width in pixels.
    pub pixel_width: u32,
    /// Height in pixels.
    pub pixel_height: u32,
    /// Terminal modes, opcode and value.
    pub modes: Vec<(russh::Pty, u32)>,
}

/// What comes out of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or bytes of a connection.
    Data(Bytes),
    /// Standard error, or another extended stream.
    Extended(u32, Bytes),
    /// The command's exit status.
    ExitStatus(u32),
    /// The signal that ended the command.
    ExitSignal {
        /// `TERM`.
        name: String,
        /// Whether a core was dumped.
        core_dumped: bool,
        /// In the server's words.
        message: String,
    },
    /// No more bytes will come.
    Eof,
}

/// Why something on a link did not work. `Display` is for logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The space's SSH server did not greet within so many seconds.
    #[error("the SSH server in the space did not greet within {0} s")]
    NoBanner(u64),
    /// It wants more than authentication `none`.
    #[error("the SSH server in the space refused authentication \"none\"")]
    AuthRefused,
    /// The SSH connection could not be made.
    #[error("the SSH connection to the space failed: {0}")]
    Ssh(String),
    /// It refused a request.
    #[error("the space refused {0}")]
    Refused(&'static str),
    /// It refused a channel, in its words.
    #[error("the space refused the channel: {0}")]
    OpenRefused(String),
    /// The channel or the link is over.
    #[error("the channel to the space is over")]
    Gone,
}

/// How a link is made.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// The Unix user in the space.
    pub user: String,
    /// How long greeting, key exchange and authentication may take together.
    pub timeout: Duration,
    /// Where output waits for slow readers; all links share one.
    pub spool: Spool,
    /// A key to sign with after `none` was refused: a stock server knows no `none`.
    #[cfg(test)]
    pub(crate) key: Option<Arc<russh::keys::PrivateKey>>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            user: "sagemaker-user".to_owned(),
            timeout: Duration::from_secs(30),
            spool: Spool::new(SpoolLimits::default()),
            #[cfg(test)]
            key: None,
        }
    }
}

/// A channel that the space opened.
pub enum LinkIncoming {
    /// A connection to the person's agent.
    Agent(SpaceChannel),
    /// A connection to a remotely forwarded port.
    RemoteForward {
        /// The address that listened.
        address: String,
        /// The port that listened.
        port: u32,
        /// Who connected.
        originator: (String, u32),
        /// The connection.
        channel: SpaceChannel,
    },
}

/// One SSH client connection of ours. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

/// What every channel needs of its link.
#[derive(Clone)]
struct Parts {
    registry: Arc<Registry>,
    budget: Arc<UploadBudget>,
    tracker: TaskTracker,
    runtime: tokio::runtime::Handle,
}

struct Inner {
    handle: russh::client::Handle<LinkHandler>,
    parts: Parts,
    /// The stream is shut down and dropped.
    stream_over: CancellationToken,
    /// Drops the stream at once.
    abandon: CancellationToken,
}

impl Link {
    /// Waits for the greeting of the space's SSH server, and signs in. Takes no longer than `LinkOptions::timeout`.
    pub async fn connect(
        stream: Box<dyn ByteStream>,
        options: LinkOptions,
        tracker: &TaskTracker,
    ) -> Result<Self, LinkError> {
        connect::connect(stream, options, tracker).await
    }

    /// Opens a session channel.
    pub async fn open_session(&self) -> Result<SpaceChannel, LinkError> {
        self.open(|link| async move { link.0.handle.channel_open_session().await }).await
    }

    /// Opens a TCP connection inside the space. `originator` is the client's word for where it comes from.
    pub async fn open_tcp(
        &self,
        host: &str,
        port: u16,
        originator: (&str, u16),
    ) -> Result<SpaceChannel, LinkError> {
        let (host, from) = (host.to_owned(), originator.0.to_owned());
        let (port, from_port) = (u32::from(port), u32::from(originator.1));
        self.open(move |link| async move {
            link.0.handle.channel_open_direct_tcpip(host, port, from, from_port).await
        })
        .await
    }

    /// Opens a channel in a task of its own: if the caller has gone meanwhile, the channel is closed again instead of
    /// staying open in the space.
    async fn open<F, O>(&self, opening: F) -> Result<SpaceChannel, LinkError>
    where
        F: FnOnce(Self) -> O,
        O: Future<Output = Result<russh::Channel<russh::client::Msg>, russh::Error>> + Send + 'static,
    {
        let (opened, result) = oneshot::channel();
        let opening = opening(self.clone());
        let link = self.clone();
        self.0.parts.tracker.spawn(async move {
            let company = link.0.parts.registry.company();
            let channel = match link.0.parts.until_over(opening).await {
                Ok(channel) => SpaceChannel::opened(channel, &link.0.parts).await,
                Err(error) => Err(error),
            };
            drop(company);
            // Dropping a channel closes it.
            drop(opened.send(channel));
        });
        result.await.unwrap_or(Err(LinkError::Gone))
    }

    /// Asks the space to listen on a port, 0 for any, and to open a channel for each connection. Gives the port.
    pub async fn tcpip_forward(&self, address: &str, port: u32) -> Result<u32, LinkError> {
        let _company = self.0.parts.registry.company();
        let asked = self.0.handle.tcpip_forward(address, port);
        match self.0.parts.until_over(asked).await {
            // The answer names a port only when any would do.
            Ok(0) => Ok(port),
            Ok(chosen) => Ok(chosen),
            Err(LinkError::Ssh(_)) => Err(LinkError::Refused("tcpip-forward")),
            Err(error) => Err(error),
        }
    }

    /// Ends what `tcpip_forward` began.
    pub async fn cancel_tcpip_forward(&self, address: &str, port: u32) -> Result<(), LinkError> {
        let _company = self.0.parts.registry.company();
        let asked = self.0.handle.cancel_tcpip_forward(address, port);
        match self.0.parts.until_over(asked).await {
            Err(LinkError::Ssh(_)) => Err(LinkError::Refused("cancel-tcpip-forward")),
            other => other,
        }
    }

    /// The channels that the space opens; can be taken once. Until then, and when nobody takes them in time, they are
    /// refused.
    #[must_use]
    pub fn incoming(&self) -> Option<mpsc::Receiver<LinkIncoming>> {
        self.0.parts.registry.take_incoming()
    }

    /// Completes when the SSH connection is over. By then every channel has ended.
    pub async fn closed(&self) {
        self.0.parts.registry.over().cancelled().await;
    }

    /// How many channels are open.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.0.parts.registry.len()
    }

    /// Says goodbye, lets the stream send what it has, and shuts it down.
    pub async fn close(&self) {
        let goodbye = async {
            let reason = russh::Disconnect::ByApplication;
            // An error means that the connection is over already.
            drop(self.0.handle.disconnect(reason, "", "").await);
            self.0.stream_over.cancelled().await;
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            self.0.abandon.cancel();
            self.0.stream_over.cancelled().await;
        }
    }
}

impl Parts {
    /// Awaits russh's answer, or the end of the link.
    async fn until_over<T>(
        &self,
        asked: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, LinkError> {
        tokio::select! {
            answer = asked => answer.map_err(LinkError::from),
            () = self.registry.over().cancelled() => Err(LinkError::Gone),
        }
    }
}

impl From<russh::Error> for LinkError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::ChannelOpenFailure(reason) => Self::OpenRefused(reason.description().to_owned()),
            russh::Error::SendError | russh::Error::Disconnect => Self::Gone,
            other => Self::Ssh(other.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
