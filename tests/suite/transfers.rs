//! Commands, files, forwards and agents, through both ways in.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result};
use spaceport_tests::account::Servers;
use spaceport_tests::client::{Agent, Done, run};
use spaceport_tests::noise::{digest, noise};
use spaceport_tests::world::{Wish, World};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Both ways into alice's running space.
const WAYS: [&str; 2] = ["demo", "demo.jump"];

async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn command_runs_in_the_space_and_its_output_status_and_errors_come_back() -> Result<()> {
    let world = World::start().await?;
    for way in WAYS {
        let done = world.client.ssh([way, "echo hi; echo oops >&2; exit 3"]).await?;
        assert_eq!((done.code, done.text().as_str(), done.stderr.as_str()), (3, "hi\n", "oops\n"), "{way}");
        let done = world.client.ssh([way, "kill -TERM $$"]).await?;
        assert_eq!(done.code, 255, "{way}: OpenSSH reports a signal as 255");
        let echoed = world.client.ssh_with([way, "cat"], &noise(200_000)).await?;
        assert_eq!(digest(&echoed.stdout), digest(&noise(200_000)), "{way}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn home_and_user_are_set_for_commands() -> Result<()> {
    let world = World::start().await?;
    let done = world.client.ssh(["demo", "test -d \"$HOME\" && echo \"$USER\""]).await?;
    assert_eq!((done.code, done.text().as_str()), (0, "sagemaker-user\n"), "{}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_mebibytes_go_each_way_by_scp_and_sftp_unchanged() -> Result<()> {
    let world = World::unpaced().await?;
    let bytes = noise(100 << 20);
    let source = world.folder().join("big");
    std::fs::write(&source, &bytes)?;
    for way in WAYS {
        let back = world.folder().join("back");
        let mut up = world.client.command("scp");
        up.arg("-q").arg(&source).arg(format!("{way}:big"));
        run(up, &[]).await?.well().context(format!("{way} up"))?;
        let there = world.client.ssh([way, "sha256sum big | cut -c1-64"]).await?;
        assert_eq!(there.text().trim(), digest(&bytes), "{way} up");
        let mut down = world.client.command("sftp");
        down.args(["-q", "-b", "-", way]);
        let get = format!("get big {}\n", back.display());
        run(down, get.as_bytes()).await?.well().context(format!("{way} down"))?;
        assert_eq!(digest(&std::fs::read(&back)?), digest(&bytes), "{way} down");
        std::fs::remove_file(&back)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_over_ssh() -> Result<()> {
    let world = World::start().await?;
    let make = "git init -q --bare repo.git && git init -q work && cd work && echo data > file && git add file && \
                git -c user.name=a -c user.email=a@b commit -qm first && git push -q ../repo.git HEAD:refs/heads/main";
    world.client.ssh(["demo", make]).await?.well()?;
    for way in WAYS {
        let target = world.folder().join(format!("clone-{way}"));
        let mut git = Command::new("git");
        let ssh = format!("ssh -F {}", world.client.config().display());
        git.env("GIT_SSH_COMMAND", ssh).env("HOME", world.folder()).args(["clone", "-q", "-b", "main"]);
        git.arg(format!("{way}:repo.git")).arg(&target);
        run(git, &[]).await?.well().context(way)?;
        assert_eq!(std::fs::read_to_string(target.join("file"))?, "data\n");
    }
    Ok(())
}

/// A web server in the space or on the laptop: loopback is the same machine here, the route is not.
async fn web_server() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let body = "from the server";
                let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Ok(port)
}

async fn curl(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--retry", "20", "--retry-delay", "1", "--retry-connrefused"]);
    let done = run(
        {
            command.args(arguments);
            command
        },
        &[],
    )
    .await?;
    Ok(done.well().context(format!("curl {arguments:?}"))?.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_dynamic_forwards_reach_ports_inside_the_space() -> Result<()> {
    let world = World::start().await?;
    let inside = web_server().await?;
    for way in WAYS {
        let (local, socks) = (free_port().await?, free_port().await?);
        let mut ssh = world.client.command("ssh");
        ssh.arg("-N").arg("-L").arg(format!("127.0.0.1:{local}:127.0.0.1:{inside}"));
        ssh.arg("-D").arg(format!("127.0.0.1:{socks}")).arg(way);
        let mut forward = ssh.stdin(Stdio::null()).spawn()?;
        let url = format!("http://127.0.0.1:{local}/");
        assert_eq!(curl(&[&url]).await?, "from the server", "{way} -L");
        let url = format!("http://127.0.0.1:{inside}/");
        assert_eq!(
            curl(&["--socks5", &format!("127.0.0.1:{socks}"), &url]).await?,
            "from the server",
            "{way} -D"
        );
        forward.kill().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_to_a_closed_port_is_refused_and_the_connection_lives_on() -> Result<()> {
    let world = World::start().await?;
    let closed = free_port().await?;
    let done =
        world.client.ssh(["-o", "LogLevel=INFO", "-W", &format!("127.0.0.1:{closed}"), "demo"]).await?;
    assert_eq!(done.code, 255);
    assert!(done.stderr.contains("open failed"), "{}", done.stderr);
    assert_eq!(world.client.ssh(["demo", "echo still"]).await?.text(), "still\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_forwarded_to_the_space_of_who_asked_for_it() -> Result<()> {
    let world = World::start().await?;
    let agent = Agent::start(world.folder()).await?;
    agent.add(&world.client.key()).await?;
    for way in WAYS {
        let mut ssh = world.client.command("ssh");
        ssh.env("SSH_AUTH_SOCK", &agent.socket).args(["-A", way, "ssh-add -L"]);
        let done = run(ssh, &[]).await?;
        assert_eq!(done.text().trim(), world.client.public_key()?, "{way}: {}", done.stderr);
    }
    let without = world.client.ssh(["demo", "ssh-add -L"]).await?;
    assert_ne!(without.code, 0, "a connection without -A has no agent");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_forward_is_refused_in_words_where_the_space_does_not_allow_it() -> Result<()> {
    let world = World::start().await?;
    let done =
        world.client.ssh(["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "demo", "true"]).await?;
    assert_eq!(done.code, 255);
    assert!(done.stderr.contains("remote port forwarding failed"), "{}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_forward_reaches_the_laptop_where_the_space_allows_it() -> Result<()> {
    let world = World::with(Wish { servers: Servers::RemoteForward, ..Wish::default() }).await?;
    let (laptop, inside) = (web_server().await?, free_port().await?);
    let forward = format!("{inside}:127.0.0.1:{laptop}");
    let fetch = format!("curl -sS --max-time 20 http://127.0.0.1:{inside}/");
    for way in WAYS {
        let arguments = ["-o", "ExitOnForwardFailure=yes", "-R", &forward, way, &fetch];
        assert_eq!(
            world.client.ssh(arguments).await?.well().context(way)?.text(),
            "from the server",
            "{way}"
        );
    }
    Ok(())
}

/// PuTTY's command line client, with Alice's key and a command in her space.
pub(crate) async fn plink(world: &World, gateway: SocketAddr, command: &str) -> Result<Done> {
    let mut plink = plink_command(world, gateway).await?;
    plink.args(["-l", "demo", "127.0.0.1", command]);
    run(plink, &[]).await
}

/// The same before it is told where to go and what to do.
pub(crate) async fn plink_command(world: &World, gateway: SocketAddr) -> Result<Command> {
    let ppk = world.folder().join("key.ppk");
    let mut puttygen = Command::new("puttygen");
    puttygen.arg(world.client.key()).args(["-O", "private", "-o"]).arg(&ppk);
    // Debian's puttygen 0.78 reads OpenSSH keys; anything else is a broken machine.
    run(puttygen, &[]).await?.well().context("puttygen")?;
    let host_key = world.host_key_fingerprint().await.context("the gateway's host key")?;
    let mut plink = Command::new("plink");
    plink.args(["-batch", "-ssh", "-P", &gateway.port().to_string(), "-hostkey", &host_key, "-i"]);
    plink.arg(&ppk).env("HOME", world.folder());
    Ok(plink)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_clients_work() -> Result<()> {
    let world = World::start().await?;
    let done = plink(&world, world.gateway.ssh, "echo from plink").await?;
    assert_eq!(done.text(), "from plink\n", "{}", done.stderr);
    Ok(())
}
