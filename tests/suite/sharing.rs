//! One port for ssh and the pages, for networks that let out no other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client as Http;
use spaceport_tests::balancer::{Balancer, header};
use spaceport_tests::client::run;
use spaceport_tests::until::until;
use spaceport_tests::visitor::Visitor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::scene::{Scene, Setting, Tls};
use crate::terminal::Screen;
use crate::transfers::plink;

/// How long anything may take that ends by itself.
const LIMIT: Duration = Duration::from_secs(20);
/// What the gateway says first to who speaks SSH.
const BANNER: &str = "SSH-2.0-";

/// The usual scene where the port is shared.
fn shared() -> Setting {
    Setting { web: "also_ssh = true\n".to_owned(), ..Setting::default() }
}

/// What a client that says this is answered first, if anything: eight bytes, or fewer before the end.
async fn answer(scene: &Scene, says: &[u8]) -> Result<String> {
    let mut client = TcpStream::connect(scene.pages()?).await?;
    client.write_all(says).await?;
    first_of(&mut client).await
}

async fn first_of(client: &mut TcpStream) -> Result<String> {
    let mut said = Vec::new();
    let mut first = client.take(BANNER.len() as u64);
    // What the gateway did not read makes its end a reset.
    let _ =
        timeout(LIMIT, first.read_to_end(&mut said)).await.context("neither an answer nor an end came")?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Everybody who may come, to one port at once.
async fn everybody_comes_in(scene: &Scene, visitor: &Visitor) -> Result<()> {
    let (world, port) = (&scene.world, scene.pages()?);
    world.client.configure(port, &["demo"])?;
    let openssh = async {
        let done = world.client.ssh_with(["demo", "cat"], &[b'x'; 300_000]).await?.well()?;
        ensure!(done.stdout.len() == 300_000, "{} bytes", done.stdout.len());
        world.client.ssh(["demo.jump", "echo jumped"]).await?.well()
    };
    let putty = async { anyhow::Ok(plink(world, port, "echo from plink").await?.text()) };
    // It says nothing before the server has.
    let scan = async {
        let mut scan = Command::new("ssh-keyscan");
        scan.args(["-T", "20", "-p", &port.port().to_string(), "-t", "ed25519", "127.0.0.1"]);
        anyhow::Ok(run(scan, &[]).await?.text())
    };
    let silent = async {
        let began = Instant::now();
        let said = answer(scene, b"").await?;
        anyhow::Ok((said, began.elapsed()))
    };
    let hesitant = async {
        let mut client = TcpStream::connect(port).await?;
        for part in [&b"S"[..], b"SH-2", b".0-hesitant\r\n"] {
            client.set_nodelay(true)?;
            client.write_all(part).await?;
            tokio::task::yield_now().await;
        }
        first_of(&mut client).await
    };
    let pages = async {
        for _ in 0..20 {
            visitor.get(&scene.page("/signin")).await?.is(200)?.shows("Example login")?;
        }
        anyhow::Ok(())
    };
    let (openssh, putty, scan, (said, after), hesitant, ()) =
        tokio::try_join!(openssh, putty, scan, silent, hesitant, pages)?;
    assert_eq!((openssh.text().as_str(), putty.as_str()), ("jumped\n", "from plink\n"));
    ensure!(scan.contains("ssh-ed25519 "), "{scan}");
    assert_eq!((said.as_str(), hesitant.as_str()), (BANNER, BANNER));
    ensure!(after >= Duration::from_secs(1), "a browser has no time to speak first: {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_and_http_are_served_on_one_port() -> Result<()> {
    let scene = Scene::with(shared()).await?;
    everybody_comes_in(&scene, &Visitor::new()?).await?;
    // Where ssh's own port is out of reach, the guide names this one.
    let (visitor, _) = scene.sign_in("anna").await?;
    let way = format!("The port of these pages takes ssh too: <code>ssh -p {} ", scene.pages()?.port());
    let page = visitor.get(&scene.page("/connect")).await?.is(200)?.shows(&way)?;
    page.shows("@localhost</code>")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_and_https_are_served_on_one_port() -> Result<()> {
    let tls = Tls::new().await?;
    let mut setting = Setting { scheme: "https", ..shared() };
    setting.web += &tls.web;
    let scene = Scene::with(setting).await?;
    let visitor = Visitor::with(Http::builder().add_root_certificate(tls.trusted()?))?;
    everybody_comes_in(&scene, &visitor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_neither_or_stops_is_closed_and_keeps_nobody_out() -> Result<()> {
    let scene = Scene::with(shared()).await?;
    // One that listed balancers would send is not read from others.
    let balancer = header([203, 0, 113, 9], 40_000);
    for says in [&b"S"[..], b"SSH", b"\0\0\0\0\0\0", b"ehlo there\r\n", b"\x16\x02\x01\x01", &balancer] {
        let said = answer(&scene, says).await.with_context(|| format!("{says:?}"))?;
        assert_eq!(said, "", "{says:?}");
    }
    // Those who said nothing at all and left.
    for _ in 0..20 {
        drop(TcpStream::connect(scene.pages()?).await?);
    }
    // More silent ones than are looked at together: their time is short, and most are turned away.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(scene.pages()?).await?);
    }
    let page = timeout(LIMIT, Visitor::new()?.get(&scene.page("/signin"))).await;
    page.context("no page came")??.is(200)?;
    for client in &mut silent {
        let said = first_of(client).await?;
        ensure!([BANNER, "spacepor"].contains(&said.as_str()), "{said:?}");
    }
    drop(silent);
    scene.world.client.configure(scene.pages()?, &["demo"])?;
    until("the office to be let in again", LIMIT, async || {
        Ok((scene.world.client.ssh(["demo", "true"]).await?.code == 0).then_some(()))
    })
    .await?;
    let Scene { world, .. } = scene;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_count_for_the_same_limits() -> Result<()> {
    let scene = Scene::with(Setting { ssh: "max_startups_per_source = 2\n".to_owned(), ..shared() }).await?;
    let mut waiting = TcpStream::connect(scene.world.gateway.ssh).await?;
    assert_eq!(first_of(&mut waiting).await?, BANNER);
    let mut second = TcpStream::connect(scene.pages()?).await?;
    second.write_all(b"SSH-2.0-second\r\n").await?;
    assert_eq!(first_of(&mut second).await?, BANNER);
    let third = answer(&scene, b"SSH-2.0-third\r\n").await?;
    assert_eq!(third, "spacepor", "it is told that too many logins are waiting");
    drop(waiting);
    until("the place of one who left", LIMIT, async || {
        Ok((answer(&scene, b"SSH-2.0-fourth\r\n").await? == BANNER).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_is_refused_on_the_pages_port_unless_it_is_shared() -> Result<()> {
    let scene = Scene::new().await?;
    let said = answer(&scene, b"SSH-2.0-client\r\n").await?;
    ensure!(!said.starts_with("SSH"), "{said:?}");
    scene.world.client.configure(scene.pages()?, &["demo"])?;
    let done = scene.world.client.ssh(["demo", "true"]).await?;
    ensure!(done.code == 255 && !done.stderr.is_empty(), "{done:?}");
    let (visitor, _) = scene.sign_in("anna").await?;
    let page =
        visitor.get(&scene.page("/connect")).await?.is(200)?.shows("reach localhost. Ask an admin.")?;
    ensure!(!page.body.contains("takes ssh too"), "{page:?}");
    scene.world.expect("SELECT count(*) FROM sessions", "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_ssh_on_the_shared_port_and_leaves_the_pages() -> Result<()> {
    let scene = Scene::with(shared()).await?;
    let port = scene.pages()?;
    scene.world.client.configure(port, &["demo"])?;
    let config = scene.world.client.config().display().to_string();
    let screen =
        Screen::open(&scene.world, &format!("ssh -F {config} demo; echo ended $?; sleep 60")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    // Nobody has proved anything on this one.
    let mut stranger = TcpStream::connect(port).await?;
    stranger.write_all(b"SSH-2.0-stranger\r\n").await?;
    assert_eq!(first_of(&mut stranger).await?, BANNER);
    scene.world.gateway.signal("TERM").await?;
    screen.shows("spaceport: this gateway restarts").await?;
    let rest = timeout(LIMIT, stranger.read_to_end(&mut Vec::new())).await;
    ensure!(rest.is_ok(), "who has no session is not waited for");
    assert_eq!(answer(&scene, b"SSH-2.0-late\r\n").await?, "");
    assert_eq!(answer(&scene, b"").await?, "");
    Visitor::new()?.get(&scene.page("/signin")).await?.is(200)?;
    // The last session holds the drain up.
    screen.line("exit 0").await?;
    screen.shows("ended 0").await?;
    let Scene { mut world, .. } = scene;
    let status = world.gateway.wait(LIMIT).await?;
    ensure!(status.success(), "{status}");
    ensure!(TcpStream::connect(port).await.is_err(), "nothing listens any more");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_balancer_says_for_whom_it_connects_to_either() -> Result<()> {
    let ssh = "proxy_protocol_from = [\"127.0.0.0/8\"]\n".to_owned();
    let scene = Scene::with(Setting { ssh, ..shared() }).await?;
    let (world, port) = (&scene.world, scene.pages()?);
    let balancer = Balancer::start(port, header([203, 0, 113, 9], 40_000)).await?;
    world.client.configure(balancer.address, &["demo"])?;
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.well()?.text(), "hi\n");
    world.expect("SELECT host(client_address) FROM sessions", "203.0.113.9").await?;
    let silent = &mut TcpStream::connect(balancer.address).await?;
    assert_eq!(first_of(silent).await?, BANNER);
    // The pages know their client from it too: the row is about whom a forged way back came from.
    let forged = format!("http://{}/signin/idp/callback?code=x&state=y", balancer.address);
    Visitor::new()?.get(&forged).await?.is(400)?;
    world.expect("SELECT detail->>'address' FROM audit WHERE kind = 'web.refused'", "203.0.113.9").await?;
    // A balancer for HTTP in the same network sends none; ssh from there is closed, as on its own port.
    Visitor::new()?.get(&scene.page("/signin")).await?.is(200)?;
    assert_eq!(answer(&scene, b"SSH-2.0-bare\r\n").await?, "");
    let version_1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 22\r\nSSH-2.0-old\r\n";
    assert_eq!(answer(&scene, version_1).await?, "");
    let line = "a load balancer did not say for whom it connects";
    until("both to be in the log", LIMIT, async || {
        Ok((world.gateway.log()?.iter().filter(|l| l["message"] == line).count() == 2).then_some(()))
    })
    .await
}
