//! The SSH servers of the spaces: one process of the program in `space/` for each life of a space's app, in namespaces
//! of its own where the machine lets us have them.

mod build;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::inside::Script;
use crate::sessions::{Machine, Spaces};

/// How long a process may take to say its ports, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// How long a process may take to end its programs and itself.
const STOP: Duration = Duration::from_secs(5);
/// How long a process may take to do what it is told.
const OBEY: Duration = Duration::from_secs(10);

/// Runs a process of the space program per app life, with a home directory per space that outlives it.
pub struct GoSpaces {
    program: PathBuf,
    homes: PathBuf,
    remote_forward: bool,
    why_shared: Option<String>,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    run: String,
    child: Child,
    /// Absent once the space is to end.
    talk: Arc<tokio::sync::Mutex<Option<Talk>>>,
}

/// Both ends of what is said to a process, and of what it answers.
struct Talk {
    /// The process ends, with everything in it, when this closes: also when we are killed.
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Ports {
    ssh: u16,
}

#[derive(Deserialize)]
struct Obeyed {
    error: String,
}

impl GoSpaces {
    /// Builds the program (once per version of it, into `cache`) and keeps home directories below `homes`.
    pub async fn new(cache: &Path, homes: &Path) -> anyhow::Result<Self> {
        let program = build::program(cache).await?;
        let homes = std::path::absolute(homes)?;
        tokio::fs::create_dir_all(&homes).await.with_context(|| format!("homes {}", homes.display()))?;
        let why_shared = why_shared(&program, &homes).await?;
        if let Some(why) = &why_shared {
            tracing::warn!(
                %why,
                "spaces see the processes, terminals and /tmp of the whole machine, and have no GPUs; run as root"
            );
        }
        Ok(Self { program, homes, remote_forward: false, why_shared, running: Mutex::default() })
    }

    /// Makes the SSH servers accept remote forwards, which AWS's are not known to do.
    #[must_use]
    pub fn with_remote_forward(mut self) -> Self {
        self.remote_forward = true;
        self
    }

    /// As where the machine lets us have no namespaces.
    #[cfg(test)]
    pub(crate) fn sharing_the_machine(mut self) -> Self {
        self.why_shared = Some("a test says so".to_owned());
        self
    }

    /// The home directory of a space.
    #[must_use]
    pub fn home(&self, space_arn: &str) -> PathBuf {
        let name = space_arn.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        self.homes.join(name)
    }

    /// What is /tmp in an isolated space, beside its home.
    fn own_tmp(&self, space_arn: &str) -> PathBuf {
        let mut path = self.home(space_arn).into_os_string();
        path.push(".tmp");
        path.into()
    }

    /// The process of a running space.
    #[must_use]
    pub fn process(&self, space_arn: &str) -> Option<u32> {
        self.running().get(space_arn).and_then(|running| running.child.id())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn launch(
        &self,
        space_arn: &str,
        run: &str,
        machine: &Machine,
    ) -> anyhow::Result<(SocketAddr, Running)> {
        let home = self.home(space_arn);
        tokio::fs::create_dir_all(&home).await.with_context(|| format!("home {}", home.display()))?;
        let mut command = Command::new(&self.program);
        command.arg("-home").arg(&home).args(["-app", &machine.app_type]);
        if self.why_shared.is_none() {
            let tmp = self.own_tmp(space_arn);
            renew(&tmp).await.with_context(|| format!("the space's /tmp {}", tmp.display()))?;
            command.arg("-isolate").arg("-tmp").arg(tmp).args(["-gpus", &machine.gpus.to_string()]);
        }
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
        let orders = child.stdin.take().context("no stdin")?;
        let mut answers = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = timeout(START, answers.next_line()).await.context("the space program says nothing")??;
        let ports: Ports = serde_json::from_str(&line.context("the space program ended at once")?)?;
        ensure!(ports.ssh != 0, "the space program listens nowhere");
        let talk = Arc::new(tokio::sync::Mutex::new(Some(Talk { orders, answers })));
        let ssh = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.ssh));
        Ok((ssh, Running { run: run.to_owned(), child, talk }))
    }
}

/// Tries namespaces out; gives the reason if there are none.
async fn why_shared(program: &Path, homes: &Path) -> anyhow::Result<Option<String>> {
    let tmp = tempfile::Builder::new().prefix("check").tempdir_in(homes)?;
    let mut command = Command::new(program);
    command.args(["-check", "-isolate", "-gpus", "1", "-home"]).arg(homes).arg("-tmp").arg(tmp.path());
    let tried = timeout(START, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let tried = tried.context("the space program does not end")?.context("space program")?;
    if tried.status.success() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()))
}

/// A new life of an app begins with an empty /tmp.
async fn renew(tmp: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(tmp).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => tokio::fs::create_dir(tmp).await?,
    }
    tokio::fs::set_permissions(tmp, std::fs::Permissions::from_mode(0o1777)).await
}

impl Talk {
    async fn order(&mut self, script: &Script) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(script)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        let answer = self.answers.next_line().await?.context("it ended")?;
        let Obeyed { error } = serde_json::from_str(&answer)?;
        ensure!(error.is_empty(), "{error}");
        Ok(())
    }
}

impl Running {
    /// Lets the process end its programs and itself, and kills it if it does not.
    async fn stop(mut self) {
        drop(self.talk.lock().await.take());
        if timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

#[async_trait]
impl Spaces for GoSpaces {
    async fn start(&self, space_arn: &str, run: &str, machine: &Machine) -> anyhow::Result<SocketAddr> {
        self.stop(space_arn).await;
        let (ssh, running) = self.launch(space_arn, run, machine).await?;
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

    async fn script(&self, space_arn: &str, script: Script) -> anyhow::Result<()> {
        let talk = self.running().get(space_arn).map(|running| Arc::clone(&running.talk));
        let talk = talk.with_context(|| format!("{space_arn} is not running"))?;
        let mut talk = talk.lock().await;
        let Some(open) = talk.as_mut() else { bail!("{space_arn} is ending") };
        match timeout(OBEY, open.order(&script)).await {
            Ok(obeyed) => obeyed.with_context(|| format!("scripting {space_arn}")),
            Err(_) => bail!("{space_arn} does not answer"),
        }
    }

    fn tmp(&self, space_arn: &str) -> Option<PathBuf> {
        self.why_shared.is_none().then(|| self.own_tmp(space_arn))
    }

    fn why_shared(&self) -> Option<String> {
        self.why_shared.clone()
    }
}
