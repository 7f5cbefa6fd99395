//! Each way a session can end leaves a row that says so, and the person reads why.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::stream::{CloseHow, Fault};
use tokio::process::Child;

use crate::terminal::{Screen, shell};

/// How the last session ended.
const CODE: &str = "SELECT end_code FROM sessions ORDER BY started_at DESC LIMIT 1";

/// A shell on a screen, and proof that it works.
async fn working_shell(world: &World, host: &str) -> Result<Screen> {
    let screen = Screen::open(world, &shell(world, host)).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    Ok(screen)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_leaves_leaves_a_complete_row() -> Result<()> {
    let world = World::start().await?;
    for (host, mode) in [("demo", "session"), ("demo.jump", "jump")] {
        let both_ways = [host, "head -c 100000 /dev/zero; cat >/dev/null"];
        world.client.ssh_with(both_ways, &[7; 50_000]).await?.well()?;
        world.expect(CODE, "client_left").await?;
        let last = "FROM sessions ORDER BY started_at DESC LIMIT 1";
        world.expect(&format!("SELECT mode {last}"), mode).await?;
        world.expect(&format!("SELECT bytes_in >= 50000 AND bytes_out >= 100000 {last}"), "true").await?;
        world.expect(&format!("SELECT ended_at >= started_at {last}"), "true").await?;
    }
    let exec = "SELECT count(*) FROM channels WHERE kind = 'exec' AND exit_status = 0 AND detail LIKE 'head%' \
                AND bytes_in = 50000 AND bytes_out = 100000 AND ended_at IS NOT NULL";
    world.expect(exec, "1").await?;
    world
        .expect(
            "SELECT count(*) FROM streams WHERE aws_session_id <> '' AND role_session LIKE '%alice%'",
            "2",
        )
        .await?;
    world.expect("SELECT count(*) FROM audit WHERE kind = 'session.ended'", "2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_ends_a_session_from_any_machine_and_the_person_reads_who_and_why() -> Result<()> {
    let world = World::start().await?;
    let screen = working_shell(&world, "demo").await?;
    let list = world.spaceport(&["session", "list", "--json"]).await?;
    let row: serde_json::Value = serde_json::from_str(list.text().trim()).context(list.stderr)?;
    assert_eq!((row["user"].as_str(), row["space"].as_str()), (Some("alice"), Some("demo")));
    let id = row["id"].as_str().context("an id")?;
    let short = &id[id.len() - 4..];
    let end = async |reason: &str| {
        world.spaceport(&["session", "end", short, "--by", "chen", "--reason", reason]).await
    };
    let long = end(&"x".repeat(301)).await?;
    ensure!(long.code == 1 && long.stderr.contains("at most 300 characters"), "{}", long.stderr);
    end("old key,\u{1b}sign\nin\u{7}again").await?.well()?;
    world.expect("SELECT end_request_reason FROM sessions", "old key, sign in again").await?;
    screen.shows("spaceport: chen ended this session").await?;
    screen.shows("\"old key, sign in again\"").await?;
    screen.shows("ended 255").await?;
    world.expect(CODE, "ended_by_admin").await?;
    let done = world.spaceport(&["session", "end", short, "--by", "chen"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("no live session"), "{}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_stream_ends_the_session_with_its_reason() -> Result<()> {
    let world = World::start().await?;
    let screen = working_shell(&world, "demo").await?;
    let words = "Your session timed out due to inactivity and has been terminated.";
    world.account.fault("demo", Fault::ChannelClosed { output: words.to_owned(), overtake: false });
    screen.shows("timed out due to inactivity").await?;
    screen.shows("ended 255").await?;
    world.expect(CODE, "stream_lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_space_ends_its_sessions() -> Result<()> {
    let world = World::start().await?;
    let screen = working_shell(&world, "demo").await?;
    world.account.simulator.stop_app(&world.account.arn("demo"))?;
    screen.shows("ended 255").await?;
    screen.shows("spaceport:").await?;
    world.expect(CODE, "space_stopped").await
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_policy_ends_what_it_no_longer_allows_and_says_why() -> Result<()> {
    let world = World::start().await?;
    let screen = working_shell(&world, "demo").await?;
    let denial = "\n[[access.denials]]\nuser = \"alice\"\nreason = \"contract ended\"\n";
    world.reconfigure(|text| text + denial).await?;
    screen.shows("spaceport: your access to demo ended").await?;
    screen.shows("contract ended").await?;
    screen.shows("ended 255").await?;
    world.expect(CODE, "no_longer_allowed").await?;
    let again = world.client.ssh(["demo", "true"]).await?;
    ensure!(again.code != 0 && again.stderr.contains("you may not open demo"), "{}", again.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_tells_terminals_and_ends_at_the_deadline() -> Result<()> {
    let mut world =
        World::with(Wish { gateway: "[drain]\ndeadline_s = 3\n".to_owned(), ..Wish::default() }).await?;
    let screen = working_shell(&world, "demo").await?;
    world.gateway.signal("TERM").await?;
    screen.shows("spaceport: this gateway restarts").await?;
    screen.shows("closed for an update").await?;
    let status = world.gateway.wait(Duration::from_secs(60)).await?;
    ensure!(status.success(), "{status}");
    world.expect(CODE, "drained").await
}

#[tokio::test(flavor = "multi_thread")]
async fn crashed_gateways_rows_are_closed_by_its_neighbour_and_a_living_ones_are_not() -> Result<()> {
    let mut world =
        World::with(Wish { gateway: "[database]\nlease_s = 3\n".to_owned(), ..Wish::default() }).await?;
    let second = world.second_gateway("second").await?;
    let _shell = working_shell(&world, "demo").await?;
    let elsewhere = spaceport_tests::client::Client::new(&world.folder().join("laptop2")).await?;
    std::fs::copy(world.client.key(), elsewhere.key())?;
    std::fs::copy(world.client.key().with_extension("pub"), elsewhere.key().with_extension("pub"))?;
    elsewhere.configure(second.ssh, &["gpu"])?;
    let mut living = hold_open(&elsewhere, "gpu").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "2").await?;
    world.gateway.crash().await?;
    let crashed = "SELECT end_code FROM sessions s JOIN spaces p ON p.id = s.space_id WHERE p.name = 'demo'";
    world.expect(crashed, "gateway_crashed").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await?;
    world.expect("SELECT count(*) FROM streams WHERE ended_at IS NULL", "1").await?;
    living.kill().await?;
    world.expect("SELECT count(*) FROM sessions WHERE end_code = 'client_left'", "1").await
}

/// A command that runs until it is killed, once it has begun.
async fn hold_open(client: &spaceport_tests::client::Client, host: &str) -> Result<Child> {
    let mut ssh = client.command("ssh");
    ssh.args([host, "echo begun; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = ssh.spawn()?;
    let out = child.stdout.as_mut().context("its output is piped")?;
    let mut begun = [0; 6];
    let read = tokio::io::AsyncReadExt::read_exact(out, &mut begun);
    tokio::time::timeout(Duration::from_secs(30), read).await??;
    assert_eq!(&begun, b"begun\n");
    Ok(child)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_shell_survives_the_services_close_when_resume_is_allowed() -> Result<()> {
    let world = World::start().await?;
    let screen = working_shell(&world, "demo").await?;
    world.account.fault("demo", Fault::CloseClients { how: CloseHow::Bye });
    let resumed = || async {
        let trail = world.account.simulator.cloudtrail();
        Ok(trail.iter().any(|e| e.event_name == "ResumeSession" && e.error_code.is_none()).then_some(()))
    };
    until("a ResumeSession", Duration::from_secs(20), resumed).await?;
    screen.line("echo still here $((20+3))").await?;
    screen.shows("still here 23").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn live_shell_ends_within_two_seconds_with_the_reason_when_resume_is_denied() -> Result<()> {
    let world = World::start().await?;
    world.account.simulator.switch(|switches| switches.resume = false);
    let screen = working_shell(&world, "demo").await?;
    let began = tokio::time::Instant::now();
    world.account.fault("demo", Fault::CloseClients { how: CloseHow::Bye });
    screen.shows("ended 255").await?;
    ensure!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    screen.shows("resume").await?;
    world.expect(CODE, "stream_lost").await
}
