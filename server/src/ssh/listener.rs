//! The accept loop, and what it reports of those who were not let in.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::admission::Admission;
use super::shared_port::Arrival;
use super::{Shared, connection, messages, proxy};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::ConnectionId;
use crate::domain::refusals::Report;
use crate::telemetry::metrics::CONNECTIONS_REFUSED;

/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause after a failed accept: file descriptors come back within that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often gathered refusals are looked through.
const REPORTS: Duration = Duration::from_secs(10);

/// Takes connections, from a shared port too, until told to drain; each gets a task.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    mut arrivals: mpsc::Receiver<Arrival>,
    tasks: &TaskTracker,
    drain: &CancellationToken,
    end: &CancellationToken,
) {
    let settings = &shared.settings;
    let door = Admission::new(settings.max_startups as usize, settings.max_startups_per_source as usize);
    let door = Arc::new(door);
    let places = Arc::new(Semaphore::new(settings.max_connections as usize));
    let mut pause = PAUSE;
    loop {
        // The place comes first: while there is none, newcomers wait in the kernel's queue.
        let next = async {
            let held = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            tokio::select! {
                accepted = listener.accept() => {
                    accepted.map(|(stream, from)| (held, Arrival { stream, from, introduced: false }))
                }
                Some(arrival) = arrivals.recv() => Ok((held, arrival)),
            }
        };
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            () = end.cancelled() => return,
            accepted = next => accepted,
        };
        let (held, arrival) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, pause_ms = pause.as_millis() as u64, "no connection could be accepted");
                shared.clock.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = PAUSE;
        let (shared, door, drain, end) = (shared.clone(), door.clone(), drain.clone(), end.clone());
        tasks.spawn(async move {
            let Arrival { stream, from, introduced: known } = arrival;
            let known = if known {
                Some((stream, from))
            } else {
                end.run_until_cancelled(introduced(&shared, stream, from)).await.flatten()
            };
            if let Some((stream, client)) = known {
                match door.admit(client.ip(), shared.clock.elapsed()) {
                    Some(place) => connection::serve(shared, stream, client, place, drain, end).await,
                    None => turn_away(&stream, client, "max_startups"),
                }
            }
            drop(held);
        });
    }
}

/// The connection with the address of its client, which a load balancer says first if the configuration lists it.
/// What others send is never taken for a header.
pub(super) async fn introduced(
    shared: &Shared,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, SocketAddr)> {
    if !shared.settings.proxy_protocol_from.iter().any(|network| network.contains(peer.ip())) {
        return Some((stream, peer));
    }
    match proxy::client(&mut stream, peer, &*shared.clock).await {
        Ok(client) => Some((stream, client)),
        Err(error) => {
            metrics::counter!(CONNECTIONS_REFUSED, "reason" => "proxy_header").increment(1);
            info!(proxy.address = %peer.ip(), %error, "a load balancer did not say for whom it connects");
            None
        }
    }
}

/// Says why in a line that clients show when asked for details, and hangs up.
pub(super) fn turn_away(stream: &TcpStream, peer: SocketAddr, reason: &'static str) {
    metrics::counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
    debug!(client.address = %peer.ip(), reason, "too many connections");
    // A line before the version is allowed (RFC 4253 section 4.2). A full socket buffer is no reason to wait.
    let _ = stream.try_write(messages::CROWDED.as_bytes());
}

/// Reports gathered refusals now and then, until the last connection is over.
pub(super) async fn keep_reporting(shared: &Shared, over: CancellationToken) {
    loop {
        tokio::select! {
            () = over.cancelled() => break,
            () = shared.clock.sleep(REPORTS) => report_refusals(shared, false).await,
        }
    }
    report_refusals(shared, true).await;
}

/// Writes the audit rows of refusals that were gathered.
async fn report_refusals(shared: &Shared, all: bool) {
    let now = shared.clock.elapsed();
    let due = shared.refusals.lock().unwrap_or_else(PoisonError::into_inner).due(now, all);
    for report in due {
        audit_refusal(shared, report, None).await;
    }
}

/// Writes one audit row of refused logins.
pub(super) async fn audit_refusal(shared: &Shared, report: Report, connection: Option<ConnectionId>) {
    let called = report.address.map_or_else(|| "many addresses".to_owned(), |address| address.to_string());
    let detail = serde_json::json!({
        "address": report.address,
        "count": report.count,
        "logins": report.tried,
        "keys": report.keys,
        "why": report.why,
    });
    let event = AuditEvent::refused(None, &called, "auth.refused", detail).within(None, connection);
    shared.gateway.audit(event).await;
}
