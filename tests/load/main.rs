//! `make bench`: the gateway beside an OpenSSH jump host, on the same machine, in the same run, to the same space; and its
//! pages with very many sessions, which `bench pages` does alone.
//!
//! Prints a table of figures and ratios and writes it to the file that is named as the argument. Nothing here fails
//! on a time.

#![allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock")]

mod machine;
mod measure;
mod pages;
mod peer;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use spaceport_tests::world::{Wish, World};
use studio_simulator::stream::Options;

use measure::{Figure, Way};
use pages::Pages;
use peer::JumpHost;

/// How much a transfer moves where nothing paces it, and where the agent does as AWS's does.
const UNPACED: usize = 256 << 20;
const PACED: usize = 4 << 20;
/// An upload paced as AWS is ours to pace: 16 KiB in each of at most 850 messages a second.
const PACED_UP: usize = 64 << 20;

/// A world whose gateway takes as many key exchanges a second as come: the benchmarks are a crowd with one address.
fn crowd() -> Wish {
    Wish { ssh: "handshakes_per_s_per_source = 1000\n".to_owned(), ..Wish::default() }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().map(PathBuf::from).context("usage: bench FILE, or bench pages")?;
    let mut figures = Vec::new();
    if file.as_os_str() == "pages" {
        print!("{}", on_pages(&pages::pages().await?)?);
        return Ok(());
    }
    paced(&mut figures).await?;
    for (chunk, label) in [(1024, "unpaced, 1 KiB frames"), (16 * 1024, "unpaced, 16 KiB frames")] {
        unpaced(chunk, label, &mut figures).await?;
    }
    let page = format!("{}\n{}", page(&figures)?, on_pages(&pages::pages().await?)?);
    print!("{page}");
    std::fs::write(&file, page).with_context(|| file.display().to_string())?;
    Ok(())
}

/// As AWS paces: connects, keystrokes, memory, transfers.
async fn paced(figures: &mut Vec<Figure>) -> Result<()> {
    let world = World::with(Wish { gateway: "[links]\nlinger_s = 600\n".to_owned(), ..crowd() }).await?;
    let peer = JumpHost::start(&world).await?;
    let ways = Ways::new(&world, &peer);
    let cold = measure::connect(&ways.session, 1).await?;
    let openssh = measure::connect(&ways.openssh, 10).await?;
    figures.push(Figure::lower("connect to first byte, cold stream, session mode", "ms", cold, openssh));
    let warm = measure::connect(&ways.session, 10).await?;
    figures.push(Figure::lower("connect to first byte, warm link, session mode", "ms", warm, openssh));
    let jump = measure::connect(&ways.jump, 10).await?;
    figures.push(Figure::lower("connect to first byte, jump mode", "ms", jump, openssh));
    let (p50, p99) = measure::keystrokes(&ways.session).await?;
    let (peer50, peer99) = measure::keystrokes(&ways.openssh).await?;
    figures.push(Figure::lower("keystroke round trip, median", "ms", p50, peer50));
    figures.push(Figure::lower("keystroke round trip, 99th percentile", "ms", p99, peer99));
    let memory = measure::memory_per_idle_session(&ways.session, world.gateway.pid()?).await?;
    let peer_memory = measure::memory_per_idle_session(&ways.openssh, peer.pid()?).await?;
    figures.push(Figure::lower("memory per idle session", "KiB", memory, peer_memory));
    let up = measure::upload(&ways.session, PACED_UP).await?;
    figures.push(
        Figure::higher("upload, paced as AWS, session mode", "MB/s", up, 1024.0 * 1000.0 / 1e6)
            .against("1 KiB a ms"),
    );
    let down = measure::download(&ways.session, PACED).await?;
    figures.push(
        Figure::higher("download, paced as AWS, session mode", "MB/s", down, 1024.0 * 1000.0 / 1e6)
            .against("1 KiB a ms"),
    );
    world.end().await
}

/// Without pacing and without the message bucket: what the gateway itself can move.
async fn unpaced(chunk: usize, label: &str, figures: &mut Vec<Figure>) -> Result<()> {
    let domain = format!("upload = {{ max_payload_bytes = {chunk}, messages_per_s = \"off\" }}");
    let gateway = "[links]\nlinger_s = 600\n".to_owned();
    let world = World::with(Wish { streams: Options::unpaced(chunk), domain, gateway, ..crowd() }).await?;
    let peer = JumpHost::start(&world).await?;
    let ways = Ways::new(&world, &peer);
    for (way, mode) in [(&ways.jump, "jump"), (&ways.session, "session")] {
        let pid = world.gateway.pid()?;
        let (up, up_cpu) = machine::with_cpu(pid, measure::upload(way, UNPACED)).await?;
        let (peer_up, peer_up_cpu) =
            machine::with_cpu(peer.pid()?, measure::upload(&ways.openssh, UNPACED)).await?;
        figures.push(Figure::higher(&format!("upload, {label}, {mode} mode"), "MB/s", up, peer_up));
        let (down, down_cpu) = machine::with_cpu(pid, measure::download(way, UNPACED)).await?;
        let (peer_down, peer_down_cpu) =
            machine::with_cpu(peer.pid()?, measure::download(&ways.openssh, UNPACED)).await?;
        figures.push(Figure::higher(&format!("download, {label}, {mode} mode"), "MB/s", down, peer_down));
        let gib = UNPACED as f64 / f64::from(1 << 30);
        let (cpu, peer_cpu) =
            ((up_cpu + down_cpu) / (2.0 * gib), (peer_up_cpu + peer_down_cpu) / (2.0 * gib));
        figures.push(Figure::lower(&format!("CPU per GiB, {label}, {mode} mode"), "s", cpu, peer_cpu));
    }
    world.end().await
}

/// The three ways to the same space.
struct Ways {
    session: Way,
    jump: Way,
    openssh: Way,
}

impl Ways {
    fn new(world: &World, peer: &JumpHost) -> Self {
        let way = |host: &str| Way::new(world.client.config(), host);
        Self { session: way("demo"), jump: way("demo.jump"), openssh: Way::new(peer.config(), "direct") }
    }
}

fn page(figures: &[Figure]) -> Result<String> {
    let mut page = format!(
        "# Benchmarks\n\nWritten by `make bench` on {}.\n\nThe peer is OpenSSH's sshd as a jump host (`ssh -J`) to the \
         same space's SSH server, on the same machine, in the same run; client, gateway, simulator and space share its \
         cores. A ratio above 1 is better than the peer.\n\n\
         | what | Spaceport | peer | ratio |\n|---|---:|---:|---:|\n",
        machine::describe()?
    );
    for figure in figures {
        writeln!(page, "{figure}")?;
    }
    Ok(page)
}

/// The section on pages.
fn on_pages(pages: &Pages) -> Result<String> {
    let (live, ended) = (grouped(pages.live), grouped(pages.ended));
    let mut section = format!(
        "## Pages\n\nOne run on {}, with {live} live sessions and {ended} that ended. Postgres has its default \
         settings and shares the cores with the gateway and with whoever asks. Pages have no peer: beside each figure \
         stands what is promised. A ratio above 1 is better.\n\n\
         | what | Spaceport | beside it | ratio |\n|---|---:|---:|---:|\n",
        machine::describe()?
    );
    for figure in &pages.figures {
        writeln!(section, "{figure}")?;
    }
    Ok(section)
}

/// `5,000,000`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}
