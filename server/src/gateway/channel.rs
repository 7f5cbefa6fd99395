//! Channels to a space, counted and recorded: SSH channels on a link, or the raw bytes of a jump.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

use super::activity::Way;
use super::clock::within;
use super::journal::Journal;
use super::link::{Output, Pty, SpaceChannel, SpaceInput, SpaceOutput};
use super::links::LinkRide;
use super::lock::lock;
use super::raw::{RawInput, RawOutput};
use super::sessions::Live;
use crate::domain::ids::{ChannelId, StreamId};
use crate::domain::ports::Clock;
use crate::domain::record::{Change, ChannelKind};
use crate::telemetry::metrics as names;

/// How long closing a channel towards the space may take before it is left to the link.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A channel to a space: counted and recorded.
pub struct Channel {
    input: ChannelInput,
    output: ChannelOutput,
}

/// Towards the space.
pub struct ChannelInput {
    shared: Arc<Shared>,
}

/// From the space.
pub struct ChannelOutput {
    source: Source,
    shared: Arc<Shared>,
}

/// The channel is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel is closed")]
pub struct ChannelGone;

/// What a channel's row says at its beginning.
pub(super) struct ChannelStart {
    pub(super) stream: StreamId,
    pub(super) kind: ChannelKind,
    pub(super) detail: Option<String>,
    pub(super) pty: bool,
}

enum Source {
    Link(SpaceOutput),
    Raw(RawOutput),
}

enum Sink {
    Link { input: SpaceInput, ride: LinkRide },
    Raw(RawInput),
}

/// What both halves share. When the second half goes, so does the channel, and its row is closed.
struct Shared {
    id: ChannelId,
    kind: ChannelKind,
    way: Way,
    live: Arc<Live>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    sink: Option<Sink>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    ending: Mutex<Ending>,
    /// Its first row, until that is written.
    unwritten: Mutex<Option<Change>>,
}

/// How the command in the space ended, as far as is known.
#[derive(Debug, Default)]
struct Ending {
    exit_status: Option<u32>,
    signal: Option<String>,
}

impl Channel {
    /// A channel on a link, which is held for as long as the channel lives.
    pub(super) async fn on_link(
        channel: SpaceChannel,
        ride: LinkRide,
        live: &Arc<Live>,
        start: ChannelStart,
        (journal, clock): (&Journal, &Arc<dyn Clock>),
    ) -> Self {
        let (input, output) = channel.split();
        Self::begin(Sink::Link { input, ride }, Source::Link(output), live, start, (journal, clock)).await
    }

    /// A channel that is a stream.
    pub(super) async fn raw(
        (input, output): (RawInput, RawOutput),
        live: &Arc<Live>,
        start: ChannelStart,
        (journal, clock): (&Journal, &Arc<dyn Clock>),
    ) -> Self {
        Self::begin(Sink::Raw(input), Source::Raw(output), live, start, (journal, clock)).await
    }

    async fn begin(
        sink: Sink,
        source: Source,
        live: &Arc<Live>,
        start: ChannelStart,
        (journal, clock): (&Journal, &Arc<dyn Clock>),
    ) -> Self {
        let id = ChannelId::generate();
        let opened = Change::ChannelOpened {
            channel: id.uuid(),
            session: live.id.uuid(),
            stream: start.stream.uuid(),
            replica: journal.replica().uuid(),
            kind: start.kind,
            detail: start.detail,
            pty: start.pty,
            at: journal.now(),
        };
        let shared = Arc::new(Shared {
            id,
            kind: start.kind,
            way: live.track.opened(start.kind, start.pty, clock.now()),
            live: Arc::clone(live),
            journal: journal.clone(),
            clock: Arc::clone(clock),
            sink: Some(sink),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            ending: Mutex::default(),
            unwritten: Mutex::new(Some(opened.clone())),
        });
        metrics::gauge!(names::CHANNELS, "kind" => start.kind.as_str()).increment(1);
        debug!(channel.id = %shared.id, session.id = %live.id, kind = start.kind.as_str(), "channel open");
        journal.record(vec![opened]).await;
        lock(&shared.unwritten).take();
        let input = ChannelInput { shared: Arc::clone(&shared) };
        Self { input, output: ChannelOutput { source, shared } }
    }

    /// Splits it for two pumps. Dropping both ends the channel and its row.
    #[must_use]
    pub fn split(self) -> (ChannelInput, ChannelOutput) {
        (self.input, self.output)
    }
}

