//! Bytes in order, in few allocations.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Packets are joined up to this size, so that a million one-byte packets cost a million bytes.
const SEGMENT: usize = 64 * 1024;
/// Less than this, with nothing before it, is likely a keystroke: it gets no whole segment.
const SMALL: usize = 1024;

/// A queue of bytes that joins small pieces. Its length is what it costs, give or take one segment.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Segments {
    full: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Segments {
    /// Appends a copy.
    pub(in crate::gateway) fn push(&mut self, data: &[u8]) {
        if !self.tail.is_empty() && self.tail.len() + data.len() > SEGMENT {
            self.full.push_back(self.tail.split().freeze());
        }
        if self.tail.capacity() - self.tail.len() < data.len() {
            let lone = data.len() < SMALL && self.full.is_empty();
            self.tail.reserve(if lone { data.len() } else { SEGMENT.max(data.len()) });
        }
        self.tail.extend_from_slice(data);
        self.len += data.len();
    }

    /// Takes the oldest segment.
    pub(in crate::gateway) fn pop(&mut self) -> Option<Bytes> {
        let segment = match self.full.pop_front() {
            Some(segment) => segment,
            None if self.tail.is_empty() => return None,
            None => self.tail.split().freeze(),
        };
        self.len -= segment.len();
        Some(segment)
    }

    /// How many bytes are in it.
    pub(in crate::gateway) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(in crate::gateway) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(pieces in proptest::collection::vec(0..70_000_usize, 0..20), pops in 0..9_usize) {
            let mut queue = Segments::default();
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for (i, len) in pieces.into_iter().enumerate() {
                let piece: Vec<u8> = (0..len).map(|k| (i * 31 + k) as u8).collect();
                queue.push(&piece);
                sent.extend_from_slice(&piece);
                if i % 9 < pops && let Some(segment) = queue.pop() {
                    prop_assert!(!segment.is_empty());
                    got.extend_from_slice(&segment);
                }
                prop_assert_eq!(queue.len(), sent.len() - got.len());
            }
            while let Some(segment) = queue.pop() {
                got.extend_from_slice(&segment);
            }
            prop_assert!(queue.is_empty());
            prop_assert!(sent == got);
        }
    }

    #[test]
    fn one_byte_packets_are_joined() {
        let mut queue = Segments::default();
        for _ in 0..200_000 {
            queue.push(b"x");
        }
        assert!(queue.full.len() <= 4, "{} segments", queue.full.len());
    }
}
