//! Our sequence: what was sent and not yet acknowledged, and when to send it again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{Limits, MESSAGE_OVERHEAD};
use crate::moment::Moment;
use crate::rtt::Rtt;

/// While the agent's TCP connection is not up yet, it drops what it is given. The wait before each resend.
const FAST: [Duration; 4] = [
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
/// The pace of resends while the peer is absent: each one makes the service say so again.
const ABSENT: Duration = Duration::from_secs(1);
/// The least time between two resends of the whole window, so that a flapping peer does not cost us the rate.
const WHOLE_WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Unacked {
    frame: Bytes,
    sent_at: Moment,
    sends: u32,
    /// Whether its acknowledgement tells the round trip.
    clean: bool,
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// It was for this message, of this size.
    Message { frame_bytes: usize },
    /// It was for nothing that waits; harmless.
    Unknown,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Sender {
    next: u64,
    unacked: BTreeMap<u64, Unacked>,
    bytes: usize,
    window_bytes: usize,
    window_messages: u64,
    resend: VecDeque<u64>,
    rtt: Rtt,
    /// The last acknowledgement, or since when one is owed.
    progress_at: Moment,
    /// Nothing times out before this.
    quiet_until: Moment,
    whole_window_at: Option<Moment>,
    last_whole_window: Option<Moment>,
    /// The sequence number under the fast-resend rule.
    fast: Option<u64>,
}

impl Sender {
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self {
            next: 0,
            unacked: BTreeMap::new(),
            bytes: 0,
            window_bytes: limits.window_bytes,
            window_messages: limits.window_messages,
            resend: VecDeque::new(),
            rtt: Rtt::new(),
            progress_at: Moment::START,
            quiet_until: Moment::START,
            whole_window_at: None,
            last_whole_window: None,
            fast: None,
        }
    }

    /// The sequence number that [`Self::register`] gives next.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Bytes held.
    pub(crate) const fn held(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Whether another message fits. Nothing is ever evicted to make it fit.
    pub(crate) fn has_room(&self) -> bool {
        let head = self.unacked.keys().next().copied().unwrap_or(self.next);
        self.bytes < self.window_bytes && self.next - head < self.window_messages
    }

    /// Enters a message that is about to be written: an acknowledgement can overtake the return of the write.
    pub(crate) fn register(&mut self, now: Moment, frame: Bytes) {
        if self.unacked.is_empty() {
            self.progress_at = now;
        }
        self.bytes += frame.len() + MESSAGE_OVERHEAD;
        self.unacked.insert(self.next, Unacked { frame, sent_at: now, sends: 1, clean: true });
        self.next += 1;
    }

    /// The next message to be registered may reach an agent that is not ready: resend it fast.
    pub(crate) const fn resend_next_fast(&mut self) {
        self.fast = Some(self.next);
    }

    /// Takes an acknowledgement.
    pub(crate) fn acknowledge(&mut self, now: Moment, sequence: u64) -> Acked {
        let Some(message) = self.unacked.remove(&sequence) else { return Acked::Unknown };
        self.bytes = self.bytes.saturating_sub(message.frame.len() + MESSAGE_OVERHEAD);
        self.progress_at = now;
        if message.clean {
            self.rtt.sample(now.since(message.sent_at));
        }
        if self.fast == Some(sequence) {
            self.fast = None;
        }
        self.skip_acknowledged();
        Acked::Message { frame_bytes: message.frame.len() }
    }

    /// When the oldest message is to be sent again.
    pub(crate) fn resend_at(&self, peer_absent: bool) -> Option<Moment> {
        let (sequence, head) = self.unacked.first_key_value()?;
        let wait = if peer_absent { ABSENT } else { self.wait(*sequence, head.sends) };
        let head_at = (head.sent_at + wait).max(self.quiet_until);
        Some(self.whole_window_at.map_or(head_at, |whole| whole.min(head_at)))
    }

    /// How long a message waits for its acknowledgement. The fast resends are no evidence of loss and do not
    /// count.
    fn wait(&self, sequence: u64, sends: u32) -> Duration {
        if self.fast != Some(sequence) {
            return self.rtt.timeout(sends);
        }
        match FAST.get(sends.saturating_sub(1) as usize) {
            Some(fast) => *fast,
            None => self.rtt.timeout(sends.saturating_sub(FAST.len() as u32)),
        }
    }

    /// Queues what is due. Only the oldest message times out: agents park what is ahead of a gap, so one
    /// resend usually heals it, and the next oldest is due at once if it is lost too.
    pub(crate) fn on_timer(&mut self, now: Moment, peer_absent: bool) {
        if self.whole_window_at.is_some_and(|at| at <= now) {
            self.queue_window(now);
            return;
        }
        if !self.resend.is_empty() || self.resend_at(peer_absent).is_none_or(|at| at > now) {
            return;
        }
        if let Some((sequence, _)) = self.unacked.first_key_value() {
            let is_fast = self.fast == Some(*sequence);
            self.resend.push_back(*sequence);
            if !peer_absent && !is_fast {
                self.rtt.back_off();
            }
        }
    }

    /// Whether something waits to be sent again.
    pub(crate) fn has_resends(&self) -> bool {
        !self.resend.is_empty()
    }

    /// The next message to send again: the very bytes that were sent before.
    pub(crate) fn take_resend(&mut self, now: Moment) -> Option<Bytes> {
        let sequence = self.resend.pop_front()?;
        self.skip_acknowledged();
        let message = self.unacked.get_mut(&sequence)?;
        message.sent_at = now;
        message.sends = message.sends.saturating_add(1);
        message.clean = false;
        Some(message.frame.clone())
    }

    /// Keeps the front of the queue a message that still waits.
    fn skip_acknowledged(&mut self) {
        while self.resend.front().is_some_and(|sequence| !self.unacked.contains_key(sequence)) {
            self.resend.pop_front();
        }
    }

    /// The path was cut or the peer was away: everything is sent again, since agents tell duplicates apart.
    pub(crate) fn resend_window(&mut self, now: Moment) {
        match self.last_whole_window {
            Some(last) if now.since(last) < WHOLE_WINDOW => self.whole_window_at = Some(last + WHOLE_WINDOW),
            _ => self.queue_window(now),
        }
        self.progress_at = now;
    }

    /// A new connection: nothing of the old one is on its way any more.
    pub(crate) fn reconnected(&mut self, now: Moment) {
        self.rtt.forget_back_off();
        self.queue_window(now);
        self.progress_at = now;
    }

    fn queue_window(&mut self, now: Moment) {
        self.whole_window_at = None;
        self.last_whole_window = (!self.unacked.is_empty()).then_some(now);
        self.resend = self.unacked.keys().copied().collect();
        for message in self.unacked.values_mut() {
            message.sends = 0;
            message.sent_at = now;
        }
    }

    /// We did not read for a while, so acknowledgements may be waiting: nothing is late before one time-out
    /// from now.
    pub(crate) fn excuse(&mut self, now: Moment) {
        self.progress_at = now;
        self.quiet_until = now + self.rtt.timeout(1);
        for message in self.unacked.values_mut() {
            message.clean = false;
        }
    }

    /// Since when no acknowledgement has come although one is owed.
    pub(crate) fn waiting_since(&self) -> Option<Moment> {
        (!self.unacked.is_empty()).then_some(self.progress_at)
    }
}
