//! Whether the gateway takes payloads above 1 KiB, which it tells nobody: it may just close the socket on
//! them.

use std::time::Duration;

use crate::moment::Moment;

/// So many sockets in a row that die of a large payload are no coincidence.
const HOPELESS: u32 = 4;

/// What a dead socket means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing for large payloads.
    Unrelated,
    /// From now on payloads are small. What is on its way cannot be split any more, since the agent may have
    /// it.
    FallBack,
    /// What is on its way kills every socket.
    Hopeless,
}

/// What is known.
#[derive(Debug)]
pub(super) struct LargePayloads {
    /// When the first one went out on this socket.
    sent_at: Option<Moment>,
    proven: bool,
    deaths: u32,
}

impl LargePayloads {
    pub(super) const fn new() -> Self {
        Self { sent_at: None, proven: false, deaths: 0 }
    }

    pub(super) const fn are_allowed(&self) -> bool {
        self.deaths == 0
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.sent_at.get_or_insert(now);
    }

    pub(super) const fn acknowledged(&mut self) {
        self.proven = true;
    }

    pub(super) fn socket_died(&mut self, now: Moment, suspicion: Duration) -> Verdict {
        let sent_at = self.sent_at.take();
        if self.proven || sent_at.is_none_or(|at| now.since(at) > suspicion) {
            return Verdict::Unrelated;
        }
        self.deaths += 1;
        match self.deaths {
            1 => Verdict::FallBack,
            HOPELESS.. => Verdict::Hopeless,
            _ => Verdict::Unrelated,
        }
    }
}
