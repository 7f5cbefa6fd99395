//! A client's WebSocket at the gateway: the first frame, then messages both ways until either side is done.

mod limiter;
mod oddities;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use self::limiter::{Limiter, Verdict};
pub(crate) use self::oddities::oddity;
use super::Streams;
use super::frame::kind;
use super::room::{Attached, Out, Room};
use super::tally::add;
use super::wire::{Wire, WireControl};
use super::words::{OpenFrame, publication};

/// How long a close frame waits for its answer.
const GOODBYE: Duration = Duration::from_secs(1);
/// Longest reason that fits into a close frame.
const REASON: usize = 123;

type Sink = SplitSink<WebSocketStream<Wire>, Message>;
type Source = SplitStream<WebSocketStream<Wire>>;

/// Serves one WebSocket of a client.
pub(crate) async fn serve(
    streams: Streams,
    session_id: String,
    mut socket: WebSocketStream<Wire>,
    wire: Arc<WireControl>,
) {
    let opened = Instant::now();
    let (room, open) = match first_frame(&streams, &session_id, &mut socket).await {
        Ok(found) => found,
        Err(why) => {
            tracing::debug!(session.id = %session_id, %why, "open frame refused");
            let reason = why.chars().take(REASON).filter(char::is_ascii).collect::<String>();
            close(&mut socket, CloseCode::Policy, &reason).await;
            return;
        }
    };
    let late = room.behaviour.habits().attach_late;
    if !late.is_zero() {
        let _ = socket
            .send(Message::Binary(publication(kind::PAUSE, room.options.plain_publications).encode()))
            .await;
        tokio::time::sleep(late).await;
    }
    let attached = room.attach(&open.client_id, Arc::clone(&wire));
    streams.run(&room);
    let number = attached.number;
    relay(&streams, &room, attached, socket, wire, opened).await;
    room.detach(number);
}

/// Reads and judges the first frame, and finds or makes the session it opens.
async fn first_frame(
    streams: &Streams,
    session_id: &str,
    socket: &mut WebSocketStream<Wire>,
) -> Result<(Arc<Room>, OpenFrame), String> {
    let wait = streams.options().open_timeout;
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other,
            }
        }
    };
    let text = match timeout(wait, first).await {
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(_))) => return Err("the first frame is not a text frame".to_owned()),
        Ok(Some(Err(error))) => return Err(error.to_string()),
        Ok(None) => return Err("closed before the first frame".to_owned()),
        Err(_) => return Err("no first frame in time".to_owned()),
    };
    let open = OpenFrame::parse(&text, streams.options().any_client_id)?;
    let room = streams.enter(session_id, &open.token_value)?;
    Ok((room, open))
}

async fn relay(
    streams: &Streams,
    room: &Arc<Room>,
    attached: Attached,
    socket: WebSocketStream<Wire>,
    wire: Arc<WireControl>,
    opened: Instant,
) {
    let (sink, mut source) = socket.split();
    let bye = room.options.close_every.map(|age| opened + age);
    let closing = tokio::select! {
        closing = write(attached, sink, &wire, bye) => closing,
        () = read(room, &mut source) => return,
        () = streams.stopping() => return,
    };
    // The other side answers a close frame with one of its own; until then what it sends is nobody's.
    if closing {
        let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = source.next().await {} }).await;
    }
}

/// Writes what the gateway has for the client; true if a close frame was the last of it.
async fn write(mut attached: Attached, mut sink: Sink, wire: &WireControl, bye: Option<Instant>) -> bool {
    let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
    let mut waiting = None;
    loop {
        let due = waiting.as_ref().map_or(far, |(due, _)| *due);
        let out = tokio::select! {
            biased;
            Some(out) = attached.urgent.recv() => out,
            () = sleep_until(bye.unwrap_or(far)), if bye.is_some() => Out::Close(1000, "Bye"),
            () = sleep_until(due), if waiting.is_some() => {
                let Some((_, frame)) = waiting.take() else { continue };
                Out::Message(due, frame)
            }
            out = attached.queue.recv(), if waiting.is_none() => match out {
                Some(Out::Message(due, frame)) if due > Instant::now() => {
                    waiting = Some((due, frame));
                    if sink.flush().await.is_err() {
                        return false;
                    }
                    continue;
                }
                Some(out) => out,
                None => return false,
            },
        };
        let more = waiting.is_none() && !attached.queue.is_empty();
        match put(&mut sink, wire, out, more).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
    }
}

/// Puts one thing on the socket; false after a close frame.
async fn put(sink: &mut Sink, wire: &WireControl, out: Out, more: bool) -> Result<bool, Error> {
    match out {
        Out::Message(_, frame) => sink.feed(Message::Binary(frame)).await?,
        Out::Text(text) => sink.feed(Message::text(text)).await?,
        Out::Raw(bytes) => {
            sink.flush().await?;
            wire.raw(bytes);
        }
        Out::Close(code, reason) => {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            sink.send(Message::Close(Some(frame))).await?;
            return Ok(false);
        }
        Out::Cut { reset, mid_frame } => {
            sink.flush().await?;
            if mid_frame {
                wire.raw(oddities::half_a_frame());
                sink.flush().await?;
            }
            if reset {
                wire.reset_on_close();
            }
            return Err(Error::ConnectionClosed);
        }
    }
    if !more {
        sink.flush().await?;
    }
    Ok(true)
}

/// Reads what the client sends until it closes or breaks the rules.
async fn read(room: &Room, source: &mut Source) {
    let mut limiter = Limiter::new(&room.options);
    while let Some(message) = source.next().await {
        match message {
            Ok(Message::Binary(frame)) => {
                match limiter.count(&frame, Instant::now()) {
                    Verdict::Fine => {}
                    Verdict::Pause => room.pause_client(),
                    Verdict::Close => {
                        room.tally.violation("more messages a second than the service allows");
                        room.urgent(Out::Cut { reset: false, mid_frame: false });
                        return std::future::pending().await;
                    }
                }
                room.relay_up(frame).await;
            }
            Ok(Message::Text(_)) => room.tally.violation("a second text frame"),
            Ok(Message::Ping(_)) => add(&room.tally.pings, 1),
            Ok(Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) => return,
            Err(Error::Capacity(error)) => {
                room.tally.violation(error.to_string());
                room.urgent(Out::Close(1009, "message too big"));
                return std::future::pending().await;
            }
            // Clients that vanish are routine; AWS's own does not say goodbye either.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return,
            Err(Error::Protocol(error)) => {
                room.tally.violation(error.to_string());
                return;
            }
            Err(_) => return,
        }
    }
}

async fn close(socket: &mut WebSocketStream<Wire>, code: CloseCode, reason: &str) {
    let frame = CloseFrame { code, reason: reason.into() };
    if socket.close(Some(frame)).await.is_ok() {
        let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    }
}
