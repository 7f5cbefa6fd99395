//! The HTTP side of opening a data channel: the request is judged and the connection turned into a WebSocket, by hand.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Streams;
use super::client;
use super::wire::Wire;

/// Read buffer of a client's WebSocket: two of the largest messages.
const READ_BUFFER: usize = 64 * 1024;

/// Answers `GET /v1/data-channel/{id}`.
pub(crate) async fn open(
    State(streams): State<Streams>,
    Path(session_id): Path<String>,
    mut request: Request,
) -> Response {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect::<Vec<_>>();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Err(status) = streams.may_open(&session_id, request.method().as_str(), path, &headers) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        return (status, status.canonical_reason().unwrap_or_default()).into_response();
    }
    let accept = match accept_key(request.headers()) {
        Ok(accept) => accept,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let serving = streams.clone();
    streams.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let (wire, control, read) = Wire::new(upgraded);
                let config = WebSocketConfig::default()
                    .read_buffer_size(READ_BUFFER)
                    .max_message_size(Some(serving.options().max_frame))
                    .max_frame_size(Some(serving.options().max_frame));
                let socket =
                    WebSocketStream::from_partially_read(wire, read.to_vec(), Role::Server, Some(config))
                        .await;
                client::serve(serving, session_id, socket, control).await;
            }
            Err(error) => tracing::debug!(%error, "the connection was gone before its upgrade"),
        }
    });
    let answer = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, answer, Body::empty()).into_response()
}

/// The answer to a client's key, if the request asks for a WebSocket as RFC 6455 has it.
fn accept_key(headers: &HeaderMap) -> Result<String, &'static str> {
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err("not an upgrade to a WebSocket");
    }
    if !has_token(headers, &SEC_WEBSOCKET_VERSION, "13") {
        return Err("not WebSocket version 13");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("no Sec-WebSocket-Key")?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err("Sec-WebSocket-Key is not 16 bytes"),
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}
