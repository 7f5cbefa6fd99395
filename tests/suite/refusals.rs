//! Bad input gets one clear message, a non-zero exit, a log line and an audit row, inside a stated time.

use std::time::Duration;

use anyhow::{Result, ensure};
use spaceport_tests::client::Client;
use spaceport_tests::world::World;
use studio_simulator::stream::{Fault, Oddity};

/// What a refusal must show.
struct Refusal<'a> {
    host: &'a str,
    says: &'a [&'a str],
    audit: &'a str,
    within: Duration,
}

async fn refused(world: &World, client: &Client, wanted: Refusal<'_>) -> Result<()> {
    let Refusal { host, says, audit, within } = wanted;
    let count = format!("SELECT count(*) FROM audit WHERE kind = '{audit}'");
    let before: u64 = world.value(&count).await?.unwrap_or_default().parse()?;
    let began = tokio::time::Instant::now();
    let done = client.ssh([host, "true"]).await?;
    ensure!(began.elapsed() < within, "{host}: inside {within:?}, not {:?}", began.elapsed());
    ensure!(done.code != 0, "{host} is refused");
    ensure!(done.stdout.is_empty(), "{host}: stdout stays clean");
    for text in says {
        ensure!(done.stderr.contains(text), "{host}: {text:?} in\n{}", done.stderr);
    }
    ensure!(done.stderr.lines().all(|line| line.chars().count() <= 80), "80 columns:\n{}", done.stderr);
    world.expect(&format!("SELECT ({count}) > {before}"), "true").await
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_key_is_refused_and_says_where_to_add_it() -> Result<()> {
    let world = World::start().await?;
    let stranger = Client::new(&world.folder().join("stranger")).await?;
    stranger.configure(world.gateway.ssh, &["demo"])?;
    let done = stranger.ssh(["demo", "true"]).await?;
    ensure!(done.code == 255 && done.stderr.contains("Permission denied"), "{}", done.stderr);
    world.expect("SELECT count(*) > 0 FROM audit WHERE kind = 'auth.refused'", "true").await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_nowhere_are_refused_with_what_is_near() -> Result<()> {
    let world = World::start().await?;
    world.client.configure(world.gateway.ssh, &["demoo", "-x", "bo-private", "demo.nowhere"])?;
    let quick = Duration::from_secs(15);
    let near = ["spaceport: there is no space demoo", "Near: demo"];
    refused(
        &world,
        &world.client,
        Refusal { host: "demoo", says: &near, audit: "space.unknown", within: quick },
    )
    .await?;
    let denied = ["spaceport: you may not open bo-private", "private to bo", "Quote"];
    refused(
        &world,
        &world.client,
        Refusal { host: "bo-private", says: &denied, audit: "access.denied", within: quick },
    )
    .await?;
    let done = world.client.ssh(["-l", "de_mo!", "demo.nowhere", "true"]).await?;
    ensure!(done.code != 0 && done.stderr.contains("de_mo!"), "{}", done.stderr);
    Ok(())
}

/// A world of two domains. In each there is a space `demo` of a profile `alice`; Alice's is the one in `main`.
async fn two_domains() -> Result<World> {
    use studio_simulator::fixture::{Fixture, SpaceSpec};
    use studio_simulator::simulator::Config;
    let second =
        Fixture::domain("d-second0example", "second").with(SpaceSpec::private("demo", "alice").running());
    let account = Config { fixtures: vec![Fixture::default(), second], ..Config::default() };
    let more = format!(
        "[[domains]]\nalias = \"second\"\nid = \"d-second0example\"\naccount = \"{0}\"\nregion = \"{1}\"\n\
         user_role = \"arn:aws:iam::{0}:role/{2}\"\n",
        studio_simulator::fixture::ACCOUNT,
        studio_simulator::fixture::REGION,
        studio_simulator::fixture::USER_ROLE,
    );
    World::with(spaceport_tests::world::Wish { account, gateway: more, ..Default::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn space_of_a_profile_of_the_same_name_in_another_domain_is_a_strangers() -> Result<()> {
    let world = two_domains().await?;
    world.client.configure(world.gateway.ssh, &["demo", "demo.second"])?;
    let says = ["spaceport: you may not open demo", "private to alice"];
    let within = Duration::from_secs(15);
    refused(
        &world,
        &world.client,
        Refusal { host: "demo.second", says: &says, audit: "access.denied", within },
    )
    .await?;
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.text(), "hi\n", "her own is the only demo");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_name_lists_both_and_each_of_them_works() -> Result<()> {
    let world = two_domains().await?;
    world.reconfigure(|text| text.replace("\"main/alice\"", "\"main/alice\", \"second/alice\"")).await?;
    world.client.configure(world.gateway.ssh, &["demo", "demo.main", "demo.second"])?;
    let says = ["spaceport: demo names several spaces", "demo.main", "demo.second"];
    let quick = Duration::from_secs(15);
    refused(
        &world,
        &world.client,
        Refusal { host: "demo", says: &says, audit: "space.ambiguous", within: quick },
    )
    .await?;
    for host in ["demo.main", "demo.second"] {
        assert_eq!(world.client.ssh([host, "echo hi"]).await?.text(), "hi\n", "{host}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_at_start_session_is_told_in_words() -> Result<()> {
    let world = World::start().await?;
    let quick = Duration::from_secs(45);
    // Each with a space of its own: a link that is warm asks AWS for nothing.
    for (host, code, times, says) in [
        ("demo", "AccessDeniedException", 1, vec!["spaceport: demo could not be opened", "StartSession"]),
        ("gpu", "ResourceLimitExceeded", 1, vec!["spaceport: gpu has no free stream", "10"]),
        ("mixed-case", "ThrottlingException", 50, vec!["SageMaker throttles StartSession", "Next:"]),
    ] {
        world.account.simulator.fail_next("StartSession", code, times);
        let refusal = Refusal { host, says: &says, audit: "session.ended", within: quick };
        refused(&world, &world.client, refusal).await?;
        world.account.simulator.clear_faults();
        assert_eq!(world.client.ssh([host, "echo hi"]).await?.text(), "hi\n", "after {code}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_that_does_not_open_is_told_in_words_and_nothing_hangs() -> Result<()> {
    let world = World::start().await?;
    for (fault, says, within) in [
        (Fault::RefuseUpgrade { status: 500, times: None }, vec!["spaceport:", "Why:"], 40),
        (Fault::NeverHandshake, vec!["spaceport:", "agent"], 45),
        (Fault::RefuseDial, vec!["spaceport:"], 45),
        (Fault::NoHandshake, vec!["spaceport:"], 45),
    ] {
        let all = studio_simulator::stream::Target::All;
        world.account.streams.fault(all.clone(), fault.clone());
        let within = Duration::from_secs(within);
        let refusal = Refusal { host: "demo", says: &says, audit: "session.ended", within };
        refused(&world, &world.client, refusal).await.map_err(|e| e.context(format!("{fault:?}")))?;
        world.account.streams.fault(all, Fault::Clear);
    }
    assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.text(), "hi\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_harm_nobody() -> Result<()> {
    let world = World::start().await?;
    for what in [
        Oddity::ShortFrame,
        Oddity::BadHeaderLength,
        Oddity::Text,
        Oddity::UnknownMessageType,
        Oddity::BadDigest,
        Oddity::StrayAck,
        Oddity::BrokenAck,
    ] {
        assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.text(), "hi\n", "before {what:?}");
        world.account.fault("demo", Fault::Send { what });
        assert_eq!(world.client.ssh(["demo", "echo hi"]).await?.text(), "hi\n", "after {what:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_configuration_are_listed_at_once() -> Result<()> {
    let world = World::start().await?;
    let broken = std::fs::read_to_string(world.config())?
        .replace("account = \"1111", "account = \"x111")
        .replace("[ops]", "[oops]");
    let path = world.folder().join("broken.toml");
    std::fs::write(&path, broken)?;
    let done = world.spaceport(&["check", "--config", &path.display().to_string()]).await?;
    assert_eq!(done.code, 78, "{}", done.stderr);
    for text in ["domains[0].account", "oops", "ops"] {
        assert!(done.stderr.contains(text), "{text:?} in\n{}", done.stderr);
    }
    Ok(())
}
