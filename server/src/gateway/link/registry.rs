//! The channels of one link.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use russh::ChannelId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::queue::OutputQueue;
use super::spool::Spool;
use super::{LinkError, LinkIncoming};
use crate::gateway::flow::locked;

/// Channels that the space has opened and nobody has taken yet. A person's agent or a forwarded port sees a handful
/// at once.
const INCOMING: usize = 16;

/// With this much waiting for the reader of the only channel, the stream is not read…
const HOLD_ABOVE: usize = 512 * 1024;
/// …until this little is left.
const HOLD_BELOW: usize = 256 * 1024;

pub(super) struct Registry {
    spool: Spool,
    /// Whether the stream is to be left unread for now.
    held: watch::Sender<bool>,
    channels: Mutex<HashMap<ChannelId, Arc<Entry>>>,
    added: Notify,
    /// Opens and requests that wait for the space's answer.
    asking: AtomicUsize,
    over: CancellationToken,
    incoming: mpsc::Sender<LinkIncoming>,
    untaken: Mutex<Option<mpsc::Receiver<LinkIncoming>>>,
}

/// One channel, as russh's callbacks see it.
pub(super) struct Entry {
    /// What the space sent.
    pub(super) queue: OutputQueue,
    /// Notified when the space has widened its window.
    pub(super) window: Notify,
    /// Closed, by either side.
    pub(super) gone: CancellationToken,
    replies: Mutex<VecDeque<(u64, oneshot::Sender<bool>)>>,
    asked: AtomicU64,
}

/// While this lives, the link is not one channel's alone.
pub(super) struct Company<'a>(&'a Registry);

impl Registry {
    pub(super) fn new(spool: Spool) -> Self {
        let (incoming, untaken) = mpsc::channel(INCOMING);
        Self {
            spool,
            held: watch::Sender::new(false),
            channels: Mutex::default(),
            added: Notify::new(),
            asking: AtomicUsize::new(0),
            over: CancellationToken::new(),
            incoming,
            untaken: Mutex::new(Some(untaken)),
        }
    }

    /// A channel is open, and the space may speak on it from now on, long before its opener has the channel's id.
    pub(super) fn add(&self, id: ChannelId) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(&self.spool));
        locked(&self.channels).insert(id, Arc::clone(&entry));
        if self.over.is_cancelled() {
            entry.close();
        }
        self.added.notify_waiters();
        self.weigh();
        entry
    }

    pub(super) fn get(&self, id: ChannelId) -> Option<Arc<Entry>> {
        locked(&self.channels).get(&id).cloned()
    }

    /// The entry of a channel that russh has confirmed to its opener, which it does a moment before it calls us.
    pub(super) async fn claim(&self, id: ChannelId) -> Result<Arc<Entry>, LinkError> {
        loop {
            let added = self.added.notified();
            if let Some(entry) = self.get(id) {
                return Ok(entry);
            }
            tokio::select! {
                () = added => (),
                () = self.over.cancelled() => return Err(LinkError::Gone),
            }
        }
    }

    pub(super) fn remove(&self, id: ChannelId) {
        let removed = locked(&self.channels).remove(&id);
        if let Some(entry) = removed {
            entry.close();
            entry.queue.discard();
        }
        self.weigh();
    }

    /// Decides whether the stream is read. A channel that has the link to itself is slowed down by leaving the stream
    /// unread, which is exact and costs nobody anything. In company its output is kept instead, and while an open or
    /// a request waits for its answer the stream must be read, too.
    pub(super) fn weigh(&self) {
        let channels = locked(&self.channels);
        let alone = channels.len() == 1 && self.asking.load(Ordering::Relaxed) == 0;
        let waiting = channels.values().next().filter(|_| alone).map_or(0, |entry| entry.queue.waiting());
        let was = *self.held.borrow();
        let now = waiting > if was { HOLD_BELOW } else { HOLD_ABOVE };
        if was != now {
            self.held.send_replace(now);
        }
    }

    /// Tells when the stream is to be left unread.
    pub(super) fn held(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.channels).len()
    }

    pub(super) const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// The connection is over, and every channel with it.
    pub(super) fn end(&self) {
        self.over.cancel();
        let entries: Vec<_> = locked(&self.channels).values().cloned().collect();
        for entry in entries {
            entry.close();
        }
    }

    pub(super) fn company(&self) -> Company<'_> {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.weigh();
        Company(self)
    }

    pub(super) fn take_incoming(&self) -> Option<mpsc::Receiver<LinkIncoming>> {
        locked(&self.untaken).take()
    }

    /// Room for a channel that the space opens, if somebody takes them.
    pub(super) fn room_for_incoming(&self) -> Option<mpsc::OwnedPermit<LinkIncoming>> {
        if locked(&self.untaken).is_some() {
            return None;
        }
        self.incoming.clone().try_reserve_owned().ok()
    }
}

impl Drop for Company<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
        self.0.weigh();
    }
}

impl Entry {
    fn new(spool: &Spool) -> Self {
        let gone = CancellationToken::new();
        Self {
            queue: OutputQueue::new(spool, gone.clone()),
            window: Notify::new(),
            gone,
            replies: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// No more will come, and nothing more can be sent. What waits can still be taken.
    pub(super) fn close(&self) {
        self.queue.end();
        self.gone.cancel();
        locked(&self.replies).clear();
    }

    /// Lines up for the answer to a request; requests are answered in order.
    pub(super) fn ask(&self) -> (u64, oneshot::Receiver<bool>) {
        let (answer, answered) = oneshot::channel();
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut replies = locked(&self.replies);
        // A closed channel answers nothing; the dropped sender says so.
        if !self.gone.is_cancelled() {
            replies.push_back((number, answer));
        }
        (number, answered)
    }

    /// The request was never sent.
    pub(super) fn unask(&self, number: u64) {
        locked(&self.replies).retain(|(n, _)| *n != number);
    }

    pub(super) fn answer(&self, success: bool) {
        let first = locked(&self.replies).pop_front();
        if let Some((_, answer)) = first {
            // Whoever asked may have gone.
            let _ = answer.send(success);
        }
    }
}
