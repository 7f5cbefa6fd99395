//! Looking inside spaces from end to end: kernels, jobs and GPUs at work keep a space up, and what cannot be seen is
//! not idle. The spaces are real shells with processes of their own.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spaceport_tests::hook::{Answer, HookSink};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::fixture::{ACCOUNT, Fixture, LOOK_ROLE, SpaceSpec};
use studio_simulator::inside::{GpuFault, Gpus, Jupyter, JupyterFault, Kernel, KernelState, Terminal};
use studio_simulator::simulator::Config;
use tokio::io::AsyncWriteExt as _;

use crate::asking_about_spaces::ask;
use crate::terminal::Screen;

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The file that Studio's own idle shutdown reads.
const STILL_HERE: &str = ".sagemaker-last-active-timestamp";

/// An account with these running spaces of alice's, each looked into every second.
fn wish(mode: &str, idle: &str, spaces: &[(&str, &str)]) -> Wish {
    let spaces =
        spaces.iter().map(|(name, instance)| SpaceSpec::private(name, "alice").on(instance).running());
    let fixture = spaces.fold(Fixture::bare(), Fixture::with);
    let gateway = format!(
        "[watch]\nevery_s = 1\n\n[idle]\nmode = \"{mode}\"\nlook_every_s = 1\nwindow_s = 1\ncpu_percent = 10\n{idle}\n"
    );
    let domain = format!("probe_role = \"arn:aws:iam::{ACCOUNT}:role/{LOOK_ROLE}\"\n");
    Wish {
        account: Config { fixtures: vec![fixture], ..Config::default() },
        domain,
        gateway,
        ..Wish::default()
    }
}

fn arn(world: &World, space: &str) -> String {
    world.account.simulator.space_arn(space)
}

