//! Every page, as everybody who finds it, in a browser that would run what it could.

use anyhow::{Context, Result, ensure};
use reqwest::Url;
use spaceport_tests::browser::Browser;
use spaceport_tests::provider::account;
use spaceport_tests::until::until;
use spaceport_tests::visitor::Visitor;

use super::ear::Caller;
use super::stage::{FAILS, LIMIT, LONG, Stage};
use super::{HOSTILE, MARK, obeyed, together};
use crate::scene::Pictures;

/// Elements that no page of ours has: text that became markup.
const FOREIGN: &str = "img, iframe, object, embed, base, style, script:not([src^='/assets/']), [onload], [onerror], \
                       [onclick], [href^='javascript:' i], [action^='javascript:' i]";
/// Parameters of pages, by the page.
const PARAMETERS: [(&str, &[&str]); 13] = [
    ("/spaces", &["q", "of", "done"]),
    ("/spaces/main/team", &["done"]),
    ("/signin", &["return"]),
    ("/sessions", &["q", "mode", "idle", "sort", "after", "ending", "messaged"]),
    ("/sessions/history", &["q", "from", "to", "end", "person", "after"]),
    ("/sessions/history.csv", &["q", "from", "to", "end", "person"]),
    ("/sessions/history.jsonl", &["q"]),
    ("/audit", &["who", "space", "session", "kind", "answer", "from", "to", "before"]),
    ("/audit.csv", &["who", "space", "session", "kind"]),
    ("/cost", &["month", "by"]),
    ("/cost.csv", &["month", "by"]),
    ("/grants", &["made", "ended"]),
    ("/users", &["suspended", "resumed"]),
];

fn with(stage: &Stage, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
    Ok(Url::parse_with_params(&stage.scene.page(path), parameters)?.to_string())
}

