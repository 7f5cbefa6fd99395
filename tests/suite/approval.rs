//! A person with a new key approves it in a browser, and is not asked again.

mod refused;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::browser::Browser;
use spaceport_tests::client::{Agent, Client, run};
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};
use tokio::process::Command;

use crate::scene::{Pictures, Scene, Setting, free_port};
use crate::terminal::Screen;

/// For the client to have noticed something.
const LIMIT: Duration = Duration::from_secs(60);

/// What a terminal asks a person to do.
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) code: String,
}

impl Request {
    /// Reads it off what a client shows.
    fn read(text: &str) -> Result<Self> {
        let after = |word: &str| {
            // plink draws a bar beside it.
            let lines = text.lines().rev().map(|line| line.trim_start_matches(['|', ' ']));
            let line = lines.filter_map(|line| line.strip_prefix(word)).next();
            Ok::<_, anyhow::Error>(line.with_context(|| format!("{word} in:\n{text}"))?.trim().to_owned())
        };
        Ok(Self { url: after("1. Open ")?, code: after("2. Type ")? })
    }

    fn id(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    async fn page(&self, visitor: &Visitor) -> Result<Page> {
        visitor.get(&self.url).await
    }

    /// Types a code into the page and presses Approve.
    async fn approve_with(&self, visitor: &Visitor, code: &str) -> Result<Page> {
        let form = self.page(visitor).await?.is(200)?.form("answer")?;
        form.set("code", code).set("answer", "approve").submit().await
    }

    async fn approve(&self, visitor: &Visitor) -> Result<Page> {
        self.approve_with(visitor, &self.code).await
    }

    /// Chromium on the page, signed in as Anna.
    async fn browse(&self) -> Result<Browser> {
        let mut browser = Browser::start().await?;
        browser.goto(&self.url).await?;
        browser.click("a.btn").await?;
        browser.wait("input[name=login]").await?;
        browser.fill("input[name=login]", "anna").await?;
        browser.click("button").await?;
        browser.wait("input[name=code]").await?;
        Ok(browser)
    }

    /// Sends an answer without the page, as a forger would.
    async fn post(&self, visitor: &Visitor, from: Option<&str>, fields: &[(&str, &str)]) -> Result<Page> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        visitor.post(from, &self.url, &fields).await
    }
}

/// The fields of an answer that has everything.
fn complete(code: &str) -> [(&str, &str); 4] {
    [("code", code), ("for", "28800"), ("sure", "yes"), ("answer", "approve")]
}

/// A terminal in which somebody connects with a key that may be new; more options come first.
async fn connecting(scene: &Scene, laptop: &Client, options: &str) -> Result<Screen> {
    let config = laptop.config().display().to_string();
    let line = format!("ssh -F {config} -o LogLevel=INFO {options} team; echo ended $?; sleep 120");
    Screen::open(&scene.world, &line).await
}

async fn asks(screen: &Screen) -> Result<Request> {
    Request::read(&screen.shows("then press Enter:").await?)
}

/// A new laptop whose terminal waits for an approval.
pub(crate) async fn waiting(scene: &Scene, name: &str, options: &str) -> Result<(Client, Screen, Request)> {
    let laptop = scene.new_laptop(name).await?;
    let screen = connecting(scene, &laptop, options).await?;
    let request = asks(&screen).await?;
    Ok((laptop, screen, request))
}

pub(crate) async fn is_in(screen: &Screen) -> Result<()> {
    screen.line("echo ready $((40+2))").await?;
    screen.shows("ready 42").await.map(drop)
}

async fn audited(scene: &Scene, kind: &str, count: u32) -> Result<()> {
    scene.world.expect(&format!("SELECT count(*) FROM audit WHERE kind = '{kind}'"), &count.to_string()).await
}

/// No key was bound.
async fn nothing_bound(scene: &Scene) -> Result<()> {
    scene.world.expect("SELECT count(*) FROM keys", "0").await?;
    audited(scene, "key.bound", 0).await
}

