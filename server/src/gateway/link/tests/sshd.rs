//! A real sshd behind a socket pair: no port, no waiting for one.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

use crate::domain::ports::ByteStream;
use crate::gateway::link::{Link, LinkOptions};

/// Keys and configuration in a directory of their own.
pub(crate) struct Sshd {
    dir: tempfile::TempDir,
}

/// One running `sshd -i`; killed when dropped.
pub(crate) struct Running {
    _child: Child,
}

impl Sshd {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user"] {
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(name))
                .status()
                .unwrap();
            assert!(made.success());
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nLogLevel ERROR\n\
             PasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv *\nMaxSessions 100\nPrintMotd no\n\
             PrintLastLog no\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("user.pub")
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command line that serves one connection on its standard input.
    pub(crate) fn command(&self) -> String {
        format!("/usr/sbin/sshd -i -e -f {}", self.path("config").display())
    }

    /// One connection.
    pub(crate) fn serve(&self) -> (UnixStream, Running) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let input = OwnedFd::from(theirs.try_clone().unwrap());
        let child = Command::new("/usr/sbin/sshd")
            .args(["-i", "-e", "-f"])
            .arg(self.path("config"))
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        (UnixStream::from_std(ours).unwrap(), Running { _child: child })
    }

    pub(crate) fn options(&self) -> LinkOptions {
        let key = russh::keys::load_secret_key(self.path("user"), None).unwrap();
        LinkOptions {
            user: "root".to_owned(),
            timeout: Duration::from_secs(30),
            key: Some(Arc::new(key)),
            ..LinkOptions::default()
        }
    }

    /// A link over a stream that `shape` makes of the plain one.
    pub(crate) async fn link<S: ByteStream + 'static>(
        &self,
        tracker: &TaskTracker,
        shape: impl FnOnce(UnixStream) -> S,
    ) -> (Link, Running) {
        let (stream, running) = self.serve();
        let link = Link::connect(Box::new(shape(stream)), self.options(), tracker).await.unwrap();
        (link, running)
    }
}
