//! The settings of single parts: listeners, database, links, starts, watching, drain, flow, log.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::approval::Approval;
use super::certificates::Certificates;
use super::reader::Section;
use crate::domain::network::Network;

/// Where the gateway listens for SSH, how it is called, and how much of it one client gets.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The name that people give to `ssh`.
    pub public_host: String,
    /// The port that people give to `ssh`; without one, the port that is listened on.
    pub public_port: Option<u16>,
    /// What marks a jump host as a space: `my-space.spaces`.
    pub jump_suffix: String,
    /// How long a client has to prove who it is.
    pub login_grace: Duration,
    /// Connections that have not logged in yet, over all clients.
    pub max_startups: u32,
    /// Connections that have not logged in yet, from one address.
    pub max_startups_per_source: u32,
    /// Key exchanges that one address gets in a second; further ones wait for their turn.
    pub handshakes_per_s_per_source: u32,
    /// Failed logins, from one address or as one name, after which refusals are held back.
    pub failures_free: u32,
    /// The longest that a refusal is held back.
    pub backoff_longest: Duration,
    /// Load balancers that say in a PROXY header for whom they connect.
    pub proxy_protocol_from: Vec<Network>,
    /// Connections in all.
    pub max_connections: u32,
    /// Channels on one connection.
    pub max_channels_per_connection: u32,
    /// Whose certificates are taken.
    pub certificates: Certificates,
    /// Whether a browser may approve a key.
    pub approval: Approval,
}

impl Ssh {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let listen = listen(&mut section, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 22));
        let instead = "write the name that people give to ssh";
        // Only on one machine is there a name that cannot be wrong.
        let public_host = if listen.ip().is_loopback() && !section.has("public_host") {
            section.parsed("public_host", instead).or_else(|| Some(HostName("localhost".to_owned())))
        } else {
            section.required("public_host", instead)
        };
        let public_host = public_host.map_or_else(String::new, |host: HostName| host.0);
        let settings = Self {
            listen,
            public_host,
            public_port: section.port("public_port"),
            jump_suffix: section
                .parsed::<HostName>("jump_suffix", "write a word such as \"spaces\"")
                .map_or_else(|| "spaces".to_owned(), |suffix| suffix.0),
            // As OpenSSH's LoginGraceTime.
            login_grace: section.seconds("login_grace_s", 5..=600, 120),
            max_startups: section.count("max_startups", 1..=10_000, 100),
            max_startups_per_source: section.count("max_startups_per_source", 1..=10_000, 20),
            handshakes_per_s_per_source: section.count("handshakes_per_s_per_source", 1..=1_000, 10),
            failures_free: section.count("failures_free", 0..=1_000, 10),
            backoff_longest: section.seconds("backoff_longest_s", 0..=60, 5),
            proxy_protocol_from: section
                .list("proxy_protocol_from", "write a network such as \"10.0.0.0/8\""),
            max_connections: section.count("max_connections", 1..=100_000, 2_000),
            max_channels_per_connection: section.count("max_channels_per_connection", 1..=1_000, 64),
            certificates: Certificates::read(section.section("certificates")),
            approval: Approval::read(section.section("approval")),
        };
        section.finish();
        settings
    }
}

/// Where health and metrics are served: never where people connect.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Where to listen.
    pub listen: SocketAddr,
}

impl Ops {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let listen = listen(&mut section, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464));
        section.finish();
        Self { listen }
    }
}

/// Postgres.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where it is; without one, the server starts its own.
    pub url: Option<SecretString>,
    /// Where `initdb` and `postgres` are, if not where packages put them.
    pub postgres_bin: Option<PathBuf>,
    /// How long a replica that fell silent counts as alive; at its end its rows are closed.
    pub lease_s: u32,
}

impl Database {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let instead = "write postgres://USER@HOST/DATABASE";
        let url = section.text("url", instead);
        let scheme_ok = |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if url.as_ref().is_some_and(|url| !scheme_ok(url)) {
            section.fault("url", None, "it is not the address of a Postgres database", instead);
        }
        let instead = "write the directory that holds initdb and postgres";
        let postgres_bin = section.text("postgres_bin", instead).map(PathBuf::from);
        let lease_s = section.count("lease_s", 3..=600, 30);
        section.finish();
        Self { url: url.map(SecretString::from), postgres_bin, lease_s }
    }
}

/// Links and streams.
#[derive(Debug, Clone)]
pub struct Links {
    /// How long a link stays after its last channel.
    pub linger: Duration,
    /// How long the streams of a replica that died may still count at AWS.
    pub doubtful: Duration,
}

impl Links {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let settings = Self {
            linger: section.seconds("linger_s", 0..=3_600, 120),
            // AWS ends a stream that nobody uses after an hour at most.
            doubtful: section.seconds("doubtful_s", 60..=43_200, 3_600),
        };
        section.finish();
        settings
    }
}

/// Starting and changing spaces.
#[derive(Debug, Clone)]
pub struct Start {
    /// How long an app may take until it is in service.
    pub app_timeout: Duration,
    /// How long an app that is in service may take until it can be reached.
    pub register_timeout: Duration,
    /// How long a changed space may take until it can be started.
    pub change_timeout: Duration,
    /// How often a space that starts or changes is looked at.
    pub poll: Duration,
}

impl Start {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let settings = Self {
            app_timeout: section.seconds("app_timeout_s", 30..=3_600, 600),
            register_timeout: section.seconds("register_timeout_s", 1..=900, 180),
            change_timeout: section.seconds("change_timeout_s", 10..=900, 150),
            poll: section.seconds("poll_s", 1..=60, 5),
        };
        section.finish();
        settings
    }
}

