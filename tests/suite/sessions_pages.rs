//! The pages of sessions: live ones as they change, those that ended, one by itself, and files of them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::browser::Browser;
use spaceport_tests::client::Client;
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};

use crate::scene::{Pictures, Scene};

const LIMIT: Duration = Duration::from_secs(30);
/// What a client may call itself, and what a page and a spreadsheet must not take at its word.
const HOSTILE: &str = "SSH-2.0-=HYPERLINK(\"http://evil.example\")<script>alert(1)</script>";

/// A page's stream, as a browser reads it.
pub(crate) struct Stream {
    answer: reqwest::Response,
    text: String,
}

/// One event of it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    told: Value,
}

impl Stream {
    /// Opens the stream that a page names, and says which event was the last one seen.
    pub(crate) async fn open(
        scene: &Scene,
        visitor: &Visitor,
        path: &str,
        last: Option<&str>,
    ) -> Result<Self> {
        let answer = ask(scene, visitor, path, last).await?;
        ensure!(answer.status() == 200, "{answer:?}");
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        ensure!(kind == "text/event-stream", "{kind}");
        Ok(Self { answer, text: String::new() })
    }

    /// The next event; nothing when the stream is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned)
                };
                let (id, data) = (line("id:"), line("data:"));
                self.text = rest.to_owned();
                if let Some(data) = data {
                    let told = serde_json::from_str(&data)?;
                    return Ok(Some(Event { id: id.context("an id")?, told }));
                }
                continue;
            }
            match tokio::time::timeout(LIMIT, self.answer.chunk()).await.context("news")? {
                Ok(Some(bytes)) => self.text += std::str::from_utf8(&bytes)?,
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// The first event that is like this.
    async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Event> {
        loop {
            let event = self.next().await?.with_context(|| format!("the stream ended before {what}"))?;
            if is(&event.told) {
                return Ok(event);
            }
        }
    }
}

async fn ask(scene: &Scene, visitor: &Visitor, path: &str, last: Option<&str>) -> Result<reqwest::Response> {
    let url = scene.page(path);
    let cookie = visitor.cookie(&url, "spaceport")?.context("a login")?;
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let asked = http.get(url).header("cookie", format!("spaceport={cookie}"));
    let asked = if let Some(last) = last { asked.header("last-event-id", last) } else { asked };
    Ok(asked.send().await?)
}

/// Where a page is told what changes on it.
fn stream_of(page: &Page) -> Result<String> {
    let (_, rest) = page.body.split_once("data-live=\"").context("a live page")?;
    let (path, _) = rest.split_once('"').context("an address")?;
    Ok(path.replace("&#38;", "&"))
}

fn holds(told: &Value, list: &str, id: &str) -> bool {
    told[list].as_array().is_some_and(|all| all.iter().any(|one| one == id))
}

async fn session(scene: &Scene, condition: &str) -> Result<String> {
    let statement = format!("SELECT id FROM sessions WHERE {condition} ORDER BY started_at DESC LIMIT 1");
    until("the session's row", LIMIT, async || scene.world.value(&statement).await).await
}

/// An ssh client that stays until it is told to leave or to print something.
pub(crate) async fn connected(laptop: &Client) -> Result<tokio::process::Child> {
    let mut ssh = laptop.command("ssh");
    ssh.args(["team", "read line; head -c 200000 /dev/zero; read line"]);
    ssh.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    Ok(ssh.spawn()?)
}

