//! A client that does one thing at a time, so that tests can do the wrong thing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::rig::{BANNER, Rig};
use crate::stream::clock::now_ms;
use crate::stream::frame::{Message, kind, payload};
use crate::stream::words::acknowledge;

pub(super) const CLIENT_ID: &str = "7c5d7e0c-4d2f-4f8e-9d3a-2f1f6f0a8b11";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client may see.
#[derive(Debug)]
pub(super) enum Seen {
    Message(Message),
    /// A binary frame that is no message.
    Junk,
    Text(String),
    Closed(Option<(u16, String)>),
    Broken(Error),
}

pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) next: i64,
    expected: i64,
    parked: BTreeMap<i64, Message>,
    /// Messages of the gateway: kinds in the order they came.
    pub(super) publications: Vec<String>,
    pub(super) acked: Vec<i64>,
}

pub(super) fn open_frame(token: &str) -> Value {
    json!({
        "MessageSchemaVersion": "1.0",
        "RequestId": uuid::Uuid::new_v4(),
        "TokenValue": token,
        "ClientId": CLIENT_ID,
        "ClientVersion": "1.2.764.0",
    })
}

pub(super) const RESPONSE: &str = r#"{"ClientVersion":"1.2.764.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}"#;

impl Client {
    /// Dials without a first frame.
    pub(super) async fn dial(rig: &Rig, session_id: &str) -> Result<Self, Error> {
        let (socket, response) = connect_async(rig.url(session_id)).await?;
        assert_eq!(response.status(), 101);
        Ok(Self {
            socket,
            next: 0,
            expected: 0,
            parked: BTreeMap::new(),
            publications: Vec::new(),
            acked: Vec::new(),
        })
    }

    /// Dials and sends the first frame with a fresh token.
    pub(super) async fn open(rig: &Rig, session_id: &str) -> Self {
        let mut client = Self::dial(rig, session_id).await.unwrap();
        client.text(&open_frame(&rig.token(session_id)).to_string()).await;
        client
    }

    /// Opens and completes the handshake.
    pub(super) async fn ready(rig: &Rig, session_id: &str) -> Self {
        let mut client = Self::open(rig, session_id).await;
        client.shake().await;
        client
    }

    /// Opens, completes the handshake, and reads the echo server's banner.
    pub(super) async fn greeted(rig: &Rig, session_id: &str) -> Self {
        let mut client = Self::ready(rig, session_id).await;
        assert_eq!(client.read(BANNER.len()).await, BANNER);
        client
    }

    /// Goes on with a session on a new socket: numbers continue.
    pub(super) async fn resume(self, rig: &Rig, session_id: &str) -> Self {
        let fresh = Self::open(rig, session_id).await;
        Self { socket: fresh.socket, ..self }
    }

    pub(super) async fn text(&mut self, text: &str) {
        self.socket.send(Frame::text(text)).await.unwrap();
    }

    pub(super) async fn put(&mut self, message: &Message) {
        self.socket.send(Frame::Binary(message.encode())).await.unwrap();
    }

    /// Sends the next stream message and returns it.
    pub(super) async fn send(&mut self, payload_type: u32, body: impl Into<Bytes>) -> Message {
        let message = Message::new(kind::INPUT, now_ms(), self.next, payload_type, body.into());
        self.next += 1;
        self.put(&message).await;
        message
    }

    pub(super) async fn ack(&mut self, message: &Message) {
        self.put(&acknowledge(message, now_ms())).await;
    }

