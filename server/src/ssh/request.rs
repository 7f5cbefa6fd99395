//! A session channel before it runs: what the client asks for, one request after the other.

use russh::server::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::slots::Ends;
use super::terminal::Terminal;
use crate::gateway::link::Pty;
use crate::gateway::{Purpose, Want};

/// Environment variables that a channel may carry.
const VARIABLES: usize = 64;
/// Bytes that their names and values may have together.
const VARIABLES_LEN: usize = 32 * 1024;
/// The longest `TERM`, which goes into the space as it is.
const TERM_LEN: usize = 64;
/// Signals that may wait for the space. A client that sends more is not heard any better.
const SIGNALS: usize = 8;

/// A channel that has been opened and has not been told what to run.
pub(super) struct Asking {
    ends: Ends,
    pty: Option<Pty>,
    env: Vec<(String, String)>,
    env_len: usize,
    agent: bool,
}

/// Everything that a channel's task needs.
pub(super) struct Start {
    /// Where to write.
    pub(super) terminal: Terminal,
    /// What the client sends.
    pub(super) input: Input,
    /// What it asked for.
    pub(super) want: Want,
    /// What it asks for later.
    pub(super) requests: Requests,
    /// Cancelled when the channel is closed.
    pub(super) closed: CancellationToken,
    /// Its place among the connection's channels.
    pub(super) slot: OwnedSemaphorePermit,
}

/// What a client may still ask of a running channel.
pub(super) struct Requests {
    /// The terminal's latest size.
    pub(super) size: watch::Receiver<Option<Pty>>,
    /// Signals for the command.
    pub(super) signals: mpsc::Receiver<String>,
}

/// The handler's end of a running channel.
pub(super) struct Running {
    closed: CancellationToken,
    size: watch::Sender<Option<Pty>>,
    signals: mpsc::Sender<String>,
}

impl Asking {
    pub(super) const fn new(ends: Ends) -> Self {
        Self { ends, pty: None, env: Vec::new(), env_len: 0, agent: false }
    }

    /// The client wants a terminal. `false`: not one like this.
    pub(super) fn pty(&mut self, pty: Pty) -> bool {
        let sound = pty.term.len() <= TERM_LEN && pty.term.chars().all(|c| c.is_ascii_graphic());
        if sound {
            self.pty = Some(pty);
        }
        sound
    }

    /// The client sets a variable. `false`: there are too many.
    pub(super) fn env(&mut self, name: &str, value: &str) -> bool {
        let len = self.env_len + name.len() + value.len();
        let fits = self.env.len() < VARIABLES && len <= VARIABLES_LEN;
        let sound = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        if fits && sound {
            self.env_len = len;
            self.env.push((name.to_owned(), value.to_owned()));
        }
        fits && sound
    }

    /// The client forwards its agent. Whether the policy allows it is known once the space is; until then the client
    /// may believe in it.
    pub(super) const fn agent(&mut self) -> bool {
        self.agent = true;
        true
    }

    /// The client said what to run: one part goes to the channel's task, the other stays with the handler.
    pub(super) fn start(self, purpose: Purpose, handle: Handle) -> (Start, Running) {
        let Self { ends, pty, env, agent, .. } = self;
        let Ends { write, inbound, slot, closed } = ends;
        let (size, sizes) = watch::channel(pty.clone());
        let (signal, signals) = mpsc::channel(SIGNALS);
        let terminal = Terminal::new(write, handle, pty.as_ref().map(|pty| pty.term.as_str()));
        let terminal = match purpose {
            Purpose::Subsystem(_) => terminal.for_programs(),
            Purpose::Shell | Purpose::Exec(_) | Purpose::Forward { .. } => terminal,
        };
        let want = Want { purpose, pty, env, agent };
        let requests = Requests { size: sizes, signals };
        let running = Running { closed: closed.clone(), size, signals: signal };
        (Start { terminal, input: Input::new(inbound), want, requests, closed, slot }, running)
    }

    /// The client closed the channel.
    pub(super) fn close(&self) {
        self.ends.closed.cancel();
    }
}

impl Running {
    /// A channel that takes no requests: a forward, an agent.
    pub(super) fn without_requests(closed: CancellationToken) -> Self {
        let (size, _) = watch::channel(None);
        let (signals, _) = mpsc::channel(1);
        Self { closed, size, signals }
    }

    /// The terminal changed its size. Only the latest counts.
    pub(super) fn resize(&self, columns: u32, rows: u32, pixel_width: u32, pixel_height: u32) {
        self.size.send_if_modified(|pty| match pty {
            Some(pty) => {
                let size = Pty { columns, rows, pixel_width, pixel_height, ..pty.clone() };
                let is_new = size != *pty;
                *pty = size;
                is_new
            }
            None => false,
        });
    }

    /// A signal for the command.
    pub(super) fn signal(&self, name: &str) {
        // A full queue means that the space has not taken the last eight: one more would say nothing new.
        let _ = self.signals.try_send(name.to_owned());
    }

    /// The client closed the channel.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Whether its task is over.
    pub(super) fn is_over(&self) -> bool {
        self.closed.is_cancelled()
    }
}
