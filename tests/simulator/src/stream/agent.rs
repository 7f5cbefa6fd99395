//! The agent in a space: handshake, reliable delivery, and the TCP connection to the SSH server. It behaves as AWS's does,
//! its peculiarities included; a client has to cope with them.

mod outgoing;
mod port;
mod receiver;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::outgoing::Outgoing;
use self::receiver::Receiver;
use super::behaviour::Order;
use super::clock::now_ms;
use super::frame::payload;
use super::room::{Ending, Inbound, Room};
use super::words;

/// What the parts of an agent share.
pub(super) struct Agent {
    room: Arc<Room>,
    outgoing: Outgoing,
    ssh: SocketAddr,
    started: Instant,
    /// Cancelled when the handshake is complete.
    complete: CancellationToken,
}

/// Runs the agent of a session until the session is over by its own doing, and says how.
pub(crate) async fn run(room: Arc<Room>, inbox: mpsc::Receiver<Inbound>, ssh: SocketAddr) -> Ending {
    if !room.options.agent_connect.is_zero() {
        tokio::time::sleep(room.options.agent_connect).await;
        room.agent_connected();
    }
    let orders = room.behaviour.take_orders();
    let agent = Agent {
        outgoing: Outgoing::new(Arc::clone(&room)),
        room,
        ssh,
        started: Instant::now(),
        complete: CancellationToken::new(),
    };
    let (writer_in, writer) = oneshot::channel();
    tokio::select! {
        ending = Receiver::new(&agent, writer).run(inbox) => ending,
        ending = agent.port(writer_in) => ending,
        ending = agent.handshake() => ending,
        () = agent.outgoing.resend() => Ending::with(""),
        () = agent.obey(orders) => Ending::with(""),
    }
}

impl Agent {
    /// Offers the handshake and ends the session if it is not answered in time.
    async fn handshake(&self) -> Ending {
        let room = &self.room;
        room.relay_down(words::agent_state(&room.session_id, now_ms()).encode()).await;
        let habits = room.behaviour.habits();
        if habits.never_handshake {
            return std::future::pending().await;
        }
        if habits.no_handshake {
            self.complete.cancel();
            return std::future::pending().await;
        }
        self.request_handshake().await;
        match tokio::time::timeout(room.options.handshake_timeout, self.complete.cancelled()).await {
            Err(_) => Ending::with(
                "Encountered error while initiating handshake. Handshake timed out. \
                 Please ensure that you have the latest version of the session manager plugin.",
            ),
            Ok(()) => std::future::pending().await,
        }
    }

    async fn request_handshake(&self) {
        let body = words::handshake_request(&self.room.options.agent_version, self.ssh.port());
        self.outgoing.send(payload::HANDSHAKE_REQUEST, body).await;
    }

    /// Ends the handshake. The mark is set before the message goes out: on a network the round trip hides the other order,
    /// on loopback a client could lose its first bytes by it.
    async fn complete_handshake(&self) {
        self.complete.cancel();
        self.outgoing
            .send(payload::HANDSHAKE_COMPLETE, words::handshake_complete(self.started.elapsed()))
            .await;
        if self.room.behaviour.habits().handshake_twice {
            self.request_handshake().await;
        }
    }

    /// Does what faults order, as long as the session lives.
    async fn obey(&self, orders: Option<mpsc::Receiver<Order>>) {
        if let Some(mut orders) = orders {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::SkipSequence(by) => self.outgoing.skip(by),
                    Order::Send(payload_type, body) => self.outgoing.send(payload_type, body).await,
                }
            }
        }
        std::future::pending().await
    }
}
