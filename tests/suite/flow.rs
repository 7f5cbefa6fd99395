//! Nobody freezes anybody, through the whole gateway: by both ways in, on one connection of OpenSSH's and of PuTTY's.
//!
//! What a test holds against a limit is the best of some rounds: a gateway that makes one channel wait for another
//! does so in every round, a busy machine only in some. Beside it an echo elsewhere tells how busy the machine is.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use spaceport_tests::carrier::{Carrier, EVERY_WAY, Keyboard, Mode, Software, fill, talk};
use spaceport_tests::noise::{digest, noise};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::stream::{Fault, Options, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::scene::Scene;
use crate::walk::signed_in;

const MIB: usize = 1024 * 1024;
/// How long a command may take to begin or to end.
const LIMIT: Duration = Duration::from_secs(30);
/// Rounds of a measurement.
const ROUNDS: usize = 12;
/// What a keystroke may take, in milliseconds, beside whatever else goes on.
const ALONE: f64 = 50.0;
/// The same on a link that it shares with what else goes on.
const SHARED: f64 = 100.0;
/// What a channel may take to open and answer.
const ANSWER: Duration = Duration::from_secs(1);
/// What one connection may make the gateway hold: a window and a half of each stalled channel, and the buffers on
/// the way. Far below what is sent through it here.
const HELD: usize = 24 * MIB;

/// Others on the connection are answered, and keystrokes come back.
async fn assert_nobody_waits(world: &World, carrier: &Carrier, mode: Mode, beside: &str) -> Result<()> {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        fastest = fastest.min(carrier.answers().await?);
        if fastest < ANSWER {
            break;
        }
    }
    println!("a command beside {beside}: {fastest:?}");
    ensure!(fastest < ANSWER, "a command beside {beside} took {fastest:?} at best");
    let mut elsewhere = Keyboard::elsewhere(world).await?;
    // With a pty: the interactive link. Without: the link that the other channel is on, in session mode.
    for (pty, limit) in [(true, ALONE), (false, if mode == Mode::Session { SHARED } else { ALONE })] {
        let keyboard = carrier.keyboard(pty).await?;
        assert_responsive(keyboard, &mut elsewhere, limit, &format!("{beside}, pty {pty}")).await?;
    }
    Ok(())
}

/// Holds keystrokes against a limit, or on a machine so busy that they take longer anywhere, against twice of what
/// they take elsewhere at the same time.
async fn assert_responsive(
    mut keyboard: Keyboard,
    elsewhere: &mut Keyboard,
    limit: f64,
    beside: &str,
) -> Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (here, there) = tokio::try_join!(keyboard.round(), elsewhere.round())?;
        println!("keystrokes beside {beside}: {here:.1?} ms (median, p99); elsewhere {there:.1?} ms");
        if here.1 < limit.max(2.0 * there.1) && here.0 < limit {
            return Ok(());
        }
        best = best.min(here.1);
    }
    bail!("keystrokes beside {beside}: p99 {best:.1} ms at best")
}

/// What the gateway holds more than before, at its peak.
struct Memory {
    pid: u32,
    before: usize,
}

impl Memory {
    fn of(world: &World) -> Result<Self> {
        let pid = world.gateway.pid()?;
        Ok(Self { pid, before: status(pid, "VmRSS:")? })
    }

    fn assert_held(&self, most: usize, beside: &str) -> Result<()> {
        let held = status(self.pid, "VmHWM:")?.saturating_sub(self.before);
        println!("{beside}: {:.1} MiB at the peak", held as f64 / MIB as f64);
        ensure!(held < most, "{beside}: the gateway grew by {held} bytes");
        Ok(())
    }
}