impl ChannelInput {
    /// Hands bytes on; waits while the space takes none.
    ///
    /// # Errors
    /// When the channel is gone, or its session.
    pub async fn data(&self, bytes: Bytes) -> Result<(), ChannelGone> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Before it is handed on: whoever types at a space that takes nothing is at work all the same.
        self.shared.live.track.sent(&self.shared.way, count, self.shared.clock.now());
        self.unless_cut(async {
            match &self.shared.sink {
                Some(Sink::Link { input, .. }) => input.data(bytes).await.map_err(|_| ChannelGone),
                Some(Sink::Raw(input)) => input.data(bytes).await,
                None => Err(ChannelGone),
            }
        })
        .await?;
        self.shared.bytes_in.fetch_add(count, Ordering::Relaxed);
        self.shared.live.moved_in(count);
        metrics::counter!(names::BYTES, "direction" => "in").increment(count);
        Ok(())
    }

    /// No more bytes will come.
    ///
    /// # Errors
    /// When the channel is gone, or its session.
    pub async fn eof(&self) -> Result<(), ChannelGone> {
        self.unless_cut(async {
            match &self.shared.sink {
                Some(Sink::Link { input, .. }) => input.eof().await.map_err(|_| ChannelGone),
                Some(Sink::Raw(input)) => input.eof().await,
                None => Err(ChannelGone),
            }
        })
        .await
    }

    /// The client's terminal changed its size.
    ///
    /// # Errors
    /// When the channel is gone, or its session.
    pub async fn window_change(&self, pty: &Pty) -> Result<(), ChannelGone> {
        match &self.shared.sink {
            Some(Sink::Link { input, .. }) => {
                self.unless_cut(async { input.window_change(pty).await.map_err(|_| ChannelGone) }).await
            }
            _ => Ok(()),
        }
    }

    /// A signal for the command, `INT`.
    ///
    /// # Errors
    /// When the channel is gone, or its session.
    pub async fn signal(&self, name: &str) -> Result<(), ChannelGone> {
        match &self.shared.sink {
            Some(Sink::Link { input, .. }) => {
                self.unless_cut(async { input.signal(name).await.map_err(|_| ChannelGone) }).await
            }
            _ => Ok(()),
        }
    }

    async fn unless_cut(
        &self,
        work: impl Future<Output = Result<(), ChannelGone>>,
    ) -> Result<(), ChannelGone> {
        tokio::select! {
            biased;
            () = self.shared.live.cut.cancelled() => Err(ChannelGone),
            done = work => done,
        }
    }
}

impl ChannelOutput {
    /// What the space sends next; nothing once the channel is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Output> {
        let source = &mut self.source;
        let output = tokio::select! {
            biased;
            () = self.shared.live.cut.cancelled() => None,
            output = async { match source {
                Source::Link(output) => output.next().await,
                Source::Raw(output) => output.next().await,
            } } => output,
        }?;
        self.shared.note(&output);
        Some(output)
    }
}

impl Shared {
    fn note(&self, output: &Output) {
        match output {
            Output::Data(bytes) | Output::Extended(_, bytes) => {
                let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.bytes_out.fetch_add(count, Ordering::Relaxed);
                self.live.moved_out(count);
                self.live.track.received(&self.way, count, self.clock.now());
                metrics::counter!(names::BYTES, "direction" => "out").increment(count);
            }
            Output::ExitStatus(status) => lock(&self.ending).exit_status = Some(*status),
            Output::ExitSignal { name, .. } => {
                lock(&self.ending).signal = Some(format!("signal {}", super::want::printable(name)));
            }
            Output::Eof => {}
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        metrics::gauge!(names::CHANNELS, "kind" => self.kind.as_str()).decrement(1);
        let ending = std::mem::take(&mut *lock(&self.ending));
        let cut_off = self.live.end_so_far().map(|reason| reason.to_string());
        let closed = Change::ChannelClosed {
            channel: self.id.uuid(),
            at: self.journal.now(),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            exit_status: ending.exit_status,
            reason: ending.signal.or(cut_off.filter(|_| ending.exit_status.is_none())),
        };
        // Whoever opened it may have gone before the first row was written: then both are written, in order.
        let rows: Vec<Change> = lock(&self.unwritten).take().into_iter().chain([closed]).collect();
        let (journal, clock, sink) = (self.journal.clone(), Arc::clone(&self.clock), self.sink.take());
        self.journal.later(async move {
            journal.record(rows).await;
            if let Some(Sink::Link { input, ride }) = sink {
                let _ = within(&*clock, CLOSE_LIMIT, input.close()).await;
                drop(ride);
            }
        });
    }
}
