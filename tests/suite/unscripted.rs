//! Every flow in a real browser that runs no scripts, with the keyboard alone: what works so works anywhere.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use spaceport_tests::browser::Browser;
use spaceport_tests::until::until;

use crate::approval::{is_in, waiting};
use crate::grants::allow_grants;
use crate::scene::{Scene, Setting};
use crate::spaces::QUICK;

/// How long a space may take to be listed, stopped or started.
const PATIENCE: Duration = Duration::from_secs(90);

struct Visit<'a> {
    scene: &'a Scene,
    browser: Browser,
}

impl<'a> Visit<'a> {
    async fn of(scene: &'a Scene, login: &str, page: &str) -> Result<Self> {
        let mut browser = Browser::without_scripts().await?;
        browser.goto(&scene.page(&format!("/signin/idp?return={page}"))).await?;
        browser.fill("input[name=login]", login).await?;
        browser.press("input[name=login]", "Enter").await?;
        browser.wait("details.who").await?;
        Ok(Self { scene, browser })
    }

    async fn open(&mut self, page: &str) -> Result<()> {
        let status = self.browser.goto(&self.scene.page(page)).await?;
        ensure!(status == 200, "{page} answers {status}");
        Ok(())
    }

    /// Presses Enter in what a selector finds.
    async fn enter(&mut self, selector: &str) -> Result<()> {
        self.browser.press(selector, "Enter").await.with_context(|| selector.to_owned())
    }

    /// Fills in the fields of a form and presses Enter in the last.
    async fn fill(&mut self, form: &str, fields: &[(&str, &str)]) -> Result<()> {
        let field = |name: &str| format!("{form} [name={name}]");
        for (name, value) in fields {
            self.browser.fill(&field(name), value).await?;
        }
        let (last, _) = fields.last().context("a field")?;
        self.enter(&field(last)).await
    }

    async fn says(&mut self, text: &str) -> Result<()> {
        self.browser.wait(&format!("main :text({text:?})")).await.with_context(|| text.to_owned())
    }

    /// Opens a page anew until it has an element.
    async fn shows(&mut self, page: &str, selector: &str) -> Result<()> {
        until(selector, PATIENCE, async || {
            self.open(page).await?;
            Ok((self.browser.count(selector).await? > 0).then_some(()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_sessions_and_approvals_need_no_scripts() -> Result<()> {
    let scene = Scene::new().await?;
    let laptop = scene.new_laptop("annas").await?;
    let mut anna = Visit::of(&scene, "anna", "/keys").await?;
    anna.browser.fill("textarea[name=key]", &laptop.public_key()?).await?;
    anna.enter("form[action='/keys'] button").await?;
    anna.says("SHA256:").await?;
    let terminal = scene.shell(&laptop).await?;

    let mut ada = Visit::of(&scene, "ada", "/sessions").await?;
    ada.shows("/sessions", "tbody tr th").await?;
    ada.fill("main", &[("q", "nobody-like-that")]).await?;
    ada.says("No live session is like that.").await?;
    ada.open("/sessions").await?;
    ada.enter("tbody details:has([name=reason]) summary").await?;
    ada.fill("tbody", &[("reason", "without scripts")]).await?;
    ada.says("is ending").await?;
    terminal.shows("without scripts").await?;
    ada.shows("/sessions/history", "tbody tr:has-text('ended by')").await?;

    // Somebody comes with a key that nobody knows, and types the code.
    let (_new, screen, request) = waiting(&scene, "new", "").await?;
    ensure!(anna.browser.goto(&request.url).await? == 200, "the page of the approval");
    anna.browser.fill("input[name=code]", &request.code).await?;
    anna.enter("button[value=approve]").await?;
    screen.key("Enter").await?;
    is_in(&screen).await?;

    anna.open("/keys").await?;
    ensure!(anna.browser.count("form[action$='/remove']").await? == 2, "both keys count");
    anna.enter("tbody tr:first-child form[action$='/remove'] button").await?;
    anna.shows("/keys", "main:not(:has(tbody tr:nth-child(2)))").await?;
    anna.enter("details.who summary").await?;
    anna.enter("form[action='/signout'] button").await?;
    anna.browser.wait("form").await?;
    anna.open("/spaces").await?;
    ensure!(anna.browser.url().await?.contains("/signin"), "she is signed out");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_grants_people_and_tokens_need_no_scripts() -> Result<()> {
    let idle = QUICK.replace("look_every_s = 2\nidle_s = 6", "idle_s = 6000");
    let scene = Scene::with(Setting { gateway: idle, ..Setting::default() }).await?;
    allow_grants(&scene.world)?;
    let mut ada = Visit::of(&scene, "ada", "/grants").await?;
    let mut anna = Visit::of(&scene, "anna", "/spaces").await?;
    let grant =
        [("user", "idp/anna@example.com"), ("space", "demo.main"), ("for", "2h"), ("reason", "a test")];
    ada.fill("form[action='/grants']", &grant).await?;
    ada.says("counts from now on").await?;

    let line = "li.space:has(a[href='/spaces/main/demo'])";
    anna.shows("/spaces", &format!("{line} .state.running")).await?;
    anna.enter(&format!("{line} details:has([name=because]) summary")).await?;
    anna.fill(line, &[("because", "an evaluation")]).await?;
    anna.says("It is held.").await?;
    anna.enter(&format!("{line} details:has(.btn.bad.full) summary")).await?;
    anna.enter(&format!("{line} .btn.bad.full")).await?;
    anna.says("It is stopping.").await?;
    anna.shows("/spaces", &format!("{line} .state.stopped")).await?;
    anna.enter(&format!("{line} form[action$='/start'] .btn:has-text(\"Start\")")).await?;
    anna.says("It is starting.").await?;
    anna.shows("/spaces", &format!("{line} .state.running")).await?;

    anna.open("/tokens").await?;
    anna.browser.fill("form[action='/tokens'] [name=name]", "nightly").await?;
    anna.browser.press("input[name=scope][value='spaces:read']", "Space").await?;
    anna.enter("form[action='/tokens'] button").await?;
    anna.browser.wait(".copy code").await?;
    let pressable = "[...document.querySelectorAll('.copy .js')].map((button) => button.checkVisibility())";
    assert_eq!(
        anna.browser.value(pressable).await?,
        json!([false, false]),
        "what needs scripts is not shown"
    );
    anna.shows("/tokens", "tbody tr:has-text('nightly')").await?;

    ada.open("/users").await?;
    let row = "tbody tr:has(form[action$='/suspend']):has-text('anna@example.com')";
    ada.enter(&format!("{row} details summary")).await?;
    ada.fill(row, &[("reason", "a lost laptop")]).await?;
    ada.says("is suspended").await?;
    ensure!(anna.browser.goto(&scene.page("/spaces")).await? == 403, "she is out");
    ada.enter("form[action$='/resume'] button").await?;
    ada.says("may connect again").await?;
    anna.open("/spaces").await?;
    ada.open("/grants").await?;
    ada.enter("form[action$='/end'] button").await?;
    ada.says("is over").await
}
