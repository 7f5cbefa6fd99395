//! HTTP/1.1 for whoever comes through the doors (RFC 9112), with an end to whatever takes too long.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::doors::{Doors, Peer};

/// How long a client may take from one answer to the last line of its next request's headers.
const HEADERS: Duration = Duration::from_secs(60);
/// How long answers that are under way may take once the pages end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Serves until it is stopped, and then what has been asked.
pub(super) async fn serve(mut doors: Doors, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            guest = doors.next() => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    attend(guest.io, guest.peer, router, stop).await;
                    drop(guest.place);
                });
            }
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(doors);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS, all).await.is_err() {
        warn!(connections = connections.len(), "answers that nobody took are cut off: the pages end");
    }
}

/// Answers the requests of one connection.
async fn attend(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "a browser's connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    fn served(stop: &CancellationToken) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(4_096);
        let router = Router::new()
            .route("/", get(|ConnectInfo(Peer(peer)): ConnectInfo<Peer>| async move { peer.to_string() }));
        let peer = Peer("192.0.2.7:4321".parse().unwrap());
        (client, tokio::spawn(attend(server, peer, router, stop.clone())))
    }

    async fn rest(mut client: DuplexStream) -> String {
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_ends_in_its_time() {
        let begun = Instant::now();
        let (mut client, attending) = served(&CancellationToken::new());
        client.write_all(b"GET / HTTP/1.1\r\nhost: spaceport\r\n").await.unwrap();
        rest(client).await;
        attending.await.unwrap();
        assert_eq!(begun.elapsed(), HEADERS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_more_is_let_go() {
        let begun = Instant::now();
        let (mut client, attending) = served(&CancellationToken::new());
        client.write_all(b"GET / HTTP/1.1\r\nhost: spaceport\r\n\r\n").await.unwrap();
        let answer = rest(client).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("192.0.2.7:4321"), "{answer}");
        attending.await.unwrap();
        assert_eq!(begun.elapsed(), HEADERS);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_pages_waits_for_nobody_who_asks_nothing() {
        let stop = CancellationToken::new();
        let begun = Instant::now();
        let (client, attending) = served(&stop);
        stop.cancel();
        attending.await.unwrap();
        assert_eq!((rest(client).await.as_str(), begun.elapsed()), ("", Duration::ZERO));
    }
}
