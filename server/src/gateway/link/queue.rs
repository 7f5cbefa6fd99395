//! What a space has sent on one channel, between russh's loop and the one task that takes from it.
//!
//! Three parts in order: `front` in memory, `stored` on disk, `tail` in memory on its way to the disk. As long as
//! the reader keeps up there is only a front. One task per channel, begun when the front first overflows, moves
//! bytes from the tail to the disk and back to the front; nothing else touches the disk.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Output;
use super::run::{Run, Stream};
use super::spool::{Batch, Piece, Spool, SpoolError, Stored};
use crate::gateway::flow::locked;

/// What may wait for the disk, beside as much that is being written. Beyond it russh's loop waits for the disk, too…
const TAIL: usize = 1024 * 1024;
/// …for this long.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);
/// How much is read from the disk at once.
const READ: usize = 256 * 1024;
/// The stream on which the person is told why a channel was closed.
const STDERR: u32 = 1;

pub(super) struct OutputQueue {
    state: Mutex<State>,
    /// For the reader: there is something, or never will be.
    ready: Notify,
    /// For the mover: look again.
    work: Notify,
    /// For russh's loop: the tail is shorter.
    room: Notify,
    /// Cancelled when the channel is no more, here by a cut.
    gone: CancellationToken,
    memory: usize,
}

struct State {
    front: Run,
    stored: Stored,
    tail: Run,
    /// A batch of the tail is being written.
    writing: bool,
    /// The mover has begun.
    moving: bool,
    ended: bool,
    /// Closed by us; the space does not know yet.
    cut: bool,
    /// The reader has gone.
    discarded: bool,
}

/// What became of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Push {
    Kept,
    /// Kept, and from now on the channel needs its mover ([`OutputQueue::move_to_and_fro`]).
    Overflows,
    /// Kept, but more must not follow before there is [`OutputQueue::room`].
    Full,
    /// Not kept: the channel is to be closed.
    Cut,
    /// Not kept: nobody is interested any more.
    Ignored,
}

enum Job {
    Write(Batch),
    Read(Piece),
    Wait,
    Done,
}

impl OutputQueue {
    pub(super) fn new(spool: &Spool, gone: CancellationToken) -> Self {
        let state = State {
            front: Run::default(),
            stored: Stored::new(spool.clone()),
            tail: Run::default(),
            writing: false,
            moving: false,
            ended: false,
            cut: false,
            discarded: false,
        };
        let memory = spool.limits().memory;
        Self {
            state: Mutex::new(state),
            ready: Notify::new(),
            work: Notify::new(),
            room: Notify::new(),
            gone,
            memory,
        }
    }

    /// Keeps a copy. Never waits.
    pub(super) fn push(&self, stream: Stream, data: &[u8]) -> Push {
        self.keep(|run| run.push(stream, data))
    }

    /// Keeps what is said after all that came before.
    pub(super) fn push_event(&self, event: Output) -> Push {
        self.keep(|run| run.push_event(event))
    }

    fn keep(&self, put: impl FnOnce(&mut Run)) -> Push {
        let mut state = locked(&self.state);
        if state.cut {
            return Push::Cut;
        }
        if state.ended || state.discarded {
            return Push::Ignored;
        }
        if state.is_all_in_front() && state.front.cost() < self.memory {
            put(&mut state.front);
            drop(state);
            self.ready.notify_one();
            return Push::Kept;
        }
        put(&mut state.tail);
        let full = state.tail.cost() > TAIL;
        let overflows = !std::mem::replace(&mut state.moving, true);
        drop(state);
        self.work.notify_one();
        match (overflows, full) {
            (true, _) => Push::Overflows,
            (false, true) => Push::Full,
            (false, false) => Push::Kept,
        }
    }

    /// What waits in memory for the reader.
    pub(super) fn waiting(&self) -> usize {
        locked(&self.state).front.cost()
    }

