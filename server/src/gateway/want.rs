//! What clients ask for, and what they are told meanwhile: the words between `ssh` and the gateway.

use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

use super::channel::Channel;
use super::link::Pty;
use crate::domain::ids::ConnectionId;
use crate::domain::record::ChannelKind;
use crate::domain::space::SpaceState;
use crate::domain::start::StartStep;
use crate::domain::user::User;

/// An authenticated SSH connection of a client.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its id, which ties audit rows and log lines together.
    pub id: ConnectionId,
    /// Where it comes from.
    pub address: IpAddr,
    /// The client's version line.
    pub client_version: String,
    /// `SHA256:…` of the key that signed.
    pub key_fingerprint: String,
    /// When it was authenticated.
    pub authenticated_at: OffsetDateTime,
}

/// Who asks something about a space, and from where: over SSH or on a page.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The person.
    pub user: &'a User,
    /// The SSH connection, if it came over one.
    pub connection: Option<ConnectionId>,
    /// Where they are.
    pub address: IpAddr,
}

impl<'a> Asker<'a> {
    /// Somebody who asks over SSH.
    #[must_use]
    pub const fn over(connection: &Connection, user: &'a User) -> Self {
        Self { user, connection: Some(connection.id), address: connection.address }
    }

    /// Somebody who asks on a page.
    #[must_use]
    pub const fn on_page(user: &'a User, address: IpAddr) -> Self {
        Self { user, connection: None, address }
    }
}

/// How a start is getting on, for whoever waits. `ssh` renders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What the space was when the person came.
    pub from: SpaceState,
    /// What it will run on, once known.
    pub instance_type: Option<String>,
    /// Where the start is.
    pub step: StartStep,
    /// `Clock::elapsed` at the beginning.
    pub since: Duration,
}

/// What a client wants a channel for.
#[derive(Debug, Clone)]
pub struct Want {
    /// The channel's kind and what it needs.
    pub purpose: Purpose,
    /// The pty, if asked for.
    pub pty: Option<Pty>,
    /// Environment variables that the client sent.
    pub env: Vec<(String, String)>,
    /// Whether the client forwards its agent.
    pub agent: bool,
}

/// What a channel is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// A login shell.
    Shell,
    /// One command, byte for byte.
    Exec(Vec<u8>),
    /// A subsystem.
    Subsystem(String),
    /// A TCP connection inside the space.
    Forward {
        /// The host as the space knows it.
        host: String,
        /// The port.
        port: u16,
        /// The client's word for where it comes from.
        originator: (String, u16),
    },
}

/// Whether a space that is not up is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    Never,
    /// Not if its last run was stopped for idleness.
    UnlessIdled,
    Always,
}

impl Purpose {
    /// The word that the channel's row keeps.
    pub(super) fn kind(&self) -> ChannelKind {
        match self {
            Self::Shell => ChannelKind::Shell,
            Self::Exec(_) => ChannelKind::Exec,
            Self::Subsystem(name) if name == "sftp" => ChannelKind::Sftp,
            Self::Subsystem(_) => ChannelKind::Subsystem,
            Self::Forward { .. } => ChannelKind::Forward,
        }
    }

    /// What the channel's row keeps beside its kind.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Shell => None,
            Self::Exec(command) => Some(printable(&String::from_utf8_lossy(command))),
            Self::Subsystem(name) => Some(printable(name)),
            Self::Forward { host, port, .. } => Some(printable(&format!("{host}:{port}"))),
        }
    }

    /// Whether a stopped space is started for it: a person waits for a shell or a command, whereas forwards come by
    /// themselves, from an editor that was left open. So do its commands when it reconnects, without a terminal: they
    /// leave a space alone that was stopped for idleness.
    pub(super) const fn starts(&self, terminal: bool) -> Starts {
        match self {
            Self::Forward { .. } => Starts::Never,
            _ if terminal => Starts::Always,
            _ => Starts::UnlessIdled,
        }
    }
}

/// Characters that a row keeps of what clients write.
const DETAIL_CHARS: usize = 1024;

/// Text from a client for a row: control characters escaped, cut to [`DETAIL_CHARS`].
pub(super) fn printable(text: &str) -> String {
    let mut kept = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == DETAIL_CHARS {
            break;
        }
        if c.is_control() { kept.extend(c.escape_default()) } else { kept.push(c) }
    }
    match kept.char_indices().nth(DETAIL_CHARS) {
        Some((end, _)) => kept.get(..end).unwrap_or_default().to_owned(),
        None => kept,
    }
}

/// Something that the space opened towards the client.
pub struct Incoming {
    /// What it is.
    pub kind: IncomingKind,
    /// The channel.
    pub channel: Channel,
}

/// What the space opened.
#[derive(Debug, Clone)]
pub enum IncomingKind {
    /// A connection to the person's agent.
    Agent,
    /// A connection to a remotely forwarded port.
    RemoteForward {
        /// The address that listened.
        address: String,
        /// The port that listened.
        port: u32,
        /// Who connected.
        originator: (String, u32),
    },
}

/// A word to everybody in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The gateway drains; sessions end at this time.
    Draining(OffsetDateTime),
    /// A minute is left.
    LastMinute,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_is_made_printable_and_cut() {
        assert_eq!(printable("ls\t-l\r\n\u{1b}[2J"), "ls\\t-l\\r\\n\\u{1b}[2J");
        assert_eq!(printable("é"), "é");
        assert_eq!(printable(&"x".repeat(5000)).len(), 1024);
        assert_eq!(printable(&"\u{1}".repeat(5000)).chars().count(), 1024);
    }

    #[test]
    fn only_forwards_leave_a_stopped_space_alone() {
        assert_eq!(Purpose::Shell.starts(true), Starts::Always);
        assert_eq!(Purpose::Shell.starts(false), Starts::UnlessIdled);
        assert_eq!(Purpose::Exec(b"true".to_vec()).starts(true), Starts::Always);
        assert_eq!(Purpose::Exec(b"true".to_vec()).starts(false), Starts::UnlessIdled);
        assert_eq!(Purpose::Subsystem("sftp".to_owned()).starts(false), Starts::UnlessIdled);
        let forward = Purpose::Forward { host: "h".to_owned(), port: 1, originator: ("o".to_owned(), 2) };
        assert_eq!(forward.starts(true), Starts::Never);
        assert_eq!(forward.detail().as_deref(), Some("h:1"));
    }
}
