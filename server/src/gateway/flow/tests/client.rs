//! The clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::gateway::link::tests::sshd::Sshd;

/// Long enough for anything that is not frozen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const ECHOES: usize = 50;
/// Rounds of them.
const ROUNDS: usize = 12;

/// One ssh connection that others ride on.
pub(super) struct Master {
    control: PathBuf,
    _dir: tempfile::TempDir,
    master: Child,
}

impl Master {
    /// To a server on a port.
    pub(super) async fn to(keys: &Sshd, address: SocketAddr, options: &[&str]) -> Self {
        let port = format!("-p{}", address.port());
        Self::connect(keys, &[&[port.as_str()], options].concat()).await
    }

    /// To OpenSSH's own server.
    pub(super) async fn to_openssh(keys: &Sshd) -> Self {
        Self::connect(keys, &["-o", &format!("ProxyCommand={}", keys.command())]).await
    }

    async fn connect(keys: &Sshd, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("c");
        let mut master = ssh(keys);
        master.args(options).args(["-N", "-M", "-S"]).arg(&control).arg("root@127.0.0.1");
        let mut this = Self { control, _dir: dir, master: master.spawn().unwrap() };
        let up = async {
            while !this.check().await {
                assert!(this.master.try_wait().unwrap().is_none(), "the connection was refused");
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, up).await.expect("the client connects");
        this
    }

    async fn check(&self) -> bool {
        self.control.exists()
            && Command::new("ssh")
                .arg("-S")
                .arg(&self.control)
                .args(["-O", "check", "x"])
                .stderr(Stdio::null())
                .status()
                .await
                .unwrap()
                .success()
    }

    /// Whether the connection is still up.
    pub(super) async fn is_up(&self) -> bool {
        self.check().await
    }

    /// A command on the connection, all three streams piped; killed when dropped.
    pub(super) fn command(&self, command: &str) -> Child {
        let mut ssh = Command::new("ssh");
        ssh.arg("-S").arg(&self.control).arg("x").arg(command);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh.spawn().unwrap()
    }

    /// How long a command takes beside whatever else goes on.
    pub(super) async fn exec(&self, command: &str) -> Duration {
        let began = Instant::now();
        let child = self.command(command);
        let output =
            timeout(PATIENCE, child.wait_with_output()).await.expect("a command is answered").unwrap();
        assert!(output.status.success(), "{output:?}");
        began.elapsed()
    }

    /// Milliseconds of ECHOES keystrokes, 50 a second, through a command that echoes: the median and the second worst.
    pub(super) async fn echoes(&self, command: &str) -> (f64, f64) {
        let mut child = self.command(command);
        let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut every = interval(Duration::from_millis(20));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut took = Vec::new();
        // The first one waits for the channel to open.
        for press in 0..=ECHOES {
            every.tick().await;
            let pressed = Instant::now();
            keys.write_all(b"k").await.unwrap();
            timeout(PATIENCE, screen.read_exact(&mut [0])).await.expect("keystrokes are answered").unwrap();
            if press > 0 {
                took.push(pressed.elapsed().as_secs_f64() * 1e3);
            }
        }
        took.sort_by(f64::total_cmp);
        (took[ECHOES / 2], took[ECHOES - 2])
    }

    /// Measures until it is good enough: the machine may be busy with something else for a while, whereas a connection
    /// on which one channel waits for another is slow in every round.
    pub(super) async fn assert_responsive(&self, beside: &str, p50: f64, p99: f64) {
        for attempt in 1..=ROUNDS {
            let (median, worst) = self.echoes("echo").await;
            println!("echo beside {beside}: p50 {median:.1} ms, p99 {worst:.1} ms");
            if median < p50 && worst < p99 {
                return;
            }
            assert!(attempt < ROUNDS, "echo beside {beside}: p50 {median:.1} ms, p99 {worst:.1} ms");
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.master.start_kill();
    }
}

fn ssh(keys: &Sshd) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    ssh.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-i"]).arg(keys.path("user"));
    ssh.stdin(Stdio::null()).kill_on_drop(true);
    ssh
}

/// Bytes that look random, and their digest.
pub(super) fn noise(len: usize) -> (Vec<u8>, String) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    let sum = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, sum)
}

/// Sends bytes to a command and gives what it wrote.
pub(super) async fn talk(mut child: Child, bytes: &[u8]) -> Vec<u8> {
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let send = async {
        input.write_all(bytes).await.unwrap();
        drop(input);
    };
    let mut got = Vec::new();
    let both = async { tokio::join!(send, output.read_to_end(&mut got)).1 };
    timeout(PATIENCE, both).await.expect("nobody hangs").unwrap();
    assert!(child.wait().await.unwrap().success());
    got
}

/// Sends until nothing more is taken for a while, as a client does whose far end is deaf.
pub(super) async fn fill(child: &mut Child) -> usize {
    let input = child.stdin.as_mut().unwrap();
    let (chunk, mut sent) = (vec![0; 64 * 1024], 0);
    while let Ok(n) = timeout(Duration::from_millis(500), input.write(&chunk)).await {
        match n {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    sent
}

/// PuTTY's client, which does not share connections.
pub(super) fn plink(keys: &Sshd, address: SocketAddr, command: &str) -> Child {
    let key = keys.path("user.ppk");
    let made = std::process::Command::new("puttygen").arg(keys.path("user")).arg("-o").arg(&key).status();
    assert!(made.unwrap().success());
    let host = std::fs::read_to_string(keys.path("host.pub")).unwrap();
    let host = russh::keys::parse_public_key_base64(host.split(' ').nth(1).unwrap()).unwrap();
    let print = host.fingerprint(russh::keys::HashAlg::Sha256).to_string();
    let mut plink = Command::new("plink");
    plink.args(["-batch", "-noagent", "-P", &address.port().to_string(), "-hostkey", &print, "-i"]).arg(key);
    plink.args(["root@127.0.0.1", command]).env("HOME", keys.path(""));
    plink.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    plink.spawn().unwrap()
}
