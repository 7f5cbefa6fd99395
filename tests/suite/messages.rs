//! Messages of admins: they are read in every terminal of a session and in nothing else, and whoever sends one is told
//! what came of it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spaceport_tests::client::Client;
use spaceport_tests::noise::{digest, noise};
use spaceport_tests::provider::account;
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};
use spaceport_tests::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::api::program;
use crate::scene::{Scene, free_port};
use crate::terminal::{Screen, shell};

const LIMIT: Duration = Duration::from_secs(30);
/// The one live session.
const LIVE: &str = "SELECT id FROM sessions WHERE ended_at IS NULL";

/// A shell of the laptop's on a screen, over a connection that others may share.
async fn shared_shell(scene: &Scene, laptop: &Client) -> Result<Screen> {
    let (config, control) = (laptop.config(), laptop.config().with_file_name("control"));
    let line = format!(
        "ssh -F {} -o ControlMaster=auto -o ControlPath={} team; echo ended $?; sleep 60",
        config.display(),
        control.display()
    );
    let screen = Screen::open(&scene.world, &line).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    Ok(screen)
}

/// A program whose bytes are looked at, once it has written its first line.
async fn begun(mut command: Command) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut line = [0; 6];
    let read = child.stdout.as_mut().context("its output is piped")?.read_exact(&mut line);
    tokio::time::timeout(LIMIT, read).await.context("its first line")??;
    assert_eq!(&line, b"begun\n");
    Ok(child)
}

/// Everything that a program writes besides, once its input is over.
async fn rest(mut child: Child, input: &[u8]) -> Result<(Vec<u8>, String)> {
    child.stdin.take().context("its input is piped")?.write_all(input).await?;
    let done = tokio::time::timeout(LIMIT, child.wait_with_output()).await.context("its end")??;
    Ok((done.stdout, String::from_utf8_lossy(&done.stderr).into_owned()))
}

