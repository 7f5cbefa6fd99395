//! The audit log is sealed, and tampering shows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::client::{Client, Done, run};
use spaceport_tests::gateway::binary;
use spaceport_tests::world::World;
use tokio::process::Command;

/// `spaceport audit …` with what its operator has: the database and the key, no configuration.
async fn audit(world: &World, arguments: &[&str]) -> Result<Done> {
    let mut command = Command::new(binary("spaceport")?);
    command.arg("audit").args(arguments).envs(world.auditors_environment());
    run(command, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_of_real_sessions_is_sealed_verified_and_exported_and_tampering_is_named() -> Result<()> {
    let mut world = World::start().await?;
    for _ in 0..2 {
        world.client.ssh(["demo", "true"]).await?.well()?;
    }
    let refused = world.client.ssh(["bo-private", "true"]).await?;
    ensure!(refused.code != 0, "{}", refused.stderr);
    world.expect("SELECT count(*) FROM sessions WHERE end_code = 'client_left'", "2").await?;
    let unsealed =
        "SELECT count(*) FROM audit a WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_id = a.id)";
    world.expect(unsealed, "0").await?;
    let whole = audit(&world, &["verify"]).await?.well()?;
    ensure!(whole.text().contains(" rows sealed, 0 waiting; head "), "{}", whole.text());

    // Strangers get a row by address and minute; a stop writes the last, seals it, and logs the end.
    let stranger = Client::new(&world.folder().join("stranger")).await?;
    stranger.configure(world.gateway.ssh, &["demo"])?;
    for _ in 0..4 {
        ensure!(stranger.ssh(["demo", "true"]).await?.code == 255, "nobody knows the key");
    }
    world.expect("SELECT count(*) FROM audit WHERE kind = 'auth.refused'", "1").await?;
    world.gateway.signal("TERM").await?;
    ensure!(world.gateway.wait(Duration::from_secs(60)).await?.success(), "it ends well");
    let strangers =
        "SELECT string_agg(detail ->> 'count', ' and ' ORDER BY at) FROM audit WHERE kind = 'auth.refused'";
    world.expect(strangers, "1 and 3").await?;
    let log = world.gateway.log()?;
    let head = log.iter().rev().find_map(|line| line["audit.head"].as_str()).context("a head in the log")?;
    let rows = world.value("SELECT count(*) FROM audit").await?.context("a count")?;
    let whole = audit(&world, &["verify", "--head", head]).await?.well()?;
    ensure!(
        whole.text().starts_with(&format!("{rows} rows sealed, 0 waiting; head {head} of ")),
        "{}",
        whole.text()
    );

    let exported = exported(&world, &[]).await?;
    ensure!(exported.len().to_string() == rows, "all rows are there");
    ensure!(exported.iter().all(|row| row["seq"].is_i64() && row["mac"].is_string()), "{exported:?}");
    let ends = self::exported(&world, &["--kind", "session.ended", "--since", "2020-01-01"]).await?;
    ensure!(ends.len() == 2 && ends.iter().all(|row| row["actor_name"] == "alice"), "{ends:?}");
    ensure!(self::exported(&world, &["--until", "2020-01-01"]).await?.is_empty(), "none is that old");
    nobody_reads_on(&world).await?;

    let row = ends[0]["id"].as_str().context("an id")?;
    tamper(&world, &format!("UPDATE audit SET actor_name = 'mallory' WHERE id = '{row}'")).await?;
    let changed = audit(&world, &["verify"]).await?;
    ensure!(
        changed.code == 1 && changed.stderr.contains(&format!("row {row} was changed")),
        "{}",
        changed.stderr
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_without_the_right_key_says_what_is_missing() -> Result<()> {
    let world = World::start().await?;
    let no_key = world.spaceport(&["audit", "verify"]).await?;
    ensure!(no_key.code != 0 && no_key.stderr.contains("SPACEPORT_SECRET_KEY"), "{}", no_key.stderr);
    let mut command = Command::new(binary("spaceport")?);
    command.args(["audit", "verify"]).envs(world.auditors_environment());
    command.env("SPACEPORT_SECRET_KEY", "f0".repeat(32));
    let other = run(command, &[]).await?;
    ensure!(
        other.code == 1 && other.stderr.contains("does not open with the configured key"),
        "{}",
        other.stderr
    );
    let bad = audit(&world, &["verify", "--head", "12"]).await?;
    ensure!(bad.code == 2 && bad.stderr.contains("audit.head"), "{}", bad.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_read_again_is_a_change_on_record() -> Result<()> {
    let world = World::start().await?;
    let more = "[[access.denials]]\nuser = \"bo\"\nreason = \"left the team\"\n";
    world.reconfigure(|text| format!("{text}\n{more}")).await?;
    let row = "SELECT detail->>'denials' FROM audit WHERE kind = 'config.reloaded'";
    world.expect(row, "1").await
}

async fn exported(world: &World, arguments: &[&str]) -> Result<Vec<Value>> {
    let done = audit(world, &[&["export"], arguments].concat()).await?.well()?;
    done.text().lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// An export whose reader has gone ends without a word.
async fn nobody_reads_on(world: &World) -> Result<()> {
    let mut command = Command::new("bash");
    command.args(["-c", "set -o pipefail; \"$0\" audit export | true"]).arg(binary("spaceport")?);
    command.envs(world.auditors_environment());
    let done = run(command, &[]).await?;
    ensure!(done.code == 0 && done.stderr.is_empty(), "{} {}", done.code, done.stderr);
    Ok(())
}

/// What the owner of the database can do.
async fn tamper(world: &World, statement: &str) -> Result<()> {
    let all = format!(
        "ALTER TABLE audit DISABLE TRIGGER audit_append_only; {statement}; \
         ALTER TABLE audit ENABLE TRIGGER audit_append_only"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(all)).execute(&world.database).await?;
    Ok(())
}
