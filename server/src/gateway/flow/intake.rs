//! The queue of one channel, between russh's loop and the one task that takes from it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use russh::ChannelId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::Seat;
use super::windows::Connection;
use super::{Segments, locked};

/// A queue from which nothing was taken for this long makes no progress.
const NO_PROGRESS: Duration = Duration::from_secs(5);

/// Why a channel's queue was closed by us. `Display` is for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The client sent more than its window allows for.
    #[error("more bytes wait on the channel than it may hold")]
    Channel,
    /// Too much waited on the connection, and most of it here.
    #[error("more bytes wait on the connection than it may hold")]
    Connection,
    /// Too much waited in the whole process, and most of it here.
    #[error("more bytes wait in the process than it may hold")]
    Process,
}

/// What became of received bytes.
pub(super) enum Push {
    Kept,
    OverCap,
    Ended,
}

#[derive(Debug)]
pub(super) struct Intake {
    connection: Arc<Connection>,
    state: Mutex<State>,
    ready: Notify,
    gone: CancellationToken,
}

#[derive(Debug)]
struct State {
    segments: Segments,
    /// Over the upper mark and not yet under the lower one.
    hoarding: bool,
    /// No more bytes will come.
    ended: bool,
    cut: Option<Cut>,
    /// When the reader last took something, or found nothing to take.
    last_taken: Instant,
}

impl Intake {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            state: Mutex::new(State {
                segments: Segments::default(),
                hoarding: false,
                ended: false,
                cut: None,
                last_taken: Instant::now(),
            }),
            ready: Notify::new(),
            gone: CancellationToken::new(),
        }
    }

    /// Keeps a copy. Never waits.
    pub(super) fn push(&self, data: &[u8], now: Instant) -> Push {
        let mut state = locked(&self.state);
        if state.ended {
            return Push::Ended;
        }
        if state.segments.is_empty() {
            state.last_taken = now;
        }
        state.segments.push(data);
        self.connection.held(data.len());
        let len = state.segments.len();
        if len > self.connection.limits.hoard_above && !state.hoarding {
            state.hoarding = true;
            self.connection.hoarder_came();
        }
        let over = len > self.connection.limits.channel_bytes;
        if over {
            self.discard(&mut state, Some(Cut::Channel));
        }
        drop(state);
        self.ready.notify_one();
        if over { Push::OverCap } else { Push::Kept }
    }

    /// The client will send no more; what waits can still be taken.
    pub(super) fn end(&self) {
        let mut state = locked(&self.state);
        state.ended = true;
        self.stop_hoarding(&mut state);
        drop(state);
        self.ready.notify_one();
    }

    /// The channel is closed; what waits can still be taken, as OpenSSH's server does.
    pub(super) fn close(&self) {
        self.end();
        self.gone.cancel();
    }

    fn take(&self) -> Option<Option<Bytes>> {
        let mut state = locked(&self.state);
        state.last_taken = Instant::now();
        let Some(segment) = state.segments.pop() else {
            return state.ended.then_some(None);
        };
        self.connection.released(segment.len());
        if state.segments.len() < self.connection.limits.hoard_below {
            self.stop_hoarding(&mut state);
        }
        Some(Some(segment))
    }

    fn stop_hoarding(&self, state: &mut State) {
        if std::mem::take(&mut state.hoarding) {
            self.connection.hoarder_left();
        }
    }

    fn discard(&self, state: &mut State, cut: Option<Cut>) {
        self.connection.released(state.segments.len());
        state.segments = Segments::default();
        state.ended = true;
        state.cut = state.cut.or(cut);
        self.stop_hoarding(state);
        self.gone.cancel();
    }

    /// Closes the longest of these queues that makes no progress.
    pub(super) fn cut_longest<'a>(intakes: impl Iterator<Item = &'a Arc<Self>>, now: Instant, cut: Cut) {
        let stuck = |intake: &Self| {
            let state = locked(&intake.state);
            let idle = now.saturating_duration_since(state.last_taken) > NO_PROGRESS;
            (idle && !state.segments.is_empty()).then(|| state.segments.len())
        };
        let longest = intakes.filter_map(|i| Some((stuck(i)?, i))).max_by_key(|(len, _)| *len);
        if let Some((_, intake)) = longest {
            intake.discard(&mut locked(&intake.state), Some(cut));
            intake.ready.notify_one();
        }
    }
}

/// The bytes that a client sends on one channel. There is one consumer; dropping it closes the queue and frees what
/// it held.
#[derive(Debug)]
pub struct Inbound {
    id: ChannelId,
    intake: Arc<Intake>,
    seat: Seat,
}

impl Inbound {
    pub(super) const fn new(id: ChannelId, intake: Arc<Intake>, seat: Seat) -> Self {
        Self { id, intake, seat }
    }

    /// The next bytes, at most 64 KiB or one packet; nothing once the client has ended its side or the channel is
    /// closed and all that waited was taken. Cancel-safe.
    pub async fn pop(&mut self) -> Option<Bytes> {
        loop {
            match self.intake.take() {
                Some(taken) => return taken,
                None => self.intake.ready.notified().await,
            }
        }
    }

    /// Completes when the channel is closed, by the client or by a ceiling. The future borrows nothing, so it can be
    /// raced against [`pop`](Self::pop).
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.intake.gone.clone().cancelled_owned()
    }

    /// Whether the channel is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.intake.gone.is_cancelled()
    }

    /// Why we closed the queue, if we did: to be told to the client before the channel is closed.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        locked(&self.intake.state).cut
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.intake.discard(&mut locked(&self.intake.state), None);
        self.intake.connection.process.leave(self.seat);
        self.intake.connection.forget(self.id, &self.intake);
    }
}