/// Chromium and OpenSSH go all the way; with `SPACEPORT_SCREENSHOTS` the pictures are kept there.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_approved_in_a_browser_and_not_asked_about_again() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, screen, request) = waiting(&scene, "laptop-of-anna", "").await?;
    let shown = screen.text().await?;
    let fingerprint = laptop.fingerprint().await?;
    ensure!(shown.contains("this key is new") && shown.contains(&fingerprint), "{shown}");
    ensure!(!request.url.contains(&request.code.replace('-', "")), "the code is not in the address");
    let mut pictures = Pictures::of(&scene)?;
    let mut browser = request.browse().await?;
    ensure!(browser.url().await? == request.url, "signing in leads back to the question");
    let main = browser.text("main").await?;
    for text in ["Is this you", "127.0.0.1", "OpenSSH", "team", &fingerprint, "Ed25519", "The same address"] {
        ensure!(main.contains(text), "{text:?} in\n{main}");
    }
    pictures.take(&mut browser, "approve").await?;
    browser.fill("input[name=code]", "0000-0000").await?;
    browser.click("button[value=approve]").await?;
    browser.wait(".note.bad").await?;
    ensure!(browser.text(".note.bad").await?.contains("4 more tries"), "a wrong code is told");
    pictures.take(&mut browser, "approve-wrong-code").await?;
    browser.fill("input[name=code]", &request.code.to_lowercase().replace('-', "")).await?;
    browser.click("button[value=approve]").await?;
    browser.wait("p[role=status]").await?;
    ensure!(browser.text("h1").await?.contains("Press Enter in your terminal"), "what to do now");
    pictures.take(&mut browser, "approve-press-enter").await?;
    screen.line("").await?;
    screen.shows("approved by anna@example.com until").await?;
    is_in(&screen).await?;
    // The page looks again by itself.
    let told = async || Ok(browser.text("h1").await?.contains("The key is yours").then_some(()));
    until("the page to say so", LIMIT, told).await?;
    pictures.take(&mut browser, "approve-done").await?;
    browser.goto(&scene.page("/keys")).await?;
    let keys = browser.text("main").await?;
    ensure!(keys.contains(&fingerprint) && keys.contains("approved ") && keys.contains(", until "), "{keys}");
    pictures.take(&mut browser, "keys-approved").await?;
    // The wrong code, and icons of the provider's pages. Nothing was against the content policy.
    let complaints = browser.complaints().await?;
    let expected = |text: &String| text.contains("404") || text.contains("422");
    ensure!(complaints.iter().all(expected), "{complaints:?}");
    audited(&scene, "approval.granted", 1).await?;
    let bound = "SELECT actor_name || ' ' || (detail->>'address') || ' ' || (detail->>'fingerprint')
                 FROM audit WHERE kind = 'key.bound'";
    scene.world.expect(bound, &format!("anna@example.com 127.0.0.1 {fingerprint}")).await?;
    scene.world.expect("SELECT host(added_from) || (expires_at > now()) FROM keys", "127.0.0.1true").await?;
    let again = laptop.ssh(["-o", "BatchMode=yes", "team", "echo hi"]).await?.well()?;
    assert_eq!((again.text().as_str(), again.stderr.as_str()), ("hi\n", ""));
    // As an editor does: no terminal, a forward, a shell that reads its commands.
    let editor = laptop
        .ssh_with(["-T", "-D", &free_port()?.to_string(), "team", "bash"], b"echo from an editor\n")
        .await?
        .well()?;
    assert_eq!(editor.text(), "from an editor\n");
    Ok(())
}

/// The terminal and the browser are on two loopback addresses.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_elsewhere_sees_deny_first() -> Result<()> {
    let scene = Scene::new().await?;
    let (_, screen, request) = waiting(&scene, "laptop-of-anna", "-b 127.0.0.2").await?;
    let mut pictures = Pictures::of(&scene)?;
    let mut browser = request.browse().await?;
    let main = browser.text("main").await?;
    for text in ["This does not look like you", "127.0.0.2", "127.0.0.1", "Another address", "Approve anyway"]
    {
        ensure!(main.contains(text), "{text:?} in\n{main}");
    }
    pictures.take(&mut browser, "approve-elsewhere").await?;
    // Whoever types the code and presses Enter has not approved.
    browser.fill("input[name=code]", &request.code).await?;
    browser.press("input[name=code]", "Enter").await?;
    let denied = async || Ok((browser.text("h1").await? == "Denied").then_some(()));
    until("the page to say so", LIMIT, denied).await?;
    pictures.take(&mut browser, "approve-denied").await?;
    screen.line("").await?;
    screen.shows("denied in the browser").await?;
    nothing_bound(&scene).await
}

