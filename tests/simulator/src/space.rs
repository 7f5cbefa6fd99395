//! The SSH servers of the spaces: one process of the program in `space/` for each life of a space's app.

mod build;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::sessions::Spaces;

/// How long a process may take to say its ports, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// How long a process may take to end its programs and itself.
const STOP: Duration = Duration::from_secs(5);

/// Runs a process of the space program per app life, with a home directory per space that outlives it.
pub struct GoSpaces {
    program: PathBuf,
    homes: PathBuf,
    remote_forward: bool,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    run: String,
    jupyter: SocketAddr,
    child: Child,
    /// The process ends, with everything in it, when this closes: also when we are killed.
    stdin: ChildStdin,
}

#[derive(Deserialize)]
struct Ports {
    ssh: u16,
    jupyter: u16,
}

impl GoSpaces {
    /// Builds the program (once per version of it, into `cache`) and keeps home directories below `homes`.
    pub async fn new(cache: &Path, homes: &Path) -> anyhow::Result<Self> {
        let program = build::program(cache).await?;
        Ok(Self { program, homes: homes.to_owned(), remote_forward: false, running: Mutex::default() })
    }

    /// Makes the SSH servers accept remote forwards, which AWS's are not known to do.
    #[must_use]
    pub fn with_remote_forward(mut self) -> Self {
        self.remote_forward = true;
        self
    }

    /// The home directory of a space.
    #[must_use]
    pub fn home(&self, space_arn: &str) -> PathBuf {
        let name = space_arn.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        self.homes.join(name)
    }

    /// Where the Jupyter API of a running space listens.
    #[must_use]
    pub fn jupyter(&self, space_arn: &str) -> Option<SocketAddr> {
        self.running().get(space_arn).map(|running| running.jupyter)
    }

    /// The process of a running space.
    #[must_use]
    pub fn process(&self, space_arn: &str) -> Option<u32> {
        self.running().get(space_arn).and_then(|running| running.child.id())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn launch(&self, space_arn: &str, run: &str) -> anyhow::Result<(SocketAddr, Running)> {
        let home = self.home(space_arn);
        tokio::fs::create_dir_all(&home).await.with_context(|| format!("home {}", home.display()))?;
        let mut command = Command::new(&self.program);
        command.arg("-home").arg(std::path::absolute(&home)?);
        if self.remote_forward {
            command.arg("-remote-forward");
        }
        // A group of its own: a Ctrl-C meant for the simulator must not reach it before it is told to stop.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("space program")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = timeout(START, lines.next_line()).await.context("the space program says nothing")??;
        let ports: Ports = serde_json::from_str(&line.context("the space program ended at once")?)?;
        ensure!(ports.ssh != 0, "the space program listens nowhere");
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok((at(ports.ssh), Running { run: run.to_owned(), jupyter: at(ports.jupyter), child, stdin }))
    }
}

impl Running {
    /// Lets the process end its programs and itself, and kills it if it does not.
    async fn stop(mut self) {
        drop(self.stdin);
        if timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

#[async_trait]
impl Spaces for GoSpaces {
    async fn start(&self, space_arn: &str, run: &str) -> anyhow::Result<SocketAddr> {
        self.stop(space_arn).await;
        let (ssh, running) = self.launch(space_arn, run).await?;
        tracing::debug!(space.arn = space_arn, run = %running.run, %ssh, "space's SSH server is up");
        let displaced = self.running().insert(space_arn.to_owned(), running);
        if let Some(displaced) = displaced {
            displaced.stop().await;
        }
        Ok(ssh)
    }

    async fn stop(&self, space_arn: &str) {
        let running = self.running().remove(space_arn);
        if let Some(running) = running {
            running.stop().await;
        }
    }
}
