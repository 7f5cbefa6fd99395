//! The client's end of a channel, as we write to it.

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf};

use super::messages::Message;
use crate::gateway::link::signals;

/// What one message to russh carries at most, so that a channel that ends stops inside a large write.
const CHUNK: usize = 32 * 1024;
/// The extended stream of standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// The client's side of the channel, or of its connection, is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The write half of a channel and how to talk on it. Only write halves heed the client's window, so nothing else is
/// used for data. A write that waits for window does not notice that its channel is gone: race it with that.
pub(super) struct Terminal {
    write: ChannelWriteHalf<Msg>,
    handle: Handle,
    /// Whether there is a pty, and with it one stream only.
    pub(super) pty: bool,
    /// Whether the terminal cannot rewrite a line.
    pub(super) dumb: bool,
    /// Whether what runs talks to a program and not to a person, terminal or not: a subsystem.
    program: bool,
}

impl Terminal {
    /// A channel with a terminal of this kind, or without one.
    pub(super) fn new(write: ChannelWriteHalf<Msg>, handle: Handle, term: Option<&str>) -> Self {
        let dumb = term.is_some_and(|term| term.is_empty() || term == "dumb");
        Self { write, handle, pty: term.is_some(), dumb, program: false }
    }

    /// The same for programs, which would choke on words.
    pub(super) const fn for_programs(mut self) -> Self {
        self.program = true;
        self
    }

    /// Whether somebody reads what is shown, between whatever else is.
    pub(super) const fn has_reader(&self) -> bool {
        self.pty && !self.program
    }

    /// The channel.
    pub(super) fn id(&self) -> ChannelId {
        self.write.id()
    }

    /// How a line ends here.
    pub(super) const fn newline(&self) -> &'static str {
        if self.pty { "\r\n" } else { "\n" }
    }

    /// Tells the person something: on stderr, or on the terminal, which has only one stream.
    pub(super) async fn say(&self, message: &Message) -> Result<(), Gone> {
        self.notice(message.render(self.newline())).await
    }

    /// Writes text where messages go.
    pub(super) async fn notice(&self, text: String) -> Result<(), Gone> {
        match self.pty {
            true => self.data(text.into()).await,
            false => self.extended(STDERR, text.into()).await,
        }
    }

    /// Writes the answer to a command, whose lines end in `\n`.
    pub(super) async fn answer(&self, text: &str) -> Result<(), Gone> {
        let text = if self.pty { text.replace('\n', "\r\n") } else { text.to_owned() };
        self.data(text.into()).await
    }

    /// Writes bytes.
    pub(super) async fn data(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK));
            self.write.data_bytes(chunk).await.map_err(gone)?;
        }
        Ok(())
    }

    /// Writes bytes of an extended stream.
    pub(super) async fn extended(&self, stream: u32, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK));
            self.write.extended_data_bytes(stream, chunk).await.map_err(gone)?;
        }
        Ok(())
    }

    /// The command's exit status.
    pub(super) async fn exit_status(&self, status: u32) -> Result<(), Gone> {
        self.write.exit_status(status).await.map_err(gone)
    }

    /// The signal that ended the command. It goes the same way as data, so the order stays.
    pub(super) async fn exit_signal(&self, name: &str, core: bool, words: String) -> Result<(), Gone> {
        let signal = signals::named(name);
        self.handle
            .exit_signal_request(self.id(), signal, core, words, String::new())
            .await
            .map_err(|()| Gone)
    }

    /// No more bytes will come.
    pub(super) async fn eof(&self) -> Result<(), Gone> {
        self.write.eof().await.map_err(gone)
    }

    /// Closes the channel.
    pub(super) async fn close(&self) -> Result<(), Gone> {
        self.write.close().await.map_err(gone)
    }

    /// Ends a channel whose command we answered ourselves.
    pub(super) async fn finish(&self, status: u32) -> Result<(), Gone> {
        self.exit_status(status).await?;
        self.eof().await?;
        self.close().await
    }
}

fn gone(_: russh::Error) -> Gone {
    Gone
}
