//! Domains are watched: by one replica for all, within few calls, and what nobody saw is known to be unknown.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::account::Servers;
use spaceport_tests::gateway::Gateway;
use spaceport_tests::until::until;
use spaceport_tests::world::{Wish, World};
use studio_simulator::simulator::Config;
use studio_simulator::{Event, Fixture, RequestRate, SpaceSpec};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Pages of 1,000 spaces, and of 300 apps.
const PAGES: (usize, usize) = (10, 3);
const PATIENCE: Duration = Duration::from_secs(60);

fn polling(every_s: u32) -> Wish {
    Wish { gateway: format!("[watch]\nevery_s = {every_s}\n"), servers: Servers::None, ..Wish::default() }
}

/// A domain of 1,000 spaces, 300 of them running.
fn thousand(every_s: u32) -> Wish {
    let space = |n| {
        let space = SpaceSpec::private(&format!("s{n}"), "alice");
        if n < 300 { space.running() } else { space }
    };
    let fixture = Fixture {
        spaces: (0..1_000).map(space).collect(),
        quotas: [("ml.m5.xlarge".to_owned(), 1_000)].into(),
        ..Fixture::bare()
    };
    let mut wish = polling(every_s);
    wish.gateway += "[idle]\nlook_every_s = 2\n";
    Wish { account: Config { fixtures: vec![fixture], ..Config::default() }, ..wish }
}

fn calls(world: &World, name: &str) -> Vec<Event> {
    let mut events = world.account.simulator.cloudtrail();
    events.retain(|event| event.event_name == name);
    events
}

/// When listings began: their first pages.
fn polls(world: &World) -> Result<Vec<OffsetDateTime>> {
    let calls = calls(world, "ListSpaces");
    let first = calls.iter().filter(|call| call.request_parameters.get("NextToken").is_none());
    first.map(|call| Ok(OffsetDateTime::parse(&call.event_time, &Rfc3339)?)).collect()
}

async fn metric(gateway: &Gateway, line: &str) -> Result<Option<String>> {
    let page = reqwest::get(format!("http://{}/metrics", gateway.ops)).await?.text().await?;
    Ok(page.lines().find_map(|shown| shown.strip_prefix(line)).map(|value| value.trim().to_owned()))
}

/// How many seconds ago the newest listing began, as far as it was written.
const UNWATCHED_S: &str = "SELECT extract(epoch FROM now() - max(ended_at)) FROM watches";

async fn unwatched_for(world: &World, seconds: f64) -> Result<()> {
    until("the domain to be unwatched for a while", PATIENCE, async || {
        let ago: f64 = world.value(UNWATCHED_S).await?.context("a watch")?.parse()?;
        Ok((ago > seconds).then_some(()))
    })
    .await
}

