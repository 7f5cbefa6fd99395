//! The pages about spaces: why each is up, what it costs, holds, stops and starts, and the guide to the first connection.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::browser::Browser;
use spaceport_tests::provider::account;
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};
use studio_simulator::fixture::{Fixture, SpaceSpec};
use studio_simulator::simulator::Config;

use crate::api::program;
use crate::grants::{allow_grants, operator};
use crate::scene::{Pictures, Scene, Setting};
use crate::sessions_pages::Stream;
use crate::walk::signed_in;

/// How long a space may take to be listed, judged, started or stopped.
const PATIENCE: Duration = Duration::from_secs(90);
/// Everything is looked at each second or two, and nothing is stopped while a test lasts.
pub(crate) const QUICK: &str = "[start]\npoll_s = 1\n\n[watch]\nevery_s = 1\n\n[idle]\nmode = \"stop\"\ninside = \"where-set-up\"\nlook_every_s = 2\nidle_s = 6\ngrace_s = 3600\n\n";

async fn scene() -> Result<Scene> {
    Scene::with(Setting { gateway: QUICK.to_owned(), ..Setting::default() }).await
}

/// Gives somebody a space of Alice's, as an operator would.
pub(crate) async fn give(scene: &Scene, user: &str, space: &str) -> Result<()> {
    allow_grants(&scene.world)?;
    let what = ["grant", "add", "--user", user, "--space", space, "--for", "2h"];
    let rest = ["--reason", "a test", "--by", "dana"];
    operator(&scene.world, &[&what[..], &rest[..]].concat()).await?.well()?;
    Ok(())
}

/// Has a space of Alice's run for nine hours that this month pays for.
pub(crate) async fn spend(scene: &Scene) -> Result<()> {
    let priced = "SELECT count(*) > 0 FROM prices WHERE item = 'ml.m5.xlarge' AND nano_usd IS NOT NULL";
    scene.world.expect(priced, "true").await?;
    let spend = "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
         SELECT gen_random_uuid(), id, 'JupyterLab', t.a, 'ml.m5.xlarge', t.a, now()
         FROM spaces, (SELECT date_trunc('month', now(), 'UTC') - interval '9 h' AS a) t WHERE name = 'demo'";
    sqlx::query(spend).execute(&scene.world.database).await?;
    Ok(())
}