/// Fails where a page has a text as markup, or something that turns text around.
async fn shows_text_only(visitor: &Visitor, url: &str) -> Result<()> {
    let page = visitor.get(url).await?;
    ensure!(page.status.as_u16() < 500, "{url}: {page:?}");
    ensure!(!page.body.contains(obeyed), "{url}: {:?}", page.body);
    if !page.header("content-type").starts_with("text/html") {
        return Ok(());
    }
    ensure!(page.header("content-security-policy").contains("script-src 'self'"), "{url}");
    for markup in
        ["<script>", "<img", "<svg onload", "onerror=\"g", "href=\"javascript:", "src=\"javascript:"]
    {
        ensure!(!page.body.contains(markup), "{url} has {markup}: {page:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_of_every_page_stays_text() -> Result<()> {
    let stage = Stage::new().await?;
    for text in HOSTILE {
        for (path, names) in PARAMETERS {
            for name in names {
                shows_text_only(&stage.ada, &with(&stage, path, &[(name, text)])?).await?;
            }
        }
        let segment = |before: &[&str]| -> Result<String> {
            let mut url = Url::parse(&stage.scene.site)?;
            url.path_segments_mut().ok().context("a path")?.extend(before).push(text);
            Ok(url.to_string())
        };
        for before in [&[][..], &["k"], &["sessions"], &["signin"], &["spaces", "main"], &["assets"]] {
            shows_text_only(&stage.ada, &segment(before)?).await?;
        }
    }
    // Forms that are sent back with what was typed.
    let caller = stage.call("plain", "team").await?;
    caller.channel().await?.exec(true, "sleep 1000").await?;
    let live = "SELECT id FROM sessions WHERE ended_at IS NULL";
    let live = until("a session", LIMIT, async || stage.scene.world.value(live).await).await?;
    let message = format!("/sessions/{live}/message");
    for text in HOSTILE {
        for (path, fields) in [
            (message.as_str(), &["text"][..]),
            ("/keys", &["key", "name"]),
            ("/keys/certificate", &["key"]),
            ("/grants", &["user", "space", "for", "reason"]),
            ("/spaces/main/team/hold", &["for", "because"]),
            ("/spaces/main/team/start", &["type"]),
        ] {
            let fields: Vec<(&str, &str)> = fields.iter().map(|name| (*name, text)).collect();
            let page = stage.post(&stage.ada, path, &fields).await?;
            ensure!(!page.body.contains(obeyed), "{path} with {text:?}: {page:?}");
            ensure!(!page.body.contains("<script>g") && !page.body.contains("<img"), "{path}: {page:?}");
        }
    }
    Ok(())
}

/// Somebody's walk through pages.
struct Walk<'a> {
    stage: &'a Stage,
    browser: Browser,
    pictures: Pictures,
}

impl<'a> Walk<'a> {
    async fn of(stage: &'a Stage, login: &str) -> Result<Self> {
        let mut browser = Browser::start().await?;
        browser.goto(&stage.scene.page("/signin/idp?return=/keys")).await?;
        browser.fill("input[name=login]", login).await?;
        browser.press("input[name=login]", "Enter").await?;
        browser.wait("details.who").await?;
        Ok(Self { stage, browser, pictures: Pictures::of(&stage.scene)? })
    }

    /// Nothing ran on the page that is shown, nothing became markup, nothing is turned around, and nothing sticks out.
    async fn is_safe(&mut self, what: &str) -> Result<()> {
        let mark = self.browser.value(MARK).await?;
        ensure!(mark.is_null(), "{what} ran {mark}");
        let foreign = format!("[...document.querySelectorAll(\"{FOREIGN}\")].map((e) => e.outerHTML)");
        let foreign = self.browser.value(&foreign).await?;
        ensure!(foreign == serde_json::json!([]), "{what} has {foreign}");
        for (width, height) in [(390, 844), (720, 900), (1024, 768), (1440, 900)] {
            ensure!(!self.browser.overflows(width, height).await?, "{what} sticks out at {width}");
        }
        let html = self.browser.value("document.documentElement.outerHTML").await?;
        let turned = html.as_str().context("the page")?.find(obeyed);
        ensure!(turned.is_none(), "{what} has what turns text around: {html}");
        Ok(())
    }

    /// Opens a page, and looks at it closely where it is another one than somebody before has seen.
    async fn visit(&mut self, path: &str, name: Option<&str>) -> Result<()> {
        self.browser.goto(&self.stage.scene.page(path)).await.with_context(|| path.to_owned())?;
        self.is_safe(path).await?;
        if let Some(name) = name {
            self.pictures.look(&mut self.browser, &format!("hostile-{name}")).await?;
            self.is_safe(path).await?;
        }
        Ok(())
    }

    /// Nothing was blocked that pages tried, no dialog came, and nobody else was asked for anything.
    async fn end(mut self) -> Result<()> {
        let complaints = self.browser.complaints().await?;
        let usual = |complaint: &String| complaint.contains("status of 4");
        ensure!(complaints.iter().all(usual), "{complaints:?}");
        let ours = [&self.stage.scene.site, &self.stage.scene.provider.issuer];
        let ours: Vec<String> = ours
            .into_iter()
            .map(|url| Ok(Url::parse(url)?.origin().ascii_serialization()))
            .collect::<Result<_>>()?;
        let origins = self.browser.origins().await?;
        ensure!(origins.iter().all(|origin| ours.contains(origin)), "{origins:?}");
        Ok(())
    }
}

/// A search for everything at once, in an address.
fn search() -> String {
    let words = together(0, 119);
    quoted(&words)
}

/// Text as it stands in a query.
fn quoted(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn of_a_user(stage: &Stage) -> Result<()> {
    let mine = "SELECT id FROM sessions WHERE end_code = 'ended_by_admin'";
    let mine = stage.scene.world.value(mine).await?.context("a session")?;
    let stranger = Caller::connect(stage.scene.world.gateway.ssh, "<i>x</i>\u{202e}", &stage.heard).await;
    let mut stranger = stranger.context("a client whose key is unknown")?;
    let key = spaceport_tests::client::Client::new(&stage.scene.world.folder().join("asking")).await?;
    let key = std::sync::Arc::new(russh::keys::load_secret_key(key.key(), None)?);
    stranger.log_in(&together(0, 200), &key).await?;
    ensure!(stranger.ask_in(&together(0, 200)).await?, "somebody may approve it");
    let asked = "SELECT id FROM approvals WHERE state = 'pending'";
    let asked = stage.scene.world.value(asked).await?.context("an approval")?;
    let mut walk = Walk::of(stage, "anna").await?;
    let q = search();
    for (path, name) in [
        ("/spaces".to_owned(), "spaces"),
        (format!("/spaces?q={q}"), "spaces-none"),
        ("/spaces/main/team".to_owned(), "space"),
        (format!("/spaces/main/{LONG}"), "space-long"),
        (format!("/spaces/main/{FAILS}"), "space-failed"),
        ("/connect".to_owned(), "connect"),
        ("/keys".to_owned(), "keys"),
        ("/logins".to_owned(), "logins"),
        (format!("/sessions/{mine}"), "session"),
        (format!("/k/{asked}"), "approve"),
        (format!("/{q}"), "missing"),
        (format!("/signin?return={q}"), "signin"),
    ] {
        walk.visit(&path, Some(name)).await?;
    }
    walk.end().await
}

/// Somebody whose name is as long as their provider likes stands in the bar of each of their pages.
async fn of_a_long_name(stage: &Stage) -> Result<()> {
    let long = HOSTILE.iter().position(|text| text.starts_with("WW")).context("the long word")?;
    let mut walk = Walk::of(stage, &format!("mal-{long}")).await?;
    ensure!(walk.browser.text("details.who summary").await?.contains(HOSTILE[long]), "it is their name");
    for (path, name) in [("/keys", "long-name"), ("/spaces", "long-name-spaces")] {
        walk.visit(path, Some(name)).await?;
    }
    walk.end().await
}

async fn of_everybody(stage: &Stage, login: &str, closely: bool) -> Result<()> {
    let mine = "SELECT id FROM sessions WHERE client_version LIKE '%script%' LIMIT 1";
    let one = stage.scene.world.value(mine).await?.context("a session")?;
    let mut walk = Walk::of(stage, login).await?;
    let q = search();
    for (path, name) in [
        ("/spaces?of=everybody".to_owned(), "everybody"),
        ("/sessions".to_owned(), "sessions"),
        (format!("/sessions?q={q}"), "sessions-none"),
        ("/sessions/history".to_owned(), "history"),
        (format!("/sessions/history?q={q}"), "history-none"),
        (format!("/sessions/{one}"), "session-of-a-script"),
        ("/cost".to_owned(), "cost"),
        ("/cost?by=space".to_owned(), "cost-space"),
        ("/cost?by=team".to_owned(), "cost-team"),
        ("/audit".to_owned(), "audit"),
        ("/audit?kind=login.".to_owned(), "audit-logins"),
        ("/audit?kind=web.".to_owned(), "audit-web"),
        (format!("/audit?who={q}"), "audit-none"),
        ("/policies".to_owned(), "policies"),
        ("/health".to_owned(), "health"),
    ] {
        walk.visit(&path, Some(name).filter(|_| closely)).await?;
    }
    walk.end().await
}

async fn of_an_admin(stage: &Stage) -> Result<()> {
    let mut walk = Walk::of(stage, "ada").await?;
    walk.visit("/grants", Some("grants")).await?;
    walk.visit("/users", Some("users")).await?;
    for (field, name) in [("user", "grants-wrong-user"), ("space", "grants-wrong-space")] {
        walk.browser.goto(&stage.scene.page("/grants")).await?;
        walk.browser.fill("input[name=user]", "idp/anna@example.com").await?;
        walk.browser.fill("input[name=space]", "team.main").await?;
        walk.browser.fill("input[name=for]", "1h").await?;
        walk.browser.fill("input[name=reason]", &together(0, 290)).await?;
        walk.browser.fill(&format!("input[name={field}]"), &together(5, 290)).await?;
        walk.browser.press("input[name=reason]", "Enter").await?;
        walk.browser.wait("[role=alert]").await?;
        walk.is_safe(name).await?;
        walk.pictures.look(&mut walk.browser, &format!("hostile-{name}")).await?;
    }
    // A row that comes while the page is open.
    walk.browser.goto(&stage.scene.page("/sessions")).await?;
    walk.browser.wait("[data-live-state].running").await?;
    let caller = stage.call("<img src=x onerror=globalThis.hostile=7>", "team").await?;
    let channel = caller.channel().await?;
    channel.exec(true, "sleep 1000").await?;
    walk.browser.wait("tbody tr[id^='s-']").await?;
    walk.is_safe("a row that comes later").await?;
    walk.pictures.look(&mut walk.browser, "hostile-sessions-live").await?;
    walk.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_and_the_layout_holds_on_any_page_of_anybody() -> Result<()> {
    let stage = Stage::new().await?;
    stage.scene.provider.add(account("otto", &["ml", "auditors"])).await?;
    stage.fill().await?;
    let cost = "SELECT count(*) > 0 FROM runs WHERE ended_at IS NULL";
    until("a run", LIMIT, async || {
        Ok((stage.scene.world.value(cost).await?.as_deref() == Some("true")).then_some(()))
    })
    .await?;
    of_a_long_name(&stage).await?;
    of_a_user(&stage).await?;
    of_everybody(&stage, "otto", false).await?;
    of_everybody(&stage, "ada", true).await?;
    of_an_admin(&stage).await?;
    // Whoever is kept out reads that, and nothing of what was said about them.
    let (eva, page) = stage.scene.sign_in("eva").await?;
    ensure!(page.status == 403, "{page:?}");
    shows_text_only(&eva, &stage.scene.page("/spaces")).await
}
