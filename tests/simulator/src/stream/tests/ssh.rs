//! OpenSSH through a stream to the real SSH server of a space.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::pump;
use super::rig::{Rig, SPACE};
use crate::sessions::{Machine, Spaces as _};
use crate::space::GoSpaces;
use crate::stream::Options;
use crate::testing::build_cache;

pub(super) struct Space {
    pub(super) spaces: GoSpaces,
    rig: Arc<Rig>,
    at: SocketAddr,
    pub(super) folder: tempfile::TempDir,
}

/// The program, with homes of spaces in a folder of the test's own.
pub(super) async fn program() -> (GoSpaces, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (GoSpaces::new(&build_cache(), &folder.path().join("homes")).await.unwrap(), folder)
}

async fn space() -> Space {
    let (spaces, folder) = program().await;
    Space::of(spaces, folder, &Machine::default()).await
}

impl Space {
    pub(super) async fn of(spaces: GoSpaces, folder: tempfile::TempDir, machine: &Machine) -> Self {
        let ssh = spaces.start(SPACE, "run-1", machine).await.unwrap();
        let rig = Arc::new(Rig::reaching(ssh, Options::unpaced(16 * 1024)).await);
        let at = pump::listen(Arc::clone(&rig)).await;
        Self { spaces, rig, at, folder }
    }

    pub(super) fn command(&self, program: &str, port_flag: &str) -> Command {
        let mut command = Command::new(program);
        let known = self.folder.path().join("known_hosts");
        command.args(["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
        command.args(["-o", "BatchMode=yes", port_flag, &self.at.port().to_string()]);
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) async fn ssh(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = self.command("ssh", "-p");
        run(command.args(args), stdin).await
    }

    pub(super) async fn text(&self, args: &[&str]) -> String {
        let output = self.ssh(args, b"").await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn run(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin).await.unwrap();
    drop(pipe);
    child.wait_with_output().await.unwrap()
}

pub(super) const HOST: &str = "sagemaker-user@127.0.0.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_runs_commands_and_gets_their_status() {
    let space = space().await;
    assert_eq!(space.text(&[HOST, "echo", "hi"]).await, "hi\n");
    let failed = space.ssh(&[HOST, "echo oops >&2; exit 3"], b"").await;
    assert_eq!((failed.status.code(), failed.stderr.as_slice()), (Some(3), &b"oops\n"[..]));
    assert_eq!(space.ssh(&[HOST, "kill -TERM $$"], b"").await.status.code(), Some(255));
    assert_eq!(space.text(&[HOST, "echo ${HOME-unset}"]).await, "unset\n");
    let home = std::fs::canonicalize(space.spaces.home(SPACE)).unwrap();
    let given = space.text(&["-o", "SetEnv=HOME=/home/sagemaker-user", HOST, "cd; pwd -P"]).await;
    assert_eq!(given.trim_end(), home.to_str().unwrap());
    let sent = vec![b'z'; 300_000];
    assert_eq!(space.ssh(&[HOST, "cat"], &sent).await.stdout, sent);
    space.rig.no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_gets_a_terminal_and_a_login_shell() {
    let space = space().await;
    let output = space.ssh(&["-tt", HOST], b"echo home=$HOME user=$USER; tty; exit 4\n").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("user=sagemaker-user") && text.contains("/dev/pts/"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_copies_to_and_from_the_home_of_the_space() {
    let space = space().await;
    let local = space.folder.path().join("file");
    std::fs::write(&local, vec![b'f'; 200_000]).unwrap();
    let back = space.folder.path().join("back");
    let script = format!("put {} there\nget there {}\n", local.display(), back.display());
    let output = run(space.command("sftp", "-P").args(["-b", "-", HOST]), script.as_bytes()).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(back).unwrap(), std::fs::read(local).unwrap());
    assert!(space.spaces.home(SPACE).join("there").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_reach_jupyter_and_nothing_outside_of_the_space() {
    let space = space().await;
    let request = b"GET /jupyterlab/default/api/status HTTP/1.0\r\n\r\n";
    let output = space.ssh(&["-W", "127.0.0.1:8888", HOST], request).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("200 OK") && text.contains("last_activity"), "{text} {output:?}");
    let refused = space.ssh(&["-W", "192.0.2.1:80", HOST], b"").await;
    assert!(!refused.status.success());
    let remote =
        space.ssh(&["-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes", HOST, "true"], b"").await;
    assert!(!remote.status.success(), "remote forwards are refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_agent_is_reached_from_inside() {
    let space = space().await;
    let socket = space.folder.path().join("agent");
    let mut agent = Command::new("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).kill_on_drop(true);
    let _agent = agent.spawn().unwrap();
    super::rig::until("the agent listens", || socket.exists()).await;
    let mut command = space.command("ssh", "-p");
    command.env("SSH_AUTH_SOCK", &socket).args(["-A", HOST, "test -S $SSH_AUTH_SOCK && ssh-add -l"]);
    let output = run(&mut command, b"").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("The agent has no identities."), "{output:?}");
}
