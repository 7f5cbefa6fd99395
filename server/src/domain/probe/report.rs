//! What the script says, line by line, and nothing that it would not say.

use time::{Duration, OffsetDateTime};

use super::failure::ProbeFailure;
use crate::domain::idle::{CpuSource, CpuUse};

/// The longest output that is read, in bytes. The script prints less than one KiB.
pub const LONGEST_OUTPUT: usize = 64 * 1024;

/// The first line, with the version of the format.
const FIRST: &str = "spaceport-probe 1\n";
/// The last line. Without it something is missing.
const LAST: &str = "\nend\n";
/// The longest number has so many digits, so that no shell's arithmetic overflows.
const DIGITS: usize = 18;
/// Nothing that is measured took longer: a hundred years, in seconds.
const LONGEST_S: u64 = 100 * 365 * 24 * 3600;
/// No machine has more cores.
const CORES: u64 = 16_384;
/// Ticks of the clock that the kernel counts CPU time in for programs, each second.
const TICKS: u64 = 100;
/// The script tells of no more GPUs.
const GPUS: usize = 64;
/// The script names no more programs.
const PROGRAMS: usize = 5;
/// The kernel's names of programs are no longer.
const NAME: usize = 15;

/// What the script found in a space.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The time by the space's clock.
    pub clock: OffsetDateTime,
    /// What its CPU counters said.
    pub cpu: CpuUse,
    /// How long ago anything was written to any terminal, if there is a terminal.
    pub pty_age: Option<Duration>,
    /// How busy each GPU is, in percent.
    pub gpus: Vec<u8>,
    /// The programs that have used most CPU, the first of them most.
    pub programs: Vec<String>,
}

/// The lines that have been read so far.
#[derive(Default)]
struct Lines {
    clock: Option<OffsetDateTime>,
    up_s: Option<f64>,
    cpu: Option<(CpuSource, f64)>,
    pty_age: Option<Option<Duration>>,
    gpus: Option<Vec<u8>>,
    programs: Vec<String>,
}

/// Reads what the script printed.
///
/// # Errors
/// The script says that it failed, or this is not what it prints, to the letter.
pub fn read(output: &[u8]) -> Result<Report, ProbeFailure> {
    let mut lines = Lines::default();
    for line in body(output)?.lines() {
        lines.take(line)?;
    }
    lines.report().ok_or(ProbeFailure::Nonsense)
}

/// The lines between the first and the last.
fn body(output: &[u8]) -> Result<&str, ProbeFailure> {
    if output.is_empty() {
        return Err(ProbeFailure::Silent);
    }
    if output.len() > LONGEST_OUTPUT {
        return Err(ProbeFailure::TooLong);
    }
    let Some(said) = output.strip_prefix(FIRST.as_bytes()) else {
        let first = FIRST.as_bytes();
        return Err(if first.starts_with(output) {
            ProbeFailure::CutOff
        } else if output.windows(first.len()).any(|bytes| bytes == first) {
            ProbeFailure::Preceded
        } else {
            ProbeFailure::Nonsense
        });
    };
    if !said.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return Err(ProbeFailure::Nonsense);
    }
    let said = str::from_utf8(said).map_err(|_| ProbeFailure::Nonsense)?;
    said.strip_suffix(LAST)
        .ok_or_else(|| if said.contains(LAST) { ProbeFailure::Nonsense } else { ProbeFailure::CutOff })
}

impl Lines {
    fn take(&mut self, line: &str) -> Result<(), ProbeFailure> {
        let (key, value) = line.split_once(' ').ok_or(ProbeFailure::Nonsense)?;
        match key {
            "clock" => once(&mut self.clock, clock(value)?),
            "uptime" => once(&mut self.up_s, uptime(value)?),
            "cpu" => once(&mut self.cpu, cpu(value)?),
            "pty" => once(&mut self.pty_age, pty(value)?),
            "gpu" => once(&mut self.gpus, gpus(value)?),
            "program" if self.programs.len() < PROGRAMS => {
                self.programs.push(program(value).ok_or(ProbeFailure::Nonsense)?);
                Ok(())
            }
            _ => Err(ProbeFailure::Nonsense),
        }
    }

