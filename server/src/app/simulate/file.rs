//! Looks in a file: one JSON object a line, each run before its looks.
//!
//! Whoever has such a file may have it from anybody: nothing of it is believed that could not be, lines have a longest
//! length, and only one is in memory.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{PastRun, Sink};
use crate::domain::idle::Evidence;
use crate::domain::money::{Money, nano_usd};
use crate::domain::price::Rates;
use crate::domain::run::Tags;

/// The longest line, in bytes. A look of a busy space has a few thousand.
const LONGEST: u64 = 256 * 1024;
/// Years that a time may be of: far from where adding to one would overflow.
const YEARS: std::ops::Range<i32> = 1970..2200;
/// The longest between two looks that a file may claim, in seconds: the configuration's own limit.
const LOOK_EVERY: std::ops::RangeInclusive<u64> = 1..=600;

/// One line of a file.
pub(super) enum Line {
    /// A run begins.
    Run(Box<PastRun>),
    /// The next look at it.
    Look(Box<Evidence>),
}

/// A line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Text {
    Run(Box<RunText>),
    Look(Box<Evidence>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunText {
    id: String,
    space: String,
    domain: String,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    tags: Tags,
    began_at: OffsetDateTime,
    #[serde(default)]
    ended_at: Option<OffsetDateTime>,
    look_every_s: u64,
    /// Dollars for an hour, from each time on.
    #[serde(default)]
    prices: Vec<PriceText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceText {
    from: OffsetDateTime,
    /// Nothing where it is unknown.
    usd_per_hour: Option<String>,
}

/// The lines of a file.
pub(super) struct Lines {
    path: PathBuf,
    from: BufReader<File>,
    number: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("the file of looks {}", path.display()))?;
        Ok(Self { path: path.to_owned(), from: BufReader::new(file), number: 0 })
    }

    /// Where the last line stands.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.path.display(), self.number)
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let mut line = Vec::new();
            self.number += 1;
            let mut rest = (&mut self.from).take(LONGEST + 1);
            let read = rest.read_until(b'\n', &mut line).with_context(|| self.place())?;
            if read == 0 {
                return Ok(None);
            }
            ensure!(line.len() as u64 <= LONGEST, "{}: it is longer than {LONGEST} bytes", self.place());
            if !line.trim_ascii().is_empty() {
                return read_line(&line).map(Some).map_err(|why| anyhow!("{}: {why}", self.place()));
            }
        }
    }
}

fn read_line(line: &[u8]) -> Result<Line, String> {
    let text: Text = serde_json::from_slice(line).map_err(|error| in_line(&error))?;
    match text {
        Text::Run(run) => Ok(Line::Run(Box::new(run.read()?))),
        Text::Look(look) => {
            sane("at", look.at)?;
            Ok(Line::Look(look))
        }
    }
}

/// The parser's words, which know no other lines than this one.
fn in_line(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let tail = format!(" at line {} column {}", error.line(), error.column());
    let words = words.strip_suffix(&tail).unwrap_or(&words);
    format!("column {}: {words}", error.column())
}

fn sane(name: &str, at: OffsetDateTime) -> Result<OffsetDateTime, String> {
    if YEARS.contains(&at.year()) { Ok(at) } else { Err(format!("{name} is of the year {}", at.year())) }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name} {text:?}: {error}"))
}

impl RunText {
    fn of(run: &PastRun) -> Self {
        let price = |from| PriceText {
            from,
            usd_per_hour: run.rates.at(from).map(|nano_usd| Money::from_nano_usd(nano_usd).decimal(9)),
        };
        Self {
            id: run.id.to_string(),
            space: run.space.to_string(),
            domain: run.domain.to_string(),
            owner: run.owner.clone(),
            groups: run.groups.iter().map(ToString::to_string).collect(),
            tags: run.tags.clone(),
            began_at: run.began_at,
            ended_at: run.ended_at,
            look_every_s: run.look_every.as_secs(),
            prices: run.rates.changes().map(price).collect(),
        }
    }

    fn read(self) -> Result<PastRun, String> {
        if !LOOK_EVERY.contains(&self.look_every_s) {
            return Err(format!("look_every_s is {}, not 1 to 600", self.look_every_s));
        }
        let price = |price: &PriceText| {
            let usd = price.usd_per_hour.as_deref();
            let nano =
                usd.map(|usd| nano_usd(usd).ok_or_else(|| format!("usd_per_hour {usd:?} is no amount")));
            Ok((sane("from", price.from)?, nano.transpose()?))
        };
        let prices: Result<Vec<_>, String> = self.prices.iter().map(price).collect();
        Ok(PastRun {
            id: parsed("id", &self.id)?,
            space: parsed("space", &self.space)?,
            domain: parsed("domain", &self.domain)?,
            owner: self.owner,
            groups: self.groups.iter().map(|group| parsed("group", group)).collect::<Result<_, _>>()?,
            tags: self.tags,
            began_at: sane("began_at", self.began_at)?,
            ended_at: self.ended_at.map(|at| sane("ended_at", at)).transpose()?,
            look_every: Duration::from_secs(self.look_every_s),
            rates: Rates::new(prices?),
        })
    }
}

/// A file that looks are written to.
pub(super) struct Written {
    path: PathBuf,
    to: BufWriter<File>,
    runs: u64,
    looks: u64,
}

impl Written {
    /// A new file, for its owner alone: looks say who worked when.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("the file {} cannot be made", path.display()))?;
        Ok(Self { path: path.to_owned(), to: BufWriter::new(file), runs: 0, looks: 0 })
    }

    fn line(&mut self, text: &Text) -> Result<()> {
        serde_json::to_writer(&mut self.to, text)?;
        self.to.write_all(b"\n").with_context(|| self.path.display().to_string())
    }

    /// How much was written.
    pub(super) fn finish(mut self) -> Result<String> {
        self.to.flush().with_context(|| self.path.display().to_string())?;
        Ok(format!("{} looks at {} runs written to {}", self.looks, self.runs, self.path.display()))
    }
}

impl Sink for Written {
    fn run(&mut self, run: PastRun) -> Result<()> {
        self.runs += 1;
        self.line(&Text::Run(Box::new(RunText::of(&run))))
    }

    fn look(&mut self, look: Evidence) -> Result<()> {
        self.looks += 1;
        self.line(&Text::Look(Box::new(look)))
    }
}

#[cfg(test)]
mod tests;