async fn write(scene: &Scene, who: &Visitor, session: &str, text: &str) -> Result<Page> {
    let fields = [("text".to_owned(), text.to_owned())];
    who.post(Some(&scene.site), &scene.page(&format!("/sessions/{session}/message")), &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_terminal_of_a_session_shows_a_message_and_nothing_else_does() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let (first, second) = (shared_shell(&scene, &laptop).await?, shared_shell(&scene, &laptop).await?);
    // A command without a terminal and one with it, over the same connection.
    let control = laptop.config().with_file_name("control").display().to_string();
    let mut quiet = laptop.command("ssh");
    quiet.args(["-S", &control, "team", "echo begun; cat"]);
    let quiet = begun(quiet).await?;
    scene.world.expect("SELECT count(*) FROM channels WHERE ended_at IS NULL", "3").await?;
    let session = scene.world.value(LIVE).await?.context("one session")?;
    let (ada, _) = scene.sign_in("ada").await?;
    let form = format!("/sessions/{session}/message");
    for page in ["/sessions".to_owned(), format!("/sessions/{session}")] {
        let text = format!("please save, the domain is updated at 15:00 ({})", page.len());
        let told =
            ada.get(&scene.page(&page)).await?.is(200)?.form(&form)?.set("text", &text).submit().await?;
        let told = told.is(200)?.shows("the message was shown in 2 terminals.")?;
        ensure!(told.query("messaged").is_some() && told.body.contains("role=\"status\""), "{told:?}");
        for screen in [&first, &second] {
            screen.shows("spaceport: ada@example.com writes at ").await?;
            screen.shows(&format!("\"{text}\"")).await?;
        }
        let noted = format!(
            "SELECT count(*) FROM audit WHERE kind = 'session.messaged' AND actor_name = 'ada@example.com' \
             AND session_id = '{session}' AND space_id IS NOT NULL AND connection_id IS NOT NULL AND allowed \
             AND detail = jsonb_build_object('text', '{text}', 'terminals', 2)"
        );
        scene.world.expect(&noted, "1").await?;
    }
    for screen in [&first, &second] {
        screen.line("echo still $((40+3))").await?;
        screen.shows("still 43").await?;
    }
    let (out, err) = rest(quiet, b"through and through").await?;
    assert_eq!((out.as_slice(), err.as_str()), (&b"through and through"[..], ""));
    let log = ada.get(&scene.page("/audit?kind=session.")).await?.is(200)?;
    log.shows("wrote to a session’s terminals")?.shows("“please save, the domain")?.shows("terminals: 2")?;
    // Who was written to reads it on the page of their session; of the form they find nothing.
    let own = anna.get(&scene.page(&format!("/sessions/{session}"))).await?.is(200)?;
    ensure!(own.body.contains("the domain is updated") && own.form(&form).is_err(), "{own:?}");
    first.line("exit").await?;
    second.line("exit").await?;
    scene.world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;
    write(&scene, &ada, &session, "too late").await?.is(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_terminal_would_obey_is_refused_and_only_admins_of_this_site_write() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let session = scene.world.value(LIVE).await?.context("a session")?;
    scene.provider.add(account("otto", &["ml", "auditors"])).await?;
    let ((otto, _), (ada, _)) = (scene.sign_in("otto").await?, scene.sign_in("ada").await?);
    for who in [&anna, &otto] {
        write(&scene, who, &session, "mine").await?.is(404)?;
    }
    let page = otto.get(&scene.page("/sessions")).await?.is(200)?.shows("anna@example.com")?;
    ensure!(!page.body.contains("/message\""), "{page:?}");
    let to = scene.page(&format!("/sessions/{session}/message"));
    for origin in [Some("https://evil.example"), None] {
        ada.post(origin, &to, &[("text".to_owned(), "mine".to_owned())]).await?.is(403)?;
    }
    for (text, why) in [
        ("", "Write a message"),
        (" \r\n ", "Write a message"),
        (&"x".repeat(501), "Write a shorter message, of at most 500 characters."),
        ("\u{1b}[2J<b>typed", "take out control characters"),
        ("\u{9b}2J<b>typed", "take out control characters"),
        ("\u{202e}<b>typed", "take out control characters"),
        ("\0<b>typed", "take out control characters"),
    ] {
        let page = write(&scene, &ada, &session, text).await?.is(422)?;
        let page = page.shows("It is not sent: ")?;
        ensure!(page.body.to_lowercase().contains(&why.to_lowercase()), "{text:?}: {page:?}");
        // What was typed is still there.
        ensure!(!text.contains("typed") || page.body.contains("&#60;b&#62;typed</textarea>"), "{page:?}");
    }
    scene.world.expect("SELECT count(*) FROM messages", "0").await?;
    let long = format!("{}end", "word ".repeat(99));
    for (text, shown) in
        [("one\r\n\ttwo", "\"one two\""), ("Zoë: 30 €", "\"Zo?: 30 ?\""), (&long, "word end\"")]
    {
        write(&scene, &ada, &session, text).await?.is(200)?.shows("shown in 1 terminal.")?;
        screen.shows(shown).await?;
    }
    for n in 3..10 {
        write(&scene, &ada, &session, &format!("again {n}")).await?.is(200)?;
    }
    let page = write(&scene, &ada, &session, "one too many").await?.is(429)?;
    ensure!(page.header("retry-after").parse::<u32>().is_ok_and(|wait| (1..=60).contains(&wait)), "{page:?}");
    page.shows("10 messages in a minute")?.shows("one too many</textarea>")?;
    scene.world.expect("SELECT count(*) FROM messages", "10").await?;
    screen.shows("again 9").await?;
    ensure!(!screen.text().await?.contains("one too many"), "it was not shown");
    Ok(())
}

/// Writes to the one live session as an operator does, where nobody can read it; gives what the operator is told.
async fn unread(world: &World, text: &str) -> Result<String> {
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "1").await?;
    let session = world.value(LIVE).await?.context("a session")?;
    let done = world.spaceport(&["session", "message", &session, text, "--by", "chen"]).await?;
    ensure!(done.code == 1 && done.stdout.is_empty(), "{} {}", done.text(), done.stderr);
    let noted = format!(
        "SELECT count(*) FROM audit WHERE kind = 'session.messaged' AND session_id = '{session}' \
         AND actor_name = 'chen' AND detail->>'text' = '{text}' AND detail->>'terminals' = '0'"
    );
    world.expect(&noted, "1").await?;
    Ok(done.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_terminal_the_sender_is_told_so_and_no_byte_changes() -> Result<()> {
    let world = World::start().await?;
    let bytes = noise(300_000);
    for (host, says) in [("demo", "has no terminal open"), ("demo.jump", "in jump mode SSH is encrypted")] {
        let mut cat = world.client.command("ssh");
        cat.args([host, "echo begun; cat"]);
        let mut cat = begun(cat).await.context(host)?;
        cat.stdin.as_mut().context("its input")?.write_all(&bytes[..1_000]).await?;
        let told = unread(&world, &format!("to {host}")).await?;
        ensure!(told.contains("nobody has read it: ") && told.contains(says), "{told}");
        let (out, err) = rest(cat, &bytes[1_000..]).await?;
        assert_eq!((digest(&out), err.as_str()), (digest(&bytes), ""), "{host}");
        world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;
    }
    // Files go up and down while somebody writes; once with a terminal, in which nobody would read anything.
    let (up, down) = (world.folder().join("up"), world.folder().join("down"));
    std::fs::write(&up, &bytes)?;
    let mut sftp = world.client.command("sftp");
    sftp.args(["-q", "-b", "-", "demo"]);
    sftp.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut sftp = sftp.spawn()?;
    let lines = sftp.stdin.as_mut().context("its input")?;
    lines.write_all(format!("put {} there\n", up.display()).as_bytes()).await?;
    world.expect("SELECT count(*) FROM channels WHERE kind = 'sftp' AND ended_at IS NULL", "1").await?;
    ensure!(unread(&world, "to sftp").await?.contains("file transfers"), "it is told why");
    lines.write_all(format!("get there {}\n", down.display()).as_bytes()).await?;
    let done = tokio::time::timeout(LIMIT, sftp.wait_with_output()).await??;
    let err = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success() && err.is_empty(), "{err}");
    assert_eq!(digest(&std::fs::read(&down)?), digest(&bytes));
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;

    let mut raw = world.client.command("ssh");
    raw.args(["-tt", "-s", "demo", "sftp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut raw = raw.kill_on_drop(true).spawn()?;
    world
        .expect("SELECT count(*) FROM channels WHERE kind = 'sftp' AND pty AND ended_at IS NULL", "1")
        .await?;
    unread(&world, "to sftp with a terminal").await?;
    raw.start_kill()?;
    let mut said = Vec::new();
    raw.stdout.take().context("its output")?.read_to_end(&mut said).await?;
    ensure!(!String::from_utf8_lossy(&said).contains("chen"), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_writes_from_any_machine_and_putty_shows_it() -> Result<()> {
    let world = World::start().await?;
    let screen = Screen::open(&world, &shell(&world, "demo")).await?;
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await?;
    let session = world.value(LIVE).await?.context("a session")?;
    let short = &session[session.len() - 4..];
    let message = ["session", "message", short, "back at 15:00", "--by", "chen"];
    let done = world.spaceport(&message).await?.well()?;
    assert_eq!(done.text(), format!("session {short}: the message was shown in 1 terminal.\n"));
    screen.shows("spaceport: chen writes at ").await?;
    screen.shows("\"back at 15:00\"").await?;
    for (arguments, says) in [
        (["message", "ffffffff", "x", "--by", "chen"], "no live session has the id"),
        (["message", short, "\u{1b}]0;x\u{7}", "--by", "chen"], "take out control characters"),
        (["message", short, " ", "--by", "chen"], "write a message"),
    ] {
        let done = world.spaceport(&[&["session"], &arguments[..]].concat()).await?;
        ensure!(done.code == 1 && done.stderr.contains(says), "{arguments:?}: {} {}", done.code, done.stderr);
    }
    screen.line("exit").await?;
    world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;
    let gateway = world.gateway.ssh;
    putty(&world, gateway).await
}

/// PuTTY's command line client with a terminal, which writes what it is sent into a file.
async fn putty(world: &World, gateway: SocketAddr) -> Result<()> {
    let mut plink = crate::transfers::plink_command(world, gateway).await?;
    plink.args(["-t", "-l", "demo", "127.0.0.1", "echo begun; read line"]);
    plink.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut plink = plink.spawn()?;
    world.expect("SELECT count(*) FROM channels WHERE pty AND ended_at IS NULL", "1").await?;
    let session = world.value(LIVE).await?.context("a session")?;
    world.spaceport(&["session", "message", &session, "to putty", "--by", "chen"]).await?.well()?;
    plink.stdin.take().context("its input")?.write_all(b"\r").await?;
    let done = tokio::time::timeout(LIMIT, plink.wait_with_output()).await??;
    let shown = String::from_utf8(done.stdout)?;
    ensure!(shown.contains("begun") && shown.contains("\r\n  \"to putty\"\r\n"), "{shown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_one_gateway_writes_to_a_terminal_of_another_and_says_when_that_one_is_dead() -> Result<()>
{
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    // Two gateways on one machine cannot have the pages' port both.
    let (pages, free) = (scene.pages()?, free_port()?);
    let (mine, other) = (format!("listen = \"{pages}\""), format!("listen = \"127.0.0.1:{free}\""));
    scene.world.reconfigure(|text| text.replace(&mine, &other)).await?;
    let mut second = scene.world.second_gateway("second").await?;
    laptop.configure(second.ssh, &["team"])?;
    let screen = scene.shell(&laptop).await?;
    let session = scene.world.value(LIVE).await?.context("a session")?;
    let (ada, _) = scene.sign_in("ada").await?;
    write(&scene, &ada, &session, "from next door").await?.is(200)?.shows("shown in 1 terminal.")?;
    screen.shows("\"from next door\"").await?;
    let shown_by = "SELECT a.replica_id = s.replica_id FROM audit a JOIN sessions s ON s.id = a.session_id \
                    WHERE a.kind = 'session.messaged'";
    scene.world.expect(shown_by, "true").await?;

    second.crash().await?;
    let page = write(&scene, &ada, &session, "to the dead").await?.is(200)?;
    page.shows("nobody has read it, and nobody will: the gateway that serves the session did not answer.")?;
    let noted = "SELECT detail->>'error' FROM audit WHERE kind = 'session.messaged' AND detail->>'text' = 'to the dead' \
                 AND detail->>'terminals' = '0'";
    scene.world.expect(noted, "the gateway that serves the session did not answer").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_writes_once_however_often_it_asks_with_one_key() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, visitor) = scene.laptop("anna").await?;
    let screen = scene.shell(&laptop).await?;
    let session = scene.world.value(LIVE).await?.context("a session")?;
    let path = format!("/sessions/{session}/message");
    let (ada, ada_visitor) = program(&scene, "ada").await?;
    let asked = json!({ "text": "once and no more" });
    let keyed = async |key: &str, body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        ada.ask(reqwest::Method::POST, &path, Some(body.to_string()), &headers).await
    };
    let first = keyed("m1", &asked).await?.is(200)?;
    let told = first.json()?;
    let says = "The message was shown in 1 terminal.";
    assert_eq!(told, json!({ "outcome": "shown", "terminals": 1, "waiting": 0, "says": says }));
    screen.shows("\"once and no more\"").await?;
    let second = keyed("m1", &asked).await?.is(200)?;
    assert_eq!((second.header("idempotency-replayed"), &second.body), (Some("true"), &first.body));
    keyed("m1", &json!({ "text": "other" })).await?.problem(422, "key-reused")?;
    screen.line("echo after $((40+4))").await?;
    let text = screen.shows("after 44").await?;
    assert_eq!(text.matches("once and no more").count(), 1, "{text}");
    scene.world.expect("SELECT count(*) FROM messages", "1").await?;
    for (body, says) in [
        (json!({ "text": "\u{1b}c" }), "control characters"),
        (json!({ "text": " " }), "Write a message."),
        (json!({ "text": "x".repeat(501) }), "at most 500"),
        (json!({ "words": "x" }), "words"),
        (json!({}), "text"),
    ] {
        let detail = ada.post(&path, &body).await?.problem(422, "invalid")?;
        ensure!(detail.contains(says), "{body}: {detail}");
    }
    let unread = crate::api::make_token(&scene, &ada_visitor, &["sessions:read"]).await?;
    let unread = crate::api::Program::new(&scene, Some(&unread))?;
    unread.post(&path, &asked).await?.problem(403, "scope")?;
    let anna = crate::api::make_token(&scene, &visitor, &["sessions:read"]).await?;
    let anna = crate::api::Program::new(&scene, Some(&anna))?;
    anna.post(&path, &asked).await?.problem(404, "not-found")?;
    for n in 1..10 {
        ada.post(&path, &json!({ "text": format!("n {n}") })).await?.is(200)?;
    }
    let many = ada.post(&path, &asked).await?;
    ensure!(many.problem(429, "too-many")?.contains("10 messages a minute"), "{many:?}");
    ensure!(many.header("retry-after").is_some(), "{many:?}");
    ada.post("/sessions/ffff/message", &asked).await?.problem(404, "not-found")?;
    screen.line("exit").await?;
    scene.world.expect("SELECT count(*) FROM sessions WHERE ended_at IS NULL", "0").await?;
    ada.post(&path, &asked).await?.problem(404, "not-found")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_takes_nothing_is_said_to_wait_and_shows_it_later() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    // Nobody reads what ssh writes, so that windows fill, and the command in the space no longer gets on.
    let script =
        "l=$(head -c 1000 /dev/zero | tr '\\0' x); while echo $l; do n=$((n+1)); echo $n > lines; done";
    let mut flood = laptop.command("ssh");
    flood.args(["-tt", "team", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut flood = flood.kill_on_drop(true).spawn()?;
    scene.world.expect("SELECT count(*) FROM channels WHERE pty AND ended_at IS NULL", "1").await?;
    let session = scene.world.value(LIVE).await?.context("a session")?;
    let (ada, _) = scene.sign_in("ada").await?;
    let before = std::cell::RefCell::new(String::new());
    let waits = until("a message that waits", LIMIT, async || {
        let lines = laptop.ssh(["team", "cat lines"]).await?.text();
        if lines.is_empty() || before.replace(lines.clone()) != lines {
            return Ok(None);
        }
        let page = write(&scene, &ada, &session, "are you there").await?.is(200)?;
        Ok(page.body.contains("nobody has read it yet. It waits in 1 terminal,").then_some(()))
    });
    waits.await?;
    let mut out = flood.stdout.take().context("its output")?;
    let (mut shown, mut piece) = (Vec::new(), vec![0; 65_536]);
    let reading = async {
        while !String::from_utf8_lossy(&shown).contains("\"are you there\"") {
            let n = out.read(&mut piece).await?;
            ensure!(n > 0, "ssh ended");
            shown.extend_from_slice(&piece[..n]);
            shown.drain(..shown.len().saturating_sub(200_000));
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, reading).await.context("the message")?
}
