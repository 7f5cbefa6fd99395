//! A gateway as operators run it: the binary, a configuration file, an environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::until::until;

/// How many lines of a gateway's log a failed test shows.
const SHOWN: usize = 60;

/// Where the binaries of this build are: beside the running test or tool.
///
/// # Errors
/// When the running program's own path cannot be found.
pub fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().context("a program lives in a folder")?;
    let folder =
        if folder.ends_with("deps") { folder.parent().context("deps has a parent")? } else { folder };
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} is not built: cargo build -p spaceport -p studio-simulator --bins", path.display());
    }
    Ok(path)
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    log: PathBuf,
    /// Where it takes SSH.
    pub ssh: SocketAddr,
    /// Where it serves health and metrics.
    pub ops: SocketAddr,
}

impl Gateway {
    /// Starts the binary and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends first, with the end of its log.
    pub async fn start(config: &Path, environment: &[(String, String)], log: &Path) -> Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(log)?;
        let before = file.metadata()?.len();
        let mut child = Command::new(binary("spaceport")?)
            .arg("serve")
            .env("SPACEPORT_CONFIG", config)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone()?))
            .stderr(Stdio::from(file))
            .kill_on_drop(true)
            .spawn()?;
        let skip = usize::try_from(before)?;
        let ready = until("the gateway to be ready", Duration::from_secs(60), async || {
            let lines = std::fs::read_to_string(log)?;
            let lines = lines.get(skip..).unwrap_or_default();
            if let Some(line) = lines.lines().find_map(|line| message(line, "ready")) {
                return Ok(Some(Ok(line)));
            }
            Ok(child.try_wait()?.map(|status| Err((status, lines.to_owned()))))
        });
        let line = match ready.await? {
            Ok(line) => line,
            Err((status, lines)) => bail!("the gateway ended with {status}:\n{lines}"),
        };
        let address = |field: &str| -> Result<SocketAddr> {
            Ok(line[field].as_str().with_context(|| format!("{field} in {line}"))?.parse()?)
        };
        Ok(Self { child, log: log.to_owned(), ssh: address("ssh.address")?, ops: address("ops.address")? })
    }

    /// The process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the gateway runs")
    }

    /// Everything it logged, a JSON object a line.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<Vec<Value>> {
        let lines = std::fs::read_to_string(&self.log)?;
        Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid()?.to_string()).status().await?;
        if !status.success() {
            bail!("kill -{name}: {status}");
        }
        Ok(())
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        self.signal("TERM").await?;
        self.wait(Duration::from_secs(60)).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the limit is over.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        Ok(tokio::time::timeout(limit, self.child.wait())
            .await
            .context("waiting for the gateway's end")??)
    }

    /// Completes when it ends by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Kills it outright, as a crash would.
    ///
    /// # Errors
    /// When it had ended already.
    pub async fn crash(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

impl Drop for Gateway {
    /// A test that fails shows how its gateway saw it.
    fn drop(&mut self) {
        let lines = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = lines.lines().count().saturating_sub(SHOWN);
        println!("the end of {}:", self.log.display());
        lines.lines().skip(last).for_each(|line| println!("{line}"));
    }
}

/// A log line with this message.
fn message(line: &str, wanted: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["message"] == wanted).then_some(value)
}
