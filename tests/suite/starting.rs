//! A stopped space starts on the way in, and what cannot start says so at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use spaceport_tests::world::{Wish, World};

use crate::terminal::{Screen, shell};

/// The gateway looks at a starting app every second here.
fn wish() -> Wish {
    Wish { gateway: "[start]\npoll_s = 1\n".to_owned(), ..Wish::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_space_starts_with_progress_and_lands_in_a_shell() -> Result<()> {
    let world = World::with(wish()).await?;
    let screen = Screen::open(&world, &shell(&world, "stopped")).await?;
    screen.shows("stopped is stopped").await?;
    screen.shows("is up after").await?;
    screen.line("echo landed in $(id -un | wc -l)").await?;
    screen.shows("landed in 1").await?;
    world
        .expect(
            "SELECT count(*) FROM runs r JOIN spaces s ON s.id = r.space_id WHERE s.name = 'stopped'",
            "1",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn command_without_a_terminal_gets_a_line_per_step_on_stderr_only() -> Result<()> {
    let world = World::with(wish()).await?;
    let done = world.client.ssh(["stopped", "echo hi"]).await?;
    assert_eq!((done.code, done.text().as_str()), (0, "hi\n"), "{}", done.stderr);
    for line in ["spaceport: stopped is stopped", "asked AWS for the app", "connected"] {
        assert!(done.stderr.contains(line), "{line:?} in\n{}", done.stderr);
    }
    assert!(!done.stderr.contains('\r') && !done.stderr.contains('\u{1b}'), "{:?}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_waiting_share_one_start() -> Result<()> {
    let world = World::with(wish()).await?;
    let (one, two) =
        tokio::join!(world.client.ssh(["stopped", "echo one"]), world.client.ssh(["stopped", "echo two"]));
    assert_eq!((one?.text().as_str(), two?.text().as_str()), ("one\n", "two\n"));
    let created = world.account.simulator.cloudtrail().iter().filter(|e| e.event_name == "CreateApp").count();
    assert_eq!(created, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_lag_is_waited_for() -> Result<()> {
    let world = World::with(wish()).await?;
    world.account.simulator.fail_next("StartSession", "InternalFailure", 2);
    let done = world.client.ssh(["stopped", "echo hi"]).await?;
    assert_eq!((done.code, done.text().as_str()), (0, "hi\n"), "{}", done.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_never_registers_is_told_in_words() -> Result<()> {
    let more = "[start]\npoll_s = 1\nregister_timeout_s = 5\n";
    let world = World::with(Wish { gateway: more.to_owned(), ..Wish::default() }).await?;
    world.account.simulator.fail_next("StartSession", "InternalFailure", 1_000);
    let done = world.client.ssh(["stopped", "echo hi"]).await?;
    ensure!(done.code != 0 && done.stdout.is_empty(), "{}", done.stderr);
    for text in ["spaceport: stopped could not be", "Why:", "Next:"] {
        ensure!(done.stderr.contains(text), "{text:?} in\n{}", done.stderr);
    }
    world.expect("SELECT end_code FROM sessions", "not_opened").await
}

/// A start that cannot work: its host, what the message says, and that AWS was not asked for an app.
async fn refused(world: &World, host: &str, says: &[&str], asks_aws: bool) -> Result<()> {
    world.account.simulator.clear_cloudtrail();
    let done = world.client.ssh([host, "true"]).await?;
    ensure!(done.code != 0, "{host} is refused");
    for text in says {
        ensure!(done.stderr.contains(text), "{host}: {text:?} in\n{}", done.stderr);
    }
    ensure!(done.stdout.is_empty(), "stdout stays clean");
    ensure!(done.stderr.lines().all(|line| line.chars().count() <= 80), "80 columns:\n{}", done.stderr);
    let asked = world.account.simulator.cloudtrail().iter().any(|e| e.event_name == "CreateApp");
    ensure!(asked == asks_aws, "{host}: CreateApp was called: {asked}");
    let ended = format!(
        "SELECT end_code FROM sessions s JOIN spaces p ON p.id = s.space_id WHERE p.name = '{host}' \
         ORDER BY s.started_at DESC LIMIT 1"
    );
    world.expect(&ended, "not_opened").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_so_at_once_with_the_next_step() -> Result<()> {
    let world = World::with(wish()).await?;
    let began = tokio::time::Instant::now();
    refused(
        &world,
        "small",
        &["spaceport: small cannot be reached", "ml.t3.medium", "8 GiB", "ml.t3.large"],
        false,
    )
    .await?;
    refused(&world, "no-remote", &["spaceport: no-remote has remote access switched off"], false).await?;
    refused(&world, "over-quota", &["spaceport: over-quota did not start", "Why:", "Next:"], true).await?;
    ensure!(began.elapsed() < Duration::from_secs(20), "at once, not after {:?}", began.elapsed());
    refused(&world, "no-capacity", &["spaceport: no-capacity did not start", "capacity", "Next:"], true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_access_is_switched_on_when_the_person_says_so() -> Result<()> {
    let world = World::with(wish()).await?;
    let screen = Screen::open(&world, &shell(&world, "no-remote")).await?;
    screen.shows("Switch it on and restart? [y/N]").await?;
    screen.key("y").await?;
    screen.key("Enter").await?;
    screen.shows("is up after").await?;
    screen.line("echo switched $((1+1))").await?;
    screen.shows("switched 2").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_and_jump_start_nothing() -> Result<()> {
    let world = World::with(wish()).await?;
    for arguments in [["-W", "127.0.0.1:1", "stopped"], ["-o", "BatchMode=yes", "stopped.jump"]] {
        let done = world.client.ssh(["-o", "LogLevel=INFO"].into_iter().chain(arguments)).await?;
        ensure!(done.code == 255, "{arguments:?}: {}", done.stderr);
    }
    let created = world.account.simulator.cloudtrail().iter().any(|e| e.event_name == "CreateApp");
    ensure!(!created, "nothing was started");
    Ok(())
}