async fn say(ssh: &mut tokio::process::Child) -> Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let stdin = ssh.stdin.as_mut().context("its input")?;
    stdin.write_all(b"on\n").await?;
    Ok(stdin.flush().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_is_told_of_a_session_its_bytes_and_its_end() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let page = ada.get(&scene.page("/sessions")).await?.is(200)?.shows("Nobody is connected right now.")?;
    let path = stream_of(&page)?;
    ensure!(ask(&scene, &anna, &path, None).await?.status() == 404, "not for her");
    let mut stream = Stream::open(&scene, &ada, &path, None).await?;
    let first = stream.next().await?.context("the state")?;
    ensure!(first.told["live"] == serde_json::json!([]), "{first:?}");
    let mut ssh = connected(&laptop).await?;
    let id = session(&scene, "ended_at IS NULL").await?;
    let new = stream.until("the new row", |told| !told["rows"].is_null()).await?;
    let row = new.told["rows"][0].as_str().context("a row")?.trim().to_owned();
    ensure!(row.starts_with("<tr id=\"s-") && row.contains(&id) && row.contains("anna@example.com"), "{row}");
    ensure!(new.told["say"] == "1 person in 1 space right now.", "{new:?}");
    // The page makes the row in the same way.
    let page = ada.get(&scene.page("/sessions")).await?.is(200)?;
    let same = |text: &str| text.split("data-cell").next().map(str::to_owned);
    ensure!(page.body.contains(&same(&row).context("a beginning")?), "{row}\n{page:?}");
    say(&mut ssh).await?;
    let moved = stream
        .until("bytes", |told| {
            told["changed"].as_array().is_some_and(|all| all.iter().any(|c| c["down"] == "195.3 KiB"))
        })
        .await?;
    ensure!(moved.told["changed"][0]["id"] == id.as_str(), "{moved:?}");
    say(&mut ssh).await?;
    stream.until("its end", |told| holds(told, "over", &id)).await?;
    ensure!(ssh.wait().await?.success(), "it ended by itself");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_comes_back_is_told_everything() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let mut old = connected(&laptop).await?;
    let gone = session(&scene, "ended_at IS NULL").await?;
    let page = ada.get(&scene.page("/sessions")).await?.is(200)?;
    let path = stream_of(&page)?;
    let mut stream = Stream::open(&scene, &ada, &path, None).await?;
    let first = stream.next().await?.context("the state")?;
    ensure!(holds(&first.told, "live", &gone), "{first:?}");
    drop(stream);
    // Meanwhile one ends and another begins.
    old.kill().await?;
    until("its end", LIMIT, async || {
        scene.world.value("SELECT 1 FROM sessions WHERE ended_at IS NOT NULL").await
    })
    .await?;
    let _new = connected(&laptop).await?;
    let new = session(&scene, "ended_at IS NULL").await?;
    let mut again = Stream::open(&scene, &ada, &path, Some(&first.id)).await?;
    // The state is that of the last look, and what it lacks follows.
    let (mut shown, mut rows) = (BTreeSet::from([gone.clone()]), String::new());
    while shown.contains(&gone) || !rows.contains(&new) {
        let told = again.next().await?.context("the stream goes on")?.told;
        if let Some(live) = told["live"].as_array() {
            shown.retain(|id| live.iter().any(|one| one == id));
        }
        shown.retain(|id| !holds(&told, "over", id));
        rows += &told["rows"].to_string();
    }
    // A page that others sort or search by is told of its own rows only.
    let sorted = ada.get(&scene.page("/sessions?sort=person&q=nobody")).await?.is(200)?;
    let mut other = Stream::open(&scene, &ada, &stream_of(&sorted)?, None).await?;
    let state = other.next().await?.context("the state")?;
    ensure!(state.told["live"] == serde_json::json!([]) && state.told["rows"].is_null(), "{state:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_with_the_login_and_with_the_gateway() -> Result<()> {
    let scene = Scene::new().await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let (there, there_page) = scene.sign_in("ada").await?;
    let path = stream_of(&ada.get(&scene.page("/sessions")).await?.is(200)?)?;
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(Stream::open(&scene, &ada, &path, None).await?);
    }
    let refused = ask(&scene, &there, &path, None).await?;
    ensure!(refused.status() == 429 && refused.headers().contains_key("retry-after"), "{refused:?}");
    streams.clear();
    let mut ended =
        until("a place", LIMIT, async || Ok(Stream::open(&scene, &there, &path, None).await.ok())).await?;
    ended.next().await?.context("the state")?;
    there_page.form("/signout")?.submit().await?;
    while ended.next().await?.is_some() {}
    let mut last = Stream::open(&scene, &ada, &path, None).await?;
    last.next().await?.context("the state")?;
    let Scene { world, .. } = scene;
    let mut gateway = world.gateway;
    gateway.signal("TERM").await?;
    while last.next().await?.is_some() {}
    let status = tokio::time::timeout(LIMIT, gateway.ended()).await.context("nothing keeps it")??;
    ensure!(status.success(), "{status}");
    Ok(())
}

async fn change(scene: &Scene, statement: String) -> Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&scene.world.database).await?;
    Ok(())
}

