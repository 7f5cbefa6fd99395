//! One client connection to the gateway that many commands ride on, each on channels of its own.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::client::{Client, run};
use crate::until::until;
use crate::world::World;

/// Long enough for anything that is not frozen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nothing more is taken when nothing was for so long.
const FULL: Duration = Duration::from_millis(700);
/// An echo.
const ECHO: &str = "echo ready; exec cat";
/// An echo on a terminal that adds nothing of its own.
const RAW_ECHO: &str = "stty raw -echo; echo ready; exec cat";
/// Keystrokes in one round of a measurement.
const KEYS: usize = 50;

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// A connection that OpenSSH shares by `ControlPath`.
    OpenSsh,
    /// One that PuTTY's plink shares by `-share`.
    Plink,
}

/// Which of the two ways in the commands take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Channels that the gateway terminates.
    Session,
    /// SSH connections of their own, each in one channel that the gateway bridges.
    Jump,
}

/// Both clients by both ways in.
pub const EVERY_WAY: [(Software, Mode); 4] = [
    (Software::OpenSsh, Mode::Session),
    (Software::OpenSsh, Mode::Jump),
    (Software::Plink, Mode::Session),
    (Software::Plink, Mode::Jump),
];

/// The shared connection. Dropping it ends it.
pub struct Carrier {
    client: Client,
    mode: Mode,
    software: Software,
    /// The program that rides on the connection and its options.
    rider: Vec<String>,
    /// And the host.
    host: &'static str,
    _connection: Child,
}

impl Carrier {
    /// Connects to a world's gateway; commands run in its space `demo`.
    ///
    /// # Errors
    /// When the gateway refuses the connection.
    pub async fn connect(world: &World, software: Software, mode: Mode) -> Result<Self> {
        let client = world.client.clone();
        let (rider, host) = match (software, mode) {
            (Software::OpenSsh, Mode::Session) => (openssh(world, "demo"), "demo"),
            (Software::OpenSsh, Mode::Jump) => (openssh(world, "alice"), "gateway"),
            (Software::Plink, Mode::Session) => (plink(world, "demo").await?, "127.0.0.1"),
            (Software::Plink, Mode::Jump) => (plink(world, "alice").await?, "127.0.0.1"),
        };
        let first: &[&str] = match software {
            Software::OpenSsh => &["-M", "-N"],
            Software::Plink => &["-v", "-N"],
        };
        let mut connection = command(&rider, first, host);
        connection.stdin(Stdio::null()).stdout(Stdio::null());
        let mut connection = connection.spawn()?;
        if software == Software::Plink {
            granted(&mut connection).await?;
        }
        let carrier = Self { client, mode, software, rider, host, _connection: connection };
        if software == Software::OpenSsh {
            let there = async || Ok((carrier.check().await? == 0).then_some(()));
            until("the shared connection", PATIENCE, there).await?;
        }
        Ok(carrier)
    }

    async fn check(&self) -> Result<i32> {
        Ok(run(command(&self.rider, &["-O", "check"], self.host), &[]).await?.code)
    }

    /// A command in the space on the connection, all three streams piped; killed when dropped.
    ///
    /// # Errors
    /// When the client cannot be started.
    pub fn spawn(&self, pty: bool, line: &str) -> Result<Child> {
        let mut ssh = match (self.mode, self.software) {
            (Mode::Session, Software::OpenSsh) => {
                command(&self.rider, if pty { &["-tt"] } else { &[] }, self.host)
            }
            (Mode::Session, Software::Plink) => {
                command(&self.rider, if pty { &["-t"] } else { &["-T"] }, self.host)
            }
            (Mode::Jump, software) => {
                let forward = if software == Software::OpenSsh { "-W" } else { "-nc" };
                let proxy = format!("ProxyCommand={} {forward} demo:22 {}", self.rider.join(" "), self.host);
                let mut ssh = self.client.command("ssh");
                ssh.args(["-o", &proxy]).args(pty.then_some("-tt")).arg("demo.jump");
                ssh
            }
        };
        ssh.arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(ssh.kill_on_drop(true).spawn()?)
    }

    /// The bytes of a jump as they are, once the space has greeted: what is written goes to it unread.
    ///
    /// # Errors
    /// When the space does not greet.
    pub async fn raw(&self) -> Result<Child> {
        let forward = if self.software == Software::OpenSsh { "-W" } else { "-nc" };
        let mut raw = command(&self.rider, &[forward, "demo:22"], self.host);
        let mut raw = raw.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let greeting = raw.stdout.as_mut().context("its output is piped")?;
        let mut begins = [0; 8];
        timeout(PATIENCE, greeting.read_exact(&mut begins)).await.context("the space greets")??;
        Ok(raw)
    }

    /// How long a command takes that does nothing.
    ///
    /// # Errors
    /// When it fails.
    pub async fn answers(&self) -> Result<Duration> {
        let began = Instant::now();
        let done = timeout(PATIENCE, self.spawn(false, "true")?.wait_with_output()).await??;
        ensure!(done.status.success(), "{done:?}");
        Ok(began.elapsed())
    }