    fn report(self) -> Option<Report> {
        let (source, used_s) = self.cpu?;
        Some(Report {
            clock: self.clock?,
            cpu: CpuUse { source, used_s, up_s: self.up_s? },
            pty_age: self.pty_age?,
            gpus: self.gpus?,
            programs: self.programs,
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ProbeFailure> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ProbeFailure::Nonsense),
    }
}

/// Digits only, without zeros before them, as a shell and the kernel print a number.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    (plain && text.len() <= DIGITS).then(|| text.parse().ok()).flatten()
}

/// A number of seconds that something may have taken.
fn seconds(text: &str) -> Option<u64> {
    number(text).filter(|seconds| *seconds <= LONGEST_S)
}

fn clock(value: &str) -> Result<OffsetDateTime, ProbeFailure> {
    if value == "failed" {
        return Err(ProbeFailure::Clock);
    }
    let epoch = number(value).and_then(|seconds| i64::try_from(seconds).ok());
    epoch.and_then(|epoch| OffsetDateTime::from_unix_timestamp(epoch).ok()).ok_or(ProbeFailure::Nonsense)
}

fn uptime(value: &str) -> Result<f64, ProbeFailure> {
    if value == "failed" {
        return Err(ProbeFailure::Uptime);
    }
    let (whole, part) = value.split_once('.').ok_or(ProbeFailure::Nonsense)?;
    seconds(whole).ok_or(ProbeFailure::Nonsense)?;
    if part.is_empty() || part.len() > DIGITS || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProbeFailure::Nonsense);
    }
    value.parse().map_err(|_| ProbeFailure::Nonsense)
}

fn cpu(value: &str) -> Result<(CpuSource, f64), ProbeFailure> {
    if value == "failed" {
        return Err(ProbeFailure::Cpu);
    }
    let mut words = value.split(' ');
    let (source, used) = (words.next(), words.next().and_then(number));
    let (source, per_second) = match (source, words.next(), words.next()) {
        (Some("cgroup2"), None, None) => (CpuSource::Cgroup2, 1_000_000),
        (Some("cgroup1"), None, None) => (CpuSource::Cgroup1, 1_000_000_000),
        (Some("processes"), Some(busy), None) => {
            let busy =
                number(busy).and_then(|busy| u32::try_from(busy).ok()).ok_or(ProbeFailure::Nonsense)?;
            (CpuSource::Processes(busy), TICKS)
        }
        _ => return Err(ProbeFailure::Nonsense),
    };
    let used = used.filter(|used| used / per_second <= LONGEST_S * CORES).ok_or(ProbeFailure::Nonsense)?;
    Ok((source, used as f64 / per_second as f64))
}

fn pty(value: &str) -> Result<Option<Duration>, ProbeFailure> {
    match value {
        "none" => Ok(None),
        "failed" => Err(ProbeFailure::Pty),
        age => {
            let age = seconds(age).and_then(|age| i64::try_from(age).ok()).ok_or(ProbeFailure::Nonsense)?;
            Ok(Some(Duration::seconds(age)))
        }
    }
}

fn gpus(value: &str) -> Result<Vec<u8>, ProbeFailure> {
    match value {
        "none" => Ok(Vec::new()),
        "failed missing" => Err(ProbeFailure::NvidiaMissing),
        "failed late" => Err(ProbeFailure::NvidiaLate),
        "failed exit" => Err(ProbeFailure::NvidiaFailed),
        "failed nonsense" => Err(ProbeFailure::NvidiaNonsense),
        "failed other" => Err(ProbeFailure::OtherAccelerator),
        percents => {
            let gpus: Option<Vec<u8>> = percents
                .split(' ')
                .map(|text| {
                    number(text)
                        .and_then(|percent| u8::try_from(percent).ok())
                        .filter(|percent| *percent <= 100)
                })
                .collect();
            gpus.filter(|gpus| gpus.len() <= GPUS).ok_or(ProbeFailure::Nonsense)
        }
    }
}

/// A name as the script cuts it: plain characters, which say nothing to a terminal or a page.
fn program(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:+@/ ?".contains(&byte);
    ((1..=NAME).contains(&name.len()) && name.bytes().all(plain)).then(|| name.to_owned())
}
