//! How much may be on its way into the slow stream.
//!
//! Whatever is handed over waits in line before everybody's next keystroke, so bulk data gets a small budget that the
//! stream refills as it takes bytes. Keystrokes have a budget of their own: they never wait behind bulk for
//! permission, and yet no one can flood the link with them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Bulk data is cut into pieces of this size: 1.2 ms at 14 MB/s.
pub(super) const CHUNK: usize = 16 * 1024;
/// What counts as a keystroke, or a paste.
const SMALL: usize = 1024;
/// About what a packet costs beside its payload.
const OVERHEAD: usize = 64;
/// Three pieces: enough to keep the stream busy, 4 ms of it.
const BULK: usize = 3 * (CHUNK + OVERHEAD);
/// What small messages may take. Together with [`BULK`] far less than [`PIPE`](super::connect::PIPE).
const SMALLS: usize = 256 * 1024;

pub(super) struct UploadBudget {
    bulk: Allowance,
    small: Allowance,
}

/// Bytes granted and not yet taken by the stream.
struct Allowance {
    free: Semaphore,
    out: AtomicUsize,
}

/// A permission to hand so many bytes over. Dropped unused, it is returned.
pub(super) struct Permission<'a> {
    allowance: &'a Allowance,
    bytes: usize,
}

impl UploadBudget {
    pub(super) fn new() -> Self {
        let allowance = |bytes| Allowance { free: Semaphore::new(bytes), out: AtomicUsize::new(0) };
        Self { bulk: allowance(BULK), small: allowance(SMALLS) }
    }

    /// Waits until that many bytes, at most [`CHUNK`], may be handed over. First come, first served.
    pub(super) async fn take(&self, bytes: usize) -> Permission<'_> {
        let allowance = if bytes <= SMALL { &self.small } else { &self.bulk };
        let bytes = bytes.min(CHUNK) + OVERHEAD;
        // The semaphore is never closed, so what fails is nothing.
        if let Ok(permit) = allowance.free.acquire_many(bytes as u32).await {
            permit.forget();
        }
        allowance.out.fetch_add(bytes, Ordering::Relaxed);
        Permission { allowance, bytes }
    }

    /// The stream has taken that many bytes.
    pub(super) fn taken(&self, bytes: usize) {
        let left = bytes - self.small.give_back(bytes);
        self.bulk.give_back(left);
    }

    /// The stream has taken all there was. What is still outstanding will never come: it was for channels that had
    /// closed meanwhile.
    pub(super) fn all_taken(&self) {
        self.small.give_back(usize::MAX);
        self.bulk.give_back(usize::MAX);
    }
}

impl Allowance {
    /// Gives back at most so many bytes; says how many.
    fn give_back(&self, bytes: usize) -> usize {
        let mut given = 0;
        let update = |out: usize| {
            given = out.min(bytes);
            Some(out - given)
        };
        if self.out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok() && given > 0 {
            self.free.add_permits(given);
        }
        given
    }
}

impl Permission<'_> {
    /// The bytes were handed over.
    pub(super) fn used(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permission<'_> {
    fn drop(&mut self) {
        self.allowance.give_back(self.bytes);
    }
}
