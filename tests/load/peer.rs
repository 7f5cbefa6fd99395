//! The peer: OpenSSH's sshd as a jump host to a space's own SSH server.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use spaceport_tests::until::until;
use spaceport_tests::world::World;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// A running sshd.
pub(crate) struct JumpHost {
    child: Child,
    config: PathBuf,
}

impl JumpHost {
    /// Starts one that knows the laptop's key, and writes a client configuration with the host `direct`.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let folder = world.folder().join("sshd");
        std::fs::create_dir_all(&folder)?;
        let key = folder.join("host_key");
        let mut keygen = Command::new("ssh-keygen");
        anyhow::ensure!(
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().await?.success(),
            "ssh-keygen"
        );
        let authorized = folder.join("authorized_keys");
        std::fs::write(&authorized, world.client.public_key()?)?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nMaxStartups 1000\nMaxSessions 1000\nAllowTcpForwarding yes\nPermitRootLogin yes\n",
            key.display(),
            authorized.display()
        );
        let server_config = folder.join("sshd_config");
        std::fs::write(&server_config, text)?;
        // sshd run by root wants its privilege separation folder.
        std::fs::create_dir_all("/run/sshd").ok();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.arg("-D").arg("-f").arg(&server_config).stdin(Stdio::null()).kill_on_drop(true);
        let child = sshd.spawn().context("sshd")?;
        until("sshd", Duration::from_secs(10), async || {
            Ok(TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await?;
        let space =
            world.account.simulator.ssh_address(&world.account.arn("demo")).context("the space runs")?;
        let config = folder.join("ssh_config");
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  StrictHostKeyChecking no\n  \
             UserKnownHostsFile /dev/null\n  LogLevel ERROR\n\nHost jump\n  HostName 127.0.0.1\n  Port {port}\n\n\
             Host direct\n  HostName 127.0.0.1\n  Port {}\n  User sagemaker-user\n  ProxyJump jump\n",
            world.client.key().display(),
            space.port()
        );
        std::fs::write(&config, text)?;
        Ok(Self { child, config })
    }

    /// The client configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.config.clone()
    }

    /// sshd's process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("sshd runs")
    }
}
