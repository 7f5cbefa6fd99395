//! Idleness from end to end: what keeps a space up, what does not, and what takes a warning back.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use spaceport_tests::hook::{Answer, HookSink};
use spaceport_tests::until::until;
use spaceport_tests::world::{SPACES, Wish, World};
use tokio::process::{Child, Command};

use crate::terminal::{Screen, shell};

/// How long a space may take to be judged and stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything is looked at each second; what the gateway sees suffices.
fn wish(idle: &str) -> Wish {
    let gateway = format!(
        "[watch]\nevery_s = 1\n\n[idle]\nmode = \"stop\"\ninside = \"where-set-up\"\nlook_every_s = 1\n\
         window_s = 1\n{idle}\n"
    );
    Wish { gateway, ..Wish::default() }
}

/// A client that beats as an open editor does: some hundred bytes a few times a second through a command on standard
/// input, and keepalives.
fn editor(world: &World) -> Result<Child> {
    let script = format!(
        "while echo {}; do sleep 0.2; done | ssh -F {} -L {}:127.0.0.1:8888 -o ServerAliveInterval=1 demo cat",
        "x".repeat(300),
        world.client.config().display(),
        world.folder().join("forward.sock").display()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

fn deletes(world: &World) -> usize {
    world.account.simulator.cloudtrail().iter().filter(|event| event.event_name == "DeleteApp").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_editor_keeps_no_space_up() -> Result<()> {
    let world = World::with(wish("idle_s = 8\ngrace_s = 1")).await?;
    let mut editor = editor(&world)?;
    world.expect("SELECT count(*) FROM channels WHERE ended_at IS NULL", "1").await?;
    let stopped =
        "SELECT count(*) FROM stops s JOIN runs r ON r.id = s.run_id JOIN spaces p ON p.id = r.space_id
                   WHERE p.name = 'demo' AND s.outcome = 'stopped' AND s.trigger ? 'idle'";
    until("demo to be stopped", PATIENCE, async || {
        Ok((world.value(stopped).await?.as_deref() == Some("1")).then_some(()))
    })
    .await?;
    // It beat to the end, and left no sign of anybody.
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;
    world.expect("SELECT count(*) FROM signs", "0").await?;
    ensure!(
        world.value("SELECT sum(bytes_in) > 4000 FROM sessions").await?.as_deref() == Some("true"),
        "it beat"
    );
    editor.kill().await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_after_the_warning_takes_it_back() -> Result<()> {
    let sink = HookSink::start(vec![Answer::Status(204, "", "")]).await?;
    let hook = format!("\n[[notify.webhooks]]\nurl = \"{}\"\nform = \"slack\"\n", sink.url("/hook"));
    let world = World::with(wish(&format!("idle_s = 6\ngrace_s = 40\n{hook}"))).await?;
    let screen = Screen::open(&world, &format!("ssh -F {} demo", world.client.config().display())).await?;
    world.expect("SELECT count(*) FROM channels WHERE pty AND ended_at IS NULL", "1").await?;
    let of_demo = "FROM stops s JOIN runs r ON r.id = s.run_id JOIN spaces p ON p.id = r.space_id
                   WHERE p.name = 'demo'";
    world.expect(&format!("SELECT count(*) {of_demo} AND s.ended_at IS NULL"), "1").await?;
    screen.line("true").await?;
    world.expect(&format!("SELECT min(s.outcome) {of_demo}"), "stays").await?;
    let why = world.value(&format!("SELECT min(s.detail::text) {of_demo}")).await?.unwrap_or_default();
    ensure!(["keys", "screen", "pty"].iter().any(|sign| why.contains(sign)), "{why}");
    ensure!(deletes(&world) == 0, "nothing was stopped");
    // Others are told too, with a command that works: the port of this gateway is not the usual one.
    let port = world.gateway.ssh.port();
    for text in [format!("ssh -p {port} spaceport@localhost hold demo 3h"), "demo stays up".to_owned()] {
        until(&text, PATIENCE, async || {
            Ok(sink.requests().iter().any(|request| request.body.contains(&text)).then_some(()))
        })
        .await?;
    }
    screen.line("exit").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_down_what_it_would_have_stopped_and_stops_nothing() -> Result<()> {
    let mut wish = wish("idle_s = 4\ngrace_s = 1");
    wish.gateway = wish.gateway.replace("\"stop\"", "\"dry-run\"");
    let world = World::with(wish).await?;
    world.expect("SELECT count(*) > 0 FROM stops WHERE outcome = 'would_have' AND dry_run", "true").await?;
    let told = "SELECT count(*) > 0 FROM audit WHERE kind = 'space.would_have_stopped'";
    until("the audit row", PATIENCE, async || {
        Ok((world.value(told).await?.as_deref() == Some("true")).then_some(()))
    })
    .await?;
    ensure!(deletes(&world) == 0, "nothing was stopped");
    ensure!(world.client.ssh(["demo", "echo up"]).await?.well()?.text() == "up\n");
    world.end().await
}

/// That the only live sessions are those of replicas that do not judge.
const NOT_HERE: &str = "SELECT bool_and(s.replica_id <> j.replica_id) FROM sessions s, job_leases j
                        WHERE j.name = 'idle' AND j.until > now() AND s.ended_at IS NULL";

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_read_in_terminals_of_every_replica_and_typing_takes_it_back() -> Result<()> {
    let world = World::with(wish("idle_s = 6\ngrace_s = 60")).await?;
    let second = world.second_gateway("second").await?;
    world.client.configure(second.ssh, SPACES)?;
    // One whose output is a program's, in the same space.
    let mut piped = world.client.command("ssh");
    let piped =
        piped.args(["demo", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut piped = piped.spawn()?;
    let there = Screen::open(&world, &shell(&world, "demo")).await?;
    world.expect("SELECT count(*) FROM channels WHERE ended_at IS NULL", "2").await?;
    world.expect(NOT_HERE, "true").await?;
    world.client.configure(world.gateway.ssh, SPACES)?;
    let here = Screen::open(&world, &shell(&world, "demo")).await?;
    world.expect("SELECT count(*) FROM channels WHERE ended_at IS NULL", "3").await?;
    let port = world.gateway.ssh.port();
    for screen in [&here, &there] {
        let shown = screen.shows_within("spaceport: demo stops at ", PATIENCE).await?;
        ensure!(shown.contains(", in 1 min.\n  Why:  idle since "), "{shown}");
    }
    // Each names the port that it listens on.
    here.shows(&format!("ssh -p {port} spaceport@localhost hold demo 1h")).await?;
    there.shows(&format!("ssh -p {} spaceport@localhost hold demo 1h", second.ssh.port())).await?;
    there.line("echo back $((40+2))").await?;
    // Their key, or what it brought to the screen: whatever was newest.
    for screen in [&here, &there] {
        screen.shows("spaceport: demo stays up: ").await?;
    }
    there.shows("back 42").await?;
    ensure!(deletes(&world) == 0, "nothing was stopped");
    drop(piped.stdin.take());
    let printed = piped.wait_with_output().await?;
    let quiet = printed.stdout.is_empty() && printed.stderr.is_empty() && printed.status.success();
    ensure!(quiet, "a program's output is its own: {printed:?}");
    for screen in [&here, &there] {
        screen.line("exit").await?;
    }
    second.stop().await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_by_hand_names_who_stops_in_terminals_of_another_replica() -> Result<()> {
    let world = World::with(wish("idle_s = 3600\ngrace_s = 60")).await?;
    let second = world.second_gateway("second").await?;
    world.client.configure(second.ssh, SPACES)?;
    let screen = Screen::open(&world, &shell(&world, "team")).await?;
    world.expect("SELECT count(*) FROM channels WHERE pty AND ended_at IS NULL", "1").await?;
    world.expect(NOT_HERE, "true").await?;
    let bo = world.bo().await?;
    bo.ssh(["-l", "spaceport", "gateway", "stop", "team", "--force"]).await?.well()?;
    // A space of AWS may last long enough to say so before; this one takes its terminals along at once.
    screen.shows("spaceport: team stopped at ").await?;
    screen.shows("bo stopped it. Start again: ssh -p ").await?;
    second.stop().await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_goes_with_its_space_and_says_since_when_that_was_idle() -> Result<()> {
    let world = World::with(wish("idle_s = 6\ngrace_s = 4")).await?;
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    let shown = screen.shows_within("Start again: ssh -p ", PATIENCE).await?;
    let last = shown.split("spaceport: demo stopped at ").nth(1).unwrap_or_default();
    ensure!(shown.contains("demo stops at ") && last.contains("  Idle since "), "{shown}");
    world.end().await
}
