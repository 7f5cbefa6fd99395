//! Cost, as auditors and admins see them.

use anyhow::{Context, Result, ensure};
use spaceport_tests::browser::Browser;
use spaceport_tests::world::World;

use crate::scene::{Pictures, Scene, Setting};

/// Runs of three spaces some days before a time, of which one has no price, with what their time was, and stops.
async fn spend(world: &World, before: &str) -> Result<()> {
    let statements = [
        "UPDATE spaces SET first_seen_at = BEFORE - interval '9 d', storage_gib = CASE name WHEN 'demo' THEN 100 END",
        "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
         SELECT gen_random_uuid(), s.id, v.app, t.a, v.type, t.a, t.a + make_interval(hours => v.hours)
         FROM (VALUES ('demo', 'JupyterLab', 'ml.m5.xlarge', 7, 2), ('demo', 'JupyterLab', 'ml.m5.xlarge', 9, 4),
                      ('team', 'JupyterLab', 'ml.m5.xlarge', 5, 3), ('bo-private', 'CodeEditor', 'ml.odd.xlarge', 3, 2))
              AS v (name, app, type, hours, days)
         JOIN spaces s ON s.name = v.name,
         LATERAL (SELECT BEFORE - make_interval(days => v.days) AS a) t",
        "INSERT INTO spells (run_id, began_at, ended_at, kind)
         SELECT id, began_at, began_at + interval '90 min', 'active' FROM runs WHERE ended_at IS NOT NULL
         UNION ALL
         SELECT id, began_at + interval '2 h', began_at + interval '161 min', 'idle' FROM runs
         WHERE ended_at IS NOT NULL",
        "INSERT INTO stops (id, run_id, trigger, policy, dry_run, begun_at, stop_at, ended_at, outcome)
         SELECT gen_random_uuid(), id, '{\"idle\": {}}', 'the default', false, ended_at, ended_at, ended_at, 'stopped'
         FROM runs WHERE ended_at IS NOT NULL",
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement.replace("BEFORE", before)))
            .execute(&world.database)
            .await?;
    }
    Ok(())
}

async fn priced_scene(before: &str) -> Result<Scene> {
    let scene = Scene::with(policed()).await?;
    let known = "SELECT count(*) > 0 FROM prices WHERE region = 'eu-west-1' AND item = 'ml.m5.xlarge'";
    scene.world.expect(known, "true").await?;
    spend(&scene.world, before).await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_page_file_and_command_line_agree_to_the_cent() -> Result<()> {
    // In a month that is over nothing grows while one looks.
    let scene = priced_scene("(date_trunc('month', now(), 'UTC') - interval '3 d')").await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let last = "SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 d')::date";
    let last = scene.world.value(last).await?.context("a day")?;
    let month = last.get(..7).context("a month")?;
    let (first, config) = (format!("{month}-01"), scene.world.config().display().to_string());
    for by in ["user", "space", "team", "day"] {
        let asked = format!("month={month}&by={by}");
        let file = ada.get(&scene.page(&format!("/cost.csv?{asked}"))).await?.is(200)?;
        let printed = ["cost", "--config", &config, "--from", &first, "--to", &last, "--by", by, "--csv"];
        let printed = scene.world.operator(&printed).await?.well()?.text();
        assert_eq!(file.body, printed, "{by}");
        let page = ada.get(&scene.page(&format!("/cost?{asked}"))).await?.is(200)?;
        for line in printed.lines().skip(1) {
            // Active, idle and unknown time, storage, and all of it.
            for usd in line.split(',').skip(4).take(5) {
                let cents = cents(usd)?;
                ensure!(page.body.contains(&cents), "{cents} of {line} is not in {page:?}");
            }
        }
        page.shows("Not priced")?.shows("bo-private.main ran 3.0 h")?.shows("role=\"img\"")?;
    }
    let page = ada.get(&scene.page(&format!("/cost?month={month}"))).await?.is(200)?;
    page.shows("domain main")?
        .shows("$5.00")?
        .shows("spent: starts are refused")?
        .shows("at most 12 h a stop")?;
    ada.get(&scene.page("/cost?month=2020-02")).await?.is(200)?.shows("Cost in February 2020")?;
    ada.get(&scene.page("/cost?month=2999-01")).await?.is(200)?.shows("has not begun")?;
    ada.get(&scene.page("/cost?month=november")).await?.is(400)?;
    ada.get(&scene.page("/cost.csv?by=colour")).await?.is(400)?;
    Ok(())
}

/// Dollars with nine decimals, rounded half up to the cent as people read them.
fn cents(usd: &str) -> Result<String> {
    let nano: u64 = usd.replace('.', "").parse()?;
    let cents = (nano + 5_000_000) / 10_000_000;
    Ok(format!("${}.{:02}", cents / 100, cents % 100))
}

/// A policy of each kind, and two budgets.
fn policed() -> Setting {
    let gateway = "[idle]\nmode = \"dry-run\"\n\n[[idle.policies]]\ndomain = \"main\"\nspace = \"team\"\nmode = \"stop\"\n\
                   idle_s = 5400\n\n[idle.policies.hours]\nzone = \"Europe/Berlin\"\ndays = [\"mon\", \"fri\"]\n\
                   from = \"08:00\"\nto = \"18:00\"\n\n[[idle.policies]]\ntag = \"team=ml\"\nmode = \"never\"\n\n\
                   [[cost.budgets]]\nuser = \"anna\"\nusd_per_month = 120\n\n\
                   [[cost.budgets]]\ndomain = \"main\"\nusd_per_month = 5\nrefuse_start = true\n"
        .to_owned();
    Setting { gateway, ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_a_role_find_none_of_these_pages() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for path in ["/cost", "/cost.csv"] {
        anna.get(&scene.page(path)).await?.is(404).context(path)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_pages_look_right_on_a_phone_and_by_night() -> Result<()> {
    let scene = priced_scene("date_trunc('day', now(), 'UTC')").await?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/cost")).await?;
    browser.click("a[href^='/signin/idp?']").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.click("button").await?;
    browser.wait(".who").await?;
    let mut pictures = Pictures::of(&scene)?;
    let pages = [("/cost", "cost"), ("/cost?month=2020-02", "cost-empty")];
    for (path, name) in pages {
        browser.goto(&scene.page(path)).await?;
        pictures.take(&mut browser, name).await?;
    }
    let complaints = browser.complaints().await?;
    // Icons of the provider's pages. Nothing was against the content policy.
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    assert_eq!(pictures.taken(), 8, "every page was looked at");
    Ok(())
}
