//! The last steps of a channel.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Driver, Link, WebSocket};
use crate::channel::{Channel, End};
use crate::clock::Clock;
use crate::ended::{ConnectError, Ended};
use crate::reconnect::Reconnect;

/// For the last messages and the close of the WebSocket; the session is over by then, this is politeness.
const CLOSE: Duration = Duration::from_secs(1);
/// How long a slow reader delays the word that the channel has ended.
const TAIL: Duration = Duration::from_secs(2);

impl<R: Reconnect> Driver<R>
where
    R::Socket: WebSocket,
{
    /// Tells everybody. The user may still read what has arrived, for as long as that takes.
    pub(super) async fn close(mut self, end: End) {
        if let Some(greeted) = self.greeted.take() {
            // Nobody is left to tell if this fails.
            let _ = greeted.send(Err(refusal(&end, self.handshake_secs)));
        }
        let ended = match end {
            End::Ended(ended) => ended,
            End::Unsupported(what) => Ended::Protocol(format!("the agent asked for {what}")),
            End::NoHandshake => Ended::Protocol("no handshake".to_owned()),
        };
        let tail = self.core.take_readable();
        let pipe = &mut self.pipe;
        let mut sender = self.ended.take();
        let mut tell = move || {
            if let Some(sender) = sender.take() {
                // Nobody asks why.
                let _ = sender.send(ended.clone());
            }
        };
        let deliver = async move {
            let mut write = std::pin::pin!(pipe.write_all(&tail));
            let in_time = timeout(TAIL, write.as_mut()).await;
            tell();
            if in_time.is_err() {
                // An error means that the user is gone.
                let _ = write.await;
            }
            // The reader sees the end at once, even while the socket is still closing.
            let _ = pipe.shutdown().await;
        };
        let link = std::mem::replace(&mut self.link, Link::Gone);
        let say_goodbye = async {
            if let Link::Up { socket, .. } = link {
                // It is over either way.
                let _ = timeout(CLOSE, goodbye(socket, &mut self.core, self.clock)).await;
            }
        };
        tokio::join!(deliver, say_goodbye);
    }
}

/// The last acknowledgements, an answer that the agent still waits for, and the close.
async fn goodbye(mut socket: impl WebSocket, core: &mut Channel, clock: Clock) {
    while let Some(frame) = core.transmit(clock.now()) {
        if socket.feed(Message::Binary(frame)).await.is_err() {
            return;
        }
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if socket.send(Message::Close(Some(close))).await.is_err() {
        return;
    }
    while let Some(Ok(_)) = socket.next().await {}
}

fn refusal(end: &End, handshake_secs: u64) -> ConnectError {
    match end {
        End::Ended(ended) => ConnectError::Ended(ended.clone()),
        End::Unsupported(what) => ConnectError::Unsupported(what.clone()),
        End::NoHandshake => ConnectError::NoHandshake(handshake_secs),
    }
}
