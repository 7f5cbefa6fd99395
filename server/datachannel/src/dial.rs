//! From a grant to an open WebSocket, and from there to an open channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_credential_types::Credentials;
use futures_util::SinkExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::address::Address;
use crate::clock::wall;
use crate::driver::Driver;
use crate::ended::ConnectError;
use crate::limits::{CLIENT_VERSION, Limits, MAX_FRAME};
use crate::payload::{OpenDataChannel, json};
use crate::reconnect::Redial;
use crate::resume::Resume;
use crate::stream::{DataChannel, Facts};
use crate::{sign, tls};

/// Connecting, TLS and the upgrade together, the second try included. AWS's own client waits for ever.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Read in one go. The library allocates it at once for each stream, so it is kept small.
const READ_BUFFER: usize = 32 * 1024;
/// Collected before the socket is written without being asked to flush.
const WRITE_BUFFER: usize = 64 * 1024;

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What `StartSession` gave.
#[derive(Debug)]
pub struct Grant {
    /// Session Manager's id of the session.
    pub session_id: String,
    /// Where to dial, byte for byte.
    pub stream_url: String,
    /// What to say first.
    pub token: SecretString,
}

/// Whether to sign the upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signing {
    /// Sign if there are credentials and the address is not signed itself; after a 403, try once without.
    #[default]
    Auto,
    /// Do not sign.
    Unsigned,
}

/// How to dial.
#[derive(Debug, Clone)]
pub struct Options {
    /// The region of the session: only its Session Manager hosts are dialled.
    pub region: String,
    /// Other hosts that may be dialled, as `host` or `host:port`; only these may use `ws://`.
    pub extra_hosts: Vec<String>,
    /// Whether to sign.
    pub signing: Signing,
    /// Bounds and waits.
    pub limits: Limits,
}

impl Options {
    /// The defaults for a region.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            extra_hosts: Vec::new(),
            signing: Signing::default(),
            limits: Limits::default(),
        }
    }
}

/// Opens a data channel. Returns after the agent's handshake; the channel's task lives on `tracker` and ends
/// by itself soon after the channel is dropped.
///
/// # Errors
/// When it may not be dialled, is refused, cannot be reached, or the agent does not shake hands.
pub async fn connect(
    grant: Grant,
    options: Options,
    credentials: Option<Credentials>,
    resume: Arc<dyn Resume>,
    tracker: &TaskTracker,
) -> Result<DataChannel, ConnectError> {
    let address = Address::check(&grant.stream_url, &options.region, &options.extra_hosts)?;
    let limits = options.limits.clone();
    let mut dialler = Dialler::new(options, credentials);
    let socket = dialler.dial(&address, &grant.token).await?;
    let facts = Arc::clone(&dialler.facts);
    let span = info_span!("data_channel", ssm.session = %grant.session_id);
    let redial = Redial { dialler, address, session_id: grant.session_id, resume };
    let (driver, opening) = Driver::new(socket, redial, limits, facts);
    tracker.spawn(driver.run().instrument(span));
    opening.wait().await
}

/// Dials, as often as needed, always as the same client.
#[derive(Debug)]
pub(crate) struct Dialler {
    pub(crate) options: Options,
    pub(crate) credentials: Option<Credentials>,
    /// The same on every dial of a session.
    client_id: Uuid,
    facts: Arc<Facts>,
}

impl Dialler {
    pub(crate) fn new(options: Options, credentials: Option<Credentials>) -> Self {
        Self { options, credentials, client_id: Uuid::new_v4(), facts: Arc::default() }
    }

    /// Dials in time.
    pub(crate) async fn dial(
        &mut self,
        address: &Address,
        token: &SecretString,
    ) -> Result<Socket, ConnectError> {
        let too_late = || ConnectError::Unreachable(format!("no answer in {} s", DIAL_TIMEOUT.as_secs()));
        timeout(DIAL_TIMEOUT, self.try_dial(address, token)).await.unwrap_or_else(|_elapsed| Err(too_late()))
    }

    /// One dial, with the opening frame. After a 403 for a signature, one more without it.
    async fn try_dial(&mut self, address: &Address, token: &SecretString) -> Result<Socket, ConnectError> {
        let sign = self.options.signing == Signing::Auto && !self.facts.unsigned.load(Ordering::Relaxed);
        let signer = self.credentials.as_ref().filter(|_| sign && !address.is_presigned());
        let mut socket = match self.upgrade(address, signer).await {
            Err(ConnectError::Refused(403)) if signer.is_some() => {
                let socket = self.upgrade(address, None).await?;
                self.facts.unsigned.store(true, Ordering::Relaxed);
                socket
            }
            other => other?,
        };
        let first = json(&OpenDataChannel {
            message_schema_version: "1.0",
            request_id: Uuid::new_v4(),
            token_value: token.expose_secret(),
            client_id: self.client_id,
            client_version: CLIENT_VERSION,
        });
        let first = String::from_utf8(first).map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        socket
            .send(Message::text(first))
            .await
            .map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        Ok(socket)
    }

    async fn upgrade(&self, address: &Address, signer: Option<&Credentials>) -> Result<Socket, ConnectError> {
        let request = self.request(address, signer).map_err(ConnectError::Unreachable)?;
        let connector = if address.url().starts_with("wss") {
            Connector::Rustls(tls::config().map_err(ConnectError::Unreachable)?)
        } else {
            Connector::Plain
        };
        // Without Nagle's algorithm: keystrokes are small messages.
        let dial = connect_async_tls_with_config(request, Some(socket_config()), true, Some(connector));
        match dial.await {
            Ok((socket, _response)) => Ok(socket),
            Err(WsError::Http(response)) => Err(ConnectError::Refused(response.status().as_u16())),
            Err(error) => Err(ConnectError::Unreachable(error.to_string())),
        }
    }

    fn request(&self, address: &Address, signer: Option<&Credentials>) -> Result<Request, String> {
        let mut request = address.url().into_client_request().map_err(|error| error.to_string())?;
        if let Some(credentials) = signer {
            let region = &self.options.region;
            let signed = sign::headers(address.url(), address.host(), region, credentials, wall())?;
            request.headers_mut().extend(signed);
        }
        Ok(request)
    }
}

/// Messages beyond what is parsed are refused before they are collected.
pub(crate) fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_FRAME)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME))
}