/// The names of spaces that a statement finds.
async fn names(world: &World, of: &str) -> Result<BTreeSet<String>> {
    let list =
        world.value(&format!("SELECT string_agg(DISTINCT p.name, ' ') {of}")).await?.unwrap_or_default();
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Stops with an outcome, and the runs and spaces they belong to.
fn stops(outcome: &str) -> String {
    format!(
        "FROM stops s JOIN runs r ON r.id = s.run_id JOIN spaces p ON p.id = r.space_id
         WHERE s.outcome = '{outcome}' AND s.trigger ? 'idle'"
    )
}

/// What a space was last found to be, with why.
async fn verdict(world: &World, space: &str) -> Result<String> {
    let of = format!(
        "SELECT j.verdict::text FROM judgements j JOIN runs r ON r.id = j.run_id JOIN spaces p ON p.id = r.space_id
         WHERE p.name = '{space}' ORDER BY r.began_at DESC LIMIT 1"
    );
    Ok(world.value(&of).await?.unwrap_or_default())
}

/// Waits until a space's verdict holds all of this.
async fn becomes(world: &World, space: &str, words: &[&str]) -> Result<()> {
    let what = format!("{space} to be {words:?}");
    let waited = until(&what, PATIENCE, async || {
        let verdict = verdict(world, space).await?;
        Ok(words.iter().all(|word| verdict.contains(word)).then_some(()))
    });
    let waited = waited.await;
    let verdict = verdict(world, space).await?;
    waited.with_context(|| format!("it is {verdict}"))
}

/// Puts to work what a space may be at, each in one of its own: what a kernel that says nothing for hours computes, a
/// job under nohup, a GPU, tabs that are open on a kernel and a terminal that nobody uses, and nothing at all.
async fn put_to_work(world: &World) -> Result<()> {
    world.client.configure(world.gateway.ssh, &["job"])?;
    let simulator = &world.account.simulator;
    let silent = Kernel::new("k-1", KernelState::Busy).quiet_for(3.0 * 3600.0);
    let kernels = vec![silent.with_tabs(1)];
    simulator.set_jupyter(&arn(world, "cell"), Jupyter { kernels, ..Jupyter::default() }).await?;
    let tabs = Jupyter {
        kernels: vec![Kernel::new("k-2", KernelState::Idle).with_tabs(2).quiet_for(7200.0)],
        terminals: vec![Terminal::new("1").quiet_for(7200.0)],
        fault: None,
    };
    simulator.set_jupyter(&arn(world, "tab"), tabs).await?;
    simulator.set_gpus(&arn(world, "gpu"), Gpus::at(&[87])).await?;
    // About half of one core.
    let job = "nohup sh -c 'echo $$ >job.pid; while :; do i=0; while [ $i -lt 9000 ]; do i=$((i+1)); done; sleep 0.02; done' \
               >/dev/null 2>&1 </dev/null & echo started";
    ensure!(world.client.ssh(["job", job]).await?.well()?.text() == "started\n");
    Ok(())
}

const AT_WORK: [(&str, &str); 5] = [
    ("cell", "ml.m5.xlarge"),
    ("job", "ml.m5.xlarge"),
    ("gpu", "ml.g5.xlarge"),
    ("tab", "ml.m5.xlarge"),
    ("empty", "ml.m5.xlarge"),
];

#[tokio::test(flavor = "multi_thread")]
async fn work_inside_keeps_a_space_up_and_open_tabs_do_not() -> Result<()> {
    let world = World::with(wish("stop", "idle_s = 10\ngrace_s = 1", &AT_WORK)).await?;
    world.account.simulator.require_isolation()?;
    put_to_work(&world).await?;
    let idle = BTreeSet::from(["tab", "empty"].map(str::to_owned));
    until("the idle ones to be stopped", PATIENCE, async || {
        Ok((names(&world, &stops("stopped")).await? == idle).then_some(()))
    })
    .await?;
    for (space, sign) in [("cell", "kernel_busy"), ("job", "cpu"), ("gpu", "gpu")] {
        becomes(&world, space, &["active", sign]).await?;
    }
    // They have been up for longer than the others, by more than an idle time.
    world
        .expect(
            "SELECT min(now() - r.began_at) > interval '22 s' FROM runs r WHERE r.ended_at IS NULL",
            "true",
        )
        .await?;
    ensure!(names(&world, &stops("stopped")).await? == idle, "work was stopped");

    // What comes to its end no longer keeps anything up.
    let simulator = &world.account.simulator;
    let done = Kernel::new("k-1", KernelState::Idle).quiet_for(0.0);
    simulator
        .set_jupyter(&arn(&world, "cell"), Jupyter { kernels: vec![done], ..Jupyter::default() })
        .await?;
    simulator.set_gpus(&arn(&world, "gpu"), Gpus::at(&[0])).await?;
    world.client.ssh(["job", "kill $(cat job.pid)"]).await?;
    until("all to be stopped", PATIENCE, async || {
        Ok((names(&world, &stops("stopped")).await?.len() == AT_WORK.len()).then_some(()))
    })
    .await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reports_the_very_spaces_that_a_stop_would_have_met() -> Result<()> {
    let world = World::with(wish("dry-run", "idle_s = 10\ngrace_s = 1", &AT_WORK)).await?;
    put_to_work(&world).await?;
    let idle = BTreeSet::from(["tab", "empty"].map(str::to_owned));
    until("the idle ones to be reported", PATIENCE, async || {
        Ok((names(&world, &stops("would_have")).await? == idle).then_some(()))
    })
    .await?;
    world.expect("SELECT min(now() - began_at) > interval '22 s' FROM runs", "true").await?;
    ensure!(names(&world, &stops("would_have")).await? == idle, "work was reported as idle");
    world.expect("SELECT count(*) FROM runs WHERE ended_at IS NULL", "5").await?;
    let deleted = world.account.simulator.cloudtrail();
    ensure!(deleted.iter().all(|event| event.event_name != "DeleteApp"), "nothing was stopped");
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_seen_is_unknown_with_its_reason_and_never_stopped() -> Result<()> {
    let spaces = [
        ("nonsense", "ml.m5.xlarge"),
        ("hangs", "ml.m5.xlarge"),
        ("closed", "ml.m5.xlarge"),
        ("gpu-fails", "ml.g5.xlarge"),
        ("gpu-hangs", "ml.g5.xlarge"),
        ("gpu-mute", "ml.g5.xlarge"),
    ];
    let world = World::with(wish("stop", "idle_s = 3\ngrace_s = 1", &spaces)).await?;
    let simulator = &world.account.simulator;
    let faults = [
        ("nonsense", JupyterFault::Nonsense),
        ("hangs", JupyterFault::Hangs),
        ("closed", JupyterFault::Closed),
    ];
    for (space, fault) in faults {
        let jupyter = Jupyter { fault: Some(fault), ..Jupyter::default() };
        simulator.set_jupyter(&arn(&world, space), jupyter).await?;
    }
    let faults = [
        ("gpu-fails", GpuFault::Fails),
        ("gpu-hangs", GpuFault::Hangs),
        ("gpu-mute", GpuFault::NotAvailable),
    ];
    for (space, fault) in faults {
        simulator.set_gpus(&arn(&world, space), Gpus::failing(fault)).await?;
    }
    let reasons = [
        ("nonsense", "the list of kernels makes no sense"),
        ("hangs", "longer than 8 s"),
        ("closed", "JupyterLab"),
        ("gpu-fails", "nvidia-smi"),
        ("gpu-hangs", "nvidia-smi"),
        ("gpu-mute", "nvidia-smi"),
    ];
    for (space, reason) in reasons {
        becomes(&world, space, &["unknown", reason]).await?;
        let status = ask(&world.client, &["status", space]).await?;
        ensure!(status.code == 4, "{space}: {}", status.text());
        ensure!(status.text().contains(reason), "{}", status.text());
    }
    world.expect("SELECT count(*) FROM stops", "0").await?;
    // Once it can be seen again, the idle time begins anew.
    for space in ["closed", "hangs"] {
        simulator.set_jupyter(&arn(&world, space), Jupyter::default()).await?;
    }
    simulator.set_gpus(&arn(&world, "gpu-hangs"), Gpus::default()).await?;
    until("the space that can be seen to be stopped", PATIENCE, async || {
        Ok(names(&world, &stops("stopped")).await?.contains("closed").then_some(()))
    })
    .await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_are_the_probes_own_in_cloudtrail_on_record_and_one_stream() -> Result<()> {
    let world = World::with(wish("never", "idle_s = 60", &[("demo", "ml.m5.xlarge")])).await?;
    becomes(&world, "demo", &["active", "started"]).await?;
    world.expect("SELECT count(*) >= 3 FROM looks", "true").await?;
    let trail = world.account.simulator.cloudtrail();
    let opened: Vec<_> = trail.iter().filter(|event| event.event_name == "StartSession").collect();
    ensure!(opened.len() == 1, "a link is kept between looks: {}", opened.len());
    let who = serde_json::to_string(&opened[0])?;
    ensure!(who.contains("spaceport-probe"), "{who}");
    world.expect("SELECT count(*) FROM streams WHERE user_id IS NULL AND ended_at IS NULL", "1").await?;
    world.expect("SELECT count(*) FROM links WHERE purpose = 'probe' AND user_id IS NULL", "1").await?;
    let audit = "SELECT count(*) FROM audit WHERE kind = 'probe.opened' AND actor_name = 'spaceport-probe'";
    world.expect(audit, "1").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_role_of_its_own_a_look_goes_through_a_link_that_is_open_anyway() -> Result<()> {
    let mut wish = wish("never", "idle_s = 20", &[("demo", "ml.m5.xlarge")]);
    wish.domain = String::new();
    let world = World::with(wish).await?;
    becomes(&world, "demo", &["unknown", "no look inside is set up for domain main"]).await?;
    let screen = Screen::open(&world, &format!("ssh -F {} demo", world.client.config().display())).await?;
    becomes(&world, "demo", &["active"]).await?;
    let seen = "SELECT count(*) > 0 FROM looks WHERE evidence -> 'inside' -> 'Ok' ->> 'kernels' IS NOT NULL";
    world.expect(seen, "true").await?;
    world.expect("SELECT count(*) FROM streams WHERE user_id IS NULL", "0").await?;
    screen.line("exit").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn studios_own_idle_shutdown_hears_of_a_person_at_work_and_of_no_editor() -> Result<()> {
    let world = World::with(wish("never", "idle_s = 60", &[("demo", "ml.m5.xlarge")])).await?;
    let simulator = &world.account.simulator;
    let space = arn(&world, "demo");
    let config = world.client.config().display().to_string();
    // What an editor or a script does by itself is not a person.
    world.client.ssh(["demo", "sleep 3; echo done"]).await?.well()?;
    ensure!(simulator.read_tmp(&space, STILL_HERE)?.is_none(), "nobody was at work");
    let screen = Screen::open(&world, &format!("ssh -F {config} demo")).await?;
    let told = until("the file", PATIENCE, async || simulator.read_tmp(&space, STILL_HERE)).await?;
    let told = told.trim_end();
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    let at = time::PrimitiveDateTime::parse(told, format).with_context(|| told.to_owned())?.assume_utc();
    ensure!((time::OffsetDateTime::now_utc() - at).abs() < time::Duration::minutes(2), "{told}");
    screen.line("exit").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn studios_own_idle_shutdown_hears_of_somebody_who_jumps() -> Result<()> {
    let world = World::with(wish("never", "idle_s = 60", &[("demo", "ml.m5.xlarge")])).await?;
    let simulator = &world.account.simulator;
    let space = arn(&world, "demo");
    let mut copy = world.client.command("ssh");
    copy.args(["demo.jump", "cat >/dev/null"]).stdin(Stdio::piped()).kill_on_drop(true);
    let mut copying = copy.spawn()?;
    let mut input = copying.stdin.take().context("its input is piped")?;
    until("the file", PATIENCE, async || {
        input.write_all(&[7; 65_536]).await?;
        simulator.read_tmp(&space, STILL_HERE)
    })
    .await?;
    copying.kill().await?;
    // It is no stream of the person's.
    world.expect("SELECT count(*) FROM streams WHERE user_id IS NOT NULL", "1").await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_up_inside_keeps_a_space_up_to_the_longest_run_and_admins_are_told() -> Result<()> {
    let sink = HookSink::start(vec![Answer::Status(204, "", "")]).await?;
    let idle = format!(
        "idle_s = 4\ngrace_s = 1\nlongest_run_s = 14\n\n[[notify.webhooks]]\nurl = \"{}\"\nform = \"slack\"\n",
        sink.url("/hook")
    );
    let world = World::with(wish("stop", &idle, &[("demo", "ml.m5.xlarge")])).await?;
    let busy = Kernel::new("k-1", KernelState::Busy).talking();
    let simulator = &world.account.simulator;
    simulator
        .set_jupyter(&arn(&world, "demo"), Jupyter { kernels: vec![busy], ..Jupyter::default() })
        .await?;
    becomes(&world, "demo", &["active", "kernel"]).await?;
    until("the stop", PATIENCE, async || {
        Ok(names(&world, &stops("stopped")).await?.contains("demo").then_some(()))
    })
    .await?;
    let length = "SELECT max(ended_at - began_at) > interval '14 s' FROM runs";
    world.expect(length, "true").await?;
    until("admins to be told", PATIENCE, async || {
        Ok(sink
            .requests()
            .iter()
            .any(|request| request.body.contains("for longer than its policy lets any space run"))
            .then_some(()))
    })
    .await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_has_just_been_started_is_never_stopped() -> Result<()> {
    let world = World::with(wish("stop", "idle_s = 5\ngrace_s = 1", &[("demo", "ml.m5.xlarge")])).await?;
    let over = |runs: u32| format!("SELECT count(*) >= {runs} FROM runs WHERE ended_at IS NOT NULL");
    for run in 1..=2 {
        // It is stopped; whoever comes starts it again at once, and leaves it as quickly.
        world.expect(&over(run), "true").await?;
        ask(&world.client, &["start", "demo"]).await?.well()?;
    }
    world.expect(&over(3), "true").await?;
    let sound = "SELECT bool_and(s.begun_at - r.began_at >= interval '5 s' AND s.ended_at >= s.begun_at + interval '1 s')
                 FROM stops s JOIN runs r ON r.id = s.run_id";
    world.expect(sound, "true").await?;
    world.end().await
}
