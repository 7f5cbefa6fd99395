//! What the client sends on a channel, and what it sent while nobody could take it yet.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::gateway::flow::{Cut, Inbound};

/// How much is looked at while a space starts. What comes behind it waits in the channel's own queue, whose flow
/// control then slows the client.
const AHEAD: usize = 64 * 1024;
/// Ctrl-C.
const INTERRUPT: u8 = 0x03;

/// The client's bytes, in order.
pub(super) struct Input {
    inbound: Inbound,
    ahead: VecDeque<Bytes>,
    ahead_len: usize,
    ended: bool,
}

impl Input {
    pub(super) const fn new(inbound: Inbound) -> Self {
        Self { inbound, ahead: VecDeque::new(), ahead_len: 0, ended: false }
    }

    /// The next bytes for the space; nothing at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.ahead.pop_front() {
            self.ahead_len = self.ahead_len.saturating_sub(bytes.len());
            return Some(bytes);
        }
        if self.ended {
            return None;
        }
        let bytes = self.inbound.pop().await;
        self.ended = bytes.is_none();
        bytes
    }

    /// Completes at the next Ctrl-C among bytes not seen yet; the bytes before and after it are kept for the space.
    /// Cancel-safe.
    pub(super) async fn interrupted(&mut self) {
        loop {
            if self.ended || self.ahead_len >= AHEAD {
                std::future::pending::<()>().await;
            }
            match self.inbound.pop().await {
                None => self.ended = true,
                Some(bytes) => {
                    let interrupt = bytes.contains(&INTERRUPT);
                    self.ahead_len += bytes.len();
                    self.ahead.push_back(bytes);
                    if interrupt {
                        return;
                    }
                }
            }
        }
    }

    /// Completes when the channel is closed, by the client or by a ceiling.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inbound.gone()
    }

    /// Why a ceiling closed the channel, if one did: then bytes are missing.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.inbound.cut()
    }

    /// Forgets what was typed ahead: it was not meant as the answer to a question nobody had asked yet.
    pub(super) fn forget(&mut self) {
        self.ahead.clear();
        self.ahead_len = 0;
    }
}