/// A page, once it shows a text.
pub(crate) async fn shows(visitor: &Visitor, url: &str, text: &str) -> Result<Page> {
    let last = std::cell::RefCell::new(String::new());
    let what = format!("{url} to show {text}");
    let waited = until(&what, PATIENCE, async || {
        let page = visitor.get(url).await?;
        last.replace(page.body.clone());
        Ok(page.body.contains(text).then_some(page))
    });
    waited.await.with_context(|| format!("it showed {}", last.borrow()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_says_why_it_is_up_and_is_held_and_stopped_from_its_page() -> Result<()> {
    let scene = scene().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let (home, page) = (scene.page("/spaces"), scene.page("/spaces/main/team"));
    let seen = shows(&anna, &home, "Nobody and nothing has been at work").await?.shows("Stops ")?;
    seen.shows("1</span></h2>")?
        .shows("ssh -p")?
        .shows("vscode://vscode-remote/ssh-remote+team@localhost")?;
    shows(&anna, &page, "Seven days").await?.shows("Evidence")?.shows("Cost this month")?;
    let held = anna.get(&page).await?.form("/spaces/main/team/hold")?;
    let held = held.set("for", "3h").set("because", "<b>evaluation</b>").submit().await?.is(200)?;
    let held = held
        .shows("It is held.")?
        .shows("anna@example.com holds it")?
        .shows("“&#60;b&#62;evaluation&#60;/b&#62;”")?;
    ensure!(held.url.path() == "/spaces/main/team", "{held:?}");
    shows(&anna, &page, "Not stopped while it is held.").await?.shows(">Held</span>")?;
    let fields = [("for".to_owned(), "off".to_owned()), ("back".to_owned(), "home".to_owned())];
    let free = anna.post(Some(&scene.site), &scene.page("/spaces/main/team/hold"), &fields).await?.is(200)?;
    ensure!(free.shows("Your hold is over.")?.url.path() == "/spaces", "back to where the form was");
    let fields = [("for".to_owned(), "90d".to_owned())];
    let long = anna.post(Some(&scene.site), &scene.page("/spaces/main/team/hold"), &fields).await?;
    long.is(422)?.shows("That is too long.")?.shows("at most")?;
    anna.get(&page)
        .await?
        .form("/spaces/main/team/stop")?
        .submit()
        .await?
        .is(200)?
        .shows("It is stopping.")?;
    shows(&anna, &home, "anna@example.com stopped it at").await?.shows("Not running")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_on_without_its_page_and_says_what_became_of_it() -> Result<()> {
    let scene = scene().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for space in ["stopped", "no-capacity"] {
        give(&scene, "anna@example.com", space).await?;
    }
    let page = scene.page("/spaces/main/stopped");
    let asked = shows(&anna, &page, "Start<span").await?.form("/spaces/main/stopped/start")?.submit().await?;
    asked.is(200)?.shows("It is starting.")?;
    // Another browser sees it too.
    let (again, _) = scene.sign_in("anna").await?;
    shows(&again, &page, ">Running</span>").await?;
    let fields = [("type".to_owned(), "m5".to_owned())];
    let wrong = anna.post(Some(&scene.site), &scene.page("/spaces/main/stopped/start"), &fields).await?;
    wrong.is(422)?.shows("“m5” is no instance type.")?;
    let failing = scene.page("/spaces/main/no-capacity");
    shows(&anna, &failing, "Start<span")
        .await?
        .form("/spaces/main/no-capacity/start")?
        .submit()
        .await?
        .is(200)?;
    shows(&anna, &failing, "It did not start at").await?.shows("Try again<span")?;
    shows(&anna, &scene.page("/spaces"), "It did not start at").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_is_told_when_its_spaces_change() -> Result<()> {
    let idle = QUICK.replace("look_every_s = 2\nidle_s = 6", "idle_s = 6000");
    let scene = Scene::with(Setting { gateway: idle, ..Setting::default() }).await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let live = |page: &Page| -> Result<String> {
        let (_, rest) = page.body.split_once("<meta name=\"live\" content=\"").context("a live page")?;
        Ok(rest.split_once('"').context("an address")?.0.replace("&#38;", "&"))
    };
    let before = live(&shows(&anna, &scene.page("/spaces"), "its app has just come up").await?)?;
    for hidden in ["everybody", "yours", "00000000-0000-0000-0000-000000000000"] {
        anna.get(&scene.page(&format!("/live/spaces?of={hidden}"))).await?.is(404)?;
    }
    let mut open = Stream::open(&scene, &anna, &before, None).await?;
    let hold = [("for".to_owned(), "1h".to_owned())];
    anna.post(Some(&scene.site), &scene.page("/spaces/main/team/hold"), &hold).await?.is(200)?;
    open.next().await?.context("news of the hold")?;
    let mut old = Stream::open(&scene, &anna, &before, None).await?;
    old.next().await?.context("who comes back with an old page is told at once")?;
    let held = live(&shows(&anna, &scene.page("/spaces/main/team"), ">Held</span>").await?)?;
    let mut one = Stream::open(&scene, &anna, &held, None).await?;
    let mut all = Stream::open(&scene, &ada, "/live/spaces?of=everybody", None).await?;
    all.next().await?.context("what was not said to be seen is news")?;
    anna.post(Some(&scene.site), &scene.page("/spaces/main/team/stop"), &[]).await?.is(200)?;
    for stream in [&mut one, &mut all] {
        stream.next().await?.context("news of the stop")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_over_budget_is_refused_in_words_and_leaves_the_space_alone() -> Result<()> {
    let budget = "[[cost.budgets]]\nuser = \"alice\"\nusd_per_month = 1\nrefuse_start = true\n\n";
    let scene = Scene::with(Setting { gateway: format!("{QUICK}{budget}"), ..Setting::default() }).await?;
    let (anna, _) = scene.sign_in("anna").await?;
    give(&scene, "anna@example.com", "stopped").await?;
    spend(&scene).await?;
    let page = scene.page("/spaces/main/stopped");
    let refused =
        shows(&anna, &page, "Start<span").await?.form("/spaces/main/stopped/start")?.submit().await?;
    refused.is(422)?.shows("the budget of user alice is spent")?.shows(">Stopped</span>")?;
    scene.world.expect("SELECT count(*) FROM starts", "0").await?;
    scene.world.expect("SELECT count(*) FROM audit WHERE kind = 'budget.refused'", "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ones_own_is_not_there_and_auditors_see_without_touching() -> Result<()> {
    let scene = scene().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    scene.provider.add(account("audrey", &["ml", "auditors"])).await?;
    let (audrey, _) = scene.sign_in("audrey").await?;
    shows(&audrey, &scene.page("/spaces?of=everybody"), "/spaces/main/demo").await?.shows("Everybody’s")?;
    for path in ["/spaces/main/bo-private", "/spaces/main/nowhere", "/spaces/x/team", "/spaces?of=everybody"]
    {
        anna.get(&scene.page(path)).await?.is(404).with_context(|| path.to_owned())?;
    }
    let seen = audrey.get(&scene.page("/spaces/main/bo-private")).await?.is(200)?.shows("Seven days")?;
    ensure!(!seen.body.contains("/spaces/main/bo-private/stop"), "{seen:?}");
    for what in ["hold", "stop", "start"] {
        for visitor in [&anna, &audrey] {
            let path = scene.page(&format!("/spaces/main/bo-private/{what}"));
            visitor.post(Some(&scene.site), &path, &[("for".to_owned(), "1h".to_owned())]).await?.is(404)?;
        }
        let path = scene.page(&format!("/spaces/main/team/{what}"));
        anna.post(Some("https://evil.example"), &path, &[]).await?.is(403)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_notices_the_first_connection_and_has_the_words_of_the_terminal() -> Result<()> {
    let scene = scene().await?;
    let (laptop, anna) = scene.laptop("anna").await?;
    let guide = scene.page("/connect");
    let page = anna.get(&guide).await?.is(200)?.shows("Waiting for your first connection")?;
    let page = page.shows("One key of yours is")?.shows("SHA256:")?;
    let config = laptop.ssh(["-l", "spaceport", "gateway", "config"]).await?.well()?.text();
    ensure!(config.starts_with("Host "), "{config}");
    let page = page.shows(&config)?;
    let scan = scene.world.host_key_fingerprint().await?;
    page.shows(&scan)?;
    laptop.ssh(["team", "true"]).await?.well()?;
    shows(&anna, &guide, "You are in.").await?.shows("OpenSSH")?.shows("/spaces/main/team")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_about_spaces_are_looked_at_in_a_browser() -> Result<()> {
    let scene = scene().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for space in ["stopped", "demo", "gpu", "no-capacity"] {
        give(&scene, "anna@example.com", space).await?;
    }
    shows(&anna, &scene.page("/spaces"), "Stops ").await?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/signin/idp?return=/spaces")).await?;
    browser.fill("[name=login]", "anna").await?;
    browser.click("button").await?;
    browser.wait("h1").await?;
    let mut pictures = Pictures::of(&scene)?;
    browser.goto(&scene.page("/spaces")).await?;
    pictures.take(&mut browser, "spaces").await?;
    browser.click("details.menu.go summary").await?;
    browser.wait("details[open] .copy").await?;
    browser.press("details[open] summary", "Escape").await?;
    ensure!(browser.count("details.menu[open]").await? == 0, "Escape closes a menu");
    browser.goto(&scene.page("/spaces/main/demo")).await?;
    pictures.take(&mut browser, "space").await?;
    browser.goto(&scene.page("/connect")).await?;
    pictures.take(&mut browser, "connect").await?;
    // The page learns of another space by itself, and what was unfolded stays so.
    browser.click("details.quiet summary").await?;
    give(&scene, "anna@example.com", "small").await?;
    browser.wait("pre:has-text('Host small')").await?;
    ensure!(browser.count("details.quiet[open]").await? == 1, "it is still unfolded");
    let complaints = browser.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    assert_eq!(pictures.taken(), 12, "every page was looked at");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_holds_and_stops_anybodys_space_and_opens_none() -> Result<()> {
    let idle = QUICK.replace("idle_s = 6\n", "idle_s = 6000\n");
    let scene = Scene::with(Setting { gateway: idle, ..Setting::default() }).await?;
    allow_grants(&scene.world)?;
    scene.provider.groups("sub-anna", &["ml", "auditors"]).await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let (page, everybodys) = (scene.page("/spaces/main/demo"), scene.page("/spaces?of=everybody"));
    let seen = shows(&ada, &everybodys, "/spaces/main/demo/stop").await?;
    let demo = seen.body.split("<li class=\"space\"").find(|line| line.contains("/spaces/main/demo/stop"));
    let demo = demo.context("its line")?;
    ensure!(!demo.contains("Connect<") && !demo.contains("/start"), "nothing else is hers: {demo}");
    let form = ada.get(&page).await?.form("/spaces/main/demo/hold")?;
    form.set("for", "1h").set("because", "a demo").submit().await?.is(200)?.shows("It is held.")?;
    // An auditor looks at it and finds nothing to press, nor anything to send.
    let looked = anna.get(&page).await?.is(200)?.shows("ada@example.com holds it")?;
    ensure!(!looked.body.contains("/spaces/main/demo/stop"), "nothing is theirs: {looked:?}");
    for act in ["hold", "stop", "start"] {
        let fields = [("for".to_owned(), "1h".to_owned())];
        anna.post(Some(&scene.site), &format!("{page}/{act}"), &fields).await?.is(404)?;
    }
    ada.post(Some(&scene.site), &format!("{page}/start"), &[]).await?.is(404).context("no start")?;
    let stopped = ada.get(&page).await?.form("/spaces/main/demo/stop")?.submit().await?.is(200)?;
    stopped.shows("It is stopping.")?;
    shows(&anna, &page, "ada@example.com stopped it at").await?;
    let because =
        "SELECT min(detail->>'because') FROM audit WHERE kind LIKE 'access.%' AND detail->>'action' = 'stop'";
    ensure!(
        scene.world.value(because).await?.is_some_and(|why| why.contains("admin")),
        "the reason is on record"
    );
    let (program, _) = program(&scene, "ada").await?;
    program.post("/spaces/main/demo/start", &serde_json::json!({})).await?.is(404)?;
    program.post("/spaces/main/demo/stop", &serde_json::json!({})).await?.problem(409, "conflict")?;
    Ok(())
}

/// The names of the spaces that a page shows, in its order.
fn names(page: &Page) -> Vec<String> {
    let links = page.body.split("<a href=\"/spaces/main/").skip(1);
    let mut names: Vec<String> = links.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_spaces_come_in_pages_that_a_first_paint_holds() -> Result<()> {
    let space = |n: usize| {
        let space = SpaceSpec::shared(&format!("s{n}"), "alice");
        if n.is_multiple_of(2) { space.running() } else { space }
    };
    let spaces = (0..120).map(space).collect();
    let quotas = [("ml.m5.xlarge".to_owned(), 1_000)].into();
    let fixture = Fixture { spaces, quotas, ..Fixture::bare() };
    let account = Config { fixtures: vec![fixture], ..Config::default() };
    let gateway = QUICK.replace("idle_s = 6\n", "idle_s = 6000\n");
    let scene = Scene::with(Setting { gateway, account, ..Setting::default() }).await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let first = shows(&anna, &scene.page("/spaces"), "Up now <span class=\"muted\">60</span>").await?;
    let second = first.shows("Page 1 of 3")?;
    let mut seen = names(&second);
    assert_eq!(seen.len(), 50, "{seen:?}");
    for page in [2, 3] {
        let page = anna.get(&scene.page(&format!("/spaces?page={page}"))).await?.is(200)?;
        seen.extend(names(&page.shows("Not running <span class=\"muted\">60</span>")?));
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 120, "each is on one page: {seen:?}");
    assert_eq!(seen.len(), 120, "and on no other");
    let up = |name: &String| name.trim_start_matches('s').parse::<usize>().is_ok_and(|n| n % 2 == 0);
    ensure!(seen.iter().take(60).all(up), "what is up comes first: {seen:?}");
    anna.get(&scene.page("/spaces?q=s11")).await?.is(200)?.shows("s119")?;

    let mut browser = signed_in(&scene, "anna", "/spaces").await?;
    let mut pictures = Pictures::of(&scene)?;
    browser.goto(&scene.page("/spaces")).await?;
    pictures.take(&mut browser, "spaces-very-many").await?;
    browser.press("a[rel=next]", "Enter").await?;
    browser.wait("a[rel=prev]").await?;
    ensure!(browser.url().await?.ends_with("/spaces?page=2"), "it leads on");
    Ok(())
}