/// Gives every session the words of a client that means no good.
async fn hostile(scene: &Scene) -> Result<()> {
    let rename = format!("UPDATE sessions SET client_version = '{HOSTILE}'");
    change(scene, rename).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_shown_to_its_person_and_what_clients_say_is_only_text() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let mut ssh = connected(&laptop).await?;
    let id = session(&scene, "ended_at IS NULL").await?;
    hostile(&scene).await?;
    let escaped = |page: Page| -> Result<Page> {
        ensure!(!page.body.contains("<script>alert"), "{page:?}");
        Ok(page)
    };
    let one = format!("/sessions/{id}");
    let page = escaped(anna.get(&scene.page(&one)).await?.is(200)?)?.shows("live")?;
    ensure!(page.form(&format!("{one}/end")).is_err(), "she may not end it here");
    ensure!(!page.body.contains("/sessions/history"), "nor see others'");
    let page = escaped(ada.get(&scene.page("/sessions")).await?.is(200)?)?;
    let mut stream = Stream::open(&scene, &ada, &stream_of(&page)?.replace("ids=", "none="), None).await?;
    let state = stream.next().await?.context("the state")?.told.to_string();
    ensure!(state.contains("=HYPERLINK") && !state.contains("<script>alert"), "{state}");
    let page = escaped(ada.get(&scene.page(&one)).await?.is(200)?)?;
    page.form(&format!("{one}/end"))?
        .set("reason", "<b>old</b> key")
        .submit()
        .await?
        .is(200)?
        .shows("is ending")?;
    session(&scene, "ended_at IS NOT NULL").await?;
    ensure!(!ssh.wait().await?.success(), "it was ended");
    until("its channel's end", LIMIT, async || {
        scene.world.value("SELECT 1 FROM channels WHERE ended_at IS NOT NULL").await
    })
    .await?;
    let page = escaped(anna.get(&scene.page(&one)).await?.is(200)?)?;
    let page = page.shows("Ended by ada@example.com: ")?.shows("The space stayed up.")?.shows("SHA256:")?;
    let stream =
        scene.world.value("SELECT aws_session_id FROM streams LIMIT 1").await?.context("a stream")?;
    let page = page.shows(&stream)?.shows("head -c 200000")?.shows("aws cloudtrail lookup-events")?;
    ensure!(!page.body.contains("<b>old</b>"), "{page:?}");
    let (oskar_like, _) = scene.sign_in("ada").await?;
    oskar_like.get(&scene.page("/sessions/nonsense")).await?.is(404)?;
    oskar_like.get(&scene.page(&format!("/sessions/{}", uuid::Uuid::now_v7()))).await?.is(404)?;
    // Of somebody else's she finds no page.
    let theirs = "UPDATE sessions SET user_id = (SELECT id FROM users WHERE subject = 'sub-ada')";
    change(&scene, theirs.to_owned()).await?;
    anna.get(&scene.page(&one)).await?.is(404)?;
    for page in ["/sessions", "/sessions/history", "/sessions/history.csv", "/sessions/history.jsonl"] {
        anna.get(&scene.page(page)).await?.is(404).context(page)?;
    }
    Ok(())
}

