//! The gateway's command line about spaces: what they are doing and why, held, stopped, started.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::client::{Client, Done};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::Event;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long a space may take to be listed, judged or stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything is looked at each second or two. `idle`: when a space counts as idle, and what happens then.
fn wish(idle: &str) -> Wish {
    let gateway = format!(
        "[start]\npoll_s = 1\n\n[watch]\nevery_s = 1\n\n[idle]\nmode = \"stop\"\ninside = \"where-set-up\"\n\
         look_every_s = 2\n{idle}\n"
    );
    Wish { gateway, ..Wish::default() }
}

/// Idle after some seconds, and never stopped while a test lasts.
const SOON_IDLE: &str = "idle_s = 6\ngrace_s = 3600\n";

pub(crate) async fn ask(client: &Client, words: &[&str]) -> Result<Done> {
    let done = client.ssh(["-l", "spaceport", "gateway"].iter().chain(words)).await?;
    for line in done.text().lines().chain(done.stderr.lines()) {
        let plain = line.is_ascii() && !line.contains('\u{1b}');
        let fits = line.len() <= 80 || line.starts_with('{');
        ensure!(plain && fits, "80 columns of plain ASCII: {line:?}");
    }
    Ok(done)
}

/// Asks for the status of a space until it exits like this.
async fn status(world: &World, space: &str, code: i32) -> Result<String> {
    let last = std::cell::RefCell::new(String::new());
    let what = format!("{space} to exit {code}");
    let waited = until(&what, PATIENCE, async || {
        let done = ask(&world.client, &["status", space]).await?;
        last.replace(format!("{} {}{}", done.code, done.text(), done.stderr));
        Ok((done.code == code).then(|| done.text()))
    });
    waited.await.with_context(|| format!("it said {}", last.borrow()))
}

async fn json(world: &World, space: &str) -> Result<Value> {
    let done = ask(&world.client, &["status", space, "--json"]).await?;
    serde_json::from_str(&done.text()).with_context(|| done.stderr)
}

/// That a text has lines with these words, after the blanks are taken together.
fn shows(text: &str, lines: &[&str]) -> Result<()> {
    let plain: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in lines {
        ensure!(plain.iter().any(|shown| shown.contains(line)), "{line:?} in\n{text}");
    }
    Ok(())
}

