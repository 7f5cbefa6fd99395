//! SSH towards clients: the listener, authentication, target names, channels, and wording for terminals.
//!
//! russh's handler answers at once and hands each channel to a task of its own; that task talks to the
//! [`gateway`](crate::gateway) and relays bytes. What is *not* here: who people are (`identity`), what they may do
//! (`domain::access`), spaces, links and records (`gateway`).
//!
//! Exit statuses that the gateway itself gives: 1 for a refusal, 130 for a wait that was interrupted, and 255, like
//! `ssh` itself, where the way to the space failed or was taken away.

mod admission;
mod algorithms;
mod auth;
mod backoff;
mod channel;
mod client;
mod command;
mod connection;
mod forward;
mod handler;
mod input;
mod listener;
mod messages;
mod opening;
mod progress;
mod proxy;
mod relay;
mod remote;
mod request;
mod shared_port;
mod slots;
mod socket;
mod target;
mod terminal;
pub mod told;
mod words;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PrivateKey;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::Admission;
use self::backoff::{Backoff, Pace};
use self::shared_port::Arrival;
pub use self::shared_port::SharedPort;
use crate::config;
use crate::domain::ports::Clock;
use crate::domain::rate::Turns;
use crate::domain::refusals::Refusals;
use crate::gateway::Gateway;
use crate::gateway::flow::{FlowLimits, ProcessBudget};
use crate::identity::Identity;
use crate::identity::certificates::Certificates;

/// How people reach this gateway: what messages tell them to type.
#[derive(Debug, Clone)]
pub struct Address {
    /// The name that they give to ssh.
    pub host: String,
    /// The port that they give to ssh.
    pub port: u16,
    /// Where people sign in, if there are pages.
    pub pages: Option<String>,
}

/// What the SSH server is made of.
pub struct Parts {
    /// Where spaces come from.
    pub gateway: Gateway,
    /// Who people are.
    pub identity: Identity,
    /// Whose certificates are taken.
    pub certificates: Certificates,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How it is called, and how much it takes on.
    pub settings: config::Ssh,
    /// How people reach this gateway.
    pub address: Address,
    /// Flow control of each connection.
    pub flow: FlowLimits,
    /// The memory that all connections share.
    pub budget: ProcessBudget,
    /// The host keys, the same on every replica.
    pub host_keys: Vec<PrivateKey>,
}

/// The SSH server.
pub struct Ssh {
    shared: Arc<Shared>,
    /// Who comes in at a port that is shared with the pages.
    arrivals: (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>),
}

/// What every connection needs.
struct Shared {
    gateway: Gateway,
    identity: Identity,
    certificates: Certificates,
    clock: Arc<dyn Clock>,
    address: Address,
    settings: config::Ssh,
    flow: FlowLimits,
    budget: ProcessBudget,
    config: Arc<russh::server::Config>,
    refusals: Mutex<Refusals>,
    backoff: Mutex<Backoff>,
    handshakes: Mutex<Turns<IpAddr>>,
    /// Places for clients that wait for an approval.
    approvals: Admission,
}

impl Ssh {
    /// Puts a server together; it does nothing until it is told to [`serve`](Self::serve).
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { gateway, identity, certificates, clock, settings, address, flow, budget, host_keys } =
            parts;
        let pace = Pace { free: settings.failures_free, longest: settings.backoff_longest };
        let handshakes = Turns::new(settings.handshakes_per_s_per_source, Duration::from_secs(1));
        let approvals = Admission::patient(
            settings.approval.max_pending as usize,
            settings.approval.max_pending_per_source as usize,
        );
        let config = algorithms::server_config(
            host_keys,
            settings.login_grace + auth::LONGEST_APPROVAL,
            identity.approves_without_key(),
        );
        let shared = Shared {
            gateway,
            identity,
            certificates,
            clock,
            address,
            settings,
            flow,
            budget,
            config: Arc::new(config),
            refusals: Mutex::default(),
            backoff: Mutex::new(Backoff::new(pace)),
            handshakes: Mutex::new(handshakes),
            approvals,
        };
        Self { shared: Arc::new(shared), arrivals: mpsc::channel(shared_port::QUEUE) }
    }

    /// A way in for a listener that takes clients of others too. Whom it lets in is served like everybody else.
    #[must_use]
    pub fn shared_port(&self) -> SharedPort {
        SharedPort { shared: self.shared.clone(), arrivals: self.arrivals.0.clone() }
    }

    /// Serves a listener. Once `drain` is cancelled no connection is taken any more, and those end that have no
    /// session; once `end` is cancelled all end. Returns when the last one has.
    pub async fn serve(self, listener: TcpListener, drain: CancellationToken, end: CancellationToken) {
        let Self { shared, arrivals: (_open, arrivals) } = self;
        let over = CancellationToken::new();
        let served = async {
            let connections = TaskTracker::new();
            listener::accept(&shared, &listener, arrivals, &connections, &drain, &end).await;
            drop(listener);
            connections.close();
            connections.wait().await;
            over.cancel();
        };
        tokio::join!(served, listener::keep_reporting(&shared, over.clone()));
    }
}