/// Watching domains.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Between two listings of a domain, by one replica for all.
    pub every: Duration,
}

impl Watch {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let settings = Self { every: section.seconds("every_s", 1..=600, 60) };
        section.finish();
        settings
    }
}

/// Shutting down.
#[derive(Debug, Clone)]
pub struct Drain {
    /// How long sessions may go on after the signal.
    pub deadline: Duration,
}

impl Drain {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let settings = Self { deadline: section.seconds("deadline_s", 0..=86_400, 300) };
        section.finish();
        settings
    }
}

/// How much memory the bytes between client and space may take.
#[derive(Debug, Clone)]
pub struct Flow {
    /// The window that a channel's client gets while nobody stalls.
    pub window_bytes: u32,
    /// Above this, a channel's queue counts as stalled.
    pub stalled_above_bytes: usize,
    /// Below this, it no longer does.
    pub stalled_below_bytes: usize,
    /// The most that one channel may queue; a client that sends on is cut off.
    pub channel_cap_bytes: usize,
    /// The most that one connection may queue; above it, its longest queue without progress is cut off.
    pub connection_cap_bytes: usize,
    /// The most that all channels of the process may queue.
    pub process_cap_bytes: usize,
    /// What a space may have sent to one slow reader before it waits on disk.
    pub output_memory_bytes: usize,
    /// The most of it that may wait on disk for one channel; above it, the channel is cut off.
    pub output_disk_bytes: u64,
    /// The most that may wait on disk for all channels of the process.
    pub process_disk_bytes: u64,
    /// How long a client's socket may take nothing while bytes wait for it.
    pub write_timeout: Duration,
}

impl Flow {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let mut bytes = |key, limits, default| section.count(key, limits, default) as usize;
        let stalled_above_bytes = bytes("stalled_above_bytes", 65_536..=67_108_864, 524_288);
        let stalled_below_bytes = bytes("stalled_below_bytes", 32_768..=33_554_432, 262_144);
        let channel_cap_bytes = bytes("channel_cap_bytes", 1_048_576..=268_435_456, 16_777_216);
        let connection_cap_bytes = bytes("connection_cap_bytes", 1_048_576..=1_073_741_824, 67_108_864);
        let process_cap_bytes = bytes("process_cap_bytes", 16_777_216..=u32::MAX, 1_073_741_824);
        let output_memory_bytes = bytes("output_memory_bytes", 65_536..=67_108_864, 1_048_576);
        let output_disk_bytes = bytes("output_disk_bytes", 1_048_576..=u32::MAX, 268_435_456) as u64;
        let process_disk_bytes = bytes("process_disk_bytes", 1_048_576..=u32::MAX, 2_147_483_648) as u64;
        if stalled_below_bytes >= stalled_above_bytes {
            let instead = "write less than flow.stalled_above_bytes";
            let shown = stalled_below_bytes.to_string();
            section.fault(
                "stalled_below_bytes",
                Some(&shown),
                "a stalled channel would never recover",
                instead,
            );
        }
        if connection_cap_bytes < channel_cap_bytes {
            let instead = "write at least flow.channel_cap_bytes";
            let shown = connection_cap_bytes.to_string();
            section.fault(
                "connection_cap_bytes",
                Some(&shown),
                "one channel could never reach its own cap",
                instead,
            );
        }
        if process_disk_bytes < output_disk_bytes {
            let instead = "write at least flow.output_disk_bytes";
            let shown = process_disk_bytes.to_string();
            section.fault(
                "process_disk_bytes",
                Some(&shown),
                "one channel could never reach its own share",
                instead,
            );
        }
        let settings = Self {
            window_bytes: section.count("window_bytes", 65_536..=67_108_864, 2_097_152),
            stalled_above_bytes,
            stalled_below_bytes,
            channel_cap_bytes,
            connection_cap_bytes,
            process_cap_bytes,
            output_memory_bytes,
            output_disk_bytes,
            process_disk_bytes,
            write_timeout: section.seconds("write_timeout_s", 10..=3_600, 180),
        };
        section.finish();
        settings
    }
}

/// Logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,spaceport::gateway=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Log {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = section.word("format", &words, LogFormat::Text);
        let instead = "write a level such as \"info\", or directives such as \"info,spaceport=debug\"";
        let level = section.parsed::<Directives>("level", instead);
        section.finish();
        Self { format, level: level.map_or_else(|| "info".to_owned(), |level| level.0) }
    }
}

struct Directives(String);

impl FromStr for Directives {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        tracing_subscriber::EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// The name of a host, without a port.
struct HostName(String);

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
        };
        let is_name = text.len() <= 253 && text.split('.').all(label_ok);
        if is_name || text.parse::<IpAddr>().is_ok() {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("it is not the name of a host")
        }
    }
}

pub(super) fn listen(section: &mut Section<'_>, default: SocketAddr) -> SocketAddr {
    let instead =
        format!("write an address and a port, such as \"{default}\", or a port alone, such as \":2222\"");
    section.parsed::<Listen>("listen", &instead).map_or(default, |listen| listen.0)
}

/// An address to listen on; `:22` is every IPv4 address, `[::]:22` every one of either kind.
struct Listen(SocketAddr);

impl FromStr for Listen {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let port_alone = text.strip_prefix(':').and_then(|port| port.parse().ok());
        port_alone
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
            .or_else(|| text.parse().ok())
            .map(Self)
            .ok_or(NoAddress)
    }
}

struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not an address to listen on")
    }
}
