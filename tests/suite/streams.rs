//! Links and streams: shared per person and space, kept for a while, counted against AWS's ten.

use std::time::Duration;

use anyhow::{Context, Result};
use spaceport_tests::client::{Agent, run};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};

async fn live(world: &World, space: &str) -> usize {
    world.account.streams.live(Some(&world.account.arn(space))).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_person_share_a_stream_and_the_next_finds_it_warm() -> Result<()> {
    let world = World::start().await?;
    for _ in 0..3 {
        world.client.ssh(["demo", "true"]).await?.well()?;
    }
    assert_eq!(live(&world, "demo").await, 1);
    world.expect("SELECT count(*) FROM streams", "1").await?;
    world.expect("SELECT count(*) FROM sessions", "3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn link_is_closed_when_it_has_lingered() -> Result<()> {
    let world =
        World::with(Wish { gateway: "[links]\nlinger_s = 1\n".to_owned(), ..Wish::default() }).await?;
    world.client.ssh(["demo", "true"]).await?.well()?;
    until("the stream to end", Duration::from_secs(30), async || {
        Ok((live(&world, "demo").await == 0).then_some(()))
    })
    .await?;
    world.expect("SELECT count(*) FROM streams WHERE ended_at IS NULL", "0").await?;
    world.expect("SELECT count(*) FROM links WHERE ended_at IS NULL", "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_with_an_agent_has_a_link_of_its_own() -> Result<()> {
    let world = World::start().await?;
    let agent = Agent::start(world.folder()).await?;
    world.client.ssh(["demo", "true"]).await?.well()?;
    let mut ssh = world.client.command("ssh");
    ssh.env("SSH_AUTH_SOCK", &agent.socket).args(["-A", "demo", "test -S \"$SSH_AUTH_SOCK\""]);
    run(ssh, &[]).await?.well()?;
    world.expect("SELECT count(*) FROM links WHERE purpose = 'private'", "1").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_not_forwarded_into_a_shared_space_and_the_session_goes_on() -> Result<()> {
    let world = World::start().await?;
    let agent = Agent::start(world.folder()).await?;
    let mut ssh = world.client.command("ssh");
    ssh.env("SSH_AUTH_SOCK", &agent.socket).args(["-A", "team", "test -z \"$SSH_AUTH_SOCK\" && echo alone"]);
    let done = run(ssh, &[]).await?;
    assert_eq!(done.text(), "alone\n", "{}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn host_key_is_the_same_for_every_space_and_replica() -> Result<()> {
    let world = World::start().await?;
    let second = world.second_gateway("second").await?;
    let first_key = world.host_key_fingerprint().await?;
    world.client.ssh(["demo", "true"]).await?.well()?;
    world.client.configure(second.ssh, &["gpu"])?;
    // The same HostKeyAlias: OpenSSH would refuse another key.
    world.client.ssh(["-o", "StrictHostKeyChecking=yes", "gpu", "true"]).await?.well().context(first_key)?;
    Ok(())
}