/// Waits for a listing that began after now.
async fn listed_again(world: &World) -> Result<()> {
    let before = world.value("SELECT synced_at FROM domains").await?;
    until("another listing", PATIENCE, async || {
        Ok((world.value("SELECT synced_at FROM domains").await? != before).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_spaces_over_two_replicas_cost_the_documented_calls() -> Result<()> {
    let world = World::with(thousand(5)).await?;
    let second = world.second_gateway("second").await?;
    // Exactly so many pages for each poll: another caller, or a call too many, would never let this come true.
    until("four polls and nothing else", PATIENCE, async || {
        let polls = polls(&world)?.len();
        let pages = (calls(&world, "ListSpaces").len(), calls(&world, "ListApps").len());
        Ok((polls >= 4 && pages == (PAGES.0 * polls, PAGES.1 * polls)).then_some(()))
    })
    .await?;
    let others: Vec<String> = (world.account.simulator.cloudtrail().into_iter())
        .map(|event| event.event_name)
        // The price list is another service, read once a day.
        .filter(|name| name != "GetProducts")
        .filter(|name| name != "ListSpaces" && name != "ListApps")
        .collect();
    ensure!(others.is_empty(), "{others:?}");
    for pair in polls(&world)?.windows(2) {
        ensure!(pair[1] - pair[0] > time::Duration::milliseconds(4_500), "two polls within an interval");
    }
    for gateway in [&world.gateway, &second] {
        for (state, count) in [("running", "300"), ("stopped", "700")] {
            let line = format!("spaceport_spaces{{domain=\"main\",state=\"{state}\"}}");
            assert_eq!(metric(gateway, &line).await?.as_deref(), Some(count), "{state}");
        }
    }
    world.expect("SELECT count(*) FROM runs WHERE ended_at IS NULL AND storage_gib = 20", "300").await?;
    world.expect("SELECT count(*) FROM watches", "1").await?;
    // All that run are judged in one pass. How long that takes is printed: it depends on the machine.
    world.expect("SELECT count(*) FROM judgements", "300").await?;
    for gateway in [&world.gateway, &second] {
        let figure = async |name: &str| -> Result<f64> {
            let found = metric(gateway, &format!("spaceport_judgement_seconds_{name}")).await?;
            Ok(found.map_or(Ok(0.0), |found| found.parse())?)
        };
        let (sum, count) = (figure("sum").await?, figure("count").await?);
        if count > 0.0 {
            println!(
                "a judgement pass over 300 running spaces: {:.0} ms ({count} passes)",
                1e3 * sum / count
            );
        }
    }
    second.stop().await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_gateway_backs_off_and_finishes_its_listing() -> Result<()> {
    let world = World::with(thousand(2)).await?;
    world.account.simulator.clear_cloudtrail();
    // Below what the gateway would ask by itself.
    world.account.simulator.limit_rate(Some(RequestRate { per_s: 3.0, burst: 2.0 }));
    until("a call to be throttled", PATIENCE, async || {
        let throttled = |event: &Event| event.error_code.as_deref() == Some("ThrottlingException");
        Ok(world.account.simulator.cloudtrail().iter().any(throttled).then_some(()))
    })
    .await?;
    listed_again(&world).await?;
    listed_again(&world).await?;
    let events = world.account.simulator.cloudtrail();
    let refused = events.iter().filter(|event| event.error_code.is_some()).count();
    ensure!(refused * 2 < events.len(), "{refused} of {} calls were throttled", events.len());
    world.expect("SELECT count(*) FROM runs WHERE ended_at IS NULL", "300").await
}

#[tokio::test(flavor = "multi_thread")]
async fn time_in_which_aws_refuses_to_list_is_a_gap() -> Result<()> {
    let world = World::with(polling(1)).await?;
    world.expect("SELECT count(*) FROM watches WHERE ended_at > began_at", "1").await?;
    world.account.simulator.limit_rate(Some(RequestRate { per_s: 0.0, burst: 0.0 }));
    unwatched_for(&world, 5.0).await?;
    world.account.simulator.limit_rate(None);
    world.expect("SELECT count(*) FROM watches", "2").await?;
    world.expect("SELECT count(*) FROM runs WHERE ended_at IS NULL", "4").await?;
    let gap = "SELECT max(began_at) - min(ended_at) > interval '5 s' FROM watches";
    world.expect(gap, "true").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_and_stops_outside_the_gateway_is_a_run() -> Result<()> {
    let world = World::with(polling(1)).await?;
    let runs = "SELECT count(*) FROM runs r JOIN spaces s ON s.id = r.space_id WHERE s.name = 'stopped'";
    world.expect(runs, "0").await?;
    world.account.simulator.start_app(&world.account.arn("stopped"))?;
    let open = format!("{runs} AND r.ended_at IS NULL AND r.instance_type = 'ml.m5.xlarge'");
    world.expect(&format!("{open} AND r.storage_gib = 20 AND r.image_version = '3.2.0'"), "1").await?;
    world.account.simulator.stop_app(&world.account.arn("stopped"))?;
    world.expect(&format!("{runs} AND r.ended_at > r.last_seen_up_at"), "1").await?;
    world.expect(runs, "1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watching_passes_to_another_replica_when_one_dies() -> Result<()> {
    let mut world = World::with(polling(5)).await?;
    let second = world.second_gateway("second").await?;
    let leader = "SELECT replica_id FROM job_leases WHERE name = 'watch main'";
    let before = world.value(leader).await?.context("somebody watches")?;
    world.gateway.crash().await?;
    until("the other to watch", PATIENCE, async || {
        Ok((world.value(leader).await?.as_ref() != Some(&before)).then_some(()))
    })
    .await?;
    listed_again(&world).await?;
    world.expect("SELECT count(*) FROM watches", "1").await?;
    // One that ends in order lets the next take over at once, and leaves no lease behind.
    second.stop().await?;
    world.expect("SELECT count(*) FROM job_leases WHERE name LIKE 'watch %'", "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_run_and_leaves_a_gap() -> Result<()> {
    let mut world = World::with(polling(1)).await?;
    let runs = "SELECT count(*) FROM runs r JOIN spaces s ON s.id = r.space_id WHERE s.name = 'demo'";
    world.expect(&format!("{runs} AND r.ended_at IS NULL"), "1").await?;
    world.gateway.crash().await?;
    let demo = world.account.arn("demo");
    world.account.simulator.stop_app(&demo)?;
    until("the app to be gone", PATIENCE, async || {
        let gone = world.account.simulator.space(&demo)?.app_status.as_deref() == Some("Deleted");
        Ok(gone.then_some(()))
    })
    .await?;
    world.account.simulator.start_app(&demo)?;
    unwatched_for(&world, 4.0).await?;
    world.restart().await?;
    world.expect(&format!("{runs} AND r.ended_at IS NULL"), "1").await?;
    // When the first one ended is unknown: not before it was last seen, not after the gap.
    let unknown = "r.ended_at - r.last_seen_up_at > interval '4 s'";
    world.expect(&format!("{runs} AND {unknown}"), "1").await?;
    world.expect(runs, "2").await?;
    world.expect("SELECT count(*) FROM watches", "2").await?;
    let others = "SELECT count(*) FROM runs WHERE ended_at IS NULL AND began_at < \
                  (SELECT max(began_at) FROM watches)";
    world.expect(others, "3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_read_once_for_each_space_and_only_where_they_are_asked_for() -> Result<()> {
    let quiet = World::with(polling(1)).await?;
    let domain = "read_tags = true\n".to_owned();
    let world = World::with(Wish { domain, ..polling(1) }).await?;
    let second = world.second_gateway("second").await?;
    world.expect("SELECT count(*) FROM spaces WHERE tags IS NULL", "0").await?;
    world.expect("SELECT tags ->> 'gw-owner' FROM spaces WHERE name = 'demo'", "alice").await?;
    world.expect("SELECT tags ->> 'gw-sharing' FROM spaces WHERE name = 'team'", "shared").await?;
    listed_again(&world).await?;
    let spaces = world.account.simulator.spaces().len();
    assert_eq!(calls(&world, "ListTags").len(), spaces);
    second.stop().await?;
    listed_again(&quiet).await?;
    ensure!(calls(&quiet, "ListTags").is_empty(), "nobody asked for tags");
    quiet.expect("SELECT count(*) FROM spaces WHERE tags_read_at IS NOT NULL", "0").await
}