    /// All that is in memory.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> usize {
        let state = locked(&self.state);
        state.front.cost() + state.tail.cost()
    }

    /// Waits until the disk has taken some of the tail; closes the queue if it does not.
    pub(super) async fn room(&self) {
        let room = async {
            while !self.has_room() {
                self.room.notified().await;
            }
        };
        if timeout(DISK_TIMEOUT, room).await.is_err() {
            self.cut(&SpoolError::TooSlow);
        }
    }

    fn has_room(&self) -> bool {
        let state = locked(&self.state);
        state.tail.cost() <= TAIL || state.ended || state.discarded
    }

    /// No more will come; what waits can still be taken.
    pub(super) fn end(&self) {
        locked(&self.state).ended = true;
        self.notify_all();
    }

    /// The reader has gone: nothing is kept any more.
    pub(super) fn discard(&self) {
        let mut state = locked(&self.state);
        state.discarded = true;
        let stored = state.stored.emptied();
        let runs = (std::mem::take(&mut state.front), std::mem::take(&mut state.tail));
        drop(state);
        // Freed after the lock is.
        drop((stored, runs));
        self.notify_all();
    }

    /// Ends the queue with a word to the person, behind all that is still readable.
    fn cut(&self, error: &SpoolError) {
        let mut state = locked(&self.state);
        if !state.cut {
            state.ended = true;
            state.cut = true;
            state.tail = Run::default();
            // What is being written now would come after the word, so it is not waited for.
            state.writing = false;
            let word = Output::Extended(STDERR, format!("\r\n{error}\r\n").into_bytes().into());
            if state.stored.is_empty() {
                state.front.push_event(word);
            } else {
                state.stored.push_event(word);
            }
        }
        drop(state);
        self.gone.cancel();
        self.notify_all();
    }

    fn notify_all(&self) {
        self.ready.notify_one();
        self.work.notify_one();
        self.room.notify_one();
    }

    fn take(&self) -> Option<Option<Output>> {
        let mut state = locked(&self.state);
        let Some(output) = state.front.pop() else {
            return (state.ended && state.is_all_in_front()).then_some(None);
        };
        if !state.is_all_in_front() && state.front.cost() < self.memory / 2 {
            self.work.notify_one();
        }
        Some(Some(output))
    }

    /// For the one reader. Cancel-safe.
    pub(super) async fn pop(&self) -> Option<Output> {
        loop {
            match self.take() {
                Some(taken) => return taken,
                None => self.ready.notified().await,
            }
        }
    }

    /// The mover: runs until the queue has ended and nothing is left outside its front.
    pub(super) async fn move_to_and_fro(&self) {
        loop {
            match self.next_job() {
                Ok(Job::Write(batch)) => self.write(batch).await,
                Ok(Job::Read(piece)) => self.read(piece).await,
                Ok(Job::Wait) => self.work.notified().await,
                Ok(Job::Done) => return,
                Err(error) => self.cut(&error),
            }
        }
    }

    fn next_job(&self) -> Result<Job, SpoolError> {
        let mut state = locked(&self.state);
        let state = &mut *state;
        if state.discarded {
            return Ok(Job::Done);
        }
        let hungry = state.front.cost() < self.memory / 2;
        if hungry && let Some(piece) = state.stored.piece(READ) {
            return Ok(Job::Read(piece));
        }
        if hungry {
            // Nothing is on disk but what may be said after it, so the rest need not go there.
            state.stored.read(&[], &mut state.front);
            state.front.append(std::mem::take(&mut state.tail));
            self.ready.notify_one();
            self.room.notify_one();
        }
        if !state.tail.is_empty() {
            let batch = state.stored.batch(std::mem::take(&mut state.tail))?;
            state.writing = true;
            return Ok(Job::Write(batch));
        }
        Ok(if state.ended && state.stored.is_empty() { Job::Done } else { Job::Wait })
    }

    async fn write(&self, batch: Batch) {
        let written = spawn_blocking(move || (batch.write(), batch)).await;
        let mut state = locked(&self.state);
        state.writing = false;
        let failed = match written {
            Ok((Ok(file), batch)) if !state.cut => {
                state.stored.written(batch, file);
                None
            }
            Ok((Ok(_), batch)) => {
                state.stored.unwritten(&batch);
                None
            }
            Ok((Err(error), batch)) => {
                state.stored.unwritten(&batch);
                Some(error)
            }
            Err(stopped) => Some(stopped.into()),
        };
        let discarded = state.discarded.then(|| state.stored.emptied());
        drop(state);
        drop(discarded);
        match failed {
            Some(error) => self.cut(&error.into()),
            None => self.room.notify_one(),
        }
    }

    async fn read(&self, piece: Piece) {
        let read = spawn_blocking(move || piece.read()).await.unwrap_or_else(|stopped| Err(stopped.into()));
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        if state.discarded {
            return;
        }
        match read {
            Ok(data) => {
                state.stored.read(&data, &mut state.front);
                self.ready.notify_one();
            }
            Err(error) => {
                // What follows the gap is of no use.
                drop(state.stored.emptied());
                drop(guard);
                self.cut(&error.into());
            }
        }
    }
}

impl State {
    fn is_all_in_front(&self) -> bool {
        self.stored.is_empty() && self.tail.is_empty() && !self.writing
    }
}
