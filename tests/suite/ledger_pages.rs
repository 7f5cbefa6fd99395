//! Cost, audit, policies and health, as auditors and admins see them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::browser::Browser;
use spaceport_tests::world::World;

use crate::api::program;
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
    let (program, ada) = program(&scene, "ada").await?;
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
        let told = program.get(&format!("/cost.csv?{asked}")).await?.is(200)?;
        assert_eq!(told.body, printed, "{by}");
        let told = program.get(&format!("/cost?{asked}")).await?.is(200)?.json()?;
        let mut totals = printed.lines().last().context("totals")?.split(',');
        assert_eq!(totals.nth(8), told["total"]["total_usd"].as_str(), "{by}");
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

/// A thousand old rows, and one of somebody whose words are dangerous to pages and spreadsheets.
pub(crate) async fn log(world: &World) -> Result<()> {
    let statements = [
        "INSERT INTO audit (id, at, replica_id, actor_name, kind, allowed, detail)
         SELECT gen_random_uuid(), timestamptz '2026-01-05 12:00Z' + make_interval(mins => n / 2), gen_random_uuid(),
                'many', 'access.' || CASE n % 2 WHEN 0 THEN 'allowed' ELSE 'denied' END, n % 2 = 0,
                jsonb_build_object('because', 'number ' || n)
         FROM generate_series(1, 1201) n",
        "INSERT INTO audit (id, at, replica_id, actor_name, space_id, session_id, kind, allowed, detail)
         SELECT gen_random_uuid(), timestamptz '2026-02-05 12:00Z', gen_random_uuid(), '=HYPERLINK(1)', id,
                '019a0000-0000-7000-8000-00000000beef', 'space.held', true,
                jsonb_build_object('reason', E'<script>alert(1)</script>\n,\"', 'until', 1770300000)
         FROM spaces WHERE name = 'demo'",
        "INSERT INTO sessions (id, replica_id, user_id, space_id, connection_id, mode, client_address, client_version,
                               key_fingerprint, started_at, ended_at, end_code, end_reason)
         SELECT '019a0000-0000-7000-8000-00000000beef', (SELECT id FROM replicas LIMIT 1),
                (SELECT id FROM users LIMIT 1), id, gen_random_uuid(), 'session', '127.0.0.1', '<u>client</u>', 'x',
                '2026-02-05 11:00Z', '2026-02-05 13:00Z', 'client_left', 'the client left'
         FROM spaces WHERE name = 'demo'",
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&world.database).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_is_searched_page_by_page_and_words_stay_words() -> Result<()> {
    let scene = Scene::new().await?;
    log(&scene.world).await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let find = async |query: &str| ada.get(&scene.page(&format!("/audit?{query}"))).await?.is(200);
    let page =
        find("who=hyperlink").await?.shows("=HYPERLINK(1)")?.shows("held the space")?.shows("demo.main")?;
    ensure!(!page.body.contains("<script>alert") && page.body.contains("alert(1)"), "{page:?}");
    page.shows("until: 5 Feb 2026, 14:00 UTC")?.shows("beef")?;
    for query in
        ["session=BEEF", "space=DEMO.main&kind=space.held", "kind=space.&from=2026-02-05&to=2026-02-05"]
    {
        find(query).await?.shows("=HYPERLINK(1)")?;
    }
    for query in
        ["session=dead", "session=nonsense", "space=nowhere", "kind=space.&to=2026-02-04", "who=%00%27%25"]
    {
        let page = find(query).await?;
        ensure!(!page.body.contains("=HYPERLINK(1)"), "{query}: {page:?}");
    }
    ada.get(&scene.page("/audit?from=yesterday")).await?.is(400)?;
    ada.get(&scene.page("/audit?before=1")).await?.is(400)?;

    // Two rows share each minute, and every page ends between two of them or does not: none is lost or shown twice.
    let mut seen = Vec::new();
    let mut next = Some("/audit?who=many&answer=denied".to_owned());
    while let Some(path) = next {
        let page = ada.get(&scene.page(&path)).await?.is(200)?;
        let numbers = page.body.split("number ").skip(1).filter_map(|rest| rest.split('<').next());
        seen.extend(numbers.filter_map(|number| number.trim().parse::<u32>().ok()));
        next = older(&page.body);
    }
    let wanted: Vec<u32> = (1..=1201).rev().filter(|n| n % 2 == 1).collect();
    assert_eq!(seen, wanted);
    let page = find("").await?.shows("signed in")?;
    ensure!(
        page.body.contains("Sealed up to number") || page.body.contains("Nothing is sealed yet"),
        "{page:?}"
    );
    Ok(())
}

