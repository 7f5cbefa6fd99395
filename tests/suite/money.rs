//! What spaces cost: the command line against the tables, prices as AWS lists them, budgets at the door.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spaceport_tests::hook::{Answer, HookSink};
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};

/// How long a gateway may take to end.
const LIMIT: Duration = Duration::from_secs(60);
const PRICED: &str = "SELECT nano_usd FROM prices WHERE region = 'eu-west-1' AND usage = 'JupyterLab'
     AND item = 'ml.m5.xlarge' ORDER BY valid_from DESC LIMIT 1";

fn wish(gateway: &str) -> Wish {
    Wish { gateway: format!("[start]\npoll_s = 1\n{gateway}"), ..Wish::default() }
}

async fn cost(world: &World, arguments: &[&str]) -> Result<String> {
    let config = world.config().display().to_string();
    let mut all = vec!["cost", "--config", &config];
    all.extend(arguments);
    let done = world.operator(&all).await?;
    ensure!(done.code == 0, "{}", done.stderr);
    Ok(done.text())
}

/// Makes yesterday expensive: a run of each of two spaces, and verdicts about their time.
async fn yesterday(world: &World) -> Result<()> {
    let seen = "UPDATE spaces SET first_seen_at = now() - interval '9 d',
                                  storage_gib = CASE name WHEN 'demo' THEN 100 END";
    sqlx::query(seen).execute(&world.database).await?;
    for (space, app, instance, hours) in
        [("demo", "JupyterLab", "ml.m5.xlarge", 7), ("bo-private", "CodeEditor", "ml.odd.xlarge", 3)]
    {
        let run = format!(
            "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
             SELECT gen_random_uuid(), id, '{app}', t.a, '{instance}', t.a, t.a + interval '{hours} h'
             FROM spaces, (SELECT date_trunc('day', now(), 'UTC') - interval '20 h' AS a) t
             WHERE name = '{space}'"
        );
        sqlx::query(sqlx::AssertSqlSafe(run)).execute(&world.database).await?;
    }
    let spells = "INSERT INTO spells (run_id, began_at, ended_at, kind)
         SELECT id, began_at, began_at + interval '90 min', 'active' FROM runs WHERE ended_at IS NOT NULL
         UNION ALL
         SELECT id, began_at + interval '2 h', began_at + interval '161 min', 'idle' FROM runs
         WHERE ended_at IS NOT NULL";
    sqlx::query(spells).execute(&world.database).await?;
    // Both were stopped for idleness; demo is up again today.
    let stops = "INSERT INTO stops (id, run_id, trigger, policy, dry_run, begun_at, stop_at, ended_at, outcome)
         SELECT gen_random_uuid(), id, '{\"idle\": {}}', 'the default', false, ended_at, ended_at, ended_at, 'stopped'
         FROM runs WHERE ended_at IS NOT NULL";
    sqlx::query(stops).execute(&world.database).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn table_values_and_json_say_what_sql_says() -> Result<()> {
    let world = World::start().await?;
    world.expect(&format!("SELECT ({PRICED}) IS NOT NULL"), "true").await?;
    yesterday(&world).await?;
    let day = world.value("SELECT (date_trunc('day', now(), 'UTC') - interval '20 h')::date").await?;
    let day = day.context("a day")?;
    let range = ["--from", &day, "--to", &day];
    // By the tables alone: active 1.5 h, idle 41 min, the rest of 7 h unknown.
    let run = |seconds: u32| format!("{seconds} * ({PRICED})::numeric / 3600");
    let storage = format!(
        "100 * (SELECT nano_usd FROM prices WHERE region = 'eu-west-1' AND usage = 'Storage')::numeric
             / extract(day FROM date_trunc('month', '{day}'::date) + interval '1 month - 1 day')"
    );
    let mut by_sql = Vec::new();
    let total = format!("{} + {storage}", run(25_200));
    for nano_usd in [run(5_400), run(41 * 60), run(25_200 - 5_400 - 41 * 60), storage, total] {
        by_sql
            .push(world.value(&format!("SELECT round(({nano_usd}) / 1e9, 9)")).await?.context("an amount")?);
    }

    let csv = cost(&world, &[&range[..], &["--by", "space", "--csv"]].concat()).await?;
    let line = csv.lines().find(|line| line.starts_with("demo.main,")).context("a line of demo")?;
    let fields: Vec<&str> = line.trim_end().split(',').collect();
    assert_eq!(fields[4..9], by_sql, "{csv}");
    assert_eq!(fields[1..4], ["5400.000000", "2460.000000", "17340.000000"]);
    // Bo's runs on a type without a price.
    let odd = csv.lines().find(|line| line.starts_with("bo-private.main,")).context("a line of bo's")?;
    assert_eq!(odd.trim_end().split(',').nth(9), Some("10800.000000"), "{csv}");

    let json: Value =
        serde_json::from_str(&cost(&world, &[&range[..], &["--by", "user", "--json"]].concat()).await?)?;
    let lines = json["lines"].as_array().context("lines")?;
    let alice = lines.iter().find(|line| line["user"] == "alice").context("alice")?;
    assert_eq!((&alice["total_usd"], &alice["idle_usd"]), (&json!(by_sql[4]), &json!(by_sql[1])));
    assert_eq!(json["total"]["total_usd"], json!(by_sql[4]));
    assert_eq!(json["total"]["unpriced_s"], "10800.000000");
    // It was down for longer than what counts at most, and so was bo's, whose price nobody knows.
    let saved =
        world.value(&format!("SELECT round(12 * ({PRICED}) / 1e9, 9)")).await?.context("an amount")?;
    assert_eq!((&alice["saved_estimate_usd"], &alice["saved_unpriced_stops"]), (&json!(saved), &json!("0")));
    assert_eq!(
        (&json["total"]["saved_estimate_usd"], &json["total"]["saved_unpriced_stops"]),
        (&json!(saved), &json!("1"))
    );
    ensure!(json["saved_rule"].as_str().is_some_and(|rule| rule.contains("at most 12 h")), "{json}");

    let cents = |usd: &str| format!("{:.2}", usd.parse::<f64>().unwrap_or_default());
    for by in ["day", "user", "space", "team"] {
        let table = cost(&world, &[&range[..], &["--by", by]].concat()).await?;
        let total = table.lines().find(|line| line.starts_with("total ")).context(table.clone())?;
        let words: Vec<&str> = total.split_whitespace().collect();
        let amounts: Vec<String> = by_sql.iter().map(|usd| cents(usd)).collect();
        assert_eq!(words[2..6], amounts[..4], "{table}");
        assert_eq!(words[6], format!("{}+", amounts[4]), "{table}");
        assert_eq!(words[7], format!("{}+", cents(&saved)), "{table}");
        ensure!(table.contains("saved: estimate: price x time from the stop"), "{table}");
        ensure!(table.contains("+ at least: 3.0 h of runs"), "{table}");
        ensure!(table.lines().all(|line| line.len() <= 100), "{table}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_read_from_the_list_and_survive_its_bad_days() -> Result<()> {
    let mut world = World::start().await?;
    world.expect(PRICED, "253000000").await?;
    world
        .expect("SELECT nano_usd FROM prices WHERE usage = 'Storage' AND region = 'eu-west-1'", "123200000")
        .await?;
    let types = "SELECT count(*) FROM prices WHERE region = 'eu-west-1' AND usage <> 'Storage'";
    world.expect(types, "48").await?;
    let again = async |world: &mut World, read: &str| {
        let due = "UPDATE price_readings SET due_at = now() - interval '1 s', read_at = NULL, problem = NULL";
        world.gateway.signal("TERM").await?;
        world.gateway.wait(LIMIT).await?;
        sqlx::query(due).execute(&world.database).await?;
        world.restart().await?;
        world.expect(read, "true").await
    };
    let (failed, read) = (
        "SELECT problem IS NOT NULL AND read_at IS NULL FROM price_readings",
        "SELECT read_at IS NOT NULL AND problem IS NULL FROM price_readings",
    );
    // Throttled for longer than the SDK tries.
    world.account.simulator.fail_next("GetProducts", "ThrottlingException", 10);
    again(&mut world, failed).await?;
    world.account.simulator.clear_faults();
    world.expect(types, "48").await?;

    // Throttled once: tried again. A dearer type, and rows that nobody can read.
    world.account.simulator.fail_next("GetProducts", "ThrottlingException", 1);
    world.account.simulator.set_price("eu-west-1", "Studio-JupyterLab", "ml.m5.xlarge", "0.3000000001");
    let attributes = json!({ "regionCode": "eu-west-1", "platoinstancetype": "Studio-JupyterLab" });
    for text in ["{", "[]", "{\"product\":{\"attributes\":{\"instanceType\":\"ml.x.large\"}}}"] {
        world.account.simulator.add_product(&attributes, text);
    }
    again(&mut world, read).await?;
    world.expect(PRICED, "300000000").await?;
    world.expect("SELECT malformed FROM price_readings", "3").await?;
    world.expect(types, "49").await?;

    // An empty list takes nothing away.
    world.account.simulator.clear_products();
    again(&mut world, failed).await?;
    world.expect(types, "49").await
}

const BUDGET: &str = "[[cost.budgets]]\nuser = \"alice\"\nusd_per_month = 1\nrefuse_start = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_refuses_starts_and_says_so_once() -> Result<()> {
    let world = World::with(wish(BUDGET)).await?;
    world.expect(&format!("SELECT ({PRICED}) IS NOT NULL"), "true").await?;
    let spend = "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
         SELECT gen_random_uuid(), id, 'JupyterLab', t.a, 'ml.m5.xlarge', t.a, now()
         FROM spaces, (SELECT date_trunc('month', now(), 'UTC') - interval '9 h' AS a) t WHERE name = 'demo'";
    sqlx::query(spend).execute(&world.database).await?;
    world.account.simulator.clear_cloudtrail();
    let done = world.client.ssh(["stopped", "true"]).await?;
    assert_eq!(done.code, 1, "{}", done.stderr);
    for text in ["the budget of user alice is spent", "$", "of $1.00 a month", "renews on", "Quote"] {
        ensure!(done.stderr.contains(text), "{text:?} in\n{}", done.stderr);
    }
    ensure!(done.stderr.lines().all(|line| line.len() <= 80), "{}", done.stderr);
    let created = world.account.simulator.cloudtrail().iter().any(|event| event.event_name == "CreateApp");
    ensure!(!created, "AWS was asked for an app");
    let refused = "SELECT detail->>'budget' FROM audit WHERE kind = 'budget.refused' AND allowed = false";
    world.expect(refused, "user alice").await?;
    // What runs is not ended, and others start what they like.
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.text(), "hi\n");
    let bo = world.bo().await?;
    assert_eq!(bo.ssh(["bo-private", "echo hi"]).await?.text(), "hi\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_a_budget_are_told_once_by_all_replicas_together() -> Result<()> {
    let sink = HookSink::start(vec![Answer::Status(204, "", "")]).await?;
    let hook = format!("\n[[notify.webhooks]]\nurl = \"{}\"\n", sink.url("/hook"));
    let mut world = World::with(wish(&(BUDGET.replace("refuse_start = true\n", "") + &hook))).await?;
    world.expect(&format!("SELECT ({PRICED}) IS NOT NULL"), "true").await?;
    let spend = "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
         SELECT gen_random_uuid(), id, 'JupyterLab', t.a, 'ml.m5.xlarge', t.a, now()
         FROM spaces, (SELECT date_trunc('month', now(), 'UTC') - interval '9 h' AS a) t WHERE name = 'demo'";
    sqlx::query(spend).execute(&world.database).await?;
    world.gateway.signal("TERM").await?;
    world.gateway.wait(LIMIT).await?;
    world.restart().await?;
    let told = "SELECT string_agg(detail->>'percent', ' ' ORDER BY at, detail->>'percent' DESC) FROM audit
                WHERE kind = 'budget.warned'";
    world.expect(told, "80 100").await?;
    let _second = world.second_gateway("second").await?;
    assert_eq!(world.value(told).await?.as_deref(), Some("80 100"));
    until("the highest level to be told", LIMIT, async || Ok((!sink.requests().is_empty()).then_some(())))
        .await?;
    let bodies: Vec<String> = sink.requests().into_iter().map(|request| request.body).collect();
    ensure!(bodies.len() == 1 && bodies[0].contains("100 % of the budget of user alice"), "{bodies:?}");
    assert_eq!(world.client.ssh(["stopped", "echo hi"]).await?.text(), "hi\n", "it only warns");
    Ok(())
}
