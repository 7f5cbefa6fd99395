//! What a space opens towards the client: its agent, and connections to remotely forwarded ports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::ChannelId;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Home, Live};
use super::input::Input;
use super::messages;
use super::relay;
use super::terminal::Terminal;
use crate::gateway::flow::Inbound;
use crate::gateway::{Incoming, IncomingKind, OpenError};

/// How long a client's wish for a remote forward may hold its connection up: the answer cannot come later.
const ANSWER: Duration = Duration::from_secs(5);

/// Channels that we opened and the client confirmed. The confirmation arrives in the handler, which must register
/// the queue before any byte can follow; the task that asked for the channel picks it up here.
#[derive(Default)]
pub(super) struct Arrivals {
    waiting: Mutex<HashMap<ChannelId, (Inbound, CancellationToken)>>,
    changed: Notify,
}

impl Arrivals {
    pub(super) fn put(&self, id: ChannelId, inbound: Inbound, closed: CancellationToken) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (inbound, closed));
        self.changed.notify_waiters();
    }

    async fn take(&self, id: ChannelId) -> (Inbound, CancellationToken) {
        loop {
            // Made before the look, so that nothing is missed between the two.
            let changed = self.changed.notified();
            let arrived = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(arrived) = arrived {
                return arrived;
            }
            changed.await;
        }
    }
}

/// Hands what the space opens on to the client, as long as both are there.
pub(super) fn welcome(client: &Arc<Client>, live: &Arc<Live>) {
    let Some(mut incoming) = live.session.incoming() else { return };
    let (client, live) = (client.clone(), live.clone());
    client.tasks.clone().spawn(async move {
        loop {
            let next = tokio::select! {
                () = client.gone.cancelled() => None,
                next = incoming.recv() => next,
            };
            let Some(next) = next else { return };
            client.tasks.spawn(pass_on(client.clone(), live.clone(), next));
        }
    });
}

/// One channel from the space. Dropping it tells the space no.
async fn pass_on(client: Arc<Client>, live: Arc<Live>, incoming: Incoming) {
    let Some(slot) = client.slot() else { return };
    let opening = async {
        let channel = match &incoming.kind {
            IncomingKind::Agent => client.handle.channel_open_agent().await,
            IncomingKind::RemoteForward { address, port, originator } => {
                let (from, from_port) = originator;
                client.handle.channel_open_forwarded_tcpip(address, *port, from, *from_port).await
            }
        };
        let (read, write) = channel.ok()?.split();
        drop(read);
        let (inbound, closed) = client.arrivals.take(write.id()).await;
        Some((write, inbound, closed))
    };
    let opened = tokio::select! {
        () = client.gone.cancelled() => None,
        opened = opening => opened,
    };
    let Some((write, inbound, closed)) = opened else { return };
    let over = closed.clone().drop_guard();
    let _counted = live.channels.token();
    let terminal = Terminal::new(write, client.handle.clone(), None);
    let mut input = Input::new(inbound);
    let served = async {
        relay::relay(incoming.channel, &terminal, &mut input, None, &client, &live).await;
        // The client is gone anyway where this fails.
        let _ = terminal.close().await;
    };
    tokio::select! {
        () = closed.cancelled() => {}
        () = served => {}
    }
    drop((over, slot));
}

/// Asks the space to listen; answers the port.
///
/// SSH answers global requests in order and russh only inside this call, so it must be short. Where the space is not
/// up yet and the client named a port, the answer is yes and the listening follows once the space is up; if that
/// fails, the person is told.
pub(super) async fn forward(client: &Arc<Client>, address: &str, port: u32) -> Option<u32> {
    let (answer, answered) = oneshot::channel();
    client.tasks.spawn(listen(client.clone(), address.to_owned(), port, answer));
    tokio::select! {
        answer = answered => answer.ok().flatten(),
        // The task goes on and tells of a failure. A port of the space's choice cannot be told later.
        () = client.shared.clock.sleep(ANSWER) => (port != 0).then_some(port),
    }
}

async fn listen(client: Arc<Client>, address: String, port: u32, answer: oneshot::Sender<Option<u32>>) {
    tokio::select! {
        () = client.gone.cancelled() => {}
        () = listen_until_known(&client, &address, port, answer) => {}
    }
}

async fn listen_until_known(
    client: &Arc<Client>,
    address: &str,
    port: u32,
    answer: oneshot::Sender<Option<u32>>,
) {
    let Home::Space(live) = client.home().await else {
        let _ = answer.send(None);
        return;
    };
    let mut outcome = live.session.remote_forward(address, port).await;
    let mut answer = Some(answer);
    if matches!(outcome, Err(OpenError::NotRunning(_))) && port != 0 {
        let _ = answer.take().map(|answer| answer.send(Some(port)));
        client.reached.wait().await;
        outcome = live.session.remote_forward(address, port).await;
    }
    // Whoever no longer waits was given an answer by the clock: yes, or no for a port of the space's choice.
    let promised = match (answer, &outcome) {
        (Some(answer), Ok(port)) => answer.send(Some(*port)).is_err(),
        (Some(answer), Err(_)) => answer.send(None).is_err(),
        (None, _) => true,
    };
    let error = match outcome {
        Ok(bound) => {
            if promised && port == 0 {
                // The client was told no: nothing may listen. It would end with the session at the latest.
                let _ = live.session.cancel_remote_forward(address, bound).await;
            }
            return;
        }
        Err(error) => error,
    };
    tracing::info!(
        connection.id = %client.connection.id,
        session.id = %live.session.id(),
        reason = error.code(),
        error = ?error,
        "a remote forward was not opened"
    );
    if promised {
        let shared = &client.shared;
        let why = messages::open_failed(&error, live.space_name(), shared.clock.now(), &shared.address);
        client.asides.send_replace(Some(messages::no_remote_forward(address, port, &why)));
    }
}

/// Ends a remote forward, in the background: the client does not depend on it.
pub(super) fn cancel(client: &Arc<Client>, address: &str, port: u32) -> bool {
    let (client, address) = (client.clone(), address.to_owned());
    client.tasks.clone().spawn(async move {
        let cancelled = async {
            if let Home::Space(live) = client.home().await {
                // It ends with the session at the latest.
                let _ = live.session.cancel_remote_forward(&address, port).await;
            }
        };
        tokio::select! {
            () = client.gone.cancelled() => {}
            () = cancelled => {}
        }
    });
    true
}
