//! The record: what happens to sessions, channels, links and streams, as changes that may be applied twice.
//!
//! Each change carries its own ids and times, so that a spooled one can be replayed after an outage and lands
//! exactly where it would have landed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// How a session reaches its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `ssh SPACE@gateway`: the gateway terminates SSH.
    Session,
    /// `ssh -J gateway SPACE`: SSH end to end.
    Jump,
}

impl Mode {
    /// The word that rows keep.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Jump => "jump",
        }
    }
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A login shell.
    Shell,
    /// One command.
    Exec,
    /// The SFTP subsystem.
    Sftp,
    /// Another subsystem.
    Subsystem,
    /// `-L` or `-D`: a TCP connection inside the space.
    Forward,
    /// `-R`: a TCP connection from the space to the client.
    RemoteForward,
    /// The person's SSH agent.
    Agent,
    /// SSH end to end.
    Jump,
}

impl ChannelKind {
    /// The word that rows keep.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Sftp => "sftp",
            Self::Subsystem => "subsystem",
            Self::Forward => "forward",
            Self::RemoteForward => "remote_forward",
            Self::Agent => "agent",
            Self::Jump => "jump",
        }
    }
}

/// The beginning of a session: the one row that must be in Postgres before anything is opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStart {
    /// The session.
    pub session: Uuid,
    /// The replica that serves it.
    pub replica: Uuid,
    /// The user.
    pub user: Uuid,
    /// The space.
    pub space: Uuid,
    /// The connection.
    pub connection: Uuid,
    /// How it reaches the space.
    pub mode: Mode,
    /// Where the client connects from.
    pub client_address: IpAddr,
    /// The client's SSH version line.
    pub client_version: String,
    /// `SHA256:…` of the key that signed.
    pub key_fingerprint: String,
    /// When the connection was authenticated.
    pub at: OffsetDateTime,
}

/// One change of the record. Every one is idempotent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A link was opened to a space.
    LinkOpened {
        /// The link.
        link: Uuid,
        /// The replica.
        replica: Uuid,
        /// The user; nothing for a look inside.
        user: Option<Uuid>,
        /// The space.
        space: Uuid,
        /// `interactive`, `bulk`, `private` or `probe`.
        purpose: String,
        /// When.
        at: OffsetDateTime,
    },
    /// A link ended.
    LinkClosed {
        /// The link.
        link: Uuid,
        /// When.
        at: OffsetDateTime,
        /// Why, in words.
        reason: String,
    },
    /// A stream was opened.
    StreamOpened {
        /// The stream.
        stream: Uuid,
        /// The replica.
        replica: Uuid,
        /// The user it acts for; nothing for a look inside.
        user: Option<Uuid>,
        /// The space.
        space: Uuid,
        /// The link it carries; nothing for a jump.
        link: Option<Uuid>,
        /// Session Manager's id of the session.
        aws_session_id: String,
        /// STS's `AssumedRoleId` or ARN of the role session.
        role_session: String,
        /// The request id of `StartSession`.
        request_id: Option<String>,
        /// When.
        at: OffsetDateTime,
    },
    /// A stream ended.
    StreamClosed {
        /// The stream.
        stream: Uuid,
        /// When.
        at: OffsetDateTime,
        /// Why, in words.
        reason: String,
    },
    /// A channel was opened.
    ChannelOpened {
        /// The channel.
        channel: Uuid,
        /// Its session.
        session: Uuid,
        /// The stream it runs on.
        stream: Uuid,
        /// The replica.
        replica: Uuid,
        /// What it is for.
        kind: ChannelKind,
        /// The command, the subsystem or `host:port`; cut at 1,024 characters, control characters escaped.
        detail: Option<String>,
        /// Whether it has a pty.
        pty: bool,
        /// When.
        at: OffsetDateTime,
    },
    /// A channel ended.
    ChannelClosed {
        /// The channel.
        channel: Uuid,
        /// When.
        at: OffsetDateTime,
        /// Bytes from the client to the space.
        bytes_in: u64,
        /// Bytes from the space to the client.
        bytes_out: u64,
        /// Exit status, where there was one.
        exit_status: Option<u32>,
        /// Why it ended, where that was not the command's end.
        reason: Option<String>,
    },
    /// What a live session has moved so far; only ever grows.
    SessionBytes {
        /// The session.
        session: Uuid,
        /// Bytes from the client to the space.
        bytes_in: u64,
        /// Bytes from the space to the client.
        bytes_out: u64,
    },
    /// A session ended; its audit row is written with it.
    SessionEnded {
        /// The session.
        session: Uuid,
        /// When.
        at: OffsetDateTime,
        /// `EndReason::code`.
        code: String,
        /// `EndReason` in words.
        reason: String,
        /// Bytes from the client to the space.
        bytes_in: u64,
        /// Bytes from the space to the client.
        bytes_out: u64,
        /// The audit row's id.
        audit: Uuid,
    },
    /// An audit row.
    Audit {
        /// Its id.
        audit: Uuid,
        /// When.
        at: OffsetDateTime,
        /// The replica.
        replica: Uuid,
        /// Who did it, where a user is known.
        actor: Option<Uuid>,
        /// How the actor was called.
        actor_name: String,
        /// The space it was about.
        space: Option<Uuid>,
        /// The session it belongs to.
        session: Option<Uuid>,
        /// The connection it belongs to.
        connection: Option<Uuid>,
        /// The kind, dotted.
        kind: String,
        /// Whether it was allowed.
        allowed: Option<bool>,
        /// Details.
        detail: serde_json::Value,
    },
}