fn calls(world: &World, name: &str) -> Vec<Event> {
    let mut events = world.account.simulator.cloudtrail();
    events.retain(|event| event.event_name == name);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_a_space_is_doing_and_exits_by_it() -> Result<()> {
    let strict = "\n[[idle.policies]]\ndomain = \"main\"\nspace = \"gpu\"\ninside = \"required\"\n";
    let world = World::with(wish(&format!("{SOON_IDLE}{strict}\n[cost]\nrefresh_prices = false\n"))).await?;
    let text = status(&world, "demo", 3).await?;
    let stays = &["demo alice, JupyterLab, ml.m5.xlarge,", "state running since", "verdict idle since"];
    shows(&text, stays)?;
    shows(&text, &["UTC, unless someone uses it", "month ", "policy the default", "evidence "])?;
    let text = status(&world, "gpu", 4).await?;
    shows(&text, &["verdict unknown: ", "stops not while that is unknown", "policy space gpu.main"])?;
    let text = status(&world, "stopped", 5).await?;
    shows(&text, &["stopped alice, JupyterLab, ml.m5.xlarge,", "state stopped"])?;
    ensure!(!text.contains("verdict"), "{text}");
    let object = json(&world, "demo").await?;
    for (name, value) in [("space", "demo"), ("owner", "alice"), ("state", "running"), ("verdict", "idle")] {
        ensure!(object[name] == value, "{name} of {object:#}");
    }
    for name in ["since", "idle_since", "looked_at", "stops_at"] {
        let at = object[name].as_str().with_context(|| format!("{name} of {object:#}"))?;
        OffsetDateTime::parse(at, &Rfc3339)?;
    }
    // No price of this region is known: that is said, and never nothing.
    ensure!(object["usd_per_hour"].is_null() && object["month"]["at_least"] == true, "{object:#}");
    shows(&status(&world, "demo", 3).await?, &["price unknown", "month unknown, of it idle unknown"])?;
    let done = ask(&world.client, &["status", "bo-private"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("you may not open bo-private"), "{}", done.stderr);
    ensure!(ask(&world.client, &["status"]).await?.code == 2);
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_a_space_in_use_until_it_is_let_go() -> Result<()> {
    let world = World::with(wish(SOON_IDLE)).await?;
    status(&world, "demo", 3).await?;
    let done = ask(&world.client, &["hold", "demo", "2h", "\"evaluation", "runs\""]).await?.well()?;
    shows(&done.text(), &["demo is held until", "\"evaluation runs\". About $0."])?;
    let text = status(&world, "demo", 0).await?;
    shows(
        &text,
        &["verdict active: held by alice", "by alice: \"evaluation runs\"", "not while it is in use"],
    )?;
    ensure!(json(&world, "demo").await?["hold"]["reason"] == "evaluation runs");
    let done = ask(&world.client, &["hold", "demo", "off"]).await?.well()?;
    ensure!(done.text() == "demo is held no more.\n", "{}", done.text());
    status(&world, "demo", 3).await?;
    let done = ask(&world.client, &["hold", "demo", "3d"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("a hold lasts for at most 1d"), "{}", done.stderr);
    ensure!(ask(&world.client, &["hold", "demo", "soon"]).await?.code == 2);
    let done = ask(&world.client, &["hold", "bo-private", "1h"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("you may not"), "{}", done.stderr);
    let allowed = "SELECT count(*) FROM audit WHERE kind = 'access.allowed' AND detail ->> 'action' = 'hold'";
    world.expect(allowed, "3").await?;
    // Looking is written down only where it is refused.
    let done = ask(&world.client, &["status", "bo-private"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("you may not"), "{}", done.stderr);
    world.expect("SELECT count(*) FROM audit WHERE kind = 'access.denied'", "2").await?;
    let seen = "SELECT count(*) FROM audit WHERE kind = 'access.allowed' AND detail ->> 'action' = 'see'";
    ensure!(world.value(seen).await?.as_deref() == Some("0"), "whoever looks again and again fills no log");
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_by_hand_says_who_and_spares_others_unless_it_is_meant() -> Result<()> {
    let world = World::with(wish(SOON_IDLE)).await?;
    status(&world, "demo", 3).await?;
    let done = ask(&world.client, &["stop", "demo"]).await?.well()?;
    shows(&done.text(), &["demo is stopping. "])?;
    until("the stop to be on record", PATIENCE, async || {
        let object = json(&world, "demo").await?;
        Ok((object["stopped"]["person"] == "alice").then_some(()))
    })
    .await?;
    let text = status(&world, "demo", 5).await?;
    shows(&text, &["state stopped since", "by alice", "evidence "])?;
    let done = ask(&world.client, &["stop", "demo"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("there is nothing to stop"), "{}", done.stderr);

    let bo = world.bo().await?;
    let mut working = bo.command("ssh").args(["team", "sleep 600"]).spawn()?;
    world.expect("SELECT count(*) FROM channels WHERE ended_at IS NULL", "1").await?;
    shows(&ask(&world.client, &["status", "team"]).await?.text(), &["sessions ", " bo OpenSSH"])?;
    let done = ask(&world.client, &["stop", "team"]).await?;
    ensure!(done.code == 1, "{}", done.stderr);
    for text in ["team is in use by bo", "stop team --force"] {
        ensure!(done.stderr.contains(text), "{text:?} in\n{}", done.stderr);
    }
    ensure!(calls(&world, "DeleteApp").len() == 1, "only demo");
    ask(&world.client, &["stop", "team", "--force"]).await?.well()?;
    ensure!(!working.wait().await?.success(), "bo's command ended with the space");
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_shows_its_way_and_takes_another_instance_type() -> Result<()> {
    let world = World::with(wish("idle_s = 3600\n")).await?;
    let done = ask(&world.client, &["start", "stopped", "ml.m5.2xlarge"]).await?.well()?;
    shows(&done.text(), &["stopped is up after"])?;
    shows(&done.stderr, &["spaceport: stopped is stopped. Starting it.", "asked AWS for the app"])?;
    ensure!(!done.stderr.contains('\r'), "{:?}", done.stderr);
    let asked = calls(&world, "CreateApp");
    let on: Vec<String> = asked.iter().map(|call| format!("{:?}", call.request_parameters)).collect();
    ensure!(on.len() == 1 && on.iter().all(|on| on.contains("ml.m5.2xlarge")), "{on:?}");
    for again in [&["start", "stopped"][..], &["start", "stopped", "ml.m5.2xlarge"]] {
        let done = ask(&world.client, again).await?.well()?;
        ensure!(done.text() == "stopped is up already.\n", "{}", done.text());
    }
    let done = ask(&world.client, &["start", "demo", "ml.m5.2xlarge"]).await?.well()?;
    shows(&done.text(), &["demo is up after"])?;
    let done = ask(&world.client, &["start", "no-remote"]).await?;
    ensure!(done.code == 1 && done.stderr.contains("remote access switched off"), "{}", done.stderr);
    ensure!(ask(&world.client, &["start", "demo", "large"]).await?.code == 2);
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reconnects_by_itself_does_not_start_a_space_that_was_stopped_for_idleness() -> Result<()> {
    let world = World::with(wish("idle_s = 4\ngrace_s = 0\n")).await?;
    until("demo to be stopped for idleness", PATIENCE, async || {
        Ok((json(&world, "demo").await?["stopped"]["by"] == "idle").then_some(()))
    })
    .await?;
    shows(&status(&world, "demo", 5).await?, &["for idleness, by the policy of the default"])?;
    for arguments in [&["demo", "true"][..], &["-s", "demo", "sftp"], &["-T", "demo"]] {
        let done = world.client.ssh(arguments).await?;
        ensure!(done.code == 1, "{arguments:?}: {} {}", done.code, done.stderr);
        for text in ["demo was stopped for idleness at", "stays stopped", "start demo"] {
            ensure!(done.stderr.contains(text), "{text:?} in\n{}", done.stderr);
        }
        ensure!(done.stderr.lines().all(|line| line.len() <= 80), "{}", done.stderr);
    }
    ensure!(calls(&world, "CreateApp").is_empty(), "nothing was started");
    // One that nobody stopped for idleness starts, as before.
    ensure!(world.client.ssh(["stopped", "echo hi"]).await?.well()?.text() == "hi\n");
    shows(&ask(&world.client, &["start", "demo"]).await?.well()?.text(), &["demo is up after"])?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_whoever_has_the_lock_of_the_space() -> Result<()> {
    let world = World::with(wish("idle_s = 3600\n")).await?;
    let lock = "INSERT INTO job_leases (name, replica_id, until)
                SELECT 'space/' || id, gen_random_uuid(), now() + interval '5 s' FROM spaces WHERE name = 'stopped'
                RETURNING until";
    let (until,): (OffsetDateTime,) = sqlx::query_as(lock).fetch_one(&world.database).await?;
    ask(&world.client, &["start", "stopped"]).await?.well()?;
    let asked = calls(&world, "CreateApp");
    let [asked] = asked.as_slice() else { anyhow::bail!("one app: {}", asked.len()) };
    let at = OffsetDateTime::parse(&asked.event_time, &Rfc3339)?;
    ensure!(at >= until - Duration::from_secs(1), "asked at {at}, before {until}");
    world.expect("SELECT count(*) FROM job_leases WHERE name LIKE 'space/%'", "0").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judgement_that_is_written_meanwhile_gets_in_nobodys_way_who_stops() -> Result<()> {
    let world = World::with(wish("idle_s = 6000\n")).await?;
    let judged =
        "SELECT count(*) FROM judgements j JOIN runs r ON r.id = j.run_id JOIN spaces p ON p.id = r.space_id
                  WHERE p.name = 'demo'";
    world.expect(judged, "1").await?;
    // Another writer has the row until the gateway has read what was there and waits to write: for the person, and for
    // the look that comes each two seconds.
    let mut other = world.database.begin().await?;
    sqlx::query("UPDATE judgements SET version = version + 1").execute(&mut *other).await?;
    let stopping = async { ask(&world.client, &["stop", "demo"]).await?.well() };
    let writing = async {
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO judgements%'";
        world.expect(waits, "2").await?;
        other.commit().await?;
        Ok(())
    };
    let (stopped, ()) = tokio::try_join!(stopping, writing)?;
    ensure!(stopped.text().contains("demo is stopping."), "{stopped:?}");
    Ok(())
}
