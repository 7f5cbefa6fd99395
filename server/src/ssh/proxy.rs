//! Who a client behind a load balancer is: the PROXY protocol, version 2, from listed sources only.

mod header;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use self::header::{FIXED, Header, Malformed};
use crate::domain::ports::Clock;

/// How long a load balancer may take to say for whom it connects: it says so first of all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection from a listed source is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// What came is no header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection broke first.
    #[error("the connection ended before its PROXY header")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("no PROXY header came in time")]
    Late,
}

/// The address of the client for whom a listed source connects; its own where it connects for itself.
pub(super) async fn client(
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
    clock: &dyn Clock,
) -> Result<SocketAddr, ProxyError> {
    tokio::select! {
        said = said(stream) => Ok(match said? {
            Header::From(client) => client,
            Header::Local => peer,
        }),
        () = clock.sleep(PATIENCE) => Err(ProxyError::Late),
    }
}

/// Reads a header and not a byte more.
async fn said(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, ProxyError> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let mut rest = vec![0; header::length(&fixed)?];
    stream.read_exact(&mut rest).await?;
    Ok(header::parse(&fixed, &rest)?)
}
