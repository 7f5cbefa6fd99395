//! The measurements, each through the system's own `ssh`.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::machine;

/// Keystrokes of one measurement.
const KEYS: usize = 300;
/// Idle sessions of one measurement.
const IDLE: usize = 40;

/// One way to a space.
#[derive(Clone)]
pub(crate) struct Way {
    config: PathBuf,
    host: String,
}

impl Way {
    /// By a client configuration and a host in it.
    pub(crate) fn new(config: PathBuf, host: &str) -> Self {
        Self { config, host: host.to_owned() }
    }

    fn ssh(&self, arguments: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&self.config).arg(&self.host).args(arguments);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        ssh
    }
}

/// A figure beside the peer's.
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    ours: f64,
    peers: f64,
    peer: &'static str,
    lower_is_better: bool,
}

impl Figure {
    /// A figure that is better when it is lower.
    pub(crate) fn lower(what: &str, unit: &'static str, ours: f64, peers: f64) -> Self {
        Self { what: what.to_owned(), unit, ours, peers, peer: "OpenSSH", lower_is_better: true }
    }

    /// A figure that is better when it is higher.
    pub(crate) fn higher(what: &str, unit: &'static str, ours: f64, peers: f64) -> Self {
        Self { lower_is_better: false, ..Self::lower(what, unit, ours, peers) }
    }

    /// The same beside another peer.
    pub(crate) fn against(self, peer: &'static str) -> Self {
        Self { peer, ..self }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, ours, peers, peer, lower_is_better } = self;
        let ratio = if *lower_is_better { peers / ours } else { ours / peers };
        write!(f, "| {what} | {ours:.1} {unit} | {peers:.1} {unit} ({peer}) | {ratio:.2} |")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// From starting `ssh` to the first byte of a command's output, the median in milliseconds.
pub(crate) async fn connect(way: &Way, times: usize) -> Result<f64> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        let mut child = way.ssh(&["echo x; exit"]).spawn()?;
        let mut byte = [0];
        child.stdout.as_mut().context("piped")?.read_exact(&mut byte).await.context("the first byte")?;
        taken.push(began.elapsed().as_secs_f64() * 1e3);
        child.wait().await?;
    }
    Ok(median(taken))
}

/// Echo times of single bytes through a raw terminal: median and 99th percentile in milliseconds.
pub(crate) async fn keystrokes(way: &Way) -> Result<(f64, f64)> {
    let mut child = way.ssh(&["-tt", "stty raw -echo; echo; cat"]).spawn()?;
    let (mut keys, mut echo) = (child.stdin.take().context("piped")?, child.stdout.take().context("piped")?);
    let mut byte = [0];
    while byte != [b'\n'] {
        echo.read_exact(&mut byte).await.context("the terminal")?;
    }
    let mut taken = Vec::new();
    for _ in 0..KEYS {
        let began = Instant::now();
        keys.write_all(b"k").await?;
        keys.flush().await?;
        echo.read_exact(&mut byte).await?;
        taken.push(began.elapsed().as_secs_f64() * 1e3);
    }
    child.kill().await?;
    taken.sort_by(f64::total_cmp);
    let at = |part: f64| taken.get((taken.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    Ok((at(0.5), at(0.99)))
}

/// What one more idle shell costs a process, in KiB.
pub(crate) async fn memory_per_idle_session(way: &Way, pid: u32) -> Result<f64> {
    let first = idle(way).await?;
    let before = machine::memory_kib(pid)?;
    let mut shells = Vec::new();
    for _ in 0..IDLE {
        shells.push(idle(way).await?);
    }
    let after = machine::memory_kib(pid)?;
    for mut shell in shells.into_iter().chain([first]) {
        shell.kill().await?;
    }
    Ok((after - before) / IDLE as f64)
}

/// A session that has begun and does nothing.
async fn idle(way: &Way) -> Result<Child> {
    let mut child = way.ssh(&["echo x; cat"]).spawn()?;
    let mut begun = [0; 2];
    child.stdout.as_mut().context("piped")?.read_exact(&mut begun).await.context("an idle session")?;
    Ok(child)
}

/// Megabytes a second up, by the space's own count of what arrived.
pub(crate) async fn upload(way: &Way, bytes: usize) -> Result<f64> {
    let mut child = way.ssh(&["echo x; wc -c"]).spawn()?;
    let (mut input, mut output) =
        (child.stdin.take().context("piped")?, child.stdout.take().context("piped")?);
    let mut begun = [0; 2];
    output.read_exact(&mut begun).await?;
    let began = Instant::now();
    let feed = async {
        let block = vec![0x5a; 1 << 20];
        for _ in 0..bytes >> 20 {
            input.write_all(&block).await?;
        }
        drop(input);
        anyhow::Ok(())
    };
    let mut counted = String::new();
    let (fed, read) = tokio::join!(feed, output.read_to_string(&mut counted));
    fed?;
    read?;
    let taken = began.elapsed().as_secs_f64();
    ensure!(counted.trim().parse::<usize>()? == (bytes >> 20) << 20, "every byte arrived: {counted}");
    child.wait().await?;
    Ok(bytes as f64 / 1e6 / taken)
}

/// Megabytes a second down.
pub(crate) async fn download(way: &Way, bytes: usize) -> Result<f64> {
    let mut child = way.ssh(&[&format!("echo x; head -c {bytes} /dev/zero")]).spawn()?;
    let mut output = child.stdout.take().context("piped")?;
    let mut begun = [0; 2];
    output.read_exact(&mut begun).await?;
    let began = Instant::now();
    let mut block = vec![0; 1 << 18];
    let mut sum = 0;
    loop {
        match output.read(&mut block).await? {
            0 => break,
            n => sum += n,
        }
    }
    let taken = began.elapsed().as_secs_f64();
    ensure!(sum == bytes, "every byte arrived: {sum}");
    child.wait().await?;
    Ok(bytes as f64 / 1e6 / taken)
}
