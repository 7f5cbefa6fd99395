//! The system's own SSH client, with a configuration and keys of its own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::until::until;

/// How long one command of a client may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its exit status; 255 for a client that failed itself, -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

impl Done {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    /// Itself if it ended with 0.
    ///
    /// # Errors
    /// When it did not, with what it wrote.
    pub fn well(self) -> Result<Self> {
        anyhow::ensure!(self.code == 0, "exit {}: {}{}", self.code, self.text(), self.stderr);
        Ok(self)
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A person's laptop: a folder with a key, a configuration and known hosts.
#[derive(Clone)]
pub struct Client {
    folder: PathBuf,
}

impl Client {
    /// A laptop with a new key.
    ///
    /// # Errors
    /// When `ssh-keygen` fails.
    pub async fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let client = Self { folder: folder.to_owned() };
        if !client.key().exists() {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f"]).arg(client.key());
            let status = keygen.stdin(Stdio::null()).status().await?;
            anyhow::ensure!(status.success(), "ssh-keygen: {status}");
        }
        Ok(client)
    }

    /// The private key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    /// The public key as one line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn public_key(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("id_ed25519.pub"))?.trim().to_owned())
    }

    /// Its fingerprint, as OpenSSH prints it.
    ///
    /// # Errors
    /// When there is no key.
    pub async fn fingerprint(&self) -> Result<String> {
        let mut list = Command::new("ssh-keygen");
        list.arg("-lf").arg(self.key());
        let listed = run(list, &[]).await?.well()?.text();
        Ok(listed.split_whitespace().nth(1).context("a fingerprint")?.to_owned())
    }

    /// The configuration's file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// Writes the configuration: each space by its name through session mode, and by `NAME.jump` through jump mode.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, gateway: SocketAddr, spaces: &[&str]) -> Result<()> {
        let (ip, port) = (gateway.ip(), gateway.port());
        let folder = self.folder.display();
        let mut text = format!(
            "Host *\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n  \
             ControlMaster no\n  ConnectTimeout 30\n\n\
             Host gateway\n  HostName {ip}\n  Port {port}\n  User alice\n  HostKeyAlias spaceport\n"
        );
        for space in spaces {
            text += &format!(
                "\nHost {space}\n  HostName {ip}\n  Port {port}\n  User {space}\n  HostKeyAlias spaceport\n\n\
                 Host {space}.jump\n  HostName {space}\n  User sagemaker-user\n  ProxyJump gateway\n  \
                 UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n"
            );
        }
        std::fs::write(self.config(), text)?;
        Ok(())
    }

    /// A program of the SSH family, with this laptop's configuration.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-F")
            .arg(self.config())
            .env("HOME", &self.folder)
            .env_remove("SSH_AUTH_SOCK")
            .kill_on_drop(true);
        command
    }

    /// Runs `ssh` with these arguments and no input.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ssh<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Result<Done> {
        self.ssh_with(arguments, &[]).await
    }

    /// Runs `ssh` with these arguments and this input.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ssh_with<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        arguments: I,
        input: &[u8],
    ) -> Result<Done> {
        let mut command = self.command("ssh");
        command.args(arguments);
        run(command, input).await
    }
}

/// A running `ssh-agent`. Dropping it ends it.
pub struct Agent {
    /// Where it listens: `SSH_AUTH_SOCK`.
    pub socket: PathBuf,
    _agent: Child,
}

impl Agent {
    /// Starts one without keys, with its socket in a folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let socket = folder.join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).kill_on_drop(true);
        let agent = command.spawn().context("ssh-agent")?;
        let there = async || Ok(socket.exists().then_some(()));
        until("the agent's socket", Duration::from_secs(10), there).await?;
        Ok(Self { socket, _agent: agent })
    }

    /// Gives it a key.
    ///
    /// # Errors
    /// When it does not take it.
    pub async fn add(&self, key: &Path) -> Result<()> {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", &self.socket).arg("-q").arg(key);
        run(add, &[]).await?.well().context("ssh-add")?;
        Ok(())
    }
}

/// Runs a command with this input to its end.
///
/// # Errors
/// When it does not end in time.
pub async fn run(mut command: Command, input: &[u8]) -> Result<Done> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let mut child = command.spawn().with_context(|| shown.clone())?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    let feed = async {
        // A command that ends without reading closes the pipe: not our failure.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, work)
        .await
        .with_context(|| format!("{shown} did not end in {LIMIT:?}"))??;
    Ok(Done::from(output))
}