    /// An echo in the space that keystrokes can be sent through.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn keyboard(&self, pty: bool) -> Result<Keyboard> {
        Keyboard::once_begun(self.spawn(pty, if pty { RAW_ECHO } else { ECHO })?).await
    }
}

/// An echo in the space.
pub struct Keyboard {
    /// The client that runs it.
    pub echo: Child,
}

impl Keyboard {
    /// One on a connection of its own to another space, for how long keystrokes take on this machine at this moment.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn elsewhere(world: &World) -> Result<Self> {
        let mut ssh = world.client.command("ssh");
        ssh.args(["-tt", "gpu", RAW_ECHO]);
        Self::once_begun(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
            .await
    }

    async fn once_begun(mut echo: Child) -> Result<Self> {
        let screen = echo.stdout.as_mut().context("its output is piped")?;
        let mut seen = Vec::new();
        let begun = async {
            while !seen.ends_with(b"ready\n") {
                seen.push(screen.read_u8().await?);
            }
            Ok::<_, std::io::Error>(())
        };
        timeout(PATIENCE, begun).await.context("the echo begins")??;
        Ok(Self { echo })
    }

    /// Presses keys, 50 a second: milliseconds of the median and of the second worst of fifty.
    ///
    /// # Errors
    /// When a keystroke is not answered.
    pub async fn round(&mut self) -> Result<(f64, f64)> {
        let keys = self.echo.stdin.as_mut().context("its input is piped")?;
        let screen = self.echo.stdout.as_mut().context("its output is piped")?;
        let mut every = interval(Duration::from_millis(20));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut took = Vec::with_capacity(KEYS);
        for _ in 0..KEYS {
            every.tick().await;
            let pressed = Instant::now();
            keys.write_all(b"k").await?;
            timeout(PATIENCE, screen.read_u8()).await.context("a keystroke is answered")??;
            took.push(pressed.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        Ok((took[KEYS / 2], took[KEYS - 2]))
    }
}

/// Sends until nothing more is taken, as a client does whose far end is deaf. Gives how much it was.
///
/// # Errors
/// When it has no input.
pub async fn fill(child: &mut Child) -> Result<usize> {
    let input = child.stdin.as_mut().context("its input is piped")?;
    let (chunk, mut sent) = (vec![0; 64 * 1024], 0);
    while let Ok(Ok(taken)) = timeout(FULL, input.write(&chunk)).await {
        sent += taken;
    }
    Ok(sent)
}

/// Sends bytes to a command while reading what it writes, to the end.
///
/// # Errors
/// When it hangs or fails.
pub async fn talk(mut child: Child, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut input = child.stdin.take().context("its input is piped")?;
    let mut output = child.stdout.take().context("its output is piped")?;
    let send = async {
        input.write_all(bytes).await?;
        drop(input);
        Ok::<_, std::io::Error>(())
    };
    let mut got = Vec::new();
    let both = async { tokio::try_join!(send, output.read_to_end(&mut got)).map(drop) };
    timeout(PATIENCE, both).await.context("nobody hangs")??;
    let done = child.wait_with_output().await?;
    ensure!(done.status.success(), "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(got)
}

fn command(rider: &[String], options: &[&str], host: &str) -> Command {
    let mut command = Command::new(rider.first().map_or("false", String::as_str));
    command.args(rider.get(1..).unwrap_or_default()).args(options).arg(host);
    command.env_remove("SSH_AUTH_SOCK").stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn openssh(world: &World, name: &str) -> Vec<String> {
    let (config, control) = (world.client.config(), world.folder().join(format!("to-{name}")));
    let words = ["ssh", "-F", &config.display().to_string(), "-S", &control.display().to_string()];
    words.map(str::to_owned).to_vec()
}

/// plink's command line for one login name of a world's gateway.
async fn plink(world: &World, name: &str) -> Result<Vec<String>> {
    let key = world.folder().join("key.ppk");
    if !key.exists() {
        let mut puttygen = Command::new("puttygen");
        puttygen.arg(world.client.key()).args(["-O", "private", "-o"]).arg(&key);
        run(puttygen, &[]).await?.well().context("puttygen")?;
    }
    let (key, port) = (key.display().to_string(), world.gateway.ssh.port().to_string());
    let host_key = world.host_key_fingerprint().await?;
    let words = ["plink", "-batch", "-noagent", "-share", "-ssh", "-P", &port, "-i", &key];
    let words = words.into_iter().chain(["-hostkey", &host_key, "-l", name]);
    Ok(words.map(str::to_owned).collect())
}

/// Waits until plink says that it is signed in; what it says afterwards must still be read.
async fn granted(plink: &mut Child) -> Result<()> {
    let said = plink.stderr.take().context("its standard error is piped")?;
    let mut lines = BufReader::new(said).lines();
    let signed_in = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("Access granted") {
                return Ok(());
            }
        }
        anyhow::bail!("plink ended before it was signed in")
    };
    timeout(PATIENCE, signed_in).await.context("plink signs in")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(())
}
