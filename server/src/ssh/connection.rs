//! One connection from its first byte to its last: the handshake's time limit, the client's life, the end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::Disconnect;
use russh::server::{RunningSession, run_stream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::admission::Place;
use super::auth::Login;
use super::client::Client;
use super::handler::Handler;
use super::messages::{self, Message};
use super::socket::{self, Cuttable, Greeting};
use super::{Shared, listener};
use crate::domain::approval::{ApprovalId, ApprovalState};
use crate::domain::ids::ConnectionId;
use crate::domain::network;
use crate::domain::refusals::Refusal;
use crate::gateway::flow::Windows;
use crate::telemetry::metrics::{CONNECTIONS, CONNECTIONS_REFUSED, LOGINS};

/// How long a client may take to let go after it was told to.
const LETTING_GO: Duration = Duration::from_secs(5);
/// Keys of a refused login that are remembered.
const KEYS: usize = 5;

/// Why a key was refused that belongs to nobody.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

/// What has been tried on a connection that has not authenticated.
#[derive(Default)]
pub(super) struct Attempts {
    refusal: Mutex<Refusal>,
    waiting: Mutex<Waiting>,
    /// Cancelled once it has asked for an approval: then it waits elsewhere than at the door.
    asked: CancellationToken,
}

/// What a connection waits for that asked for an approval.
#[derive(Default)]
struct Waiting {
    /// The approval, until its end is written down.
    approval: Option<ApprovalId>,
    /// Until when it may wait, in `Clock::elapsed`.
    until: Duration,
}

impl Attempts {
    /// Remembers a key that was refused.
    pub(super) fn note(&self, login: &str, key: String, why: &'static str) {
        let mut refusal = lock(&self.refusal);
        refusal.tried = messages::clean(login);
        // A client that tries a certificate and then its bare key is to hear of the certificate.
        if refusal.why.is_empty() || why != UNKNOWN_KEY {
            refusal.why = why;
        }
        if refusal.keys.len() < KEYS && !refusal.keys.contains(&key) {
            refusal.keys.push(key);
        }
    }

    /// The last key that was refused, and why.
    pub(super) fn last(&self) -> (Option<String>, &'static str) {
        let refusal = lock(&self.refusal);
        (refusal.keys.last().cloned(), refusal.why)
    }

    /// The client waits for an approval, until then at the longest.
    pub(super) fn wait_for(&self, approval: ApprovalId, until: Duration) {
        *lock(&self.waiting) = Waiting { approval: Some(approval), until };
        self.asked.cancel();
    }

    /// How the approval ended is written down.
    pub(super) fn settled(&self) {
        lock(&self.waiting).approval = None;
    }

    /// What to report, if anything was tried.
    fn take(&self) -> Option<Refusal> {
        let refusal = std::mem::take(&mut *lock(&self.refusal));
        (!refusal.keys.is_empty()).then_some(refusal)
    }
}

/// Why a connection never got past the door.
enum NotIn {
    /// Its client left, or spoke no SSH.
    Left(russh::Error),
    /// It took too long.
    Late,
    /// It waited long, and others from the same place wanted in.
    GaveWay,
    /// The gateway ends.
    Ending,
}

/// What a panicked holder leaves behind is still a count.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    drain: CancellationToken,
    end: CancellationToken,
) {
    let id = ConnectionId::generate();
    let address = peer.ip().to_canonical();
    if let Err(error) = stream.set_nodelay(true) {
        debug!(connection.id = %id, %error, "the socket keeps small packets back");
    }
    let windows = Windows::new(shared.flow.clone(), shared.budget.clone());
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    if let Err(error) = socket::watch(&stream) {
        debug!(connection.id = %id, %error, "nobody notices when the client vanishes");
    }
    let greeting = Arc::new(Greeting::default());
    let socket = windows.socket(Cuttable::new(stream, cut.clone(), greeting.clone()));
    let attempts = Arc::new(Attempts::default());
    let (welcome, welcomed) = oneshot::channel();
    let login = Login::new(shared.clone(), id, address, attempts.clone(), greeting);
    let handler = Handler::new(login, windows, welcome);
    let turn = lock(&shared.handshakes).wait(network::place(address), shared.clock.elapsed());
    let login = async {
        shared.clock.sleep(turn).await;
        let mut running = run_stream(shared.config.clone(), socket, handler).await.map_err(NotIn::Left)?;
        tokio::select! {
            biased;
            Ok(client) = welcomed => Ok((running, client)),
            over = &mut running => Err(NotIn::Left(over.err().unwrap_or(russh::Error::Disconnect))),
        }
    };
    let outcome: Result<(RunningSession<Handler>, Arc<Client>), NotIn> = tokio::select! {
        outcome = login => outcome,
        () = late(&shared, &attempts) => Err(NotIn::Late),
        () = gives_way(place, &attempts) => Err(NotIn::GaveWay),
        () = end.cancelled() => Err(NotIn::Ending),
        () = drain.cancelled() => Err(NotIn::Ending),
    };
    unanswered(&shared, address, &attempts).await;
    match outcome {
        Ok((running, client)) => attend(&client, running, &drain, &end).await,
        Err(why) => turned_away(&shared, id, address, attempts.take(), &why).await,
    }
}

