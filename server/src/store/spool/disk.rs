//! The spool's files.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::SpoolError;

/// How large a segment grows before the next is begun: what has been replayed of the first takes up disk until all
/// of it has.
const SEGMENT_BYTES: u64 = 4 << 20;
/// How much is read at a time: some hundred changes, which Postgres writes well inside a time-out.
const CHUNK_BYTES: usize = 64 << 10;
/// The end of a segment's name.
const SEGMENT_SUFFIX: &str = ".jsonl";

/// Whole lines of one segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) lines: Vec<u8>,
    segment: u64,
    end: u64,
}

struct Segment {
    number: u64,
    file: File,
    /// Up to where it is known to be good.
    bytes: u64,
}

/// The directory and what is known of its files.
pub(super) struct Disk {
    directory: PathBuf,
    lock: File,
    segments: VecDeque<Segment>,
    /// The offset in the first segment up to where it has been replayed.
    position: u64,
    /// The number of the next segment.
    next_number: u64,
    /// The last segment may have a torn line: it takes no more.
    torn: bool,
    aside_limit: u64,
}

impl Disk {
    pub(super) fn open(directory: &Path, limit_bytes: u64) -> Result<Self, SpoolError> {
        let failed = |error| SpoolError::Io(directory.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = private().create(true).truncate(false).open(directory.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::InUse(directory.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let mut segments = VecDeque::new();
        for number in segment_numbers(directory).map_err(failed)? {
            segments.push_back(Segment::open(directory, number).map_err(failed)?);
        }
        let (at, offset) = read_position(directory).unwrap_or_default();
        // Segments before the position were replayed; deleting them was cut short.
        while segments.front().is_some_and(|first| first.number < at) {
            if let Some(first) = segments.pop_front() {
                fs::remove_file(segment_path(directory, first.number)).map_err(failed)?;
            }
        }
        let position =
            segments.front().filter(|first| first.number == at).map_or(0, |first| offset.min(first.bytes));
        let next_number = segments.back().map_or(at, |last| last.number.max(at)) + 1;
        Ok(Self {
            directory: directory.to_owned(),
            lock,
            segments,
            position,
            next_number,
            torn: false,
            // What is set aside is for people to read: far less than the spool itself is plenty.
            aside_limit: limit_bytes / 4,
        })
    }

    /// Bytes that have not been replayed.
    pub(super) fn left(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() - self.position
    }

    /// Writes lines behind all others and waits for the disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = self.segments.back().is_none_or(|last| last.bytes >= SEGMENT_BYTES);
        if full || self.torn {
            self.begin_segment()?;
        }
        let Some(segment) = self.segments.back_mut() else {
            return Err(io::Error::other("no segment"));
        };
        let written = segment.file.write_all_at(lines, segment.bytes).and_then(|()| segment.file.sync_data());
        if let Err(error) = written {
            // Half a line may be there. If it cannot be cut off now, the next opening will.
            self.torn = segment.file.set_len(segment.bytes).is_err();
            return Err(error);
        }
        segment.bytes += lines.len() as u64;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let number = self.next_number;
        let path = segment_path(&self.directory, number);
        let file = private().read(true).create_new(true).open(path)?;
        self.next_number += 1;
        self.torn = false;
        self.segments.push_back(Segment { number, file, bytes: 0 });
        // The name must survive a power cut as well as the bytes.
        File::open(&self.directory)?.sync_all()
    }

    /// The next whole lines behind the position.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        while self.segments.len() > 1
            && self.segments.front().is_some_and(|first| first.bytes == self.position)
        {
            self.drop_first()?; // an empty one, left by a failed write
        }
        let Some(first) = self.segments.front() else { return Ok(None) };
        let left = usize::try_from(first.bytes - self.position).map_err(io::Error::other)?;
        if left == 0 {
            return Ok(None);
        }
        let mut size = CHUNK_BYTES.min(left);
        loop {
            let mut lines = vec![0; size];
            first.file.read_exact_at(&mut lines, self.position)?;
            // Without an end in sight the line is a long one: read on. The last of all always has its end.
            let whole = lines.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            match whole {
                Some(whole) => lines.truncate(whole),
                None if size < left => {
                    size = left.min(size * 2);
                    continue;
                }
                None => {}
            }
            let end = self.position + lines.len() as u64;
            return Ok(Some(Chunk { lines, segment: first.number, end }));
        }
    }

    /// Moves the position behind a chunk; deletes the segment that this finishes.
    pub(super) fn replayed(&mut self, chunk: &Chunk) -> io::Result<()> {
        let Some(first) = self.segments.front().filter(|first| first.number == chunk.segment) else {
            return Ok(());
        };
        self.position = chunk.end;
        if first.bytes == chunk.end {
            self.drop_first()
        } else {
            write_position(&self.directory, chunk.segment, chunk.end)
        }
    }

    fn drop_first(&mut self) -> io::Result<()> {
        let Some(first) = self.segments.pop_front() else { return Ok(()) };
        self.position = 0;
        // The position first: were the file deleted first, its number could be used again after a crash.
        write_position(&self.directory, first.number + 1, 0)?;
        fs::remove_file(segment_path(&self.directory, first.number))
    }

    /// Appends to the file of what could not be replayed, up to a limit.
    pub(super) fn set_aside(&self, text: &[u8]) -> io::Result<()> {
        let mut file = private().create(true).append(true).open(self.directory.join("set-aside"))?;
        if file.metadata()?.len() + text.len() as u64 > self.aside_limit {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "enough has been set aside"));
        }
        file.write_all(text)?;
        file.sync_data()
    }
}

impl Drop for Disk {
    /// Closing would do, if no child process happened to be between its fork and its exec.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Segment {
    /// Opens a segment that an earlier process left, and cuts a torn line off.
    fn open(directory: &Path, number: u64) -> io::Result<Self> {
        let path = segment_path(directory, number);
        let content = fs::read(&path)?;
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let file = private().read(true).open(&path)?;
        if whole < content.len() {
            warn!(path = %path.display(), bytes = content.len() - whole, "cut a torn line off the spool");
            file.set_len(whole as u64)?;
            file.sync_all()?;
        }
        Ok(Self { number, file, bytes: whole as u64 })
    }
}

/// Options for a file that holds what people typed.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}{SEGMENT_SUFFIX}"))
}

fn segment_numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_SUFFIX)).map(str::parse);
        if let Some(Ok(number)) = number {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The segment and the offset up to where all has been replayed, if it was written whole.
fn read_position(directory: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(directory.join("position")).ok()?;
    let (segment, offset) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((segment.parse().ok()?, offset.parse().ok()?))
}

/// Not synced: an older position after a power cut means that changes are replayed twice, which they bear.
fn write_position(directory: &Path, segment: u64, offset: u64) -> io::Result<()> {
    let new = directory.join("position.new");
    private()
        .create(true)
        .truncate(true)
        .open(&new)?
        .write_all(format!("{segment} {offset}\n").as_bytes())?;
    fs::rename(new, directory.join("position"))
}