    /// The next thing that comes, pings aside.
    pub(super) async fn seen(&mut self) -> Seen {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("nothing comes");
            return match next {
                Some(Ok(Frame::Binary(frame))) => match Message::decode(&frame) {
                    Ok(message) => Seen::Message(message),
                    Err(_) => Seen::Junk,
                },
                Some(Ok(Frame::Text(text))) => Seen::Text(text.to_string()),
                Some(Ok(Frame::Close(frame))) => {
                    Seen::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())))
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Seen::Broken(error),
                None => Seen::Closed(None),
            };
        }
    }

    /// The next message that is not the gateway's start or pause.
    pub(super) async fn message(&mut self) -> Message {
        loop {
            match self.seen().await {
                Seen::Message(message) if [kind::START, kind::PAUSE].contains(&message.kind.as_str()) => {
                    self.publications.push(message.kind);
                }
                Seen::Message(message) => return message,
                other => panic!("a message was due, not {other:?}"),
            }
        }
    }

    /// The next message of a kind; others are dropped.
    pub(super) async fn message_of(&mut self, wanted: &str) -> Message {
        loop {
            match self.seen().await {
                Seen::Message(message) if message.kind == wanted => return message,
                Seen::Message(message) => self.publications.push(message.kind),
                other => panic!("{wanted} was due, not {other:?}"),
            }
        }
    }

    /// The next stream message in order, acknowledged; acknowledgements are noted on the way.
    pub(super) async fn output(&mut self) -> Message {
        loop {
            if let Some(message) = self.parked.remove(&self.expected) {
                self.expected += 1;
                return message;
            }
            let message = self.message().await;
            match message.kind.as_str() {
                kind::OUTPUT if message.digest_matches() => {
                    self.ack(&message).await;
                    if message.sequence >= self.expected {
                        self.parked.insert(message.sequence, message);
                    }
                }
                kind::OUTPUT => {}
                kind::ACKNOWLEDGE => self.acked.push(acked(&message)),
                other => panic!("unexpected {other}: {}", String::from_utf8_lossy(&message.payload)),
            }
        }
    }

    /// So many bytes of output.
    pub(super) async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < bytes {
            let message = self.output().await;
            assert_eq!(message.payload_type, payload::OUTPUT);
            all.extend_from_slice(&message.payload);
        }
        all
    }

    /// Waits for the acknowledgement of a message, resending it whenever nothing comes for a while.
    pub(super) async fn acked(&mut self, message: &Message) {
        while !self.acked.contains(&message.sequence) {
            match timeout(Duration::from_millis(150), self.message()).await {
                Ok(other) if other.kind == kind::ACKNOWLEDGE => self.acked.push(acked(&other)),
                Ok(other) if other.kind == kind::OUTPUT && !other.digest_matches() => {}
                Ok(other) if other.kind == kind::OUTPUT => {
                    self.ack(&other).await;
                    if other.sequence >= self.expected {
                        self.parked.insert(other.sequence, other);
                    }
                }
                Ok(other) => panic!("unexpected {}", other.kind),
                Err(_) => self.put(message).await,
            }
        }
    }

    /// Sends bytes and makes sure that they arrive.
    pub(super) async fn deliver(&mut self, bytes: &'static [u8]) {
        let message = self.send(payload::OUTPUT, bytes).await;
        self.acked(&message).await;
    }

    /// Completes the handshake.
    pub(super) async fn shake(&mut self) {
        let request = self.output().await;
        assert_eq!((request.payload_type, request.sequence), (payload::HANDSHAKE_REQUEST, 0));
        let response = self.send(payload::HANDSHAKE_RESPONSE, RESPONSE.as_bytes()).await;
        let complete = self.output().await;
        assert_eq!(complete.payload_type, payload::HANDSHAKE_COMPLETE);
        self.acked(&response).await;
    }

    /// Words of `channel_closed`, and the close frame that follows it.
    pub(super) async fn closed(&mut self) -> (String, Option<(u16, String)>) {
        let message = loop {
            let message = self.message().await;
            match message.kind.as_str() {
                kind::CHANNEL_CLOSED => break message,
                kind::OUTPUT => self.ack(&message).await,
                _ => {}
            }
        };
        assert_eq!(message.payload_type, 261);
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        match self.seen().await {
            Seen::Closed(frame) => (body["Output"].as_str().unwrap().to_owned(), frame),
            other => panic!("a close frame was due, not {other:?}"),
        }
    }
}

pub(super) fn acked(message: &Message) -> i64 {
    let body: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(body["AcknowledgedMessageType"], kind::INPUT);
    assert_eq!((message.sequence, message.flags), (0, 3));
    body["AcknowledgedMessageSequenceNumber"].as_i64().unwrap()
}