/// The address of the page with older rows.
fn older(body: &str) -> Option<String> {
    let (before, _) = body.split_once("\">Older rows</a>")?;
    let (_, address) = before.rsplit_once("href=\"")?;
    Some(address.replace("&#38;", "&").replace("&amp;", "&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_is_exported_as_asked_and_every_export_is_on_record() -> Result<()> {
    let scene = Scene::new().await?;
    log(&scene.world).await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let export = async |path: &str| ada.get(&scene.page(path)).await?.is(200);
    let rows = export("/audit.jsonl?kind=access.&who=many").await?;
    assert_eq!(rows.header("content-disposition"), "attachment; filename=\"spaceport-audit.jsonl\"");
    let read: Vec<Value> = rows.body.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(read.len(), 1201, "three pages of them");
    ensure!(read.iter().all(|row| row["actor_name"] == "many"), "nobody else's");
    let file = export("/audit.csv?kind=space.held").await?;
    let line = file.body.split("\r\n").nth(1).context("a row")?;
    ensure!(line.contains(",'=HYPERLINK(1),space.held,true,"), "{line}");
    assert_eq!(file.body.matches("\r\n").count(), 2, "{}", file.body);
    let empty = export("/audit.csv?who=nobody-at-all").await?;
    assert_eq!(empty.body.matches("\r\n").count(), 1, "{}", empty.body);
    let record =
        "SELECT string_agg(actor_name || ' ' || (detail->>'form') || ' ' || (detail->'filters')::text, ' | '
                                    ORDER BY at) FROM audit WHERE kind = 'audit.exported'";
    let record = scene.world.value(record).await?.context("a record")?;
    assert_eq!(
        record,
        "ada@example.com jsonl {\"who\": \"many\", \"kind\": \"access.\"} | \
         ada@example.com csv {\"kind\": \"space.held\"} | ada@example.com csv {\"who\": \"nobody-at-all\"}"
    );
    Ok(())
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

/// A hold whose reason is dangerous to pages.
async fn hold(world: &World) -> Result<()> {
    let hold = "INSERT INTO holds (id, space_id, made_by, reason, made_at, until)
         SELECT gen_random_uuid(), id, 'dana', '<b>it must</b> finish', now() - interval '2 h', now() + interval '3 h'
         FROM spaces WHERE name = 'team'";
    sqlx::query(hold).execute(&world.database).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_told_in_words_with_what_they_cover_and_the_holds_that_run() -> Result<()> {
    let scene = Scene::with(policed()).await?;
    scene.world.expect("SELECT count(*) > 1 FROM runs WHERE ended_at IS NULL", "true").await?;
    hold(&scene.world).await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let page = ada.get(&scene.page("/policies")).await?.is(200)?;
    let page = page.shows("space team.main")?.shows("Warns after 1 h 30 min without a sign of work")?;
    let page = page
        .shows("Mon, Fri from 08:00 to 18:00 of Europe/Berlin")?
        .shows("tag team=ml")?
        .shows("never stops")?;
    let page = page.shows("the default")?.shows("dry run")?.shows("user anna")?.shows("$120.00")?;
    let page = page.shows("1 would be stopped when idle")?.shows("1 hold keeps a space up")?.shows("dana")?;
    ensure!(!page.body.contains("<b>it must") && page.body.contains("it must"), "{page:?}");
    let near = ["space team.main", "tag team=ml", "the default</th>"].map(|text| page.body.find(text));
    ensure!(near.is_sorted() && near[0].is_some(), "the nearest comes first: {near:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_first_what_is_wrong() -> Result<()> {
    let scene = Scene::new().await?;
    let (ada, _) = scene.sign_in("ada").await?;
    scene.world.expect("SELECT count(*) > 0 FROM price_readings WHERE read_at IS NOT NULL", "true").await?;
    let page = ada.get(&scene.page("/health")).await?.is(200)?.shows("<h1>All is well</h1>")?;
    let version = scene.world.value("SELECT version FROM replicas").await?.context("a release")?;
    page.shows("this one")?
        .shows(&version)?
        .shows("main</th>")?
        .shows("eu-west-1")?
        .shows("Example login")?;
    let dead = "INSERT INTO replicas (id, host, lease_s, renewed_at, started_at)
                VALUES (gen_random_uuid(), '<i>gone</i>', 30, now() - interval '2 h', now() - interval '3 h')";
    let bad = "UPDATE price_readings SET problem = '<b>throttled</b>'";
    for statement in [dead, bad] {
        sqlx::query(statement).execute(&scene.world.database).await?;
    }
    let page = ada.get(&scene.page("/health")).await?.is(200)?.shows("<h1>2 things are not well</h1>")?;
    let page =
        page.shows("did not end in order")?.shows("could not be read")?.shows("lapsed")?.shows("unknown")?;
    ensure!(!page.body.contains("<i>gone") && !page.body.contains("<b>throttled"), "{page:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_a_role_find_none_of_these_pages() -> Result<()> {
    let scene = Scene::new().await?;
    let (anna, _) = scene.sign_in("anna").await?;
    for path in ["/cost", "/cost.csv", "/audit", "/audit.csv", "/audit.jsonl", "/policies", "/health"] {
        anna.get(&scene.page(path)).await?.is(404).context(path)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_pages_look_right_on_a_phone_and_by_night() -> Result<()> {
    let scene = priced_scene("date_trunc('day', now(), 'UTC')").await?;
    log(&scene.world).await?;
    hold(&scene.world).await?;
    let mut browser = Browser::start().await?;
    browser.goto(&scene.page("/cost")).await?;
    browser.click("a[href^='/signin/idp?']").await?;
    browser.wait("input[name=login]").await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.click("button").await?;
    browser.wait(".who").await?;
    let mut pictures = Pictures::of(&scene)?;
    let pages = [
        ("/cost", "cost"),
        ("/cost?month=2020-02", "cost-empty"),
        ("/audit", "audit"),
        ("/audit?to=2026-02-06", "audit-old"),
        ("/audit?who=nobody", "audit-empty"),
        ("/policies", "policies"),
        ("/health", "health"),
    ];
    for (path, name) in pages {
        browser.goto(&scene.page(path)).await?;
        pictures.take(&mut browser, name).await?;
    }
    let complaints = browser.complaints().await?;
    // Icons of the provider's pages. Nothing was against the content policy.
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    assert_eq!(pictures.taken(), 28, "every page was looked at");
    Ok(())
}
