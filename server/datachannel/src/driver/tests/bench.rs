//! A driver with a socket in memory, and the other end of that socket.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::wire::{self, Msg};
use crate::dial::socket_config;
use crate::driver::Driver;
use crate::ended::{ConnectError, Ended};
use crate::limits::Limits;
use crate::reconnect::{Loss, Reconnect};
use crate::stream::DataChannel;

/// What a socket's buffers hold in the kernel, about.
const SOCKET: usize = 64 * 1024;

type ClientSocket = WebSocketStream<Counted>;
pub(super) type Losses = Arc<Mutex<Vec<Loss>>>;

/// A byte stream that counts writes.
#[derive(Debug)]
pub(super) struct Counted {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.writes.fetch_add(usize::from(poll.is_ready()), Ordering::Relaxed);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What happens when the socket dies.
pub(super) enum Plan {
    Deny,
    Replace { socket: Box<ClientSocket>, after: Duration },
}

impl Plan {
    /// A second socket, and its other end.
    pub(super) fn one() -> (Self, Server) {
        Self::one_after(Duration::ZERO)
    }

    pub(super) fn one_after(after: Duration) -> (Self, Server) {
        let (socket, server) = pair();
        (Self::Replace { socket: Box::new(socket), after }, server)
    }
}

pub(super) struct Spare {
    plan: Plan,
    losses: Losses,
}

impl Reconnect for Spare {
    type Socket = ClientSocket;

    fn reconnect(mut self, loss: Loss) -> BoxFuture<'static, (Self, Result<ClientSocket, Ended>)> {
        self.losses.lock().unwrap().push(loss);
        async move {
            match std::mem::replace(&mut self.plan, Plan::Deny) {
                Plan::Deny => (self, Err(Ended::ResumeDenied)),
                Plan::Replace { socket, after } => {
                    sleep(after).await;
                    (self, Ok(*socket))
                }
            }
        }
        .boxed()
    }
}

fn pair() -> (ClientSocket, Server) {
    let (client, server) = duplex(SOCKET);
    let writes = Arc::new(AtomicUsize::new(0));
    let client = Counted { inner: client, writes: Arc::clone(&writes) };
    let client = WebSocketStream::from_raw_socket(client, Role::Client, Some(socket_config()));
    let server = WebSocketStream::from_raw_socket(server, Role::Server, None);
    // Without a handshake these are ready at once.
    let client = client.now_or_never().unwrap();
    let server = server.now_or_never().unwrap();
    (client, Server { socket: server, writes })
}

/// A channel that waits for the handshake.
pub(super) fn connect(
    plan: Plan,
    limits: Limits,
) -> (BoxFuture<'static, Result<DataChannel, ConnectError>>, Server, Losses) {
    let (socket, server) = pair();
    let losses = Losses::default();
    let spare = Spare { plan, losses: Arc::clone(&losses) };
    let (driver, opening) = Driver::new(socket, spare, limits, Arc::default());
    tokio::task::spawn(driver.run());
    (opening.wait().boxed(), server, losses)
}

pub(super) async fn open(plan: Plan) -> (DataChannel, Server, Losses) {
    open_with(plan, Limits::default()).await
}

/// A channel after the handshake.
pub(super) async fn open_with(plan: Plan, limits: Limits) -> (DataChannel, Server, Losses) {
    let (connecting, mut server, losses) = connect(plan, limits);
    let (channel, ()) = tokio::join!(connecting, server.shake_hands());
    (channel.unwrap(), server, losses)
}

/// The service's end of a socket.
pub(super) struct Server {
    socket: WebSocketStream<DuplexStream>,
    writes: Arc<AtomicUsize>,
}

impl Server {
    pub(super) fn writes_of_client(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn split(self) -> (Sink, Source) {
        let (sink, source) = self.socket.split();
        (Sink(sink), Source(source))
    }

    pub(super) async fn feed(&mut self, msg: &Msg) {
        self.socket.feed(Message::Binary(msg.encode().into())).await.unwrap();
    }

    pub(super) async fn flush(&mut self) {
        self.socket.flush().await.unwrap();
    }

    pub(super) async fn send_message(&mut self, message: Message) {
        // The client may close on it at once.
        let _ = self.socket.send(message).await;
    }

    pub(super) async fn send(&mut self, msg: &Msg) {
        self.feed(msg).await;
        self.flush().await;
    }

    pub(super) async fn output(&mut self, seq: i64, bytes: &[u8]) {
        self.send(&Msg::output(seq, wire::OUTPUT, bytes)).await;
    }

    async fn message(&mut self) -> Message {
        self.socket.next().await.expect("an open socket").expect("a message")
    }

    async fn receive(&mut self) -> Msg {
        loop {
            match self.message().await {
                Message::Binary(bytes) => return Msg::decode(&bytes),
                Message::Ping(_) => {}
                other => panic!("{other:?} is not expected"),
            }
        }
    }

    /// The next message of the sequence.
    pub(super) async fn receive_unanswered(&mut self) -> Msg {
        loop {
            let msg = self.receive().await;
            if msg.kind == "input_stream_data" {
                return msg;
            }
        }
    }

    /// The next message of the sequence, acknowledged.
    pub(super) async fn receive_data(&mut self) -> Msg {
        let msg = self.receive_unanswered().await;
        self.send(&Msg::ack(&msg.kind, &msg.id, msg.seq)).await;
        msg
    }

    pub(super) async fn expect_ack(&mut self, seq: i64) {
        while self.receive().await.acks() != Some(seq) {}
    }

    pub(super) async fn expect_ping(&mut self) {
        while !matches!(self.message().await, Message::Ping(_)) {}
        // The answer is queued by the library and goes out with the flush.
        self.flush().await;
    }

    pub(super) async fn expect_close(&mut self) -> Option<u16> {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.map(|frame| frame.code.into());
            }
        }
    }

    /// Reads and answers nothing.
    pub(super) async fn swallow(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    pub(super) async fn shake_hands(&mut self) {
        self.send(&Msg::handshake_request(0, wire::PORT)).await;
        assert_eq!(self.receive_data().await.ptype, wire::HANDSHAKE_RESPONSE);
        self.send(&Msg::handshake_complete(1)).await;
        self.expect_ack(1).await;
    }

    pub(super) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.socket.send(Message::Close(Some(frame))).await.unwrap();
        self.swallow().await;
    }

    /// Bytes that no library would write.
    pub(super) async fn write_raw(self, bytes: &[u8]) {
        self.socket.into_inner().write_all(bytes).await.unwrap();
    }

    /// Sends back what it gets, this many bytes of it.
    pub(super) async fn echo(mut self, total: usize) {
        let (mut echoed, mut seq) = (0, 2);
        self.output(seq, b"").await;
        while echoed < total {
            let msg = self.receive_data().await;
            echoed += msg.payload.len();
            for chunk in msg.payload.chunks(1024) {
                seq += 1;
                self.feed(&Msg::output(seq, wire::OUTPUT, chunk)).await;
            }
            self.flush().await;
        }
    }
}

pub(super) struct Sink(SplitSink<WebSocketStream<DuplexStream>, Message>);

impl Sink {
    pub(super) async fn send(&mut self, msg: &Msg) {
        self.0.send(Message::Binary(msg.encode().into())).await.unwrap();
    }
}

pub(super) struct Source(SplitStream<WebSocketStream<DuplexStream>>);

impl Source {
    pub(super) async fn message(&mut self) -> Message {
        self.0.next().await.expect("an open socket").expect("a message")
    }

    pub(super) async fn swallow(&mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}
