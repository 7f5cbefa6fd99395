//! Several gateways on one database, and Postgres going away.

use std::time::Duration;

use anyhow::{Result, ensure};
use spaceport_tests::until::until;
use spaceport_tests::world::World;

use crate::terminal::{Screen, shell};

#[tokio::test(flavor = "multi_thread")]
async fn second_gateway_on_the_same_database_closes_nothing() -> Result<()> {
    let world = World::start().await?;
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    let second = world.second_gateway("second").await?;
    let third = world.second_gateway("third").await?;
    second.stop().await?;
    drop(third);
    screen.line("echo still $((40+3))").await?;
    screen.shows("still 43").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await?;
    world.expect("SELECT count(*) FROM streams WHERE ended_at IS NULL", "1").await
}

/// Whether the gateway says that it takes new sessions.
async fn ready(world: &World) -> Result<bool> {
    let answer = reqwest::get(format!("http://{}/readyz", world.gateway.ops)).await?;
    Ok(answer.status().is_success())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_live_sessions_go_on_and_no_row_is_lost() -> Result<()> {
    let mut world = World::start().await?;
    ensure!(ready(&world).await?, "it is ready at first");
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    let mut master = world.client.command("ssh");
    let control = world.folder().join("control");
    master.args(["-M", "-N", "-S"]).arg(&control).arg("demo");
    let mut master = master.stdin(std::process::Stdio::null()).kill_on_drop(true).spawn()?;
    until("the control socket", Duration::from_secs(20), async || Ok(control.exists().then_some(()))).await?;
    world.expect("SELECT count(*) FROM sessions", "2").await?;

    world.network.cut();
    until("the gateway to notice", Duration::from_secs(60), async || {
        Ok((!ready(&world).await?).then_some(()))
    })
    .await?;
    let refused = world.client.ssh(["gpu", "true"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("spaceport:"), "{}", refused.stderr);
    screen.line("echo still $((40+3))").await?;
    screen.shows("still 43").await?;
    let path = control.display().to_string();
    let channel = world.client.ssh(["-S", &path, "demo", "echo during the outage"]).await?;
    assert_eq!(channel.text(), "during the outage\n", "{}", channel.stderr);
    master.kill().await?;
    // What is lost with the process is only what it had not yet written down.
    until("the client's leaving to be in the spool", Duration::from_secs(20), async || {
        Ok(world.gateway.log()?.iter().any(|line| line["message"] == "session ended").then_some(()))
    })
    .await?;

    world.gateway.crash().await?;
    world.network.mend();
    world.restart().await?;
    let during = "SELECT count(*) FROM channels WHERE detail = 'echo during the outage' AND exit_status = 0";
    world.expect(during, "1").await?;
    world.expect("SELECT count(*) FROM sessions WHERE end_code = 'client_left'", "1").await
}

/// A newer release may build an index while this one runs: Postgres then takes no writes to the table.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_migration_locks_sessions_those_that_are_live_go_on_and_no_row_is_lost() -> Result<()> {
    let world = World::start().await?;
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    world.expect("SELECT count(*) FROM sessions", "1").await?;
    let leaver = Screen::open(&world, &shell(&world, "demo")).await?;
    leaver.line("echo here $((40+4))").await?;
    leaver.shows("here 44").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "2").await?;

    let mut migration = world.database.begin().await?;
    sqlx::query("LOCK TABLE sessions IN SHARE MODE").execute(&mut *migration).await?;
    let refused = world.client.ssh(["gpu", "true"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("no new sessions"), "{}", refused.stderr);
    screen.line("echo still $((40+3))").await?;
    screen.shows("still 43").await?;
    leaver.line("exit").await?;
    let spooled = "Postgres did not take a change: it is spooled";
    until("the end of a session to be spooled", Duration::from_secs(20), async || {
        Ok(world.gateway.log()?.iter().any(|line| line["message"] == spooled).then_some(()))
    })
    .await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "2").await?;
    migration.rollback().await?;

    world.expect("SELECT count(*) FROM sessions WHERE end_code = 'client_left'", "1").await?;
    let again = world.client.ssh(["gpu", "echo open again"]).await?;
    assert_eq!(again.text(), "open again\n", "{}", again.stderr);
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await
}