/// Completes when a client has taken too long to log in. While it waits for an approval it has longer.
async fn late(shared: &Shared, attempts: &Attempts) {
    let grace = shared.clock.elapsed() + shared.settings.login_grace;
    loop {
        let until = lock(&attempts.waiting).until.max(grace);
        let left = until.saturating_sub(shared.clock.elapsed());
        if left.is_zero() {
            return;
        }
        shared.clock.sleep(left).await;
    }
}

/// Completes when a client is to give its place at the door to another. Once it waits for an approval, it has given it
/// up and taken one of those that are counted for that.
async fn gives_way(place: Place, attempts: &Attempts) {
    tokio::select! {
        () = place.gives_way.cancelled() => return,
        () = attempts.asked.cancelled() => drop(place),
    }
    std::future::pending::<()>().await;
}

/// Ends the approval that a client asked for and has not used.
async fn unanswered(shared: &Shared, address: std::net::IpAddr, attempts: &Attempts) {
    let Some(id) = lock(&attempts.waiting).approval.take() else { return };
    let because = "the client went away";
    if let Err(error) = shared.identity.end_approval(&id, address, ApprovalState::Left, because).await {
        warn!(approval.id = %id, %error, "the end of an approval was not written down");
    }
}

/// Stays with an authenticated client until its connection is over.
async fn attend(
    client: &Arc<Client>,
    mut running: RunningSession<Handler>,
    drain: &CancellationToken,
    end: &CancellationToken,
) {
    let connection = &client.connection;
    metrics::counter!(LOGINS, "outcome" => "accepted").increment(1);
    metrics::gauge!(CONNECTIONS).increment(1.0);
    info!(
        connection.id = %connection.id,
        user.name = %client.user.name,
        client.address = %connection.address,
        client.version = connection.client_version,
        key.fingerprint = connection.key_fingerprint,
        login = messages::clean(&client.login),
        "logged in"
    );
    let mut changes = client.shared.identity.changes();
    let over = loop {
        tokio::select! {
            over = &mut running => break over,
            words = client.asked_to_end() => break dismiss(client, &mut running, &words).await,
            () = end.cancelled() => {
                break dismiss(client, &mut running, &messages::closed_for_update()).await;
            }
            () = nothing_to_drain(client, drain) => {
                break dismiss(client, &mut running, &messages::closed_for_update()).await;
            }
            () = changes.next() => {
                if let Some(because) = client.must_go() {
                    client.expel(&because);
                }
            }
        }
    };
    client.leave().await;
    metrics::gauge!(CONNECTIONS).decrement(1.0);
    match over {
        Ok(()) => info!(connection.id = %connection.id, "connection over"),
        Err(error) => info!(connection.id = %connection.id, %error, "connection lost"),
    }
}

/// Completes in a drain once the client has no session that the drain should wait for. Cancel-safe.
async fn nothing_to_drain(client: &Client, drain: &CancellationToken) {
    drain.cancelled().await;
    client.home_so_far().await;
    if !client.is_idle() {
        // The end of its last session ends the connection.
        std::future::pending::<()>().await;
    }
}

/// Tells the client to go, and lets it; one that does not is cut off by whoever dropped its socket's token.
async fn dismiss(
    client: &Client,
    running: &mut RunningSession<Handler>,
    words: &Message,
) -> Result<(), russh::Error> {
    let goodbye = async {
        let told = client.handle.disconnect(Disconnect::ByApplication, words.one_line(), String::new()).await;
        match told {
            Ok(()) => running.await,
            Err(error) => Err(error),
        }
    };
    tokio::select! {
        over = goodbye => over,
        () = client.shared.clock.sleep(LETTING_GO) => Ok(()),
    }
}

/// Notes a connection that never authenticated.
async fn turned_away(
    shared: &Shared,
    id: ConnectionId,
    address: std::net::IpAddr,
    tried: Option<Refusal>,
    why: &NotIn,
) {
    match why {
        NotIn::Left(error) => debug!(connection.id = %id, client.address = %address, %error, "left"),
        NotIn::Late => {
            metrics::counter!(CONNECTIONS_REFUSED, "reason" => "login_grace").increment(1);
            info!(connection.id = %id, client.address = %address, "did not log in in time");
        }
        NotIn::GaveWay => {
            metrics::counter!(CONNECTIONS_REFUSED, "reason" => "gave_way").increment(1);
            info!(connection.id = %id, client.address = %address, "gave way to newcomers from the same place");
        }
        NotIn::Ending => {}
    }
    let Some(refusal) = tried else { return };
    metrics::counter!(LOGINS, "outcome" => "refused").increment(1);
    info!(
        connection.id = %id,
        client.address = %address,
        login = refusal.tried,
        keys = ?refusal.keys,
        reason = refusal.why,
        "login refused"
    );
    let now = shared.clock.elapsed();
    lock(&shared.backoff).failed(address, &refusal.tried, now);
    let report = lock(&shared.refusals).note(address, refusal, now);
    if let Some(report) = report {
        listener::audit_refusal(shared, report, Some(id)).await;
    }
}
