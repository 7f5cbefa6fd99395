//! Where output waits that no longer fits in memory: files without names, which vanish with the process.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Output;
use super::run::{Run, Stream};

const MIB: usize = 1024 * 1024;
/// A file is left when it has grown to this size, so that what was taken is freed while more is written.
const FILE: u64 = 8 * MIB as u64;
/// Entries of one channel's index. Only a space that alternates between streams for every few bytes gets near.
const INDEX: usize = 16 * 1024;

/// How much may wait for slow readers, and where.
#[derive(Debug, Clone)]
pub struct SpoolLimits {
    /// Where the files are made. They never have a name there for longer than an instant.
    pub directory: PathBuf,
    /// What one channel may keep in memory before it uses the disk.
    pub memory: usize,
    /// What one channel may have on disk. Over it, the channel is closed.
    pub channel: u64,
    /// What the process may have on disk. Over it, the channel that asks for more is closed.
    pub process: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/tmp"),
            memory: MIB,
            channel: 256 * MIB as u64,
            process: 2048 * MIB as u64,
        }
    }
}

/// The disk space of a process for waiting output. Cheap to clone: all links share one.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: SpoolLimits,
    used: AtomicU64,
}

/// Why output can be kept no longer. `Display` is what the person reads.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("the reader is too far behind: more than {} MiB are waiting", .0 / MIB as u64)]
    Channel(u64),
    #[error("the gateway has no room left for output that waits for slow readers")]
    Process,
    #[error("the gateway's disk is too slow for output that waits")]
    TooSlow,
    #[error("the gateway cannot keep output that waits: {0}")]
    Io(#[from] io::Error),
}

impl Spool {
    /// With nothing in it.
    #[must_use]
    pub fn new(limits: SpoolLimits) -> Self {
        Self(Arc::new(Shared { limits, used: AtomicU64::new(0) }))
    }

    /// Bytes on disk at present.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> &SpoolLimits {
        &self.0.limits
    }

    fn reserve(&self, bytes: u64) -> Result<(), SpoolError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.limits.process);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| SpoolError::Process)?;
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one channel has on disk, in order.
pub(super) struct Stored {
    spool: Spool,
    files: VecDeque<Part>,
    index: VecDeque<Indexed>,
    bytes: u64,
}

struct Part {
    file: Arc<File>,
    read_at: u64,
    write_at: u64,
}

enum Indexed {
    Bytes(Stream, usize),
    Event(Output),
}

/// Bytes to be written, reserved in the quota.
pub(super) struct Batch {
    bytes: Vec<u8>,
    index: VecDeque<Indexed>,
    file: Option<(Arc<File>, u64)>,
    directory: PathBuf,
}

/// A piece to be read.
pub(super) struct Piece {
    file: Arc<File>,
    at: u64,
    len: usize,
}

impl Stored {
    pub(super) const fn new(spool: Spool) -> Self {
        Self { spool, files: VecDeque::new(), index: VecDeque::new(), bytes: 0 }
    }

    /// Takes everything out.
    pub(super) fn emptied(&mut self) -> Self {
        let empty = Self::new(self.spool.clone());
        std::mem::replace(self, empty)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Prepares to append a run, if the quotas allow.
    pub(super) fn batch(&self, mut run: Run) -> Result<Batch, SpoolError> {
        let mut bytes = Vec::with_capacity(run.cost());
        let mut index = VecDeque::new();
        while let Some(output) = run.pop() {
            let (stream, data) = match output {
                Output::Data(data) => (None, data),
                Output::Extended(code, data) => (Some(code), data),
                event => {
                    index.push_back(Indexed::Event(event));
                    continue;
                }
            };
            bytes.extend_from_slice(&data);
            match index.back_mut() {
                Some(Indexed::Bytes(last, len)) if *last == stream => *len += data.len(),
                _ => index.push_back(Indexed::Bytes(stream, data.len())),
            }
        }
        let limit = self.spool.limits().channel;
        if self.bytes + bytes.len() as u64 > limit || self.index.len() + index.len() > INDEX {
            return Err(SpoolError::Channel(limit));
        }
        self.spool.reserve(bytes.len() as u64)?;
        let last = self.files.back().filter(|part| part.write_at < FILE);
        let file = last.map(|part| (Arc::clone(&part.file), part.write_at));
        Ok(Batch { bytes, index, file, directory: self.spool.limits().directory.clone() })
    }

    /// The batch is on disk, in this file.
    pub(super) fn written(&mut self, batch: Batch, file: Arc<File>) {
        let len = batch.bytes.len() as u64;
        match self.files.back_mut().filter(|part| Arc::ptr_eq(&part.file, &file)) {
            Some(part) => part.write_at += len,
            None => self.files.push_back(Part { file, read_at: 0, write_at: len }),
        }
        self.bytes += len;
        self.index.extend(batch.index);
    }

    /// The batch could not be written.
    pub(super) fn unwritten(&self, batch: &Batch) {
        self.spool.release(batch.bytes.len() as u64);
    }

    /// Says something after all that is stored.
    pub(super) fn push_event(&mut self, event: Output) {
        self.index.push_back(Indexed::Event(event));
    }

    /// The oldest bytes, at most so many.
    pub(super) fn piece(&self, most: usize) -> Option<Piece> {
        let part = self.files.front()?;
        let left = usize::try_from(part.write_at - part.read_at).unwrap_or(most);
        Some(Piece { file: Arc::clone(&part.file), at: part.read_at, len: left.min(most) })
    }

    /// The oldest bytes were read: they, and what was said before the next ones, go to a run.
    pub(super) fn read(&mut self, mut data: &[u8], to: &mut Run) {
        let len = data.len() as u64;
        if let Some(part) = self.files.front_mut() {
            part.read_at += len;
            if part.read_at >= part.write_at {
                self.files.pop_front();
            }
        }
        self.bytes -= len;
        self.spool.release(len);
        while let Some(next) = self.index.pop_front() {
            match next {
                Indexed::Event(event) => to.push_event(event),
                Indexed::Bytes(stream, len) => {
                    let (now, later) = data.split_at(len.min(data.len()));
                    if !now.is_empty() {
                        to.push(stream, now);
                    }
                    data = later;
                    if now.len() < len {
                        self.index.push_front(Indexed::Bytes(stream, len - now.len()));
                        break;
                    }
                }
            }
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.spool.release(self.bytes);
    }
}

impl Batch {
    /// Writes it; blocks.
    pub(super) fn write(&self) -> io::Result<Arc<File>> {
        let (file, at) = match &self.file {
            Some((file, at)) => (Arc::clone(file), *at),
            None => (Arc::new(tempfile::tempfile_in(&self.directory)?), 0),
        };
        file.write_all_at(&self.bytes, at)?;
        Ok(file)
    }
}

impl Piece {
    /// Reads it; blocks.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.at)?;
        Ok(bytes)
    }
}
