//! The spool: changes on disk while Postgres is away, in order, until they have been replayed.
//!
//! A directory of its own holds numbered segments, each a file of [lines](mod@line); `position`, up to where they have
//! been replayed; and `set-aside`, what could not be. A segment that has been replayed is deleted, and its number is
//! never used again, so that a position that is older than a crash is at worst too early: changes may be replayed
//! twice. Every method here blocks; the recorder calls them on threads that may.

mod disk;
pub(crate) mod line;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) use disk::Chunk;
use disk::Disk;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory or a file in it cannot be used.
    #[error("the spool in {0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error("the spool in {0} is in use by another process")]
    InUse(PathBuf),
}

/// Why lines were not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotTaken {
    /// The spool is as large as it may become.
    #[error("the spool is full")]
    Full,
    /// The disk failed.
    #[error("the spool could not be written: {0}")]
    Disk(Arc<io::Error>),
}

/// How a line counts against the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// May fill nine tenths.
    Ordinary,
    /// Ends and audit rows: may fill all of it.
    Essential,
}

/// Lines that are waiting for one write and one fsync, and what became of it.
#[derive(Default)]
struct Group {
    outcome: OnceLock<Result<(), NotTaken>>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    group: Arc<Group>,
}

/// The spool of one process.
pub(crate) struct Spool {
    /// Taken for an instant.
    waiting: Mutex<Waiting>,
    /// Taken while the disk works.
    disk: Mutex<Disk>,
    /// Bytes that have not been replayed, with those that wait to be written.
    left: AtomicU64,
    limit: u64,
}

impl Spool {
    /// Opens the spool in a directory, which is made if need be. A torn last line is cut off: whoever wrote it was
    /// never told that it is safe.
    pub(crate) fn open(directory: &Path, limit_bytes: u64) -> Result<Self, SpoolError> {
        let disk = Disk::open(directory, limit_bytes)?;
        let left = AtomicU64::new(disk.left());
        Ok(Self { waiting: Mutex::default(), disk: Mutex::new(disk), left, limit: limit_bytes })
    }

    /// Whether everything has been replayed.
    pub(crate) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Bytes that have not been replayed.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Adds a line and returns once it is safe on disk. Calls that come while the disk is busy share the next write.
    pub(crate) fn append(&self, line: &[u8], weight: Weight) -> Result<(), NotTaken> {
        let group = self.queue(line, weight)?;
        let mut disk = lock(&self.disk);
        if let Some(outcome) = group.outcome.get() {
            return outcome.clone();
        }
        let Waiting { lines, group } = std::mem::take(&mut *lock(&self.waiting));
        let outcome = disk.append(&lines).map_err(|error| NotTaken::Disk(Arc::new(error)));
        if outcome.is_err() {
            self.left.fetch_sub(lines.len() as u64, Ordering::AcqRel);
        }
        group.outcome.get_or_init(|| outcome).clone()
    }

    fn queue(&self, line: &[u8], weight: Weight) -> Result<Arc<Group>, NotTaken> {
        let limit = match weight {
            Weight::Ordinary => self.limit / 10 * 9,
            Weight::Essential => self.limit,
        };
        let mut waiting = lock(&self.waiting);
        if self.left().saturating_add(line.len() as u64) > limit {
            return Err(NotTaken::Full);
        }
        self.left.fetch_add(line.len() as u64, Ordering::AcqRel);
        waiting.lines.extend_from_slice(line);
        Ok(waiting.group.clone())
    }

    /// The next whole lines that have not been replayed; nothing when there are none.
    pub(crate) fn next(&self) -> io::Result<Option<Chunk>> {
        lock(&self.disk).next()
    }

    /// Everything up to the end of this chunk has been replayed.
    pub(crate) fn replayed(&self, chunk: &Chunk) -> io::Result<()> {
        // Also when the position could not be written: the chunk is in Postgres, and is replayed again at worst.
        let mut disk = lock(&self.disk);
        let written = disk.replayed(chunk);
        self.left.fetch_sub(chunk.lines.len() as u64, Ordering::AcqRel);
        written
    }

    /// Keeps what cannot be replayed for a person to look at.
    pub(crate) fn set_aside(&self, text: &[u8]) -> io::Result<()> {
        lock(&self.disk).set_aside(text)
    }
}

/// A panic elsewhere leaves counters and offsets that are still true: each is changed after the deed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