/// A program for `SSH_ASKPASS` that writes down what it is asked and answers once it may.
struct Askpass {
    program: String,
    folder: std::path::PathBuf,
}

impl Askpass {
    fn new(folder: &Path) -> Result<Self> {
        let program = folder.join("askpass");
        let (question, go) = (folder.join("question"), folder.join("go"));
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> {}\nwhile [ ! -e {} ]; do sleep 0.1; done\necho\n",
            question.display(),
            go.display()
        );
        std::fs::write(&program, script)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { program: program.display().to_string(), folder: folder.to_owned() })
    }

    async fn question(&self) -> Result<String> {
        let path = self.folder.join("question");
        let asked = async || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            Ok(text.ends_with('\n').then_some(text))
        };
        until("a question", LIMIT, asked).await
    }

    fn press_enter(&self) -> Result<()> {
        Ok(std::fs::write(self.folder.join("go"), "")?)
    }
}

/// Longer than russh's keepalives would bear, and longer than a login may take otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn an_editor_asks_in_a_window_and_may_take_its_time() -> Result<()> {
    let ssh = "login_grace_s = 10\n".to_owned();
    let scene = Scene::with(Setting { ssh, ..Setting::default() }).await?;
    let laptop = scene.new_laptop("laptop-of-anna").await?;
    let askpass = Askpass::new(scene.world.folder())?;
    let mut ssh = laptop.command("ssh");
    ssh.args(["-T", "-D", &free_port()?.to_string(), "team", "bash"]).env("SSH_ASKPASS", &askpass.program);
    ssh.env("SSH_ASKPASS_REQUIRE", "force");
    let editor = tokio::spawn(async move { run(ssh, b"echo from an editor\n").await });
    let question = askpass.question().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let words: Vec<&str> = question.split_whitespace().collect();
    let after = |word: &str| {
        words
            .iter()
            .position(|w| *w == word)
            .and_then(|at| words.get(at + 1))
            .with_context(|| question.clone())
    };
    let request =
        Request { url: after("at")?.trim_end_matches(',').to_owned(), code: (*after("Approve")?).to_owned() };
    let while_it_waits = async || {
        let old = "SELECT now() - asked_at > interval '40 s' FROM approvals";
        Ok((scene.world.value(old).await?.as_deref() == Some("true")).then_some(()))
    };
    until("a long time", LIMIT, while_it_waits).await?;
    request.approve(&anna).await?.is(200)?;
    askpass.press_enter()?;
    assert_eq!(editor.await??.well()?.text(), "from an editor\n");
    audited(&scene, "key.bound", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_presses_enter_too_early_is_asked_again() -> Result<()> {
    let scene = Scene::with(no_certificates()).await?;
    let (laptop, screen, request) = waiting(&scene, "laptop-of-anna", "").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    screen.line("").await?;
    screen.shows("not approved yet").await?;
    ensure!(asks(&screen).await?.code == request.code, "the code stays");
    request.approve(&anna).await?.is(200)?.shows("Press Enter in your terminal")?;
    nothing_bound(&scene).await?;
    screen.line("").await?;
    is_in(&screen).await?;
    request.page(&anna).await?.is(200)?.shows("The key is yours")?;
    audited(&scene, "key.bound", 1).await?;
    laptop.ssh(["-o", "BatchMode=yes", "team", "true"]).await?.well()?;
    Ok(())
}

fn no_certificates() -> Setting {
    Setting { gateway: "[ssh.certificates]\nown_ca = false\n".to_owned(), ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_eight_keys_of_which_the_last_is_bound_never_asks() -> Result<()> {
    for setting in [Setting::default(), no_certificates()] {
        let scene = Scene::with(setting).await?;
        let (anna, _) = scene.sign_in("anna").await?;
        let (laptop, screen, request) = waiting(&scene, "laptop-of-anna", "").await?;
        request.approve(&anna).await?.is(200)?;
        screen.line("").await?;
        is_in(&screen).await?;
        drop(screen);
        let agent = Agent::start(scene.world.folder()).await?;
        for n in 0..7 {
            agent.add(&Client::new(&scene.world.folder().join(format!("other-{n}"))).await?.key()).await?;
        }
        agent.add(&laptop.key()).await?;
        let config = std::fs::read_to_string(laptop.config())?;
        let config = config.replace("IdentitiesOnly yes", "IdentitiesOnly no");
        let config = config.lines().filter(|line| !line.contains("IdentityFile"));
        std::fs::write(laptop.config(), config.collect::<Vec<_>>().join("\n"))?;
        let mut ssh = laptop.command("ssh");
        ssh.args(["-o", "BatchMode=yes", "-o", "IdentityFile=none", "-v", "team", "echo hi"]);
        ssh.env("SSH_AUTH_SOCK", &agent.socket);
        let done = run(ssh, &[]).await?;
        ensure!(done.code == 0 && done.text() == "hi\n", "{}", done.stderr);
        assert_eq!(done.stderr.matches("Offering public key").count(), 8, "{}", done.stderr);
        scene.world.expect("SELECT count(*) FROM approvals", "1").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_is_let_in_once_where_that_is_allowed() -> Result<()> {
    let gateway = "[ssh.approval]\nwithout_key = true\n".to_owned();
    let scene = Scene::with(Setting { gateway, ..Setting::default() }).await?;
    let laptop = scene.new_laptop("laptop-of-anna").await?;
    std::fs::remove_file(laptop.key())?;
    std::fs::remove_file(laptop.key().with_extension("pub"))?;
    let (anna, _) = scene.sign_in("anna").await?;
    let screen = connecting(&scene, &laptop, "").await?;
    let request = asks(&screen).await?;
    request.page(&anna).await?.is(200)?.shows("approving lets in this one connection")?;
    request.approve(&anna).await?.is(200)?;
    screen.line("").await?;
    screen.shows("approved by anna@example.com, for this connection.").await?;
    is_in(&screen).await?;
    request.page(&anna).await?.shows("You are in")?;
    audited(&scene, "approval.used", 1).await?;
    nothing_bound(&scene).await?;
    let again = laptop.ssh(["-o", "BatchMode=yes", "team", "true"]).await?;
    ensure!(again.code == 255, "the next connection is asked again: {}", again.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plink_is_approved() -> Result<()> {
    for setting in [Setting::default(), no_certificates()] {
        let scene = Scene::with(setting).await?;
        let laptop = scene.new_laptop("laptop-of-anna").await?;
        let key = scene.world.folder().join("key.ppk");
        let mut puttygen = Command::new("puttygen");
        puttygen.arg(laptop.key()).args(["-O", "private", "-o"]).arg(&key);
        run(puttygen, &[]).await?.well()?;
        let host_key = scene.world.host_key_fingerprint().await?;
        let line = format!(
            "HOME={} plink -noagent -no-antispoof -ssh -P {} -i {} -hostkey {host_key} -l team 127.0.0.1; echo ended $?; sleep 120",
            scene.world.folder().display(),
            scene.world.gateway.ssh.port(),
            key.display()
        );
        let screen = Screen::open(&scene.world, &line).await?;
        let request = asks(&screen).await?;
        let (anna, _) = scene.sign_in("anna").await?;
        request.page(&anna).await?.shows("PuTTY")?;
        request.approve(&anna).await?.is(200)?;
        screen.line("").await?;
        screen.shows("approved by anna@example.com until").await?;
        is_in(&screen).await?;
        audited(&scene, "key.bound", 1).await?;
    }
    Ok(())
}
