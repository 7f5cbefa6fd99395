//! Two people's way through the pages in real browsers, with the keyboard alone: a key is added, a connection seen live,
//! written to and ended with a reason, its session read; a space is held, stopped and started, or refused by a budget.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::browser::Browser;
use spaceport_tests::until::until;

use crate::api::program;
use crate::scene::{Scene, Setting};
use crate::spaces::{give, spend};

const LIMIT: Duration = Duration::from_secs(60);
/// Everything is looked at each second or two, and nothing is stopped for idleness.
const QUICK: &str =
    "[start]\npoll_s = 1\n\n[watch]\nevery_s = 1\n\n[idle]\nmode = \"never\"\nlook_every_s = 2\n\n";

/// A browser in which somebody is signed in.
pub(crate) async fn signed_in(scene: &Scene, login: &str, page: &str) -> Result<Browser> {
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page(&format!("/signin/idp?return={page}"))).await?;
    browser.fill("input[name=login]", login).await?;
    browser.press("input[name=login]", "Enter").await?;
    browser.wait("details.who").await?;
    Ok(browser)
}

/// Waits until a page shows a text.
async fn says(browser: &mut Browser, text: &str) -> Result<()> {
    browser.wait(&format!("main :text({text:?})")).await.with_context(|| text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_added_a_connection_followed_live_and_ended_by_keyboard() -> Result<()> {
    let scene = Scene::new().await?;
    let laptop = scene.new_laptop("annas").await?;
    let mut anna = signed_in(&scene, "anna", "/keys").await?;
    anna.fill("textarea[name=key]", &laptop.public_key()?).await?;
    anna.press("form[action='/keys'] button", "Enter").await?;
    anna.wait("main table").await?;
    ensure!(anna.text("main table").await?.contains("SHA256:"), "the key is listed");

    let mut ada = signed_in(&scene, "ada", "/sessions").await?;
    says(&mut ada, "No session is live.").await?;
    let terminal = scene.shell(&laptop).await?;
    // Nobody loads the page anew.
    ada.wait("tbody tr th").await?;
    says(&mut ada, "1 shell").await?;
    ada.press("tbody details:has([name=text]) summary", "Enter").await?;
    ada.fill("tbody [name=text]", "please <save>, it is needed").await?;
    ada.press("tbody form[action$='/message'] button", "Enter").await?;
    says(&mut ada, "the message was shown in 1 terminal.").await?;
    terminal.shows("ada@example.com writes at ").await?;
    terminal.shows("\"please <save>, it is needed\"").await?;
    ada.press("tbody details:has([name=reason]) summary", "Enter").await?;
    ada.fill("tbody [name=reason]", "the <old> key").await?;
    ada.press("tbody [name=reason]", "Enter").await?;
    says(&mut ada, "is ending").await?;
    terminal.shows("ada@example.com ended this session").await?;
    terminal.shows("the <old> key").await?;

    let ended = "SELECT id FROM sessions WHERE end_code = 'ended_by_admin'";
    let id = until("the end to be on record", LIMIT, async || scene.world.value(ended).await).await?;
    // The person reads it as well as the admin.
    for browser in [&mut ada, &mut anna] {
        let status = browser.goto(&scene.page(&format!("/sessions/{id}"))).await?;
        ensure!(status == 200, "{status}");
        let text = browser.text("main").await?;
        for word in ["ended by ada@example.com", "the <old> key", "shell", "OpenSSH", "StartSession"] {
            ensure!(text.to_lowercase().contains(&word.to_lowercase()), "{word:?} in {text}");
        }
    }
    anna.press("details.who summary", "Enter").await?;
    anna.press("form[action='/signout'] button", "Enter").await?;
    anna.wait("form").await?;
    anna.goto(&scene.page("/spaces")).await?;
    ensure!(anna.url().await?.contains("/signin"), "she is signed out");
    let complaints = [ada.complaints().await?, anna.complaints().await?].concat();
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_held_stopped_and_started_by_keyboard() -> Result<()> {
    let scene = Scene::with(Setting { gateway: QUICK.to_owned(), ..Setting::default() }).await?;
    let mut anna = signed_in(&scene, "anna", "/spaces").await?;
    let line = "li.space:has(a[href='/spaces/main/team'])";
    anna.wait(&format!("{line} .state.running")).await?;
    anna.press(&format!("{line} details:has([name=because]) summary"), "Enter").await?;
    anna.press(&format!("{line} [name=for][value='3h']"), "ArrowUp").await?;
    anna.fill(&format!("{line} [name=because]"), "an evaluation").await?;
    anna.press(&format!("{line} [name=because]"), "Enter").await?;
    says(&mut anna, "It is held.").await?;
    let held = "SELECT extract(epoch FROM until - made_at)::int FROM holds WHERE reason = 'an evaluation'";
    scene.world.expect(held, "3600").await?;
    anna.press(&format!("{line} details:has(.btn.bad.full) summary"), "Enter").await?;
    anna.press(&format!("{line} .btn.bad.full"), "Enter").await?;
    says(&mut anna, "It is stopping.").await?;
    // The page follows by itself.
    anna.wait(&format!("{line} .state.stopped")).await?;
    says(&mut anna, "anna@example.com stopped it").await?;
    anna.press(&format!("{line} form[action$='/start'] .btn:has-text(\"Start\")"), "Enter").await?;
    says(&mut anna, "It is starting.").await?;
    anna.wait(&format!("{line} .state.running")).await?;
    let complaints = anna.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_over_budget_is_refused_to_the_keyboard_and_to_a_program() -> Result<()> {
    let budget = "[[cost.budgets]]\nuser = \"alice\"\nusd_per_month = 1\nrefuse_start = true\n\n";
    let scene = Scene::with(Setting { gateway: format!("{QUICK}{budget}"), ..Setting::default() }).await?;
    let mut anna = signed_in(&scene, "anna", "/spaces").await?;
    give(&scene, "anna@example.com", "stopped").await?;
    spend(&scene).await?;
    // The page follows by itself: the space comes with its grant.
    let start =
        "li.space:has(a[href='/spaces/main/stopped']) form[action$='/start'] .btn:has-text(\"Start\")";
    anna.wait(start).await?;
    anna.press(start, "Enter").await?;
    anna.wait("[role=alert]").await?;
    let said = anna.text("[role=alert]").await?;
    ensure!(said.contains("the budget of user alice is spent"), "{said}");
    let (program, _) = program(&scene, "anna").await?;
    let refused = program.post("/spaces/main/stopped/start", &serde_json::json!({})).await?;
    let told = refused.problem(409, "over-budget")?;
    ensure!(told.contains("the budget of user alice is spent"), "{told}");
    scene.world.expect("SELECT count(*) FROM starts", "0").await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'budget.refused'", "2").await
}
