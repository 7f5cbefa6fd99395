//! A WebSocket server on loopback that plays gateway and agent, one scripted step at a time.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, http};

use super::wire::{self, Msg};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// One WebSocket, seen from the service.
pub(crate) struct Leg {
    socket: WebSocketStream<TcpStream>,
    pub(crate) uri: http::Uri,
    pub(crate) headers: http::HeaderMap,
    /// The opening text frame.
    pub(crate) hello: serde_json::Value,
    next_seq: i64,
}

impl Gateway {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/data-channel/s-1?role=publish_subscribe&cell-number=AA+b/c==", self.address)
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("a dial").unwrap().0
    }

    /// Accepts a dial and reads the opening frame.
    pub(crate) async fn accept(&self) -> Leg {
        let tcp = self.tcp().await;
        let (mut uri, mut headers) = (None, None);
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let see = |request: &Request, response: Response| {
            uri = Some(request.uri().clone());
            headers = Some(request.headers().clone());
            Ok(response)
        };
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let socket = tokio_tungstenite::accept_hdr_async_with_config(tcp, see, Some(config)).await.unwrap();
        let mut leg = Leg {
            socket,
            uri: uri.unwrap(),
            headers: headers.unwrap(),
            hello: serde_json::Value::Null,
            next_seq: 0,
        };
        let Message::Text(hello) = leg.message().await else { panic!("the first frame is text") };
        leg.hello = serde_json::from_str(&hello).unwrap();
        leg
    }

    /// Accepts a dial and shakes hands as an agent with a plain Port session.
    pub(crate) async fn accept_and_shake_hands(&self) -> Leg {
        let mut leg = self.accept().await;
        leg.shake_hands().await;
        leg
    }
}

impl Leg {
    /// The next WebSocket message that is not a ping or pong.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("a message");
            match next.expect("an open socket").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    /// The next protocol message.
    pub(crate) async fn receive(&mut self) -> Msg {
        match self.message().await {
            Message::Binary(bytes) => Msg::decode(&bytes),
            other => panic!("a client sends only binary after its first frame, not {other:?}"),
        }
    }

    /// The next message that is not an acknowledgement; acknowledged, if it is of the sequence.
    pub(crate) async fn receive_data(&mut self) -> Msg {
        loop {
            let msg = self.receive().await;
            if msg.kind == "input_stream_data" {
                self.send(&Msg::ack(&msg.kind, &msg.id, msg.seq)).await;
                return msg;
            }
        }
    }

    /// Reads until the acknowledgement of this message.
    pub(crate) async fn expect_ack(&mut self, seq: i64) {
        while self.receive().await.acks() != Some(seq) {}
    }

    /// Reads until the client closes, and says with which code.
    pub(crate) async fn expect_close(&mut self) -> Option<u16> {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.map(|frame| frame.code.into());
            }
        }
    }

    pub(crate) async fn send(&mut self, msg: &Msg) {
        self.socket.send(Message::Binary(msg.encode().into())).await.unwrap();
    }

    /// Sends bytes of the stream as the next message.
    pub(crate) async fn output(&mut self, bytes: &[u8]) -> i64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.send(&Msg::output(seq, wire::OUTPUT, bytes)).await;
        seq
    }

    pub(crate) async fn shake_hands(&mut self) {
        self.send(&Msg::handshake_request(0, wire::PORT)).await;
        let response = self.receive_data().await;
        assert_eq!(response.ptype, wire::HANDSHAKE_RESPONSE);
        self.send(&Msg::handshake_complete(1)).await;
        self.next_seq = 2;
        self.expect_ack(1).await;
    }

    /// The agent's sequence goes on where another leg left it.
    pub(crate) fn continue_at(&mut self, seq: i64) {
        self.next_seq = seq;
    }

    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.socket.send(Message::Close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}
