//! Output in order, in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Output;
use crate::gateway::flow::Segments;

/// What an entry costs beside its bytes.
const ENTRY: usize = 128;

/// Which stream of a channel bytes belong to: `None` is standard output.
pub(super) type Stream = Option<u32>;

/// Bytes, and what is said between them.
#[derive(Default)]
pub(super) struct Run {
    entries: VecDeque<Entry>,
    cost: usize,
}

enum Entry {
    Bytes(Stream, Segments),
    Event(Output),
}

impl Run {
    pub(super) fn push(&mut self, stream: Stream, data: &[u8]) {
        self.cost += data.len();
        match self.entries.back_mut() {
            Some(Entry::Bytes(last, segments)) if *last == stream => segments.push(data),
            _ => {
                let mut segments = Segments::default();
                segments.push(data);
                self.entries.push_back(Entry::Bytes(stream, segments));
                self.cost += ENTRY;
            }
        }
    }

    pub(super) fn push_event(&mut self, event: Output) {
        self.cost += ENTRY;
        self.entries.push_back(Entry::Event(event));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        if let Some(Entry::Bytes(stream, segments)) = self.entries.front_mut() {
            let (stream, segment) = (*stream, segments.pop().unwrap_or_default());
            self.cost -= segment.len();
            if segments.is_empty() {
                self.entries.pop_front();
                self.cost -= ENTRY;
            }
            return Some(output(stream, segment));
        }
        let Some(Entry::Event(event)) = self.entries.pop_front() else { return None };
        self.cost -= ENTRY;
        Some(event)
    }

    /// Appends all of another.
    pub(super) fn append(&mut self, mut other: Self) {
        self.cost += std::mem::take(&mut other.cost);
        self.entries.append(&mut other.entries);
    }

    /// What it costs in memory.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn output(stream: Stream, bytes: Bytes) -> Output {
    match stream {
        None => Output::Data(bytes),
        Some(code) => Output::Extended(code, bytes),
    }
}