/// Writes sessions that ended into the record, each a minute after the one before.
pub(crate) async fn past(scene: &Scene, sessions: u32) -> Result<()> {
    let rows = format!(
        "INSERT INTO sessions (id, replica_id, user_id, space_id, connection_id, mode, client_address,
                                   client_version, key_fingerprint, started_at, ended_at, end_code, end_reason)
             SELECT gen_random_uuid(), r.id, u.id, p.id, gen_random_uuid(), 'session', '203.0.113.7', '{HOSTILE}',
                    'SHA256:x', timestamptz '2026-03-01 12:00Z' - n * interval '1 minute',
                    timestamptz '2026-03-01 13:00Z', CASE WHEN n % 2 = 0 THEN 'client_left' ELSE 'drained' END,
                    'the client left'
             FROM generate_series(1, {sessions}) n, (SELECT id FROM replicas LIMIT 1) r,
                  (SELECT id FROM users WHERE subject = 'sub-anna') u, (SELECT id FROM spaces WHERE name = 'team') p"
    );
    change(scene, rows).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_paged_and_taken_away_whole() -> Result<()> {
    let scene = Scene::new().await?;
    scene.sign_in("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    past(&scene, 2_345).await?;
    let page = ada.get(&scene.page("/sessions/history")).await?.is(200)?.shows("2345 sessions, ")?;
    ensure!(
        page.body.matches("<th scope=\"row\"").count() == 50 && !page.body.contains("<script>alert"),
        "{page:?}"
    );
    let next =
        page.body.split("href=\"").find(|part| part.contains("rel=\"next\"")).context("a next page")?;
    let next = next.split('"').next().context("an address")?.replace("&#38;", "&");
    let second = ada.get(&scene.page(&next)).await?.is(200)?.shows("Newest sessions")?;
    ensure!(second.body.matches("<th scope=\"row\"").count() == 50, "{second:?}");
    let csv = ada.get(&scene.page("/sessions/history.csv")).await?.is(200)?;
    ensure!(csv.header("content-type").starts_with("text/csv"), "{:?}", csv.headers);
    ensure!(
        csv.header("content-disposition") == "attachment; filename=\"sessions.csv\"",
        "{:?}",
        csv.headers
    );
    let lines: Vec<&str> = csv.body.trim_end().split("\r\n").collect();
    ensure!(lines.len() == 2_346 && lines[0].starts_with("id,user,space,"), "{}", lines.len());
    // What a client says begins with SSH-, which is no formula; what is quoted stays one field.
    ensure!(lines[1].contains(",\"SSH-2.0-=HYPERLINK(\"\"http://evil.example\"\")<script>"), "{}", lines[1]);
    let some = "?from=2026-03-01&to=2026-03-01&end=drained&q=anna";
    let page = ada.get(&scene.page(&format!("/sessions/history{some}"))).await?.is(200)?;
    page.shows("360 sessions that began from 1 Mar 2026 to 1 Mar 2026, ")?;
    let jsonl = ada.get(&scene.page(&format!("/sessions/history.jsonl{some}"))).await?.is(200)?;
    let objects: Vec<Value> = jsonl.body.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(objects.len() == 360, "{}", objects.len());
    ensure!(
        objects.iter().all(|one| one["end_code"] == "drained" && one["client_version"] == HOSTILE),
        "{:?}",
        objects[0]
    );
    for nonsense in ["?from=yesterday", "?to=9999-12-31&from=-1", "?after=AAAA", "?end=x&person=y&q=%00"] {
        ada.get(&scene.page(&format!("/sessions/history{nonsense}"))).await?.is(200).context(nonsense)?;
        ada.get(&scene.page(&format!("/sessions{nonsense}"))).await?.is(200).context(nonsense)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_follows_sessions_and_its_pages_look_right() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    past(&scene, 60).await?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/sessions")).await?;
    browser.click("a[href^='/signin/idp?']").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.click("button").await?;
    browser.wait("[data-live-state].running").await?;
    let mut pictures = Pictures::of(&scene)?;
    pictures.take(&mut browser, "sessions-none").await?;
    let mut ssh = connected(&laptop).await?;
    browser.wait("tbody tr[id^='s-']").await?;
    ensure!(browser.text("[data-say]").await? == "1 person in 1 space right now.", "the sentence");
    let _second = connected(&laptop).await?;
    browser.wait("tbody tr:nth-child(2)").await?;
    let id = session(&scene, "ended_at IS NULL").await?;
    pictures.take(&mut browser, "sessions-live").await?;
    browser.goto(&scene.page(&format!("/sessions/{id}"))).await?;
    pictures.take(&mut browser, "session-live").await?;
    for (text, outcome, name) in [
        ("is anybody there", "[role=status]", "session-messaged"),
        ("\u{1b}[2J", "[role=alert]", "session-message-refused"),
    ] {
        browser.click("details:has([name=text]) summary").await?;
        browser.fill("[name=text]", text).await?;
        browser.click("form[action$='/message'] button").await?;
        browser.wait(&format!("main {outcome}")).await?;
        pictures.take(&mut browser, name).await?;
    }
    browser.goto(&scene.page("/sessions")).await?;
    browser.wait("[data-live-state].running").await?;
    ssh.kill().await?;
    browser.wait("tr.over").await?;
    pictures.take(&mut browser, "sessions-over").await?;
    browser.click("[data-pause]").await?;
    ensure!(browser.text("[data-live-state]").await? == "Paused", "it says so");
    let _third = connected(&laptop).await?;
    browser.click("[data-pause]").await?;
    browser.wait("tbody tr:nth-child(3)").await?;
    ensure!(browser.count("tr.over").await? == 1, "it stays where it was");
    browser.goto(&scene.page("/sessions/history")).await?;
    pictures.take(&mut browser, "sessions-history").await?;
    let over = session(&scene, "ended_at IS NOT NULL").await?;
    browser.goto(&scene.page(&format!("/sessions/{over}"))).await?;
    pictures.take(&mut browser, "session-ended").await?;
    let complaints = browser.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("status of 4")), "{complaints:?}");
    assert_eq!(pictures.taken(), 32, "every page was looked at");
    Ok(())
}