/// A line of a process's status, in bytes.
fn status(pid: u32, line: &str) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)).context("the kernel tells it")?;
    Ok(value.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_never_reads_stalls_only_itself() -> Result<()> {
    let world = World::unpaced().await?;
    for (software, mode) in EVERY_WAY {
        let carrier = Carrier::connect(&world, software, mode).await?;
        carrier.answers().await?;
        let memory = Memory::of(&world)?;
        let mut deaf = carrier.spawn(false, "exec sleep 600")?;
        let sent = fill(&mut deaf).await?;
        let beside = format!("a deaf command, {software:?} {mode:?}, {sent} bytes sent");
        assert_nobody_waits(&world, &carrier, mode, &beside).await?;
        memory.assert_held(HELD, &beside)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_reads_nothing_stalls_only_its_own_jump() -> Result<()> {
    for software in [Software::OpenSsh, Software::Plink] {
        let world = World::start().await?;
        let carrier = Carrier::connect(&world, software, Mode::Jump).await?;
        let mut stalled = carrier.keyboard(false).await?;
        let streams = live(&world);
        let [stream] = &streams[..] else { bail!("one jump is one stream, not {}", streams.len()) };
        world.account.streams.fault(Target::Session(stream.clone()), Fault::StallAgent);
        let sent = fill(&mut stalled.echo).await?;
        let beside = format!("a stalled agent, {software:?}, {sent} bytes sent");
        assert_nobody_waits(&world, &carrier, Mode::Jump, &beside).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_may_write_sixty_four_mebibytes_before_they_read() -> Result<()> {
    let world = World::unpaced().await?;
    let bytes = noise(64 * MIB);
    let sum = digest(&bytes);
    for (software, mode) in EVERY_WAY {
        let carrier = Carrier::connect(&world, software, mode).await?;
        carrier.answers().await?;
        let memory = Memory::of(&world)?;
        let talker = carrier.spawn(false, "head -c 67108864 /dev/zero; sha256sum | cut -c1-64")?;
        let got = talk(talker, &bytes).await.context(format!("{software:?} {mode:?}"))?;
        let (zeros, answer) = got.split_at_checked(64 * MIB).context("64 MiB came back")?;
        ensure!(zeros.iter().all(|byte| *byte == 0), "{software:?} {mode:?}: what came is what was sent");
        assert_eq!(String::from_utf8_lossy(answer).trim(), sum, "{software:?} {mode:?}");
        memory.assert_held(HELD, &format!("64 MiB each way, {software:?} {mode:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_download_delays_nobody_and_goes_on_where_it_was() -> Result<()> {
    let world = World::unpaced().await?;
    for (software, mode) in EVERY_WAY {
        let carrier = Carrier::connect(&world, software, mode).await?;
        carrier.answers().await?;
        let memory = Memory::of(&world)?;
        let paused = carrier.spawn(false, "head -c 33554432 /dev/zero")?;
        let beside = format!("a paused download, {software:?} {mode:?}");
        assert_nobody_waits(&world, &carrier, mode, &beside).await?;
        memory.assert_held(HELD, &beside)?;
        assert_eq!(talk(paused, &[]).await.context(beside)?.len(), 32 * MIB);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_into_a_stream_at_awss_rate_delays_no_keystroke() -> Result<()> {
    let world = World::start().await?;
    for (software, mode) in EVERY_WAY {
        let bytes = noise(if software == Software::OpenSsh { 256 * MIB } else { 64 * MIB });
        let carrier = Carrier::connect(&world, software, mode).await?;
        carrier.answers().await?;
        let memory = Memory::of(&world)?;
        let beside = format!("an upload, {software:?} {mode:?}");
        let upload = talk(carrier.spawn(false, "sha256sum | cut -c1-64")?, &bytes);
        let (uploaded, others) = tokio::join!(upload, assert_nobody_waits(&world, &carrier, mode, &beside));
        others?;
        let answer = uploaded.context(beside.clone())?;
        assert_eq!(String::from_utf8_lossy(&answer).trim(), digest(&bytes), "{beside}");
        memory.assert_held(HELD, &beside)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn output_over_its_quota_closes_its_channel_with_the_reason_and_no_other() -> Result<()> {
    let quota = "[flow]\noutput_memory_bytes = 65536\noutput_disk_bytes = 1048576\n";
    let world = World::with(Wish {
        streams: Options::unpaced(16 * 1024),
        gateway: quota.to_owned(),
        ..Wish::default()
    })
    .await?;
    let ended = async |name: &str| {
        let said = world.account.simulator.read_tmp(&world.account.arn("demo"), name)?;
        Ok(said.filter(|said| said.ends_with('\n')))
    };
    for software in [Software::OpenSsh, Software::Plink] {
        let carrier = Carrier::connect(&world, software, Mode::Session).await?;
        let mut keyboard = carrier.keyboard(false).await?;
        let file = format!("ended-{software:?}");
        let head = format!("head -c 33554432 /dev/zero; echo $? >/tmp/{file}");
        let mut paused = carrier.spawn(false, &head)?;
        // The command ends when its channel is closed; the reader reads what was kept, and why there is no more.
        let status = until("the command to end", LIMIT, async || ended(&file).await).await?;
        ensure!(status != "0\n", "{software:?}: it ended before it had said everything");
        let mut said = String::new();
        let mut output = paused.stdout.take().context("its output is piped")?;
        let read = async { tokio::io::copy(&mut output, &mut tokio::io::sink()).await };
        let (got, _) = tokio::try_join!(
            read,
            paused.stderr.as_mut().context("its standard error is piped")?.read_to_string(&mut said)
        )?;
        println!("{software:?}: {got} bytes came, then: {said}");
        ensure!(!paused.wait().await?.success(), "what was cut does not look whole");
        ensure!(said.contains("the reader is too far behind"), "{software:?}: {said}");
        keyboard.round().await?;
    }
    Ok(())
}

/// A client that has seen both ends of a channel closes it; the status must be there by then.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_on_a_shared_connection_gives_its_status() -> Result<()> {
    let world = World::unpaced().await?;
    let carrier = Carrier::connect(&world, Software::OpenSsh, Mode::Session).await?;
    for _ in 0..200 {
        carrier.answers().await?;
    }
    world.expect("SELECT count(*) FROM channels WHERE exit_status = 0", "200").await
}

/// The far end of a jump as a rule hangs up before the client does. It must not take the connection along, on which
/// others may ride.
#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_hangs_up_ends_its_own_jump_and_nothing_else() -> Result<()> {
    let world = World::unpaced().await?;
    for software in [Software::OpenSsh, Software::Plink] {
        let carrier = Carrier::connect(&world, software, Mode::Jump).await?;
        let mut keyboard = carrier.keyboard(false).await?;
        let connections =
            "SELECT count(DISTINCT connection_id)::text || ' ' || count(ended_at) FROM sessions";
        let before = world.value(connections).await?.context("sessions")?;
        for _ in 0..3 {
            let mut raw = carrier.raw().await?;
            let streams = live(&world).len();
            // No SSH server listens to this for long: a packet of 4 GiB. The client keeps its own side open.
            let input = raw.stdin.as_mut().context("its input is piped")?;
            input.write_all(b"SSH-2.0-nonsense\r\n\xff\xff\xff\xff\xff\xff\xff\xff").await?;
            let mut rest = Vec::new();
            let output = raw.stdout.as_mut().context("its output is piped")?;
            tokio::time::timeout(LIMIT, output.read_to_end(&mut rest)).await.context("it is told")??;
            until("the stream to end", LIMIT, async || Ok((live(&world).len() < streams).then_some(())))
                .await?;
        }
        world
            .expect("SELECT count(*) > 2 FROM streams WHERE end_reason = 'the other end closed it'", "true")
            .await?;
        keyboard.round().await.context("others ride on")?;
        carrier.answers().await?;
        world.expect(connections, &before).await.context("on the same connection")?;
    }
    Ok(())
}

/// The sessions of the streams to the space.
fn live(world: &World) -> Vec<String> {
    let streams = world.account.streams.live(Some(&world.account.arn("demo")));
    streams.into_iter().map(|stream| stream.session_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn input_over_its_cap_closes_its_channel_with_the_reason_and_no_other() -> Result<()> {
    // A window above the cap makes well-behaved clients exceed it.
    let cap = "[flow]\nchannel_cap_bytes = 1048576\nconnection_cap_bytes = 1048576\n";
    let caps = Wish { gateway: cap.to_owned(), ..Wish::default() };
    let world = World::with(caps).await?;
    for (software, mode) in EVERY_WAY {
        let carrier = Carrier::connect(&world, software, mode).await?;
        let before = live(&world);
        let (mut stalled, mut keyboard) = match mode {
            // The link is shared: it is the command that reads nothing.
            Mode::Session => (carrier.spawn(false, "exec sleep 600")?, carrier.keyboard(false).await?),
            Mode::Jump => {
                let raw = carrier.raw().await?;
                let stream = live(&world).into_iter().find(|stream| !before.contains(stream));
                let stream = Target::Session(stream.context("a jump has a stream of its own")?);
                world.account.streams.fault(stream, Fault::StallAgent);
                (raw, carrier.keyboard(false).await?)
            }
        };
        fill(&mut stalled).await?;
        drop(stalled.stdin.take());
        let ended = tokio::time::timeout(LIMIT, stalled.wait()).await.context("it is closed")??;
        let mut said = String::new();
        let errors = stalled.stderr.as_mut().context("its standard error is piped")?;
        errors.read_to_string(&mut said).await?;
        println!("{software:?} {mode:?}: {said}");
        // A jump has no status of its own: the SSH connection inside it notices that bytes are missing.
        if mode == Mode::Session {
            ensure!(!ended.success(), "{software:?}: what was cut does not look whole");
            ensure!(said.contains("more bytes wait on the channel"), "{software:?} {mode:?}: {said}");
        }
        keyboard.round().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_on_an_open_page_within_a_second() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let mut ada = signed_in(&scene, "ada", "/sessions").await?;
    ada.wait("main [data-none]").await?;
    let mut fastest = Duration::MAX;
    for row in 1..=ROUNDS {
        let _terminal = scene.shell(&laptop).await?;
        let answered = Instant::now();
        ada.wait(&format!("tbody tr:nth-child({row}) th")).await?;
        fastest = fastest.min(answered.elapsed());
        if fastest < ANSWER {
            break;
        }
    }
    println!("a session is on an open page {fastest:?} after its first prompt");
    ensure!(fastest < ANSWER, "it is there after {fastest:?} at best");
    Ok(())
}
