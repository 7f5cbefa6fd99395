//! The listener of the pages: TCP, TLS where certificates are configured, and a way on for SSH where it shares the port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tracing::debug;

use crate::config::web::Tls;
use crate::ssh::SharedPort;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at a time.
const HANDSHAKES: usize = 256;
/// Connections at a time. Who comes beyond that waits in the system's queue.
const CONNECTIONS: usize = 4_096;
/// How long to wait when the system takes no more connections.
const PAUSE: Duration = Duration::from_millis(100);

type Io = Either<TcpStream, TlsStream<TcpStream>>;

/// Who has come through the doors.
pub(super) struct Guest {
    pub(super) io: Io,
    pub(super) peer: Peer,
    /// Their place among the connections, until they leave.
    pub(super) place: OwnedSemaphorePermit,
}

/// What the pages are served on.
pub(super) struct Doors {
    listener: TcpListener,
    places: Arc<Semaphore>,
    tls: Option<TlsAcceptor>,
    /// Where clients of SSH are let in, if they may come here.
    ssh: Option<SharedPort>,
    /// Who is slow to shake hands, or to say what they want, keeps nobody else waiting. Dropped with the listener.
    handshakes: JoinSet<Option<Guest>>,
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Doors {
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        ssh: Option<SharedPort>,
    ) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            tls: tls.map(TlsAcceptor::from),
            ssh,
            handshakes: JoinSet::new(),
        }
    }

    /// The next guest. Dropped halfway, it loses nobody.
    pub(super) async fn next(&mut self) -> Guest {
        loop {
            tokio::select! {
                (stream, from, place) = Self::connection(&self.listener, &self.places),
                    if self.handshakes.len() < HANDSHAKES =>
                {
                    if self.tls.is_none() && self.ssh.is_none() {
                        return Guest { io: Either::Left(stream), peer: Peer(from), place };
                    }
                    let shaking = shake(stream, from, place, (self.ssh.clone(), self.tls.clone()));
                    self.handshakes.spawn(async move { timeout(HANDSHAKE, shaking).await.ok()? });
                }
                // One that failed is matched too: a pattern that it does not fit would stop looking at the others.
                Some(shaken) = self.handshakes.join_next() => {
                    if let Ok(Some(guest)) = shaken {
                        return guest;
                    }
                }
            }
        }
    }

    /// The next TCP connection, once there is a place. What fails is the client's connection or a passing shortage.
    async fn connection(
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    // Without it a page may wait for a delayed acknowledgement; nothing else depends on it.
                    let _ = stream.set_nodelay(true);
                    return (stream, from, place);
                }
                Err(error) => {
                    debug!(%error, "a page's connection was not taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// What is left of a connection for the pages, once it has shaken hands: nothing if it was somebody else's.
async fn shake(
    mut stream: TcpStream,
    mut from: SocketAddr,
    place: OwnedSemaphorePermit,
    (ssh, tls): (Option<SharedPort>, Option<TlsAcceptor>),
) -> Option<Guest> {
    if let Some(ssh) = ssh {
        (stream, from) = ssh.sort(stream, from).await?;
    }
    let io = match tls {
        Some(tls) => Either::Right(tls.accept(stream).await.ok()?),
        None => Either::Left(stream),
    };
    Some(Guest { io, peer: Peer(from), place })
}

/// Why the TLS files do not do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is no PEM.
    #[error("{0}: {1}")]
    File(String, rustls::pki_types::pem::Error),
    /// The two do not go together.
    #[error("the certificate and the key do not go together: {0}")]
    Mismatch(#[from] rustls::Error),
}

/// Reads certificate and key.
pub(super) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = (tls.certificate.display().to_string(), tls.key.display().to_string());
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::File(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| TlsError::File(key, error))?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
