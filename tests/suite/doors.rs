//! The way in: keys, agents, and what stands before them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use spaceport_tests::balancer::{Balancer, header};
use spaceport_tests::client::{Agent, Client, Done, run};
use spaceport_tests::until::until;
use spaceport_tests::world::{SPACES, Wish, World};
use tokio::process::Command;

/// A new key, without anybody's name on it.
async fn new_key(world: &World, name: &str, kind: &[&str]) -> Result<PathBuf> {
    let path = world.folder().join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).args(kind);
    run(keygen, &[]).await?.well()?;
    Ok(path)
}

/// `ssh` with these options instead of the laptop's one key.
async fn ssh_with(client: &Client, options: &[&str], agent: Option<&Agent>) -> Result<Done> {
    let mut ssh = client.command("ssh");
    if let Some(agent) = agent {
        ssh.env("SSH_AUTH_SOCK", &agent.socket);
    }
    for option in options {
        ssh.args(["-o", option]);
    }
    run(
        {
            ssh.args(["demo", "echo hi"]);
            ssh
        },
        &[],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_whose_ninth_key_is_the_known_one_connects_without_a_prompt() -> Result<()> {
    let world = World::start().await?;
    let agent = Agent::start(world.folder()).await?;
    for n in 1..=8 {
        agent.add(&new_key(&world, &format!("unknown-{n}"), &["-t", "ed25519"]).await?).await?;
    }
    agent.add(&world.client.key()).await?;
    let everything = ["IdentityFile=none", "IdentitiesOnly=no", "NumberOfPasswordPrompts=0"];
    // More often than failed logins are free: none of these is one.
    for turn in 0..12 {
        let done = ssh_with(&world.client, &everything, Some(&agent)).await?.well()?;
        assert_eq!((done.text().as_str(), done.stderr.as_str()), ("hi\n", ""), "turn {turn}");
    }
    world.expect("SELECT count(*) FROM audit WHERE kind = 'auth.refused'", "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_that_is_listed_lets_in_and_sha_1_does_not() -> Result<()> {
    let world = World::start().await?;
    let kinds: [(&str, &[&str]); 4] = [
        ("rsa", &["-t", "rsa", "-b", "3072"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
    ];
    let mut listed = world.client.public_key()?;
    for (name, kind) in kinds {
        let public = new_key(&world, name, kind).await?.with_extension("pub");
        listed += &format!("\", \"{}", std::fs::read_to_string(public)?.trim());
    }
    let only = world.client.public_key()?;
    world.reconfigure(|text| text.replace(&only, &listed)).await?;
    let by = |name: &str| format!("IdentityFile={}", world.folder().join(name).display());
    // The last one given is tried after the laptop's own, so that one must go.
    for (name, _) in kinds {
        let identity = by(name);
        let done =
            ssh_with(&world.client, &[&identity, "PubkeyAcceptedAlgorithms=-ssh-ed25519"], None).await?;
        assert_eq!(done.well()?.text(), "hi\n", "{name}");
    }
    let sha_1 = ssh_with(&world.client, &[&by("rsa"), "PubkeyAcceptedAlgorithms=ssh-rsa"], None).await?;
    ensure!(sha_1.code == 255 && sha_1.stderr.contains("Permission denied"), "{sha_1:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_refusals_wait_after_many_failed_logins() -> Result<()> {
    let ssh = "failures_free = 0\nbackoff_longest_s = 60\n".to_owned();
    let world = World::with(Wish { ssh, ..Wish::default() }).await?;
    let stranger = Client::new(&world.folder().join("stranger")).await?;
    stranger.configure(world.gateway.ssh, SPACES)?;
    let failed = async || -> Result<Duration> {
        let began = tokio::time::Instant::now();
        let done = stranger.ssh(["demo", "true"]).await?;
        ensure!(done.code == 255, "{done:?}");
        Ok(began.elapsed())
    };
    for _ in 0..6 {
        failed().await?;
    }
    // The seventh waits 8 s. The office's own key, from the same address and for the same space, does not.
    let refused = async { failed().await };
    let let_in = async {
        let began = tokio::time::Instant::now();
        world.client.ssh(["demo", "echo hi"]).await?.well()?;
        anyhow::Ok(began.elapsed())
    };
    let (refused, let_in) = tokio::try_join!(refused, let_in)?;
    ensure!(refused >= Duration::from_secs(8), "a refusal came after {refused:?}");
    ensure!(let_in < refused, "let in after {let_in:?}, refused after {refused:?}");
    Ok(())
}

/// A world behind a load balancer on loopback.
async fn balanced(from: &str) -> Result<World> {
    let ssh = format!("proxy_protocol_from = [\"{from}\"]\n");
    World::with(Wish { ssh, ..Wish::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_listed_balancer_are_known_by_their_own_address() -> Result<()> {
    let world = balanced("127.0.0.0/8").await?;
    let balancer = Balancer::start(world.gateway.ssh, header([203, 0, 113, 9], 40_000)).await?;
    world.client.configure(balancer.address, &["demo"])?;
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    world.expect("SELECT host(client_address) FROM sessions", "203.0.113.9").await?;
    // Its health checks speak for itself.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    let checks = Balancer::start(world.gateway.ssh, local).await?;
    world.client.configure(checks.address, &["demo"])?;
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    world
        .expect("SELECT host(client_address) FROM sessions ORDER BY started_at DESC LIMIT 1", "127.0.0.1")
        .await?;
    // Whoever comes from there without a header is closed, and the log says so.
    world.client.configure(world.gateway.ssh, &["demo"])?;
    let bare = world.client.ssh(["demo", "true"]).await?;
    assert_eq!(bare.code, 255, "{bare:?}");
    let line = "a load balancer did not say for whom it connects";
    until(line, Duration::from_secs(10), async || {
        Ok(world.gateway.log()?.iter().any(|l| l["message"] == line).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_elsewhere_is_never_read() -> Result<()> {
    let world = balanced("192.0.2.0/24").await?;
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    let balancer = Balancer::start(world.gateway.ssh, header([203, 0, 113, 9], 40_000)).await?;
    world.client.configure(balancer.address, &["demo"])?;
    let done = world.client.ssh(["-o", "ConnectTimeout=10", "demo", "true"]).await?;
    assert_eq!(done.code, 255, "{done:?}");
    world.expect("SELECT count(*) FROM sessions WHERE host(client_address) <> '127.0.0.1'", "0").await
}
