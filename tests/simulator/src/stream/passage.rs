//! One direction of a stream inside the gateway: what happens to messages on their way, by the faults that are set.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng as _;
use tokio::time::Instant;

use super::frame::{HEADER, kind};

/// What to do to the messages of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mischief {
    Drop,
    Duplicate,
    Reorder,
    Corrupt,
}

/// A range of stream messages and what happens to them.
#[derive(Clone, Copy, Debug)]
struct Pick {
    first: u64,
    count: u64,
    mischief: Mischief,
    seen: u64,
}

/// The state of one direction.
#[derive(Debug)]
pub(crate) struct Passage {
    delay: Duration,
    jitter: Duration,
    last_due: Option<Instant>,
    acks_to_lose: u64,
    picks: Vec<Pick>,
    held: Vec<Bytes>,
}

/// What came out for one message that went in.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// When each message is due, and the message.
    pub(crate) out: Vec<(Instant, Bytes)>,
    /// Messages made away with.
    pub(crate) lost: u64,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            last_due: None,
            acks_to_lose: 0,
            picks: Vec::new(),
            held: Vec::new(),
        }
    }
}

impl Passage {
    /// Delays everything from now on.
    pub(crate) fn delay(&mut self, delay: Duration, jitter: Duration) {
        self.delay = delay;
        self.jitter = jitter;
    }

    /// Loses the next acknowledgements.
    pub(crate) fn lose_acks(&mut self, count: u64) {
        self.acks_to_lose = count;
    }

    /// Plays with `count` messages from the `first`, counted from now.
    pub(crate) fn pick(&mut self, first: u64, count: u64, mischief: Mischief) {
        self.picks.push(Pick { first, count, mischief, seen: 0 });
    }

    /// Ends all faults; messages held back go out with the next one.
    pub(crate) fn clear(&mut self) {
        self.delay = Duration::ZERO;
        self.jitter = Duration::ZERO;
        self.acks_to_lose = 0;
        self.picks.clear();
    }

    /// Takes a message in and says what goes out.
    pub(crate) fn pass(&mut self, message_kind: &str, frame: Bytes, now: Instant) -> Passed {
        let mut passed = Passed::default();
        let data = matches!(message_kind, kind::INPUT | kind::OUTPUT);
        if message_kind == kind::ACKNOWLEDGE && self.acks_to_lose > 0 {
            self.acks_to_lose = self.acks_to_lose.saturating_sub(1);
            passed.lost = 1;
            return passed;
        }
        let mischief = if data { self.mischief() } else { None };
        let due = self.due(now);
        match mischief {
            None => passed.out.push((due, frame)),
            Some(Mischief::Drop) => passed.lost = 1,
            Some(Mischief::Duplicate) => passed.out.extend([(due, frame.clone()), (due, frame)]),
            Some(Mischief::Corrupt) => passed.out.push((due, corrupted(&frame))),
            Some(Mischief::Reorder) => {
                self.held.push(frame);
                return passed;
            }
        }
        if data {
            passed.out.extend(self.held.drain(..).map(|held| (due, held)));
        }
        passed
    }

    fn mischief(&mut self) -> Option<Mischief> {
        let mut found = None;
        for pick in &mut self.picks {
            pick.seen += 1;
            if pick.seen >= pick.first && pick.seen - pick.first < pick.count {
                found = found.or(Some(pick.mischief));
            }
        }
        self.picks.retain(|pick| pick.seen < pick.first || pick.seen - pick.first + 1 < pick.count);
        found
    }

    fn due(&mut self, now: Instant) -> Instant {
        if self.delay.is_zero() && self.jitter.is_zero() && self.last_due.is_none_or(|due| due <= now) {
            return now;
        }
        let jitter = self.jitter.mul_f64(rand::rng().random_range(0.0..=1.0));
        let due = (now + self.delay + jitter).max(self.last_due.unwrap_or(now));
        self.last_due = Some(due);
        due
    }
}

/// The message with one bit of its payload changed; one without a payload gets a wrong digest instead.
fn corrupted(frame: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(frame.as_ref());
    let at = if bytes.len() > HEADER { bytes.len() - 1 } else { 80 };
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(passage: &mut Passage, names: &[&str]) -> Vec<String> {
        let now = Instant::now();
        names
            .iter()
            .flat_map(|name| passage.pass(kind::INPUT, Bytes::copy_from_slice(name.as_bytes()), now).out)
            .map(|(_, frame)| String::from_utf8_lossy(&frame).into_owned())
            .collect()
    }

    #[tokio::test]
    async fn picks_strike_the_messages_they_name_and_no_other() {
        let mut passage = Passage::default();
        passage.pick(2, 1, Mischief::Drop);
        passage.pick(3, 1, Mischief::Duplicate);
        passage.pick(5, 2, Mischief::Reorder);
        let out = through(&mut passage, &["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(out, ["1", "3", "3", "4", "7", "5", "6", "8"]);
        assert!(passage.picks.is_empty());
    }

    #[tokio::test]
    async fn jitter_keeps_the_order() {
        let mut passage = Passage::default();
        passage.delay(Duration::from_millis(5), Duration::from_millis(50));
        let now = Instant::now();
        let dues: Vec<_> = (0..100)
            .flat_map(|_| passage.pass(kind::OUTPUT, Bytes::new(), now).out)
            .map(|(due, _)| due)
            .collect();
        assert!(dues.is_sorted());
        assert!(dues.iter().all(|due| *due >= now + Duration::from_millis(5)));
    }

    #[tokio::test]
    async fn lost_acks_leave_data_alone() {
        let mut passage = Passage::default();
        passage.lose_acks(2);
        let now = Instant::now();
        let mut acks = 0;
        for _ in 0..4 {
            acks += passage.pass(kind::ACKNOWLEDGE, Bytes::new(), now).out.len();
            assert_eq!(passage.pass(kind::INPUT, Bytes::new(), now).out.len(), 1);
        }
        assert_eq!(acks, 2);
    }
}
