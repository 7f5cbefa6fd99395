//! `spaceport simulate-policy`: policies on the past of a real database, and on a file of it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spaceport_tests::client::Done;
use spaceport_tests::world::{Wish, World};

/// Three hours of demo, a day ago, with a look each minute: Alice typed at the beginning, and 77 minutes later.
const PAST: &str = "
    WITH run AS (
        INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
        SELECT gen_random_uuid(), id, 'JupyterLab', t.a, 'ml.m5.xlarge', t.a, t.a + interval '3 h'
        FROM spaces, (SELECT date_trunc('hour', now()) - interval '1 d' AS a) t WHERE name = 'demo'
        RETURNING id, began_at)
    INSERT INTO looks (run_id, at, evidence)
    SELECT run.id, l.at, jsonb_build_object(
        'at', to_char(l.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || ' +00:00:00',
        'steady', true,
        'outside', jsonb_build_object('signs', jsonb_build_array(jsonb_build_object(
            'sign', 'keys', 'by', 'alice',
            'at', to_char((began_at + CASE WHEN n >= 77 THEN interval '77 min' ELSE interval '0' END)
                          AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || ' +00:00:00'))),
        'inside', jsonb_build_object('Err', jsonb_build_object(
            'why', 'no look inside is set up', 'not_set_up', true)))
    FROM run, generate_series(1, 180) AS n, LATERAL (SELECT began_at + n * interval '1 min' AS at) l";

const PRICED: &str = "SELECT nano_usd FROM prices WHERE region = 'eu-west-1' AND usage = 'JupyterLab'
     AND item = 'ml.m5.xlarge' ORDER BY valid_from DESC LIMIT 1";

async fn simulate(world: &World, more: &[&str]) -> Result<Done> {
    let config = world.config().display().to_string();
    world.operator(&[&["simulate-policy", "--config", &config], more].concat()).await
}

async fn simulated(world: &World, more: &[&str]) -> Result<Value> {
    let done = simulate(world, &[more, &["--json"]].concat()).await?.well()?;
    Ok(serde_json::from_str(&done.text())?)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_tried_on_the_looks_that_are_kept() -> Result<()> {
    // The past has a look each minute, which is no gap as long as three are no more than that.
    let gateway = "[watch]\nevery_s = 1\n\n[idle]\nlook_every_s = 20\n".to_owned();
    let world = World::with(Wish { gateway, ..Wish::default() }).await?;
    world.expect(&format!("SELECT ({PRICED}) IS NOT NULL"), "true").await?;
    // The gateway's own first looks are there, too.
    let looked = "SELECT count(*) > 0 FROM looks l JOIN runs r ON r.id = l.run_id WHERE r.ended_at IS NULL";
    world.expect(looked, "true").await?;
    sqlx::query(PAST).execute(&world.database).await?;
    let began = "SELECT began_at FROM runs WHERE ended_at IS NOT NULL";
    let stamp = async |minutes: u32| {
        let form = "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'";
        let at = format!("to_char((({began}) + interval '{minutes} min') AT TIME ZONE 'UTC', {form})");
        world.value(&at).await?.context("a time")
    };
    let (stopped_at, idle_since) = (stamp(65).await?, stamp(0).await?);

    // As configured, it stops nothing, and says why.
    let text = simulate(&world, &["--space", "demo"]).await?.well()?.text();
    ensure!(text.starts_with("would have stopped: 0 of 2 runs, in 1 spaces."), "{text}");
    ensure!(text.contains("  unknown in 1 runs: no look inside is set up\n"), "{text}");

    let policies = world.folder().join("policies.toml");
    std::fs::write(&policies, "[idle]\ninside = \"where-set-up\"\n")?;
    let policies = shown(&policies);
    let text = simulate(&world, &["--policies", &policies]).await?.well()?.text();
    for line in [
        format!("{stopped_at}  demo.main of alice, run "),
        format!("  Why:   idle since {idle_since}: last key in any terminal, alice\n"),
        "  Rule:  the default\n".to_owned(),
        "  After: it went on for 1 h 55 min: $".to_owned(),
        "  Wrong: it would have met a key of alice, 12 min later\n".to_owned(),
        "at the wrong time:  1 of 1\n".to_owned(),
        "  a space that would have been stopped stays stopped until that run really ended\n".to_owned(),
    ] {
        ensure!(text.contains(&line), "{line:?} in\n{text}");
    }
    let all = simulated(&world, &["--policies", &policies]).await?;
    let by_hand = world.value(&format!("SELECT round(({PRICED}) * 115 / 60.0 / 1e9, 9)")).await?;
    assert_eq!(all["total"]["saved_usd"], json!(by_hand), "{all}");
    let stop = &all["stops"][0];
    assert_eq!((&stop["stopped_at"], &stop["idle_since"]), (&json!(stopped_at), &json!(idle_since)));
    assert_eq!((&stop["went_on_s"], &stop["would_have_met"]["after_s"]), (&json!(6_900), &json!(720)));
    ensure!(all["looks"]["active"].as_u64() > Some(4), "the gateway's own looks count too: {all}");

    // An unknown price is not 0.
    sqlx::query("UPDATE runs SET instance_type = 'ml.odd.xlarge' WHERE ended_at IS NOT NULL")
        .execute(&world.database)
        .await?;
    let odd = simulated(&world, &["--policies", &policies]).await?;
    assert_eq!((&odd["total"]["saved_usd"], &odd["total"]["unpriced_s"]), (&Value::Null, &json!(6_900)));
    let text = simulate(&world, &["--policies", &policies]).await?.well()?.text();
    ensure!(text.contains("it went on for 1 h 55 min: unknown\n"), "{text}");

    // What is not asked for is not tried.
    for less in [&["--since", "12h"][..], &["--space", "gpu"], &["--domain", "other"]] {
        let less = simulated(&world, &[less, &["--policies", &policies]].concat()).await?;
        assert_eq!(less["stops"], json!([]));
    }
    ensure!(world.account.simulator.cloudtrail().iter().all(|e| e.event_name != "DeleteApp"), "only tried");
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_travel_in_a_file_and_a_bad_one_is_refused_in_words() -> Result<()> {
    let world = World::start().await?;
    world.expect(&format!("SELECT ({PRICED}) IS NOT NULL"), "true").await?;
    sqlx::query(PAST).execute(&world.database).await?;
    let (policies, looks) = (world.folder().join("policies.toml"), world.folder().join("looks.jsonl"));
    std::fs::write(
        &policies,
        "[idle]\nmode = \"never\"\n\n[[idle.policies]]\ngroup = \"local/ml\"\nmode = \"dry-run\"\nidle_s = 1800\n\
         grace_s = 600\ninside = \"where-set-up\"\n",
    )?;
    let (policies, looks) = (shown(&policies), shown(&looks));
    let done = simulate(&world, &["--export", &looks, "--since", "2d"]).await?.well()?;
    ensure!(done.text().contains(" runs written to "), "{}", done.text());
    let again = simulate(&world, &["--export", &looks]).await?;
    ensure!(again.code == 1 && again.stderr.contains("cannot be made"), "{}", again.stderr);

    // With neither configuration nor database the file says the same as the database.
    let here = simulated(&world, &["--policies", &policies]).await?;
    let args = ["simulate-policy", "--from-file", &looks, "--policies", &policies, "--json"];
    let there: Value = serde_json::from_str(&world.spaceport(&args).await?.well()?.text())?;
    assert_eq!(there["stops"], here["stops"]);
    assert_eq!(there["total"], here["total"]);
    let stop = &here["stops"][0];
    assert_eq!((&stop["policy"], &stop["went_on_s"]), (&json!("group local/ml"), &json!(140 * 60)), "{here}");

    let text = std::fs::read_to_string(&looks)?;
    std::fs::write(&looks, text.replacen("\"steady\":true", "\"steady\":maybe", 1))?;
    let bad = world.spaceport(&args).await?;
    ensure!(bad.code == 1 && bad.stderr.contains("looks.jsonl, line 2: column "), "{}", bad.stderr);
    std::fs::write(&policies, "[idle]\nidle_s = \"long\"\n\n[ssh]\n")?;
    let bad = world.spaceport(&args).await?;
    ensure!(bad.code == 78, "{}: {}", bad.code, bad.stderr);
    for fault in ["2 faults", "idle.idle_s", "ssh"] {
        ensure!(bad.stderr.contains(fault), "{fault:?} in {}", bad.stderr);
    }
    let nothing = world
        .spaceport(&["simulate-policy", "--from-file", "/no/such/file", "--policies", &policies])
        .await?;
    ensure!(nothing.code != 0 && !nothing.stderr.is_empty(), "{}", nothing.stderr);
    world.end().await
}
